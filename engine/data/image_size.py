"""Reads the size of an image from the header of its file, before anything is decoded.

Files of other formats are not read at all. OpenCV decodes the files, so the size found here must
not be smaller than OpenCV's. Pillow parses JPEG, BMP and WebP; its size is never smaller. The other
formats are parsed here: if a PNG or TIFF has two sizes, Pillow takes the last one and OpenCV the
first. Pillow also refuses files that OpenCV decodes, such as a PNG with long or damaged texts or a
TIFF with unusual numbers, and it warns if a frame of a GIF is larger than the screen.
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

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"  # then: size, bits (byte 24), colour type
NO_SIZE = (0, 0)
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
_DAMAGED = (OSError, SyntaxError, ValueError, struct.error, KeyError, OverflowError)
_TIFF_SIDES = (256, 257, 322, 323)  # tags: width and length of the image and of a tile


def header_size(data: bytes, formats: Container[str] = FORMATS) -> Size:
    """(height, width) in the header of an image file; (0, 0) if it cannot be read."""
    for signature, (kind, reader) in _READERS.items():
        if data.startswith(signature) and kind in formats:
            try:
                return reader(data)
            except _DAMAGED:
                return NO_SIZE
    return NO_SIZE


def _fixed(layout: str, place: int, data: bytes) -> Size:
    """Width and height at a fixed position; for a GIF those of the screen for all frames."""
    width, height = struct.unpack_from(layout, data, place)
    return height, width


class _Jpeg(JpegImageFile):
    """Skips EXIF, which takes longer than the rest and causes warnings if damaged."""

    def _read_dpi_from_exif(self) -> None:
        pass


def _pillow(kind: type[ImageFile], data: bytes) -> Size:
    """Size by a Pillow class; unlike Image.open, it has no limit of its own."""
    with kind(io.BytesIO(data)) as picture:
        return picture.height, picture.width


def _tiff(data: bytes) -> Size:
    """Size of the first image, or of a tile if that is larger: tiles are decoded whole.

    If a tag occurs twice, the larger value counts. KeyError if the type of a side is not one that
    the format allows (TIFF 6.0).
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
