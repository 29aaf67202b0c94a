"""Sizes that image files claim, read from their headers before anything is decoded.

The formats here are all that are read. OpenCV decodes, so a small file must not claim little here
and much there. Pillow reads JPEG, BMP and WebP, where its size is never smaller than OpenCV's. The
others are read here: of a size that stands twice in a PNG or TIFF, Pillow takes the last, OpenCV
the first. Pillow also refuses what OpenCV decodes, as a PNG with long or damaged texts or a TIFF of
unusual numbers, and it warns where a frame of a GIF is larger than the screen.
"""

import io
import struct
from collections.abc import Callable, Container
from functools import partial

from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.WebPImagePlugin import WebPImageFile

from engine.types import Size

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"  # goes on: size, bits (byte 24), kind of colour
NO_SIZE = (0, 0)
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
_DAMAGED = (OSError, SyntaxError, ValueError, struct.error, KeyError, OverflowError)
_TIFF_SIDES = (256, 257, 322, 323)  # tags: width and length of the image, and of a tile


def header_size(data: bytes, formats: Container[str] = FORMATS) -> Size:
    """(height, width) that the header of an image file claims; (0, 0) where it does not say."""
    for signature, (kind, reader) in _READERS.items():
        if data.startswith(signature) and kind in formats:
            try:
                return reader(data)
            except _DAMAGED:
                return NO_SIZE
    return NO_SIZE


def _fixed(layout: str, place: int, data: bytes) -> Size:
    """Width and height at a fixed place: of a GIF those of the screen that all frames lie on."""
    width, height = struct.unpack_from(layout, data, place)
    return height, width


class _Jpeg(JpegImageFile):
    """Without a look into EXIF, which takes longer than all else, and warns where it is damaged."""

    def _read_dpi_from_exif(self) -> None:
        pass


def _pillow(kind: type[ImageFile], data: bytes) -> Size:
    """Unlike Image.open, this has no limit of its own."""
    with kind(io.BytesIO(data)) as picture:
        return picture.height, picture.width


def _tiff(data: bytes) -> Size:
    """Of the first directory, or of a tile, which is decoded whole even where it is larger.

    Of a tag that stands there twice the larger value. KeyError where a side is not of a kind that
    the format prescribes (TIFF 6.0).
    """
    order = "<" if data.startswith(b"II") else ">"
    number, count, step, place, kinds = "I", "H", 12, 8, {3: "H", 4: "I"}
    if struct.unpack_from(f"{order}H", data, 2)[0] == 43:  # BigTIFF
        number, count, step, place, kinds = "Q", "Q", 20, 12, {3: "H", 4: "I", 16: "Q"}
    (at,) = struct.unpack_from(order + number, data, struct.calcsize(f"={number}"))
    (entries,) = struct.unpack_from(order + count, data, at)
    at += struct.calcsize(f"={count}")
    sides = dict.fromkeys(_TIFF_SIDES, 0)
    for entry in range(at, min(at + step * entries, len(data) - step + 1), step):
        tag, kind = struct.unpack_from(f"{order}HH", data, entry)
        if tag in sides:
            (side,) = struct.unpack_from(order + kinds[kind], data, entry + place)
            sides[tag] = max(sides[tag], side)
    width, height, tile_width, tile_height = sides.values()
    return max(height, tile_height), max(width, tile_width)


_READERS: dict[bytes, tuple[str, Callable[[bytes], Size]]] = {
    PNG_SIGNATURE + b"\0\0\0\rIHDR": ("PNG", partial(_fixed, ">II", 16)),
    b"\xff\xd8\xff": ("JPEG", partial(_pillow, _Jpeg)),
    b"BM": ("BMP", partial(_pillow, BmpImageFile)),
    b"GIF8": ("GIF", partial(_fixed, "<HH", 6)),
    b"RIFF": ("WEBP", partial(_pillow, WebPImageFile)),
    b"II*\0": ("TIFF", _tiff),
    b"MM\0*": ("TIFF", _tiff),
    b"II+\0": ("TIFF", _tiff),
    b"MM\0+": ("TIFF", _tiff),
}
