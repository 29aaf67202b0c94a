"""Turns the logits of the classifier into classes of images, and these into plain data.

Shapes: B images, K classes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from engine.types import Network, Row

TOP = 5  # classes that `describe` lists


class _Classification(TypedDict):
    scores: Tensor  # (K,) 0..1
    label: int  # of the highest


class Classification(_Classification, total=False):
    """The result of one image."""

    image_id: Any  # where known


def classifications(logits: Tensor, targets: Sequence[Mapping[str, Any]]) -> list[Classification]:
    """One result per image of logits (B, K)."""
    probabilities = logits.float().softmax(dim=1)  # (B, K)
    labels = [int(scores.argmax()) for scores in probabilities]
    return with_ids(probabilities, labels, targets)


def with_ids(
    probabilities: Tensor, labels: Sequence[int], targets: Sequence[Mapping[str, Any]]
) -> list[Classification]:
    """One result per image of probabilities (B, K), with its id if its target has one."""
    found: list[Classification] = []
    for scores, label, target in zip(probabilities, labels, targets, strict=True):
        found.append({"scores": scores, "label": label})
        if "image_id" in target:
            found[-1]["image_id"] = target["image_id"]
    return found


def results(
    network: Any,  # noqa: ARG001  # not needed
    run: Network,
    images: Tensor,
    targets: Sequence[Mapping[str, Any]],
) -> list[Classification]:
    """The result of mode="predict", from the logits of another network."""
    return classifications(run(images)[0], targets)


def describe(
    found: Classification,
    classes: Sequence[str],
    threshold: float,  # noqa: ARG001  # the five best are always listed
) -> list[Row]:
    """Name, label and score of the five best classes, best first."""
    return ranked(found["scores"].cpu().numpy(), classes, TOP)


def ranked(scores: NDArray[np.float32], classes: Sequence[str], count: int) -> list[Row]:
    """The `count` best classes of scores (K,), best first: name, label and score 0..1 of each."""
    order = np.argsort(-scores, kind="stable")[:count]
    return [
        {"class": classes[label], "label": int(label), "score": float(scores[label])}
        for label in order
    ]
