"""detection/evaluation/cam_target.py: which boxes speak for a class."""

import pytest
import torch

from detection.evaluation.cam_target import CAM_TARGET


def test_found_boxes_alone_speak_for_their_class() -> None:
    """Of two boxes of class 1 on one spot the better one counts; a weak one does not."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9.5], [20, 0, 30, 10], [40, 0, 50, 10]])
    scores = torch.tensor([[0.1, 0.6], [0.1, 0.5], [0.1, 0.45], [0.8, 0.0]], requires_grad=True)
    assert CAM_TARGET.found([boxes, scores], 0.4) == [0, 1]
    total = CAM_TARGET.score([boxes, scores], 1, 0.4)
    assert float(total.detach()) == pytest.approx(0.6 + 0.45)
    (slope,) = torch.autograd.grad(total, scores)
    assert slope.tolist() == [[0, 1], [0, 0], [0, 1], [0, 0]]
    assert CAM_TARGET.found([boxes, scores], 0.7) == [0]
