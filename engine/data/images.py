"""Reading image files (PNG, JPEG, BMP, GIF, TIFF and WebP) as 8-bit RGB, and writing them."""

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.data.image_size import NO_SIZE, header_size

MAX_PIXELS = 2**28  # 0.8 GB once decoded; a file of a few kB can claim far more
JPEG_QUALITY = 95
JPEG_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif"}
_DISK_GONE = {errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ENODEV, errno.ENXIO}


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
            f"{path}: not an image that can be read ({len(data)} bytes; damaged, or of another "
            "format than PNG, JPEG, BMP, GIF, TIFF, WebP)"
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
    size = header_size(data)
    if size == NO_SIZE:  # of other formats nobody says what decoding them takes
        return None
    check_pixels(path, size)
    try:  # from memory: unlike cv2.imread, this prints no warning about a bad file
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # OpenCV's own limits of size, and memory
        return None


def check_pixels(path: str | Path, size: Sequence[int]) -> None:
    """Refuse a picture that claims more than `MAX_PIXELS` pixels, before it is decoded."""
    height, width = size
    if height * width > MAX_PIXELS:
        raise ValueError(
            f"{path}: {width} x {height} pixels are more than the limit of {MAX_PIXELS}; "
            "scale the image down or cut it into tiles"
        )


def encode_image(picture: NDArray[np.uint8], suffix: str, quality: int = JPEG_QUALITY) -> bytes:
    """The file of an RGB picture (H, W, 3) or a grey one (H, W), in the format of the suffix.

    `quality` is that of JPEG files, 0 to 100; other formats lose nothing.

    Raises:
        ValueError: the suffix is not that of a format that can be written.
    """
    kind = suffix.lower()
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if kind in JPEG_SUFFIXES else []
    pixels = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    try:
        data = cv2.imencode(".jpg" if options else kind, pixels, options)[1]
    except cv2.error:
        raise ValueError(f"{suffix!r}: images cannot be written in this format; use .png") from None
    return data.tobytes()
