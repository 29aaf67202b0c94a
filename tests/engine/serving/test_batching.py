"""Batches: size, order, and the answer of each item."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from engine.serving.batching import Batcher, BatchRule


class Times10:
    """Multiplies by ten; an error for negative numbers; fails at 0."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, items: Sequence[int]) -> list[int | Exception]:
        self.go.wait(5)
        self.batches.append(list(items))
        if 0 in items:
            raise ZeroDivisionError("zero")
        return [10 * item if item > 0 else ValueError(f"{item} is negative") for item in items]


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as one:
        yield one


def together(batcher: Batcher[int, int], *work: Coroutine[Any, Any, int]) -> list[Any]:
    """Results or errors of simultaneous calls."""

    async def run() -> list[Any]:
        task = asyncio.create_task(batcher.run())
        try:
            return await asyncio.gather(*work, return_exceptions=True)
        finally:
            task.cancel()

    return asyncio.run(run())


def test_batches_and_answers(thread: ThreadPoolExecutor) -> None:
    work = Times10()
    batcher = Batcher(work, thread, BatchRule(max_batch=3, max_wait=0.05))
    answers = together(batcher, *(batcher.answer(number) for number in range(1, 8)))
    assert answers == [10, 20, 30, 40, 50, 60, 70]
    assert work.batches == [[1, 2, 3], [4, 5, 6], [7]]


def test_one_by_one(thread: ThreadPoolExecutor) -> None:
    work = Times10()
    batcher = Batcher(work, thread, BatchRule(max_batch=1))
    assert together(batcher, *(batcher.answer(n) for n in (1, 2, 3))) == [10, 20, 30]
    assert work.batches == [[1], [2], [3]]


def test_the_first_waits_no_longer_than_allowed(thread: ThreadPoolExecutor) -> None:
    """Of two items 0.3 s apart the first goes alone; 0.02 s apart they go together."""

    async def late(batcher: Batcher[int, int], seconds: float) -> int:
        await asyncio.sleep(seconds)
        return await batcher.answer(2)

    for apart, batches in ((0.3, [[1], [2]]), (0.02, [[1, 2]])):
        work = Times10()
        batcher = Batcher(work, thread, BatchRule(max_wait=0.15))
        assert together(batcher, batcher.answer(1), late(batcher, apart)) == [10, 20]
        assert work.batches == batches


def test_weight_of_a_batch(thread: ThreadPoolExecutor) -> None:
    """At most 10 together; a single item of 11 is processed too."""
    work = Times10()
    batcher = Batcher(work, thread, BatchRule(max_weight=10, max_wait=0.05))
    weights = {1: 6, 2: 4, 3: 1, 4: 11, 5: 2}
    answers = together(batcher, *(batcher.answer(n, weight) for n, weight in weights.items()))
    assert answers == [10, 20, 30, 40, 50]
    assert work.batches == [[1, 2], [3], [4], [5]]


def test_an_error_of_one_is_its_own(thread: ThreadPoolExecutor) -> None:
    batcher = Batcher(Times10(), thread, BatchRule(max_wait=0.05))
    first, second, third = together(batcher, *(batcher.answer(n) for n in (1, -2, 3)))
    assert (first, str(second), third) == (10, "-2 is negative", 30)


def test_work_that_breaks_fails_its_batch_alone(thread: ThreadPoolExecutor) -> None:
    batcher = Batcher(Times10(), thread, BatchRule(max_batch=2))
    answers = together(batcher, *(batcher.answer(n) for n in (1, 0, 2, 3)))
    assert [type(a) for a in answers] == [ZeroDivisionError, ZeroDivisionError, int, int]
    assert answers[2:] == [20, 30]


def test_what_was_given_up_is_not_worked_on(thread: ThreadPoolExecutor) -> None:
    """2 is cancelled while 1 is processed; 1 is cancelled too late."""
    work = Times10()
    work.go.clear()
    batcher = Batcher(work, thread, BatchRule(max_batch=1))

    async def run() -> int:
        task = asyncio.create_task(batcher.run())
        for number in (1, 2):
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(batcher.answer(number), 0.05)
        work.go.set()
        answer = await batcher.answer(3)
        task.cancel()
        return answer

    assert asyncio.run(run()) == 30
    assert work.batches == [[1], [3]]


def test_places() -> None:
    with ThreadPoolExecutor(1) as thread:
        batcher = Batcher(Times10(), thread, BatchRule(max_queue=2))
        with batcher.place():
            with batcher.place():
                assert batcher.full
                with pytest.raises(asyncio.QueueFull), batcher.place():
                    pass
            assert not batcher.full
        assert batcher.inside == 0
