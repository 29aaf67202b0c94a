"""Finds pictures that occur more than once, by their bytes or by their look.

Two pictures look alike if their dHashes (64 bits: whether a pixel of an 8 x 9 copy is brighter than
its left neighbour; N. Krawetz, "Kind of Like That", 2013) differ in few bits and their small grey
copies differ little.

Shapes: N, M images of two splits; S = SMALL_SIDE * SMALL_SIDE.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.checks.image_checks import SMALL_SIDE, ImageFacts
from engine.findings import Finding, Rule

# Of 1.7 million pairs between train and val of five real sets, one is within NEAR, and it is a true
# duplicate; the next one is at 10 bits and 16 grey levels.
NEAR_BITS, NEAR_LEVELS = 10, 8.0
SAME_BITS, SAME_LEVELS = 2, 1.0  # a copy saved as a JPEG of lower quality or half size

ACROSS = Rule("identical-across-splits", "error", "keep it in one split", "left out of the first")
NEAR = Rule("near-across-splits", "note", "keep one place, day or video in one split")
TWICE = Rule("identical-in-split", "warning", "keep one of them, with all annotations")


class Looks(NamedTuple):
    """The comparable images of a split."""

    facts: list[ImageFacts]  # N
    gradients: NDArray[np.uint64]  # (N,)
    small: NDArray[np.int16]  # (N, S)


def duplicates(splits: Mapping[str, Sequence[ImageFacts]]) -> Iterator[Finding]:
    """Find equal pictures in a split, and equal or similar ones in two splits."""
    for split, images in splits.items():
        yield from _in_split(split, images)
    looks = {split: looks_of(images) for split, images in splits.items()}
    for first, second in combinations(splits, 2):
        known = {facts.digest: facts for facts in splits[first] if facts.size != (0, 0)}
        for facts in splits[second]:
            if twin := known.get(facts.digest):
                text = f"the same bytes as {facts.path} of {second}"
                yield Finding(ACROSS, twin.path, text, picture=twin.path)
        yield from _alike(looks[first], looks[second], second)


def _in_split(split: str, facts: Sequence[ImageFacts]) -> Iterator[Finding]:
    seen: dict[bytes, ImageFacts] = {}
    for one in facts:
        first = seen.setdefault(one.digest, one)
        if first is not one and one.size != (0, 0):
            text = f"the same bytes as {first.path}, both in {split}"
            yield Finding(TWICE, one.path, text, picture=one.path)


def looks_of(facts: Sequence[ImageFacts]) -> Looks:
    """Arrays of the images that were decoded."""
    usable = [one for one in facts if one.small]
    small = np.frombuffer(b"".join(one.small for one in usable), np.uint8)
    return Looks(
        usable,
        np.array([one.gradients for one in usable], np.uint64),
        small.reshape(-1, SMALL_SIDE * SMALL_SIDE).astype(np.int16),
    )


def _alike(first: Looks, second: Looks, name: str) -> Iterator[Finding]:
    """Find images of `first` that look like one of `second`, but have other bytes."""
    for row, facts in enumerate(second.facts):
        place, bits, levels = nearest(first, second.gradients[row], second.small[row])
        if place is None or first.facts[place].digest == facts.digest:
            continue
        twin = first.facts[place].path
        is_same = bits <= SAME_BITS and levels <= SAME_LEVELS
        rule, how = (ACROSS, "the same picture as") if is_same else (NEAR, "looks like")
        text = f"{how} {facts.path} of {name} ({bits} of 64 bits, {levels:.1f} grey levels apart)"
        yield Finding(rule, twin, text, picture=twin)


def nearest(
    looks: Looks, gradients: np.uint64, small: NDArray[np.int16]
) -> tuple[int | None, int, float]:
    """(index, different bits, mean grey-level difference) of the image most similar to a given one.

    The index is None if no image is within NEAR_BITS and NEAR_LEVELS.
    """
    bits = count_bits(looks.gradients ^ gradients)  # (N,)
    close = np.flatnonzero(bits <= NEAR_BITS)
    if not len(close):
        return None, 0, 0.0
    levels = np.abs(looks.small[close] - small).mean(axis=1)  # (close,)
    best = int(levels.argmin())
    if levels[best] > NEAR_LEVELS:
        return None, 0, 0.0
    return int(close[best]), int(bits[close[best]]), float(levels[best])


def count_bits(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Number of one bits in each value (N,), summed in pairs, fours and eights."""
    pairs, fours, eights = (np.uint64(mask * 0x0101010101010101) for mask in (0x55, 0x33, 0x0F))
    one, two, four = map(np.uint64, (1, 2, 4))
    counts = values - ((values >> one) & pairs)
    counts = (counts & fours) + ((counts >> two) & fours)
    counts = (counts + (counts >> four)) & eights
    return (counts * np.uint64(0x0101010101010101)) >> np.uint64(56)
