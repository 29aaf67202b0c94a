"""Items that come one by one, worked on in batches by a thread, off the event loop."""

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
    """When a batch is worked on, and how much may wait for it."""

    max_batch: int = 8  # items
    max_weight: int = 24_000_000  # of several items together; one alone may weigh more
    max_wait: float = 0.002  # seconds that the first of a batch waits for others
    max_queue: int = 64  # items inside at once: arriving, waiting or worked on


@dataclass(eq=False)
class _Job(Generic[Item, Result]):
    item: Item
    weight: int
    since: float  # when it came, by the loop's clock
    answer: asyncio.Future[Result]


class Batcher(Generic[Item, Result]):
    """Gathers items and has one batch at a time worked on; every item gets its own answer.

    While a batch is worked on, the next one gathers. All but `work` belongs to one event loop.

    Args:
        work: Called in a thread with the items of a batch; gives a result or an error for each.
        thread: What calls it. Several batchers may share one, and then take turns.
        rule: The sizes.
    """

    def __init__(self, work: Work[Item, Result], thread: Executor, rule: BatchRule) -> None:
        self.work = work
        self.thread = thread
        self.rule = rule
        self.inside = 0  # items that have a place
        self._waiting: deque[_Job[Item, Result]] = deque()
        self._some = asyncio.Event()  # something waits
        self._whole = asyncio.Event()  # a whole batch waits

    @property
    def full(self) -> bool:
        """Whether there is no place left."""
        return self.inside >= self.rule.max_queue

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place in the queue, to be taken before the item arrives and kept until its answer.

        Raises:
            asyncio.QueueFull: there is none left.
        """
        if self.full:
            raise asyncio.QueueFull
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    async def answer(self, item: Item, weight: int = 0) -> Result:
        """What `work` gives for the item, or raises; an item given up on before is not worked on.

        Args:
            item: What to work on.
            weight: Its share of `BatchRule.max_weight`.
        """
        loop = asyncio.get_running_loop()
        job = _Job[Item, Result](item, weight, loop.time(), loop.create_future())
        self._waiting.append(job)
        self._note()
        return await job.answer

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            await self._some.wait()
            await self._linger()
            batch = self._taken()
            if batch:
                await self._work_on(batch)

    async def _linger(self) -> None:
        """Wait for a whole batch, as long as its first item may wait."""
        waited = asyncio.get_running_loop().time() - self._waiting[0].since
        if waited < self.rule.max_wait:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._whole.wait(), self.rule.max_wait - waited)

    def _taken(self) -> list[_Job[Item, Result]]:
        """The next batch, out of the queue; without what nobody waits for any more."""
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
        """Have the batch worked on, and hand out results; what `work` raises goes to all of it."""
        loop = asyncio.get_running_loop()
        done = loop.run_in_executor(self.thread, self.work, [job.item for job in batch])
        await asyncio.wait([done])
        error = done.exception()
        results = [error] * len(batch) if error else done.result()
        for job, result in zip(batch, results, strict=True):
            if job.answer.done():  # given up on meanwhile
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
