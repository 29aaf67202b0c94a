"""Pictures of where a model looked: its prediction, then the heat of each class.

Shapes: (H, W) the size of a picture, (h, w) that of the network input.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from engine.data.images import read_image
from engine.fileio import near
from engine.reports.cam import Evidence, colours, heat_of, overlay
from engine.reports.lettering import PAPER, ROW, shortened, text_size, write_text
from engine.types import Picture

HEIGHT = 400  # of a panel's picture, pixels
WIDEST = 1600  # narrower than a strip would be
GAP = 6
BAR = (10, 160)  # height and width of the key to the colours


class Wish(NamedTuple):
    """What is to be explained, and how."""

    classes: Sequence[str]  # none: the first of those that the model finds
    layer: str  # "": the task's own
    method: str  # "": the task's own
    threshold: float  # lowest score of a box, 0..1


def explain(model: Any, evidence: Evidence, path: Path, wish: Wish) -> tuple[Picture, list[str]]:
    """A picture of an image file's prediction beside the heat of each class, and their names.

    Without names there is none of those wanted. Raises ValueError where the layer gives no map.
    """
    image = read_image(path)
    inputs = model.data_preprocessor({"images": [torch.from_numpy(image)]})["images"]
    labels = _labels(model, evidence, inputs, wish)
    seen = _seen(model, image, inputs)
    layer, method = wish.layer or evidence.layer, wish.method or evidence.method
    prediction = model.draw(image, model.predict(image)[0], wish.threshold)
    panels = [_panel(prediction, f"prediction for {path.name}")]
    for label in labels:
        score = partial(evidence.score, label=label, threshold=wish.threshold)
        heat = heat_of(model, inputs, score, layer, method)
        name = model.classes[label]
        panels.append(_panel(overlay(seen, heat), f"{name}: {method} at {layer}"))
    row = np.hstack(panels)[:, GAP:]
    return np.vstack([row, _key(row.shape[1])]), [model.classes[label] for label in labels]


def check_classes(known: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise ValueError for a name that the model does not know."""
    for name in wanted:
        if name not in known:
            raise ValueError(
                f"--class {name}: the model does not know it; {near(name, list(known))}"
            )


@torch.no_grad()
def _labels(model: Any, evidence: Evidence, inputs: Tensor, wish: Wish) -> list[int]:
    """Labels of the classes that are wanted and found, or of those found first."""
    outputs = model(inputs, mode="tensor")
    parts = (outputs,) if isinstance(outputs, Tensor) else outputs
    found = evidence.found([part[0] for part in parts], wish.threshold)
    if not wish.classes:
        return found[: evidence.shown]
    return [label for name in wish.classes if (label := model.classes.index(name)) in found]


def _seen(model: Any, image: Picture, inputs: Tensor) -> Picture:
    """What heat of the network input lies on: the image, or the part that was cut out of it."""
    preprocess = model.data_preprocessor
    if preprocess.resize_shortest is None:
        return image
    return preprocess.restored(inputs)[0].numpy()


def _panel(picture: Picture, caption: str) -> Picture:
    """The picture at the height of all, a gap to its left, its caption below."""
    width = min(WIDEST, max(1, round(picture.shape[1] * HEIGHT / picture.shape[0])))
    how = cv2.INTER_AREA if picture.shape[0] > HEIGHT else cv2.INTER_LINEAR
    panel = np.full((HEIGHT + ROW, width + GAP, 3), PAPER, np.uint8)
    panel[:HEIGHT, GAP:] = cv2.resize(picture, (width, HEIGHT), interpolation=how)
    write_text(panel, shortened(caption, width - 4), (HEIGHT + 2, GAP + 2))
    return panel


def _key(width: int) -> Picture:
    """What the colours mean, in a strip (ROW, width, 3)."""
    strip = np.full((ROW, width, 3), PAPER, np.uint8)
    left, right = "heat: adds nothing to the class's score", "adds most"
    start = text_size(left)[1] + 8
    write_text(strip, left, (2, 2))
    levels = np.tile(np.linspace(0, 1, BAR[1], dtype=np.float32), (BAR[0], 1))
    room = strip[5 : 5 + BAR[0], start : start + BAR[1]]
    room[:] = colours(levels)[:, : room.shape[1]]
    write_text(strip, right, (2, start + BAR[1] + 6))
    return strip
