"""What a data set does about images that cannot be read: stop, or take the next one and count."""

import logging
from collections.abc import Callable
from typing import Literal, TypeVar

import torch
from mmengine.logging import print_log

from engine.data.images import FolderGone

Policy = Literal["stop", "skip"]
Sample = TypeVar("Sample")


class BadImages:
    """Reads the samples of a data set, and skips those that cannot be read where that is wanted.

    Loader workers share the count.

    Args:
        policy: "stop" lets the error of a bad image through; "skip" logs it once and takes the next
            image that can be read.
        size: Images in the data set.
        training: Whether the data set is for training; evaluation needs every image.

    Raises:
        ValueError: the policy is neither, or "skip" is asked for in evaluation.
    """

    def __init__(self, policy: Policy, size: int, *, training: bool) -> None:
        if policy not in ("stop", "skip"):
            raise ValueError(f"on_bad_image is {policy!r}; use 'stop' or 'skip'")
        if policy == "skip" and not training:
            raise ValueError("on_bad_image='skip' is for training; evaluation needs every image")
        self.policy = policy
        self._bad = torch.zeros(size, dtype=torch.bool).share_memory_()

    @property
    def count(self) -> int:
        """How many different images were skipped so far, by all workers."""
        return int(self._bad.sum())

    def read(self, index: int, reader: Callable[[int], Sample]) -> tuple[int, Sample]:
        """The sample at `index`, or with "skip" at the next index that can be read, and its index.

        Raises:
            ValueError, OSError: `reader` raised it, with "stop".
            FolderGone: the whole folder is gone; no other image is tried.
            ValueError: no image at all can be read, with "skip".
        """
        size = len(self._bad)
        for candidate in (*range(index, size), *range(index)):
            try:
                return candidate, reader(candidate)
            except (ValueError, OSError) as error:
                if self.policy == "stop" or isinstance(error, FolderGone):
                    raise
                self.note(candidate, error)
        raise ValueError(f"not one of {size} images can be read")

    def note(self, index: int, error: Exception) -> None:
        """Count a skipped image, and log it the first time."""
        if not self._bad[index]:
            self._bad[index] = True
            print_log(f"skipped image: {error}", logger="current", level=logging.WARNING)
