"""Samplers: complete passes, repeatable by seed, resumable anywhere, shared by processes."""

from itertools import islice

import pytest
from mmengine.dataset import DefaultSampler

from engine.data.samplers import EndlessSampler, EpochSampler


def first(sampler: EndlessSampler, count: int) -> list[int]:
    return list(islice(sampler, count))


def test_every_pass_has_every_image_once_in_another_order() -> None:
    order = first(EndlessSampler(range(10), seed=0), 30)
    for number in range(3):
        one = order[10 * number : 10 * number + 10]
        assert sorted(one) == list(range(10 * number, 10 * number + 10))
    assert [i % 10 for i in order[:10]] != [i % 10 for i in order[10:20]]


def test_the_order_follows_from_the_seed() -> None:
    assert first(EndlessSampler(range(9), seed=4), 40) == first(
        EndlessSampler(range(9), seed=4), 40
    )
    assert first(EndlessSampler(range(9), seed=4), 40) != first(
        EndlessSampler(range(9), seed=5), 40
    )
    assert first(EndlessSampler(range(3), seed=4, shuffle=False), 7) == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("skipped", [0, 1, 9, 10, 23])
def test_skipping_leaves_the_rest_as_it_was(skipped: int) -> None:
    sampler = EndlessSampler(range(10), seed=1)
    whole = first(sampler, 50)
    sampler.skip(skipped)
    assert first(sampler, 50 - skipped) == whole[skipped:]


@pytest.mark.parametrize("skipped", [0, 7])
def test_processes_take_turns(skipped: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = first(EndlessSampler(range(5), seed=2), 42)
    for rank in range(3):
        monkeypatch.setattr("engine.data.samplers.get_dist_info", lambda rank=rank: (rank, 3))
        sampler = EndlessSampler(range(5), seed=2)
        sampler.skip(skipped)
        assert first(sampler, 5) == whole[rank + 3 * skipped :: 3][:5]


@pytest.mark.parametrize("shuffle", [True, False])
def test_an_epoch_begins_where_it_is_told(shuffle: bool) -> None:
    """The order is mmengine's for that epoch; the next epoch skips nothing."""
    ours, theirs = (kind(range(10), shuffle, 7) for kind in (EpochSampler, DefaultSampler))
    for sampler in (ours, theirs):
        sampler.set_epoch(3)
    assert list(ours) == list(theirs)
    ours.skip(4)
    ours.set_epoch(3)
    assert list(ours) == list(theirs)[4:] == list(ours)
    assert len(ours) == 10
    for sampler in (ours, theirs):
        sampler.set_epoch(4)
    assert list(ours) == list(theirs)
