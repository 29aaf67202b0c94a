"""engine/export/check_pictures.py: the same at every call, with edges and texture everywhere."""

import numpy as np
import pytest

from engine.export.check_pictures import picture


@pytest.mark.parametrize("size", [(240, 320), (320, 256), (128, 128), (33, 65)])
def test_of_the_size_asked_for_and_the_same_each_time(size: tuple[int, int]) -> None:
    found = picture(*size)
    assert (found.shape, found.dtype) == ((*size, 3), np.uint8)
    assert found.flags.c_contiguous
    assert np.array_equal(found, picture(*size))


def test_edges_colours_and_texture_are_everywhere() -> None:
    """In each of 8 x 8 tiles: on a plain picture, wrong outputs could look equal."""
    found = picture(256, 256).astype(np.float64)
    tiles = found.reshape(8, 32, 8, 32, 3).transpose(0, 2, 1, 3, 4).reshape(64, 1024, 3)
    assert tiles.std(axis=1).min() > 5.5  # the grain has 6.06
    assert np.median(tiles.std(axis=1)) > 20
    assert 40 - 10 <= found.min() < 40
    assert 215 < found.max() <= 215 + 10
    colours = {tuple(pixel) for pixel in (tiles.mean(axis=1) // 16).astype(int).tolist()}
    assert len(colours) > 50
