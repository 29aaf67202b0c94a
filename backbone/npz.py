"""Arrays of a `.npz` file, read without pickle and within bounds."""

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
    """The arrays of a file, all or those `wanted`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, holds objects or lacks one, or its arrays take more than
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
        raise ValueError(f"{path}: no .npz file of plain arrays ({why})") from error


def _checked(array: np.ndarray) -> np.ndarray:
    """The array; of an entry that is none, numpy gives the bytes."""
    if not isinstance(array, np.ndarray):
        raise ValueError("it holds a file that is no array")
    return array
