"""Overlays, legends and areas."""

import numpy as np

from segmentation.evaluation.visualize import areas, draw_mask, regions

CLASSES = ("road", "dog", "car")


def test_areas_are_counted_largest_first_without_what_is_absent() -> None:
    mask = np.array([[2, 2, 0, 2], [2, 255, 0, 2]], np.uint8)
    assert areas(mask, CLASSES) == [
        {"class": "car", "label": 2, "pixels": 5, "share": 0.625},
        {"class": "road", "label": 0, "pixels": 2, "share": 0.25},
    ]


def test_pixels_are_half_the_class_colour_and_the_picture_is_untouched() -> None:
    image = np.full((40, 30, 3), 100, np.uint8)
    mask = np.zeros((40, 30), np.uint8)
    mask[20] = 255
    drawn = draw_mask(image, mask, CLASSES)
    assert drawn[5, 5].tolist() == [114, 82, 114]  # (100 + 128) / 2, (100 + 64) / 2, ...
    assert drawn[20, 5].tolist() == [50, 50, 50]  # not a class: half black
    assert (image == 100).all()


def test_the_legend_shows_colour_and_name_of_what_occurs_at_a_constant_size() -> None:
    image = np.zeros((40, 30, 3), np.uint8)
    one = draw_mask(image, np.zeros((40, 30), np.uint8), CLASSES)
    two = draw_mask(image, np.arange(2, dtype=np.uint8).repeat(600).reshape(40, 30) * 2, CLASSES)
    assert one.shape == two.shape
    legend = one[:, 30:]
    assert legend[8, 8].tolist() == [128, 64, 128]
    assert (legend[16:] == 255).all()
    assert (legend[:16, 18:] < 100).any()  # text
    assert two[24, 38].tolist() == [0, 0, 142]
    assert draw_mask(image[:5], np.zeros((5, 30), np.uint8), CLASSES).shape[0] == 5


def test_regions_are_those_of_eight_neighbours() -> None:
    """Class 0: one along the diagonal, of 3; class 1: one of 2, one of 1; 255 counts nowhere."""
    mask = np.array([[0, 1, 1], [255, 0, 255], [1, 255, 0]], np.uint8)
    labels, pixels = regions(mask, 2)
    found = sorted(zip(labels.tolist(), pixels.tolist(), strict=True))
    assert found == [(0, 3), (1, 1), (1, 2)]
