"""Turns the boxes and scores of the detector into detections of images, and these into plain data.

Shapes: B images, P points over all levels, K classes, N detections.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from torch import Tensor

from detection.postprocess import detect, to_image_size
from engine.types import Network, Row, Size


class _Detections(TypedDict):
    boxes: Tensor  # (N, 4) xyxy in pixels of the image
    scores: Tensor  # (N,) 0..1, best first
    labels: Tensor  # (N,)


class Detections(_Detections, total=False):
    """The result of one image."""

    image_id: Any  # where known


def detections(
    images: Tensor, boxes: Tensor, scores: Tensor, targets: Sequence[Mapping[str, Any]] | None
) -> list[Detections]:
    """Detections of every image of a batch, in pixels of the image before it was resized.

    Args:
        images: The network input (B, 3, H, W); only its size is used.
        boxes: (B, P, 4) xyxy in pixels of the network input.
        scores: (B, P, K) 0..1.
        targets: One per image, with its `size` (height, width) before the resize where known.
    """
    size = (images.shape[-2], images.shape[-1])
    return [
        in_image({**detect(boxes[index], scores[index])}, size, target)  # type: ignore[typeddict-item]
        for index, target in enumerate(targets or [{}] * len(images))
    ]


def in_image(found: Detections, size: Size, target: Mapping[str, Any]) -> Detections:
    """Converts detections in pixels of an input of `size` to pixels of the image of `target`."""
    if "size" in target:
        found["boxes"] = to_image_size(found["boxes"], size, target["size"])
    if "image_id" in target:
        found["image_id"] = target["image_id"]
    return found


def results(
    network: Any,  # noqa: ARG001  # not needed
    run: Network,
    images: Tensor,
    targets: Sequence[Mapping[str, Any]],
) -> list[Detections]:
    """The result of mode="predict", from the boxes and scores of another network."""
    boxes, scores = run(images)
    return detections(images, boxes, scores, targets)


def describe(found: Detections, classes: Sequence[str], threshold: float) -> list[Row]:
    """The detections of at least `threshold` as plain data, best first."""
    rows = zip(
        found["scores"].tolist(), found["labels"].tolist(), found["boxes"].tolist(), strict=True
    )
    return [
        {"class": classes[label], "label": label, "score": score, "box_xyxy": box}
        for score, label, box in sorted(rows, reverse=True)
        if score >= threshold
    ]
