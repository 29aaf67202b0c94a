"""detection/evaluation/visualize.py: colours in the right channels, boxes where they belong."""

from typing import Any

import numpy as np
import pytest
import torch

from detection.evaluation.visualize import NAME, draw_detections, draw_truth, palette
from engine.reports.lettering import text_size


def found(*rows: tuple[float, ...]) -> dict[str, Any]:
    """Detections of (x1, y1, x2, y2, score, label)."""
    table = torch.tensor(rows).reshape(-1, 6)
    return {"boxes": table[:, :4], "scores": table[:, 4], "labels": table[:, 5].long()}


def test_palette_is_vivid_and_distinct() -> None:
    colours = palette(80).astype(int)
    assert colours.shape == (80, 3)
    assert (colours.max(1) - colours.min(1)).min() > 150
    assert len({tuple(colour) for colour in colours.tolist()}) == 80
    neighbours = np.abs(colours[1:] - colours[:-1]).sum(1)
    assert neighbours.min() > 100
    assert palette(0).shape == (1, 3)


def test_box_has_its_classes_colour_and_place() -> None:
    image = np.zeros((100, 120, 3), np.uint8)
    canvas = draw_detections(image, found((20, 40, 80, 90, 0.9, 1)), ("cat", "dog"), 0.5)
    colour = palette(2)[1]
    assert canvas[90, 50].tolist() == pytest.approx(colour.tolist(), abs=30)  # bottom edge
    assert canvas[65, 80].tolist() == pytest.approx(colour.tolist(), abs=30)  # right edge
    assert not canvas[70, 50].any()  # inside
    assert not canvas[95:].any()
    assert canvas[25:40, 20:60].any()  # the label above
    assert not image.any()  # the picture given stays as it is


def test_colours_are_rgb() -> None:
    """Hue 0 comes first: red, not blue."""
    image = np.zeros((60, 60, 3), np.uint8)
    canvas = draw_detections(image, found((10, 30, 50, 55, 1, 0)), ("a",), 0.5)
    red, green, blue = canvas[55, 30].tolist()
    assert red > 150 > max(green, blue)


def test_threshold() -> None:
    image = np.zeros((60, 60, 3), np.uint8)
    boxes = found((5, 30, 25, 55, 0.49, 0), (35, 30, 55, 55, 0.5, 0))
    canvas = draw_detections(image, boxes, ("a",), 0.5)
    assert not canvas[45, 5:26].any()
    assert canvas[45, 55].any()


def test_the_best_lies_on_top() -> None:
    image = np.zeros((60, 60, 3), np.uint8)
    boxes = found((10, 30, 50, 55, 0.9, 1), (10, 30, 50, 55, 0.6, 0))
    canvas = draw_detections(image, boxes, ("a", "b"), 0.5)
    assert canvas[55, 30].tolist() == pytest.approx(palette(2)[1].tolist(), abs=30)


@pytest.mark.parametrize(
    "row",
    [
        (-50, -50, 500, 500, 0.9, 0),
        (0, 0, 0, 0, 0.9, 0),
        (58, 58, 60, 60, 0.9, 0),
        (-300, -300, -200, -200, 0.9, 0),
    ],
)
def test_boxes_at_and_beyond_the_border(row: tuple[float, ...]) -> None:
    image = np.full((60, 60, 3), 7, np.uint8)
    canvas = draw_detections(image, found(row), ("a very long name of a class",), 0.5)
    assert canvas.shape == image.shape


def test_names_outside_ascii_are_written() -> None:
    """Each letter has its own shape, bright on red; the label ends where the box begins."""
    image = np.zeros((60, 60, 3), np.uint8)
    names = ("\u0436", "\u00fc", "?")
    boxes = [found((10, 30, 50, 55, 0.5, 0))] * len(names)
    drawn = [
        draw_detections(image, box, (name,), 0.5) for box, name in zip(boxes, names, strict=True)
    ]
    height, _ = text_size("?", NAME)
    labels = [canvas[30 - height : 29, 10:18] for canvas in drawn]
    assert len({label.tobytes() for label in labels}) == 3
    assert all(not canvas[: 30 - height].any() for canvas in drawn)
    assert labels[0][..., 1].max() > 200


def test_nothing_found() -> None:
    image = np.full((5, 4, 3), 9, np.uint8)
    assert (draw_detections(image, found(), ("a",), 0.5) == image).all()


def test_names_of_true_boxes_never_cover_each_other() -> None:
    """Twenty boxes on one spot: three names at most, above, inside and below."""
    image = np.zeros((200, 200, 3), np.uint8)
    boxes = np.tile(np.array([[60, 60, 140, 140]], np.float32), (20, 1))
    drawn = draw_truth(image, boxes, np.zeros(20, np.int64), ("a",))
    bar = (drawn == palette(1)[0]).all(axis=-1)[:, 64:68].all(axis=1)  # (H,) rows of filled labels
    height = text_size("a", NAME)[0]
    assert bar[60 - height : 60].mean() > 0.5
    assert bar.sum() <= 3 * height
    assert not bar[: 60 - height].any()
    assert not image.any()


def test_a_true_picture_without_a_box_stays_as_it_is() -> None:
    image = np.full((5, 4, 3), 9, np.uint8)
    drawn = draw_truth(image, np.empty((0, 4), np.float32), np.empty(0, np.int64), ("a",))
    assert (drawn == image).all()
