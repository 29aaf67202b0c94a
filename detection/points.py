"""Where the detector predicts: one point per cell, over all levels of the feature pyramid."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

CELL_CENTRE = 0.5  # points sit in the middle of their cell (cell_offset of the picodet configs)


class Grid(NamedTuple):
    """P points over all levels, fine to coarse, row by row inside a level."""

    points: Tensor  # (P, 2) x, y in pixels of the network input
    strides: Tensor  # (P, 1) pixels from one point of the level to the next
    level_lengths: tuple[int, ...]  # points of each level, summing to P


def make_grid(
    sizes: Sequence[tuple[int, int]], strides: Sequence[int], device: torch.device
) -> Grid:
    """Points of levels whose maps have `sizes` (height, width), one level per stride."""
    points = torch.cat([_level_points(*at, device) for at in zip(sizes, strides, strict=True)])
    lengths = tuple(height * width for height, width in sizes)
    level_strides = [
        torch.full((length, 1), float(stride), device=device)
        for length, stride in zip(lengths, strides, strict=True)
    ]
    return Grid(points, torch.cat(level_strides), lengths)


def _level_points(size: tuple[int, int], stride: int, device: torch.device) -> Tensor:
    """Cell centres (H * W, 2) of one level in pixels, x before y."""
    y, x = (
        (torch.arange(length, dtype=torch.float32, device=device) + CELL_CENTRE) * stride
        for length in size
    )
    rows, columns = torch.meshgrid(y, x, indexing="ij")  # (H, W) each
    return torch.stack([columns.flatten(), rows.flatten()], dim=-1)
