"""Seeds the global random generators from the position in the run."""

import random
from collections.abc import Sequence

import numpy as np
import torch


def reseed_step(place: Sequence[int]) -> None:
    """Seed torch (on all devices), numpy and Python from the integers in `place`."""
    words = np.random.SeedSequence(list(place)).generate_state(2)  # uint32
    torch.manual_seed(int(words[0]))
    _reseed_host(random.Random(int(words[1])))


def reseed_sample(place: tuple[int, ...]) -> None:
    """The same for the CPU only; it takes 20 microseconds."""
    source = random.Random(
        repr(place)
    )  # hashed with SHA-512, so similar places give different seeds
    torch.default_generator.manual_seed(source.getrandbits(63))
    _reseed_host(source)


def _reseed_host(source: random.Random) -> None:
    np.random.seed(source.getrandbits(32))  # noqa: NPY002 - other libraries draw from it
    random.seed(source.getrandbits(63))
