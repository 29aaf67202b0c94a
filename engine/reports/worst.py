"""Keeps the worst items of a stream."""

import heapq
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Worst(Generic[Item]):
    """Up to `count` items with the largest badness above 0; of equal ones the first are kept."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._heap: list[tuple[float, int, Item]] = []  # lowest badness first
        self._seen = 0

    def admits(self, badness: float) -> bool:
        """Whether an item of this badness would be kept; check it before making the item."""
        return badness > (self._heap[0][0] if len(self._heap) == self.count else 0)

    def add(self, badness: float, item: Item) -> None:
        """Keep the item if it is among the worst."""
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
