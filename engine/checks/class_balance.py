"""Checks the number of examples of each class in a split."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.findings import Finding, Rule

MOST_RATIO = 20  # of the most common class to the rarest one with examples
IMBALANCE = Rule("class-imbalance", "note", "collect more of the rare class, or weight it more")
UNUSED = Rule("class-unused", "note", "add examples, or remove the class from the list")


def balance(
    file: Path, names: Sequence[str], counts: NDArray[np.int64], what: str
) -> Iterator[Finding]:
    """Find classes without examples, and a large ratio of the most common to the rarest class.

    Args:
        file: File or folder of the examples.
        names: K class names.
        counts: Examples of each class (K,).
        what: Plural noun for the examples: boxes, images, pixels.
    """
    for name in np.array(names, object)[counts == 0]:
        yield Finding(UNUSED, file, f"no {what} of this class", f"class {name}")
    used = np.flatnonzero(counts)
    if len(used) < 2:
        return
    rare, common = (int(used[pick(counts[used])]) for pick in (np.argmin, np.argmax))
    if counts[common] > MOST_RATIO * counts[rare]:
        text = (
            f"{counts[rare]} {what}, but {counts[common]} of {names[common]}: "
            f"1 to {counts[common] / counts[rare]:.0f}"
        )
        yield Finding(IMBALANCE, file, text, f"class {names[rare]}")
