import pytest
import torch
from torch import Tensor

from detection.points import make_grid

CPU = torch.device("cpu")


def test_points_are_cell_centres_row_by_row() -> None:
    """Level 1: 1 x 2 cells of 8 px -> (4, 4), (12, 4); level 2: 2 x 1 of 16 -> (8, 8), (8, 24)."""
    grid = make_grid([(1, 2), (2, 1)], (8, 16), CPU)
    assert grid.points.tolist() == [[4, 4], [12, 4], [8, 8], [8, 24]]
    assert grid.strides.tolist() == [[8], [8], [16], [16]]
    assert grid.level_lengths == (2, 2)


@pytest.mark.golden
def test_points_equal_the_originals(elementary: dict[str, Tensor], assert_agrees) -> None:
    grid = make_grid([(24, 24), (12, 12), (6, 6), (3, 3)], (8, 16, 32, 64), CPU)
    for part, found in (("points", grid.points), ("strides", grid.strides)):
        assert_agrees("grid of points", "PaddleDetection", found, elementary[f"grid/{part}"])
    assert list(grid.level_lengths) == elementary["grid/num_per_level"].tolist()
