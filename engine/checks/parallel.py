"""One function applied to many files, in several processes where that pays."""

import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
POOL_FROM = 200  # items; starting processes takes as long as reading some hundred files


class Spread(Protocol):
    """Applies a function to every item, and gives the results in order."""

    def __call__(
        self, function: Callable[[Item], Result], items: Iterable[Item], /
    ) -> Iterator[Result]:
        """The results, one an item."""
        ...


def spread(
    function: Callable[[Item], Result], items: Iterable[Item], processes: int = 2
) -> Iterator[Result]:
    """Results in order, from `processes` processes where there are `POOL_FROM` items or more."""
    everything = list(items)
    if len(everything) < POOL_FROM or processes < 2:
        yield from map(function, everything)
        return
    # A forked process need not import anything; elsewhere than on Linux forks are not safe.
    context = get_context("fork") if sys.platform == "linux" else None
    with ProcessPoolExecutor(processes, context) as pool:
        yield from pool.map(function, everything, chunksize=16)
