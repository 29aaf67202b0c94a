"""Applies a function to many files, in several processes if that is faster."""

import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeAlias, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
POOL_FROM = 200  # items; starting processes takes as long as reading some hundred files
# A function like `spread`: (function, items) -> results in the order of the items.
Spread: TypeAlias = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]


def spread(
    function: Callable[[Item], Result], items: Iterable[Item], processes: int = 2
) -> Iterator[Result]:
    """Results in order, from several processes if there are at least `POOL_FROM` items."""
    everything = list(items)
    if len(everything) < POOL_FROM or processes < 2:
        yield from map(function, everything)
        return
    # A forked process imports nothing; forks are safe only on Linux.
    context = get_context("fork") if sys.platform == "linux" else None
    with ProcessPoolExecutor(processes, context) as pool:
        yield from pool.map(function, everything, chunksize=16)
