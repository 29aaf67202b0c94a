"""Samplers for training that can start at any position."""

import itertools
from collections.abc import Iterator, Sized

import torch
from mmengine.dataset import DefaultSampler
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import Sampler


@DATA_SAMPLERS.register_module()
class EpochSampler(DefaultSampler):
    """mmengine's sampler for epochs, which can also start within an epoch."""

    skipped = 0

    def skip(self, num_samples: int) -> None:
        """Skip the first `num_samples` of this process in the current epoch."""
        self.skipped = num_samples

    def set_epoch(self, epoch: int) -> None:
        """Shuffle for this epoch; a new epoch skips nothing."""
        if epoch != self.epoch:
            self.skipped = 0
        super().set_epoch(epoch)

    def __iter__(self) -> Iterator[int]:
        return itertools.islice(super().__iter__(), self.skipped, None)


@DATA_SAMPLERS.register_module()
class EndlessSampler(Sampler[int]):
    """Endless shuffled passes over N images; in pass n, image i has the index i + n * N.

    So a data set knows the pass of a sample (`divmod(index, N)`) even if loader workers fetch
    ahead. The order depends only on the seed; the samples are dealt to the processes in turn.

    Args:
        dataset: The data set to sample; its length is N.
        seed: Seed of the order; None: a random seed that all processes share.
        shuffle: False keeps the order of the data set in every pass.
    """

    def __init__(self, dataset: Sized, seed: int | None = None, shuffle: bool = True) -> None:
        self.size = len(dataset)
        self.rank, self.world_size = get_dist_info()
        self.seed = sync_random_seed() if seed is None else seed
        self.shuffle = shuffle
        self.skipped = 0

    def skip(self, num_samples: int) -> None:
        """Start after the first `num_samples` of this process; they are not loaded.

        mmengine calls this when a run is resumed.
        """
        self.skipped = num_samples

    def __iter__(self) -> Iterator[int]:
        first = self.rank + self.skipped * self.world_size
        passes, start = divmod(first, self.size)
        order = itertools.chain.from_iterable(map(self._pass, itertools.count(passes)))
        return itertools.islice(order, start, None, self.world_size)

    def __len__(self) -> int:
        return self.size

    def _pass(self, number: int) -> list[int]:
        """Indices of one pass."""
        if not self.shuffle:
            return list(range(number * self.size, (number + 1) * self.size))
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        order = torch.randperm(self.size, generator=generator)  # (N,)
        return (order + number * self.size).tolist()
