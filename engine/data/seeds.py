"""The generators that any code may draw from, made to follow from a place in the run."""

import random
from collections.abc import Sequence

import numpy as np
import torch


def reseed_step(place: Sequence[int]) -> None:
    """Let the next draws of torch, on all devices, numpy and Python follow from `place`."""
    words = np.random.SeedSequence(list(place)).generate_state(2)  # uint32
    torch.manual_seed(int(words[0]))
    _reseed_host(random.Random(int(words[1])))


def reseed_sample(place: tuple[int, ...]) -> None:
    """The same on the processor only, in 20 microseconds."""
    source = random.Random(repr(place))  # by SHA-512, so neighbours differ
    torch.default_generator.manual_seed(source.getrandbits(63))
    _reseed_host(source)


def _reseed_host(source: random.Random) -> None:
    np.random.seed(source.getrandbits(32))  # noqa: NPY002 - what code not ours draws from
    random.seed(source.getrandbits(63))
