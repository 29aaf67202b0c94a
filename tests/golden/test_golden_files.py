"""The files of this folder are small, and a difference anywhere in an array is seen."""

from pathlib import Path

import numpy as np
import pytest
from golden_files import Golden, Sampled, difference, parity_table, positions

FOLDER = Path(__file__).parent


def sampled(array: np.ndarray, count: int = 50) -> Sampled:
    at = positions("a", array.size, count)
    norm = float(np.linalg.norm(array))
    return Sampled(array.shape, at, array.ravel()[at], float(np.abs(array).max()), norm)


def exceeds(found: object, wanted: object, **allowances: float) -> bool:
    found_difference, allowed = difference(found, wanted, **allowances)
    return not found_difference <= allowed


def test_files_stay_small() -> None:
    sizes = {path.name: path.stat().st_size for path in FOLDER.iterdir() if path.is_file()}
    large = {name for name, size in sizes.items() if size >= 100_000}
    assert large == {"written_by_0_1.tar.xz"}
    assert sizes["written_by_0_1.tar.xz"] < 500_000
    assert sum(sizes.values()) < 3_000_000


def test_what_is_allowed_is_the_sum_of_three_parts() -> None:
    """At 2, of [1, 2, 4]: 0.01 + 0.1 * 2 + 0.05 * 4 = 0.41; there 0.5 is too much, 0.4 is not."""
    wanted, allowances = [1.0, 2.0, 4.0], {"atol": 0.01, "rtol": 0.1, "of_largest": 0.05}
    assert difference([1.0, 2.4, 4.0], wanted, **allowances) == pytest.approx((0.4, 0.41))
    assert exceeds([1.0, 2.5, 4.0], wanted, **allowances)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("allowances", [{}, {"atol": 1.0}])
def test_nothing_but_numbers_fit(value: float, allowances: dict[str, float]) -> None:
    assert exceeds([0.0, value], [0.0, 0.0], **allowances)
    assert exceeds(np.full(1000, value), sampled(np.ones(1000)), **allowances)


def test_nothing_allowed_means_equal() -> None:
    assert difference(3, 3) == (0, 0)
    assert exceeds(3, 2)


def test_of_a_sampled_array_values_and_the_norm_of_all_are_compared() -> None:
    array = np.random.default_rng(0).standard_normal((10, 100))
    wanted = sampled(array)
    assert not exceeds(array + 1e-5, wanted, of_largest=1e-4)
    moved = array.copy()
    moved.ravel()[wanted.positions[7]] += 1e-3
    assert exceeds(moved, wanted, of_largest=1e-4)
    elsewhere = np.setdiff1d(np.arange(1000), wanted.positions)
    moved = array.copy()
    moved.ravel()[elsewhere] *= 1.01
    assert exceeds(moved, wanted, of_largest=1e-4)
    with pytest.raises(ValueError, match=r"found an array \(100, 10\), wanted \(10, 100\)"):
        difference(array.T, wanted)


def test_positions_differ_from_array_to_array() -> None:
    one, other = (positions(name, 1000, 50) for name in "ab")
    assert len(set(one)) == len(set(other)) == 50
    assert set(one) != set(other)


def test_the_table_tells_the_worst_of_each_comparison() -> None:
    rows = [("loss", "PaddleSeg", 0.1, 0.4), ("loss", "PaddleSeg", 0.3, 0.6)]
    text = parity_table([*rows, ("TAL", "PaddleDetection", 2, 0)])
    assert "loss   PaddleSeg d7975e7             2                  0.3       0.6" in text
    assert "TAL    PaddleDetection 666f597       1                    2         0" in text


def test_an_unknown_case_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"no nothing\.0\.npz there"):
        Golden("nothing")
