"""Differences between the outputs of an exported file and the expected ones.

Shapes: N rows, D columns.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Gap(NamedTuple):
    """Difference between two computations of the same outputs."""

    value: float  # largest difference of a number, in the unit of the output
    share: float  # 0..1 of the entries without counterpart

    def within(self, allowed: "Gap") -> bool:
        """Whether neither number exceeds its limit."""
        return self.value <= allowed.value and self.share <= allowed.share

    def __str__(self) -> str:
        return f"{self.value:.2g} apart at most, {100 * self.share:.3g} % without counterpart"


def largest(gaps: list[Gap]) -> Gap:
    """The largest of several, for each number separately."""
    return Gap(max(gap.value for gap in gaps), max(gap.share for gap in gaps))


def values_apart(wanted: Tensor, found: Tensor) -> Gap:
    """Largest difference of two tensors, over the largest value wanted if that exceeds 1."""
    if wanted.shape != found.shape:
        return Gap(0.0, 1.0)
    scale = max(1.0, float(wanted.abs().max()))
    return Gap(float((wanted - found).abs().max()) / scale, 0.0)


def maps_apart(wanted: Tensor, found: Tensor) -> Gap:
    """Share of the entries of two integer tensors that differ."""
    if wanted.shape != found.shape:
        return Gap(0.0, 1.0)
    return Gap(0.0, float((wanted != found).float().mean()))


def rows_apart(wanted: Tensor, found: Tensor, keys: int, limit: float = 1.0) -> Gap:
    """Largest difference between rows (N, D) and their nearest counterparts in the other set.

    The first `keys` columns of counterparts agree, the others differ by `limit` at most.
    """
    if not len(wanted) or not len(found):
        return Gap(0.0, float(len(wanted) != len(found)))
    distances = (wanted[:, None, keys:] - found[None, :, keys:]).abs().amax(-1)
    foreign = (wanted[:, None, :keys] != found[None, :, :keys]).any(-1)
    distances = distances.masked_fill(foreign, torch.inf)  # (N, N')
    nearest = torch.cat([distances.amin(1), distances.amin(0)])
    paired = nearest <= limit
    return Gap(
        float(nearest[paired].amax()) if paired.any() else 0.0, 1 - float(paired.float().mean())
    )
