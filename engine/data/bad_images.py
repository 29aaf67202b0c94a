"""Images that cannot be read: a data set stops at them, or skips and counts them."""

from collections.abc import Callable
from typing import Literal, TypeVar

import torch

from engine.data.images import FolderGone
from engine.progress import warn

Policy = Literal["stop", "skip"]
Sample = TypeVar("Sample")


class BadImages:
    """Reads the samples of a data set; with policy "skip", skips those that cannot be read.

    Loader workers share the count.

    Args:
        policy: "stop" raises the error of a bad image; "skip" logs it once and takes the next image
            that can be read.
        size: Number of images in the data set.
        training: Whether the data set is for training; evaluation needs every image.

    Raises:
        ValueError: an unknown policy, or "skip" in evaluation.
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
        """Number of different images that all workers skipped so far."""
        return int(self._bad.sum())

    def read(self, index: int, reader: Callable[[int], Sample]) -> tuple[int, Sample]:
        """The index and sample of `index`, or with "skip" of the next one that can be read.

        Raises:
            ValueError, OSError: with "stop", the error of `reader`.
            FolderGone: the whole folder is missing; no other image is tried.
            ValueError: with "skip", no image can be read.
        """
        size = len(self._bad)
        for candidate in (*range(index, size), *range(index)):
            try:
                return candidate, reader(candidate)
            except (ValueError, OSError) as error:
                if self.policy == "stop" or isinstance(error, FolderGone):
                    raise
                self.note(candidate, error)
        raise ValueError(f"none of {size} images can be read")

    def note(self, index: int, error: Exception) -> None:
        """Count a skipped image, and log it the first time."""
        if not self._bad[index]:
            self._bad[index] = True
            warn(f"skipped image: {error}")
