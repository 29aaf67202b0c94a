"""Sizes that image files claim, read from their headers before anything is decoded.

The formats here are all that are read. For each the number is found where OpenCV's decoder takes
it from, so that a small file cannot claim little here and much there.
"""

import struct
from collections.abc import Callable, Iterator

from engine.types import Size

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"  # goes on: size, bits (byte 24), kind of colour
NO_SIZE = (0, 0)
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0..SOF15: hold the size
_JPEG_ALONE = frozenset((0x00, 0x01, *range(0xD0, 0xD9)))  # no length follows
_TIFF_SIDES = (256, 257)  # tags of width and length
_TIFF_TILES = (322, 323)  # of a tile, which is decoded whole even where the image is smaller
_TIFF_NUMBERS = {3: "H", 4: "I", 16: "Q"}  # kinds of whole numbers


def header_size(data: bytes) -> Size:
    """(height, width) that the header of an image file claims; (0, 0) where it does not say."""
    reader = _reader_of(data)
    if reader is None:
        return NO_SIZE
    try:
        return reader(data)
    except (struct.error, IndexError):  # the header is cut off
        return NO_SIZE


def _reader_of(data: bytes) -> Callable[[bytes], Size] | None:
    for signature, reader in _READERS.items():
        if data.startswith(signature) and (signature != b"RIFF" or data[8:12] == b"WEBP"):
            return reader
    return None


def _png(data: bytes) -> Size:
    width, height = struct.unpack_from(">II", data, 16)
    return (height, width) if data[12:16] == b"IHDR" else NO_SIZE


def _jpeg(data: bytes) -> Size:
    """Found by walking the segments (ITU-T T.81, annex B); what stands between is passed over."""
    at = 2
    while (at := data.find(b"\xff", at)) >= 0:
        marker = data[at + 1]
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return height, width
        if marker == 0xFF:  # filling
            at += 1
        elif marker in _JPEG_ALONE:
            at += 2
        else:
            at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    return NO_SIZE


def _bmp(data: bytes) -> Size:
    """A height below 0 says that the first row is the upper one."""
    if struct.unpack_from("<I", data, 14)[0] == 12:  # OS/2
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return abs(height), abs(width)


def _gif(data: bytes) -> Size:
    """Of the screen that all frames lie on."""
    width, height = struct.unpack_from("<HH", data, 6)
    return height, width


def _webp(data: bytes) -> Size:
    """Of the canvas, or of the one picture in either of two codings (RFC 9649)."""
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[27:30], "little"), 1 + int.from_bytes(data[24:27], "little")
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return 1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return height & 0x3FFF, width & 0x3FFF


def _tiff(data: bytes) -> Size:
    """Of the first directory; of a tag that stands there twice the larger value."""
    order = "<" if data.startswith(b"II") else ">"
    sides = dict.fromkeys((*_TIFF_SIDES, *_TIFF_TILES), 0)
    for tag, value in _tiff_entries(data, order):
        if tag in sides:
            sides[tag] = max(sides[tag], value)
    width, height, tile_width, tile_height = sides.values()
    return max(height, tile_height), max(width, tile_width)


def _tiff_entries(data: bytes, order: str) -> Iterator[tuple[int, int]]:
    """Tag and first number of the entries of a directory that hold whole numbers (TIFF 6.0)."""
    is_big = struct.unpack_from(f"{order}H", data, 2)[0] == 43  # BigTIFF
    number, count, entry, place = ("Q", "Q", 20, 12) if is_big else ("I", "H", 12, 8)
    at = struct.unpack_from(f"{order}{number}", data, 8 if is_big else 4)[0]
    (entries,) = struct.unpack_from(f"{order}{count}", data, at)
    at += struct.calcsize(f"={count}")
    for start in range(at, min(at + entry * entries, len(data) - entry + 1), entry):
        tag, kind = struct.unpack_from(f"{order}HH", data, start)
        if kind in _TIFF_NUMBERS:
            yield tag, struct.unpack_from(order + _TIFF_NUMBERS[kind], data, start + place)[0]


_READERS: dict[bytes, Callable[[bytes], Size]] = {
    PNG_SIGNATURE: _png,
    b"\xff\xd8": _jpeg,
    b"BM": _bmp,
    b"GIF8": _gif,
    b"RIFF": _webp,
    b"II*\0": _tiff,
    b"MM\0*": _tiff,
    b"II+\0": _tiff,
    b"MM\0+": _tiff,
}
