"""How many examples the classes of a split have."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.findings import Finding, Rule

MOST_RATIO = 20  # of the commonest class to the rarest that has any
IMBALANCE = Rule("class-imbalance", "note", "collect more of the rare class, or weigh it up")
UNUSED = Rule("class-unused", "note", "add examples, or take the class out of the list")


def balance(
    file: Path, names: Sequence[str], counts: NDArray[np.int64], what: str
) -> Iterator[Finding]:
    """Classes without an example, and the two ends where they lie far apart.

    Args:
        file: What holds the examples.
        names: K class names.
        counts: Examples of each class (K,).
        what: Name of the examples: boxes, images, pixels.
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
