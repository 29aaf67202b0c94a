"""The exported post-processing gives the detections of `detect`."""

import pytest
import torch
from torch import Tensor

from detection.export_head import SuppressionHead, suppressed, suppressed_in_graph
from detection.postprocess import detect


def scene(images: int = 1, points: int = 60, classes: int = 3) -> tuple[Tensor, Tensor]:
    """Overlapping boxes (B, P, 4) with scores (B, P, K), some below the threshold."""
    generator = torch.Generator().manual_seed(0)
    corners = 40 * torch.rand(images, points, 2, generator=generator) - 5
    sides = 10 + 20 * torch.rand(images, points, 2, generator=generator)
    scores = torch.rand(images, points, classes, generator=generator) ** 4
    return torch.cat([corners, corners + sides], dim=-1), scores


def test_as_detect() -> None:
    boxes, scores = scene()
    wanted = detect(boxes[0], scores[0])
    found = SuppressionHead(batched=False)(boxes, scores, (64, 64), (64, 64))
    assert 20 < len(wanted["scores"]) < 100
    for name, values in zip(("boxes", "scores", "labels"), found, strict=True):
        assert torch.allclose(values.float(), wanted[name].float(), atol=1e-5), name


def test_batch_as_single_images() -> None:
    boxes, scores = scene(images=3)
    outputs = dict(
        zip(
            ("boxes", "scores", "labels", "image"),
            SuppressionHead(batched=True)(boxes, scores, (64, 64), (64, 64)),
            strict=True,
        )
    )
    for index, result in enumerate(
        SuppressionHead(batched=False).results(outputs, (64, 64), [{}] * 3)
    ):
        wanted = detect(boxes[index], scores[index])
        assert torch.allclose(result["boxes"], wanted["boxes"], atol=1e-5)
        assert torch.equal(result["labels"], wanted["labels"])


def test_boxes_follow_the_image_and_the_best_hundred_stay() -> None:
    """Twice as high and half as wide; 300 boxes that do not overlap are cut to 100."""
    left = 3.0 * torch.arange(300)
    boxes = torch.stack([left, left * 0, left + 2, left * 0 + 2], dim=-1)[None]
    scores = torch.linspace(0.1, 0.9, 300)[None, :, None]
    found, best, _ = SuppressionHead(batched=False)(boxes, scores, (100, 100), (200, 50))
    assert len(found) == 100
    assert best[0] == pytest.approx(0.9)
    assert found[0].tolist() == pytest.approx([897 / 2, 0, 899 / 2, 4])


def test_nothing_found() -> None:
    boxes, scores = scene()
    found = SuppressionHead(batched=False)(boxes, scores * 0, (64, 64), (64, 64))
    assert [tuple(values.shape) for values in found] == [(0, 4), (0,), (0,)]
    outputs = dict(zip(("boxes", "scores", "labels"), found, strict=True))
    (result,) = SuppressionHead(batched=False).results(outputs, (64, 64), [{"size": (1, 1)}])
    assert result["boxes"].shape == (0, 4)


def test_results_in_pixels_of_the_image() -> None:
    outputs = {
        "boxes": torch.tensor([[0.0, 8.0, 16.0, 32.0]]),
        "scores": torch.tensor([0.5]),
        "labels": torch.tensor([2]),
    }
    (found,) = SuppressionHead(batched=False).results(
        outputs, (32, 32), [{"size": (64, 16), "image_id": 7}]
    )
    assert found["boxes"].tolist() == [[0.0, 16.0, 8.0, 64.0]]
    assert found["image_id"] == 7


def test_the_operator_is_its_function() -> None:
    boxes, scores = scene()
    by_class = scores.permute(0, 2, 1)
    assert torch.equal(suppressed_in_graph(boxes, by_class), suppressed(boxes, by_class))


def test_gap_does_not_mind_the_order() -> None:
    boxes, scores = scene()
    found = SuppressionHead(batched=False)(boxes, scores, (64, 64), (64, 64))
    backwards = [values.flip(0) for values in found]
    assert SuppressionHead(batched=False).apart(found, backwards) == (0.0, 0.0)
    assert SuppressionHead(batched=False).apart(found, [values[:-1] for values in found]).share > 0
