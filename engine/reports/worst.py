"""The worst few of many, kept while the others pass."""

import heapq
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Worst(Generic[Item]):
    """Up to `count` items of the largest badness above 0; of equally bad ones the first stay."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._heap: list[tuple[float, int, Item]] = []  # the least bad first
        self._seen = 0

    def admits(self, badness: float) -> bool:
        """Whether an item so bad would be kept, so that only such ones need to be made."""
        return badness > (self._heap[0][0] if len(self._heap) == self.count else 0)

    def add(self, badness: float, item: Item) -> None:
        """Keep the item while it is among the worst."""
        if not self.admits(badness):
            return
        self._seen += 1
        entry = (badness, -self._seen, item)
        if len(self._heap) < self.count:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heapreplace(self._heap, entry)

    def ranked(self) -> list[tuple[float, Item]]:
        """Badness and item, the worst first."""
        return [(badness, item) for badness, _, item in sorted(self._heap, reverse=True)]
