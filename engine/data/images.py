"""Reads image files (PNG, JPEG, BMP, GIF, TIFF and WebP) as 8-bit RGB, and encodes images."""

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.data.image_size import NO_SIZE, header_size

MAX_PIXELS = 2**28  # 0.8 GB when decoded; the header of a tiny file can claim far more
JPEG_QUALITY = 95
JPEG_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif"}
_DISK_GONE = {errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ENODEV, errno.ENXIO}


class FolderGone(FileNotFoundError):  # noqa: N818 - says what it is
    """The whole folder of an image is missing, or its disk does not respond."""


def read_image(path: str | Path, *, apply_exif: bool = True) -> NDArray[np.uint8]:
    """Read the pixels of an image file: (H, W, 3) uint8 RGB, contiguous.

    Grey is repeated in the three channels. Palettes and CMYK are converted. Of 16-bit values the
    upper 8 bits are kept. An alpha channel is dropped, so transparent pixels have the colour that
    the file stores for them. `apply_exif` turns the image by its EXIF orientation, which may swap
    height and width; without it the pixels are as stored.

    Raises:
        FileNotFoundError: the file is missing (FolderGone: also its folder, or its disk does not
            respond).
        ValueError: it cannot be decoded, or has more than `MAX_PIXELS` pixels.
    """
    return pixels_of(path, _content(Path(path)), apply_exif=apply_exif)


def pixels_of(path: str | Path, data: bytes, *, apply_exif: bool = True) -> NDArray[np.uint8]:
    """As `read_image`, from the content of a file; `path` is for the error."""
    flags = cv2.IMREAD_COLOR_RGB | (0 if apply_exif else cv2.IMREAD_IGNORE_ORIENTATION)
    image = decode(path, data, flags)
    if image is None:
        raise ValueError(
            f"{path}: not an image that can be read ({len(data)} bytes; damaged, or not a PNG, "
            "JPEG, BMP, GIF, TIFF or WebP file)"
        )
    return image.astype(np.uint8, copy=False)


def _content(path: Path) -> bytes:
    """Content of the file; errors as `read_image`."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        if path.parent.is_dir():
            raise FileNotFoundError(f"{path}: no such image file") from None
        raise FolderGone(f"{path}: no such image file; its folder is missing too") from None
    except OSError as error:
        if error.errno in _DISK_GONE:
            raise FolderGone(f"{path}: its disk does not respond ({error.strerror})") from None
        raise


def decode(path: str | Path, data: bytes, flags: int) -> NDArray[Any] | None:
    """Decode the content of a file with the `flags` of OpenCV; None if that fails.

    Raises:
        ValueError: the header gives more than `MAX_PIXELS` pixels.
    """
    size = header_size(data)
    if size == NO_SIZE:  # for other formats the memory to decode them is unknown
        return None
    check_pixels(path, size)
    try:  # from memory: unlike cv2.imread, this prints no warning about a bad file
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # OpenCV's own size limits, or memory
        return None


def check_pixels(path: str | Path, size: Sequence[int]) -> None:
    """Raise ValueError if (height, width) is more than `MAX_PIXELS` pixels."""
    height, width = size
    if height * width > MAX_PIXELS:
        raise ValueError(
            f"{path}: {width} x {height} pixels are more than the limit of {MAX_PIXELS}; "
            "scale the image down or cut it into tiles"
        )


def encode_image(picture: NDArray[np.uint8], suffix: str, quality: int = JPEG_QUALITY) -> bytes:
    """Encode an RGB picture (H, W, 3) or a grey one (H, W) in the format of the suffix.

    `quality` is for JPEG, 0 to 100; other formats are lossless.

    Raises:
        ValueError: the format of the suffix cannot be written.
    """
    kind = suffix.lower()
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if kind in JPEG_SUFFIXES else []
    pixels = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    try:
        data = cv2.imencode(".jpg" if options else kind, pixels, options)[1]
    except cv2.error:
        raise ValueError(f"{suffix!r}: images cannot be written in this format; use .png") from None
    return data.tobytes()
