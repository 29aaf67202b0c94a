"""Base of the data sets of all tasks: seed, epoch, and images that cannot be read."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from engine.data.bad_images import BadImages, Policy
from engine.data.seeds import reseed_sample

Sample = dict[str, Any]


class Objects(NamedTuple):
    """The N objects in a picture."""

    labels: NDArray[np.int64]  # (N,)
    sides: NDArray[np.float64]  # (N,) square root of the area in pixels


class SeededData(Dataset[Sample]):
    """Base of data sets whose samples depend only on (seed, epoch, index).

    So the number of loader workers does not matter. In training, the generators of torch, numpy and
    Python are seeded from the same three numbers, for transforms that use them. An index beyond the
    last image means a later epoch: index i + n * len(self) is image i, augmented as in epoch n.

    Args:
        size: Number of images.
        training: Whether images may be skipped, and transforms may be random.
        on_bad_image: What to do about an image that cannot be read: "stop" raises ValueError;
            "skip" (in training only) logs it once, counts it in `num_bad_images` and takes the next
            one.
        seed: Seed of the augmentation.
    """

    def __init__(self, size: int, *, training: bool, on_bad_image: Policy, seed: int) -> None:
        self.seed = seed
        self._training = training
        self._bad = BadImages(on_bad_image, size, training=training)
        self._size = size
        self._epoch = torch.zeros(
            1, dtype=torch.int64
        ).share_memory_()  # shared with running workers

    @property
    def num_bad_images(self) -> int:
        """Number of different images that all workers skipped so far."""
        return self._bad.count

    @property
    def metainfo(self) -> dict[str, Any]:
        """Information for metric and checkpoint; `classes` holds the class names."""
        raise NotImplementedError(f"{type(self).__name__} does not define metainfo")

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which changes the augmentation; persistent workers see it too."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Sample]:
        """The samples of one epoch."""
        return map(self.__getitem__, range(self._size))

    def __getitem__(self, index: int) -> Sample:
        if index < 0:
            raise IndexError(f"index {index} is negative")
        later, index = divmod(index, self._size)
        index, content = self._bad.read(index, self._read)
        place = (self.seed, int(self._epoch) + later, index)
        if self._training:
            reseed_sample(place)
        return self._sample(index, content, place)

    def _read(self, index: int) -> Any:
        """Read the files of image `index`; ValueError if they cannot be used."""
        raise NotImplementedError(f"{type(self).__name__} does not define _read")

    def _sample(self, index: int, content: Any, seed: tuple[int, int, int]) -> Sample:
        """Make the augmented sample from the result of `_read`."""
        raise NotImplementedError(f"{type(self).__name__} does not define _sample")
