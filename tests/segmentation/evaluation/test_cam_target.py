"""segmentation/evaluation/cam_target.py: which pixels speak for a class."""

import pytest
import torch

from segmentation.evaluation.cam_target import CAM_TARGET


def test_pixels_of_a_class_speak_for_it() -> None:
    """Three classes on 1 x 3 pixels: class 2 has two of them, class 0 one, class 1 none."""
    logits = torch.tensor([[[1.0, 0, 0]], [[0, 0, 0]], [[0.5, 2, 3]]], requires_grad=True)
    assert CAM_TARGET.found([logits], 0.4) == [2, 0]
    total = CAM_TARGET.score([logits], 2, 0.4)
    assert float(total.detach()) == pytest.approx(2 + 3)
    (slope,) = torch.autograd.grad(total, logits)
    assert slope[2].tolist() == [[0, 1, 1]]
    assert not slope[:2].any()
