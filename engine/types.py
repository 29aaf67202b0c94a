"""Types that all packages share; imports numpy and torch only."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Picture = NDArray[np.uint8]  # RGB (H, W, 3)
Mask = NDArray[np.uint8]  # class of each pixel (H, W), IGNORE where none
IGNORE = 255  # counts neither in training nor in evaluation
Image = Picture | str | Path
Size = tuple[int, int]  # height, width
Network = Callable[[Tensor], Sequence[Tensor]]  # (B, 3, H, W) -> what mode="tensor" gives
Target = Mapping[str, Any]
Result = Mapping[str, Any]  # of one image; each task has a TypedDict that says what is in it
Row = dict[str, Any]  # a part of a result as plain data
