"""Collects items into batches and processes them in a thread, outside the event loop."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Sequence[Item]], Sequence[Result | Exception]]


@dataclass(frozen=True)
class BatchRule:
    """Limits of a batch and of the queue."""

    max_batch: int = 8  # items
    max_weight: int = 24_000_000  # of several items together; a single item may weigh more
    max_wait: float = 0.002  # seconds that the first item of a batch waits for others
    max_queue: int = 64  # items at a time: arriving, waiting or being processed


@dataclass(eq=False)
class _Job(Generic[Item, Result]):
    item: Item
    weight: int
    since: float  # time of arrival, by the loop's clock
    answer: asyncio.Future[Result]


class Batcher(Generic[Item, Result]):
    """Collects items and processes one batch at a time; every item gets its own answer.

    While a batch is processed, the next one is collected. Everything except `work` runs in one
    event loop.

    Args:
        work: Called in a thread with the items of a batch; returns a result or error for each.
        thread: Executor that calls `work`. Batchers that share one take turns.
        rule: Limits.
    """

    def __init__(self, work: Work[Item, Result], thread: Executor, rule: BatchRule) -> None:
        self.work = work
        self.thread = thread
        self.rule = rule
        self.inside = 0  # number of places taken
        self._waiting: deque[_Job[Item, Result]] = deque()
        self._some = asyncio.Event()  # an item waits
        self._whole = asyncio.Event()  # a whole batch waits

    @property
    def full(self) -> bool:
        """Whether all places are taken."""
        return self.inside >= self.rule.max_queue

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place in the queue, from before the item arrives until its answer.

        Raises:
            asyncio.QueueFull: all places are taken.
        """
        if self.full:
            raise asyncio.QueueFull
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    async def answer(self, item: Item, weight: int = 0) -> Result:
        """Result of `work` for the item, or its error; cancelled items are not processed.

        Args:
            item: Item to process.
            weight: Its share of `BatchRule.max_weight`.
        """
        loop = asyncio.get_running_loop()
        job = _Job[Item, Result](item, weight, loop.time(), loop.create_future())
        self._waiting.append(job)
        self._note()
        return await job.answer

    async def run(self) -> None:
        """Process batches until cancelled."""
        while True:
            await self._some.wait()
            await self._linger()
            batch = self._taken()
            if batch:
                await self._work_on(batch)

    async def _linger(self) -> None:
        """Wait until the batch is full, but no longer than its first item may wait."""
        waited = asyncio.get_running_loop().time() - self._waiting[0].since
        if waited < self.rule.max_wait:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._whole.wait(), self.rule.max_wait - waited)

    def _taken(self) -> list[_Job[Item, Result]]:
        """Take the next batch out of the queue, without cancelled items."""
        batch: list[_Job[Item, Result]] = []
        while self._waiting and len(batch) < self.rule.max_batch:
            weight = sum(job.weight for job in batch) + self._waiting[0].weight
            if batch and weight > self.rule.max_weight:
                break
            job = self._waiting.popleft()
            if not job.answer.done():
                batch.append(job)
        self._note()
        return batch

    async def _work_on(self, batch: Sequence[_Job[Item, Result]]) -> None:
        """Process a batch and set its results; an error raised by `work` goes to all items."""
        loop = asyncio.get_running_loop()
        done = loop.run_in_executor(self.thread, self.work, [job.item for job in batch])
        await asyncio.wait([done])
        error = done.exception()
        results = [error] * len(batch) if error else done.result()
        for job, result in zip(batch, results, strict=True):
            if job.answer.done():  # cancelled meanwhile
                continue
            if isinstance(result, BaseException):
                job.answer.set_exception(result)
            else:
                job.answer.set_result(result)

    def _note(self) -> None:
        for event, number in ((self._some, 1), (self._whole, self.rule.max_batch)):
            if len(self._waiting) >= number:
                event.set()
            else:
                event.clear()
