"""Reads the arrays of a `.npz` file, without pickle and within a size limit."""

import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

MAX_BYTES = 2**31  # of all arrays of a file; a zip of a few MB may unpack to terabytes
_DAMAGED = (
    ValueError, TypeError, EOFError, RuntimeError, NotImplementedError, MemoryError, KeyError,
    OverflowError, SyntaxError, AttributeError, RecursionError, OSError, zlib.error,
    zipfile.BadZipFile,
)  # fmt: skip


def read_npz(path: Path, wanted: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """All arrays of a file, or those `wanted`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, holds objects, lacks a wanted array, or its arrays take more than
            `MAX_BYTES`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such .npz file")
    try:
        with zipfile.ZipFile(path) as archive:  # an entry gives no more bytes than it claims
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_BYTES:
            raise ValueError(f"it unpacks to {size} bytes, the limit is {MAX_BYTES}")
        with np.load(path, allow_pickle=False) as file:
            return {name: _checked(file[name]) for name in wanted or file.files}
    except _DAMAGED as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{path}: not a .npz file of plain arrays ({why})") from error


def _checked(array: np.ndarray) -> np.ndarray:
    """Raise ValueError unless an entry is an array: numpy gives other entries as bytes."""
    if not isinstance(array, np.ndarray):
        raise ValueError("it holds a file that is not an array")
    return array
