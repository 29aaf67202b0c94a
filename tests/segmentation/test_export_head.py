"""The exported last step gives the mask that the model predicts."""

import torch
from torch.nn import functional as F

from segmentation.export_head import MaskHead

LOGITS = torch.randn(1, 4, 6, 8, generator=torch.Generator().manual_seed(0))


def test_class_of_every_pixel() -> None:
    size = (6, 8)
    (mask,) = MaskHead()(LOGITS, size, size)
    assert mask.dtype == torch.uint8
    assert torch.equal(mask.long(), LOGITS.argmax(1))


def test_logits_are_resized_not_classes() -> None:
    (mask,) = MaskHead()(LOGITS, (6, 8), (12, 16))
    wanted = F.interpolate(LOGITS, (12, 16), mode="bilinear").argmax(1)
    assert torch.equal(mask.long(), wanted)


def test_results_without_padding_at_the_size_of_the_image() -> None:
    mask = torch.arange(12, dtype=torch.uint8).view(1, 3, 4)
    target = {"content": (2, 2), "size": (4, 4), "image_id": "a"}
    (found,) = MaskHead().results({"mask": mask}, (3, 4), [target])
    assert found["image_id"] == "a"
    assert found["mask"].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [4, 4, 5, 5], [4, 4, 5, 5]]


def test_gap_is_the_share_of_pixels() -> None:
    other = LOGITS.argmax(1).clone()
    other[0, 0, 0] = (other[0, 0, 0] + 1) % 4
    assert MaskHead().apart([LOGITS.argmax(1)], [other]).share == torch.tensor(1 / 48).item()
