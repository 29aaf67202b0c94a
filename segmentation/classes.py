"""The labels of Cityscapes, and colours for the classes of any data.

There are two numberings: label ids of the annotators, 0..33, and train ids, which networks learn,
0..18. Neither training nor evaluation counts 255.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.types import IGNORE

Colour = tuple[int, int, int]  # RGB


class Label(NamedTuple):
    """One evaluated class of Cityscapes; its train id is its index in LABELS."""

    name: str
    label_id: int
    colour: Colour


LABELS = (
    Label("road", 7, (128, 64, 128)),
    Label("sidewalk", 8, (244, 35, 232)),
    Label("building", 11, (70, 70, 70)),
    Label("wall", 12, (102, 102, 156)),
    Label("fence", 13, (190, 153, 153)),
    Label("pole", 17, (153, 153, 153)),
    Label("traffic light", 19, (250, 170, 30)),
    Label("traffic sign", 20, (220, 220, 0)),
    Label("vegetation", 21, (107, 142, 35)),
    Label("terrain", 22, (152, 251, 152)),
    Label("sky", 23, (70, 130, 180)),
    Label("person", 24, (220, 20, 60)),
    Label("rider", 25, (255, 0, 0)),
    Label("car", 26, (0, 0, 142)),
    Label("truck", 27, (0, 0, 70)),
    Label("bus", 28, (0, 60, 100)),
    Label("train", 31, (0, 80, 100)),
    Label("motorcycle", 32, (0, 0, 230)),
    Label("bicycle", 33, (119, 11, 32)),
)
CLASSES = tuple(label.name for label in LABELS)
MAX_LABEL_ID = 33


def train_id_table() -> NDArray[np.uint8]:
    """Train id (256,) of every label id; IGNORE for those that are not evaluated."""
    table = np.full(256, IGNORE, np.uint8)
    for train_id, label in enumerate(LABELS):
        table[label.label_id] = train_id
    return table


def label_id_table() -> NDArray[np.uint8]:
    """Label id (256,) of every train id; 0, "unlabeled", for all other values."""
    table = np.zeros(256, np.uint8)
    table[: len(LABELS)] = [label.label_id for label in LABELS]
    return table


def colours_of(classes: Sequence[str]) -> NDArray[np.uint8]:
    """RGB colour (K, 3) of each class: that of Cityscapes for its class names, else a vivid one.

    Vivid ones are far apart in hue (steps of the golden angle).
    """
    known = {label.name: label.colour for label in LABELS}
    index = np.arange(max(len(classes), 1))
    hue = (index * 137.508 / 2) % 180  # OpenCV counts hue in half degrees
    value = np.where(index % 2, 255, 190)
    hsv = np.stack([hue, np.full_like(hue, 220), value], axis=-1).astype(np.uint8)  # (K, 3)
    colours = cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]
    for row, name in enumerate(classes):
        if name in known:
            colours[row] = known[name]
    return colours.astype(np.uint8, copy=False)
