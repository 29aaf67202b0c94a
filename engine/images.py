"""Reading image files: any common format in, 8-bit RGB out."""

import errno
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_PIXELS = 2**28  # 0.8 GB once decoded; a PNG of a few kB can claim far more
_DISK_GONE = {errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ENODEV, errno.ENXIO}
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"  # goes on: size, bits (byte 24), kind of colour
_JPEG_SIGNATURE = b"\xff\xd8"
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0..SOF15: hold the size


class FolderGone(FileNotFoundError):  # noqa: N818 - says what it is
    """Not only an image is missing: its folder is, or the disk it is on."""


def read_image(path: str | Path, *, apply_exif: bool = True) -> NDArray[np.uint8]:
    """Pixels of an image file: (H, W, 3) uint8 RGB, contiguous.

    Grey is repeated over the three channels; palettes and CMYK are converted; of 16-bit files the
    upper 8 bits are kept; an alpha channel is dropped, so transparent pixels show the colour that
    the file stores under them. `apply_exif` turns the picture as its EXIF orientation asks, which
    may swap height and width; without it the pixels come as stored.

    Raises FileNotFoundError for a missing file (FolderGone where its folder is missing too, or the
    disk does not answer), ValueError for one that does not decode or has
    more than `MAX_PIXELS` pixels.
    """
    return pixels_of(path, _content(Path(path)), apply_exif=apply_exif)


def pixels_of(path: str | Path, data: bytes, *, apply_exif: bool = True) -> NDArray[np.uint8]:
    """As `read_image`, of a file's content; `path` is for the error."""
    flags = cv2.IMREAD_COLOR_RGB | (0 if apply_exif else cv2.IMREAD_IGNORE_ORIENTATION)
    image = decode(path, data, flags)
    if image is None:
        raise ValueError(
            f"{path}: not an image that can be read ({len(data)} bytes; damaged, or of a format "
            "OpenCV does not know)"
        )
    return image.astype(np.uint8, copy=False)


def _content(path: Path) -> bytes:
    """Bytes of the file; see `read_image` for the errors."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        if path.parent.is_dir():
            raise FileNotFoundError(f"{path}: no such image file") from None
        raise FolderGone(f"{path}: no such image file, nor is its folder there") from None
    except OSError as error:
        if error.errno in _DISK_GONE:
            raise FolderGone(f"{path}: its disk does not answer ({error.strerror})") from None
        raise


def decode(path: str | Path, data: bytes, flags: int) -> NDArray[Any] | None:
    """Pixels of a file's content as OpenCV's `flags` ask, or None where it gives up.

    Raises ValueError where the file claims more than `MAX_PIXELS` pixels.
    """
    _check_size(path, data)
    if not data:
        return None
    try:  # from memory: unlike cv2.imread, this prints no warning about a bad file
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # OpenCV's own limits of size, and memory
        return None


def _check_size(path: str | Path, data: bytes) -> None:
    """Refuse an image whose header claims more than `MAX_PIXELS` pixels, before it is decoded."""
    height, width = header_size(data)
    if height * width > MAX_PIXELS:
        raise ValueError(
            f"{path}: {width} x {height} pixels are more than the limit of {MAX_PIXELS}; "
            "scale the image down or cut it into tiles"
        )


def header_size(data: bytes) -> tuple[int, int]:
    """(height, width) from the header of a PNG or JPEG; (0, 0) where it does not say.

    Other formats are left to OpenCV's own limit of 2**30 pixels.
    """
    if data.startswith(PNG_SIGNATURE) and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return height, width
    return _jpeg_size(data) if data.startswith(_JPEG_SIGNATURE) else (0, 0)


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """(height, width) of a JPEG, found by walking its segments (ITU-T T.81, annex B)."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return height, width
        at += 1 if marker == 0xFF else 2 + length  # 0xFF may be repeated as filling
    return 0, 0
