"""Types that all packages share; imports numpy and torch only."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Picture = NDArray[np.uint8]  # RGB (H, W, 3)
Mask = NDArray[np.uint8]  # (H, W) class of each pixel, or IGNORE
IGNORE = 255  # pixels that training and evaluation leave out
Image = Picture | str | Path
Size = tuple[int, int]  # height, width
Network = Callable[[Tensor], Sequence[Tensor]]  # (B, 3, H, W) -> outputs of mode="tensor"
Target = Mapping[str, Any]
Result = Mapping[str, Any]  # of one image; each task defines a TypedDict for it
Row = dict[str, Any]  # one part of a result as plain data
