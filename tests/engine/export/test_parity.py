"""Distances between outputs, by hand."""

import pytest
import torch

from engine.export.parity import Gap, largest, maps_apart, rows_apart, values_apart


def test_values_over_the_largest() -> None:
    """|4 - 3| over 4."""
    assert values_apart(torch.tensor([4.0, 1.0]), torch.tensor([3.0, 1.0])) == Gap(0.25, 0.0)


def test_small_values_are_not_blown_up() -> None:
    gap = values_apart(torch.tensor([0.01]), torch.tensor([0.02]))
    assert gap.value == pytest.approx(0.01)


def test_another_shape_has_no_counterpart() -> None:
    assert values_apart(torch.zeros(2), torch.zeros(3)) == Gap(0.0, 1.0)
    assert maps_apart(torch.zeros(2), torch.zeros(3)) == Gap(0.0, 1.0)


def test_maps_by_share() -> None:
    assert maps_apart(torch.tensor([1, 2, 3, 4]), torch.tensor([1, 2, 3, 5])).share == 0.25


def test_rows_in_any_order() -> None:
    """The key column must agree; the nearest row counts."""
    wanted = torch.tensor([[0.0, 1.0], [1.0, 5.0]])
    found = torch.tensor([[1.0, 5.25], [0.0, 1.0]])
    assert rows_apart(wanted, found, keys=1) == Gap(0.25, 0.0)


def test_rows_without_counterpart() -> None:
    """One of three rows in both sets together."""
    gap = rows_apart(torch.tensor([[0.0, 1.0], [0.0, 9.0]]), torch.tensor([[0.0, 1.0]]), keys=1)
    assert (gap.value, gap.share) == (0.0, pytest.approx(1 / 3))


def test_no_rows() -> None:
    none = torch.zeros(0, 3)
    assert rows_apart(none, none, keys=1) == Gap(0.0, 0.0)
    assert rows_apart(none, torch.ones(2, 3), keys=1) == Gap(0.0, 1.0)


def test_largest_of_each_number() -> None:
    assert largest([Gap(0.1, 0.5), Gap(0.2, 0.0)]) == Gap(0.2, 0.5)


def test_within_both_limits() -> None:
    allowed = Gap(0.5, 0.02)
    assert Gap(0.5, 0.02).within(allowed)
    assert not Gap(0.51, 0.0).within(allowed)
    assert not Gap(0.0, 0.03).within(allowed)
