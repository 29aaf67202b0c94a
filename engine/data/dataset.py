"""What the data sets of all tasks share: a seed, the pass they are in, and unreadable images."""

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
    """What a picture shows, N of them."""

    labels: NDArray[np.int64]  # (N,)
    sides: NDArray[np.float64]  # (N,) root of the area in pixels


class SeededData(Dataset[Sample]):
    """Base of data sets whose samples depend on (seed, epoch, index) only.

    So it does not matter how many workers load them. In training the generators of torch, numpy and
    Python follow from the same three, for transforms that draw from those. An index beyond the last
    image means a later pass: index i + n * len(self) is image i, augmented as in epoch n.

    Args:
        size: Number of images.
        training: Whether images may be skipped, and transforms may draw.
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
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()  # seen by running workers

    @property
    def num_bad_images(self) -> int:
        """How many different images were skipped so far, by all workers."""
        return self._bad.count

    @property
    def metainfo(self) -> dict[str, Any]:
        """What metric and checkpoint need to know; the class names are its `classes`."""
        raise NotImplementedError(f"{type(self).__name__} does not name its classes")

    def set_epoch(self, epoch: int) -> None:
        """Change the augmentation's draws; reaches persistent workers too."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Sample]:
        """The samples of one pass."""
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
        """What the files of image `index` hold; ValueError where they cannot be used."""
        raise NotImplementedError(f"{type(self).__name__} does not read anything")

    def _sample(self, index: int, content: Any, seed: tuple[int, int, int]) -> Sample:
        """The augmented sample of what `_read` gave."""
        raise NotImplementedError(f"{type(self).__name__} makes no samples")
