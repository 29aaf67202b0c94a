"""Turns the logits of the segmenter into masks of images, and these into plain data.

Shapes: B images, K classes, H, W the size of the network input, h, w that of an image.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from engine.types import Mask, Network, Row
from segmentation.sliding_window import Inference, resize


class _Segmentation(TypedDict):
    mask: Tensor  # (h, w) uint8, the class of each pixel


class Segmentation(_Segmentation, total=False):
    """The result of one image."""

    image_id: Any  # where known


def image_scores(
    inference: Inference,
    logits_of: Callable[[Tensor], Tensor],
    images: Tensor,
    targets: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[Tensor, Mapping[str, Any]]]:
    """Scores (1, K, h, w) of every image at its size before preprocessing, and its target."""
    scores = inference(logits_of, images)  # (B, K, H, W)
    height, width = images.shape[-2:]
    for index, target in enumerate(targets):
        bottom, right = target.get("content", (height, width))  # padding is below and right of it
        own = scores[index : index + 1, :, :bottom, :right]
        yield resize(own, target.get("size", (bottom, right))), target


def segmentation(scores: Tensor, target: Mapping[str, Any]) -> Segmentation:
    """The class of every pixel, of scores (1, K, h, w); `max` takes half the time of `argmax`."""
    return with_id({"mask": scores[0].max(dim=0).indices.to(torch.uint8)}, target)


def with_id(found: Segmentation, target: Mapping[str, Any]) -> Segmentation:
    """The result with the id of its image, if the target has one."""
    if "image_id" in target:
        found["image_id"] = target["image_id"]
    return found


def results(
    network: Any, run: Network, images: Tensor, targets: Sequence[Mapping[str, Any]]
) -> list[Segmentation]:
    """The result of mode="predict", from the logits of another network."""
    pairs = image_scores(network.inference, lambda views: run(views)[0], images, targets)
    return [segmentation(scores, target) for scores, target in pairs]


def describe(
    found: Segmentation,
    classes: Sequence[str],
    threshold: float,  # noqa: ARG001  # every pixel has a class
) -> list[Row]:
    """Pixels and fraction of the image of every class found, largest first."""
    return areas(found["mask"].cpu().numpy(), classes)


def areas(mask: Mask, classes: Sequence[str]) -> list[Row]:
    """Classes in the mask, largest first: name, label, pixels, share of the image (0..1)."""
    counts = np.bincount(mask.ravel(), minlength=len(classes))[: len(classes)]
    return [
        {
            "class": classes[label],
            "label": int(label),
            "pixels": int(counts[label]),
            "share": float(counts[label] / mask.size),
        }
        for label in np.argsort(-counts, kind="stable")
        if counts[label]
    ]
