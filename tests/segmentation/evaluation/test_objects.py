"""Objects by size: components, areas and recalls counted by hand."""

import numpy as np

from segmentation.evaluation.objects import SIDES, measure, size_names, total


def test_by_hand() -> None:
    """A 16 x 16 square (size 1) found to 3/4, a pixel touching it by a corner is part of it;
    a row of 4 pixels (size 0) of the same class is not found; another class is found whole."""
    truth = np.zeros((40, 40), np.uint8)
    truth[:16, :16] = 1
    truth[16, 16] = 1
    truth[30, :4] = 1
    truth[20:24, 30:34] = 2
    predicted = np.where(truth == 2, 2, 0).astype(np.uint8)
    predicted[:16, :12] = 1
    predicted[35:, 35:] = 1  # beyond any object: does not count
    found = measure(truth, predicted, 4)
    assert found.labels.tolist() == [0, 1, 2]
    assert found.number[:, :2].tolist() == [[0, 0], [1, 1], [1, 0]]
    assert found.recall[1].tolist()[:2] == [0, 192 / 257]
    assert found.found[1].tolist()[:2] == [0, 1]
    assert (found.recall[2, 0], found.found[2, 0]) == (1, 1)
    ground = np.count_nonzero((truth == 0) & (predicted == 0)) / np.count_nonzero(truth == 0)
    assert found.recall[0, 2] == ground  # 40 x 40 less the rest: side 32 to 64


def test_areas_at_the_edge_of_a_size() -> None:
    for side, place in ((15, 0), (16, 1), (31, 1), (32, 2), (256, 5), (300, 5)):
        found = measure(np.ones((side, side), np.uint8), np.ones((side, side), np.uint8), 2)
        assert found.number[0].tolist() == [int(place == at) for at in range(len(SIDES))]


def test_half_counts_as_found() -> None:
    truth = np.ones((1, 4), np.uint8)
    for hits, found in ((1, 0), (2, 1)):
        predicted = np.array([[1] * hits + [0] * (4 - hits)], np.uint8)
        assert measure(truth, predicted, 2).found[0, 0] == found


def test_pixels_to_ignore_are_no_object() -> None:
    empty = measure(np.full((3, 3), 255, np.uint8), np.zeros((3, 3), np.uint8), 2)
    assert (len(empty.labels), empty.number.shape) == (0, (0, len(SIDES)))


def test_images_add_up() -> None:
    one = measure(np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8), 3)
    two = measure(np.full((2, 2), 2, np.uint8), np.zeros((2, 2), np.uint8), 3)
    both = total([one, two, one], 3)
    assert both.number[:, 0].tolist() == [2, 0, 1]
    assert both.recall[:, 0].tolist() == [2, 0, 0]


def test_names_of_the_sizes() -> None:
    assert size_names()[:2] == ["below 16", "16 to 32"]
    assert (size_names()[-1], len(size_names())) == ("256 or more", len(SIDES))
