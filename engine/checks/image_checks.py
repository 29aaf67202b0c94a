"""Inspects single image files: header, whether they can be decoded, and a small copy.

Shapes: (H, W) size of an image.
"""

import hashlib
import io
import struct
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from engine.data.image_size import FORMATS, NO_SIZE, PNG_SIGNATURE, header_size
from engine.data.images import MAX_PIXELS, read_image
from engine.data.safe_paths import REMEDY
from engine.findings import Finding, Rule
from engine.types import Size

LARGE_PIXELS = 2**25  # 33 million: decoding takes longer than a training step of a small network
SMALL_SIDE = 16  # side in pixels of the copies for comparison
ORIENTATION = 0x0112  # tag of EXIF and TIFF
BITS_PER_SAMPLE = 258  # tag of TIFF
_READER_KNOWS = ("JPEG", "MPO", "PNG", "BMP")  # for others OpenCV may not have a decoder
# Errors of Pillow on damaged files.
_DAMAGED = (
    OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, struct.error,
    Image.DecompressionBombError,
)  # fmt: skip


class ImageFacts(NamedTuple):
    """Facts about an image file."""

    path: Path
    problem: str = ""  # name of a broken rule about the file itself
    detail: str = ""
    format: str = ""  # Pillow's name
    mode: str = ""  # Pillow's name of the colour mode
    size: Size = (0, 0)  # as stored
    orientation: int = 1  # EXIF's number; from 5 height and width are swapped
    bits: int = 8  # per value
    digest: bytes = b""  # of the content
    gradients: int = 0  # 64 bits: is a pixel of the 8 x 9 copy brighter than the one on its left
    small: bytes = b""  # grey copy of SMALL_SIDE x SMALL_SIDE

    @property
    def turned(self) -> Size:
        """(height, width) after the EXIF orientation is applied."""
        return self.size[::-1] if self.orientation >= 5 else self.size


def inspect(path: Path) -> ImageFacts:
    """Inspect one file; JPEGs are decoded at a small size, others at full size."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return ImageFacts(path, "file-unreadable", error.strerror or type(error).__name__)
    facts = ImageFacts(path, digest=hashlib.blake2b(data, digest_size=16).digest())
    if not data:
        return facts._replace(problem="file-empty", detail="0 bytes")
    height, width = header_size(data)
    if (height, width) == NO_SIZE:
        return _as_the_reader_says(facts, "")
    if height * width > MAX_PIXELS:
        detail = f"{width} x {height} pixels, the limit is {MAX_PIXELS}"
        return facts._replace(problem="image-huge", detail=detail, size=(height, width))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, about damaged tags and many pixels
        return _decoded(facts, data)


def _decoded(facts: ImageFacts, data: bytes) -> ImageFacts:
    """Facts about a file that is neither empty nor huge."""
    try:
        facts = _with_header(facts, data)
    except _DAMAGED as error:
        return _as_the_reader_says(facts, f"{len(data)} bytes; {_words(error)}")
    try:
        return _with_copy(facts, data)
    except _DAMAGED as error:
        return facts._replace(
            problem="file-truncated", detail=f"{len(data)} bytes; {_words(error)}"
        )


def _with_header(facts: ImageFacts, data: bytes) -> ImageFacts:
    with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
        return facts._replace(
            format=picture.format or "",
            mode=picture.mode,
            size=(picture.height, picture.width),
            bits=_bits(picture, data),
        )


def _bits(picture: Image.Image, data: bytes) -> int:
    """Bits per value; Pillow's mode does not tell them for colour files."""
    if data.startswith(PNG_SIGNATURE):
        return data[24]
    if picture.format == "TIFF":
        return int(max(picture.tag_v2.get(BITS_PER_SAMPLE, (8,))))  # type: ignore[attr-defined]
    return 16 if picture.mode.startswith(("I", "F")) else 8


def _with_copy(facts: ImageFacts, data: bytes) -> ImageFacts:
    with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
        picture.draft("L", (4 * SMALL_SIDE, 4 * SMALL_SIDE))
        orientation = picture.getexif().get(ORIENTATION, 1)  # of a PNG, this decodes it
        picture.load()
        grey = _grey(picture, facts.bits)
    rows = np.asarray(grey.resize((9, 8), Image.Resampling.BOX))  # (8, 9)
    bits = np.packbits(rows[:, 1:] > rows[:, :-1])  # (8,)
    small = grey.resize((SMALL_SIDE, SMALL_SIDE), Image.Resampling.BOX)
    found = facts._replace(
        orientation=orientation if orientation in range(1, 9) else 1,
        gradients=int.from_bytes(bits.tobytes(), "big"),
        small=small.tobytes(),
    )
    return found if facts.format in _READER_KNOWS else _as_the_reader_says(found, "")


def _grey(picture: Image.Image, bits: int) -> Image.Image:
    """An 8-bit grey copy."""
    if bits <= 8 or not picture.mode.startswith(("I", "F")):
        return picture.convert("L")
    values = np.asarray(picture, np.float64)
    return Image.fromarray((values / max(values.max(), 1) * 255).clip(0, 255).astype(np.uint8))


def _as_the_reader_says(facts: ImageFacts, detail: str) -> ImageFacts:
    """Facts about a file that Pillow may not know: the reader of the training decides."""
    try:
        image = read_image(facts.path, apply_exif=False)
    except ValueError as error:
        said = str(error).removeprefix(f"{facts.path}: ")
        return facts._replace(problem="file-unreadable", detail=detail or said)
    return facts._replace(size=(image.shape[0], image.shape[1]))


def _words(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def _problem(name: str) -> Callable[[ImageFacts], str | None]:
    return lambda facts: facts.detail if facts.problem == name else None


def _wrong_suffix(facts: ImageFacts) -> str | None:
    Image.init()
    kind = Image.registered_extensions().get(facts.path.suffix.lower(), "no image format")
    is_right = facts.format in ("", kind) or (facts.format == "MPO" and kind == "JPEG")
    return None if is_right else f"is {facts.format}, but its name means {kind}"


def _is_rotated(facts: ImageFacts) -> str | None:
    if facts.orientation == 1:
        return None
    return f"EXIF orientation {facts.orientation}: some readers apply it, others do not"


def _is_cmyk(facts: ImageFacts) -> str | None:
    return "CMYK: converted to RGB without its colour profile" * (facts.mode == "CMYK") or None


def _is_deep(facts: ImageFacts) -> str | None:
    return f"{facts.bits} bits per value; the upper 8 are used" if facts.bits > 8 else None


def _is_large(facts: ImageFacts) -> str | None:
    height, width = facts.size
    if facts.problem or height * width <= LARGE_PIXELS:
        return None
    return f"{width} x {height} pixels: decoding it slows training down"


AGAIN = "get the file again, or remove it from the data"
DECODED = "saved again, upright 8-bit RGB"  # in the format of its name
LEFT_OUT = "left out"
IMAGE_RULES: tuple[tuple[Rule, Callable[[ImageFacts], str | None]], ...] = (
    (Rule("file-empty", "error", AGAIN, LEFT_OUT), _problem("file-empty")),
    (Rule("file-unreadable", "error", AGAIN, LEFT_OUT), _problem("file-unreadable")),
    (Rule("file-truncated", "error", AGAIN, LEFT_OUT), _problem("file-truncated")),
    (Rule("image-huge", "error", "scale it down", LEFT_OUT), _problem("image-huge")),
    (Rule("image-large", "note", "scale it to twice the training size"), _is_large),
    (Rule("wrong-suffix", "warning", "rename it", DECODED), _wrong_suffix),
    (Rule("exif-rotated", "warning", "save it upright, without EXIF", DECODED), _is_rotated),
    (Rule("cmyk", "warning", "save it as RGB", DECODED), _is_cmyk),
    (Rule("bits-16", "warning", "scale it to 8 bits as the task needs", DECODED), _is_deep),
)
IMAGE_MISSING = Rule("image-missing", "error", "restore the file, or remove its entry", LEFT_OUT)
OUTSIDE = Rule("file-outside", "error", REMEDY, LEFT_OUT)
NOT_LISTED = Rule("image-not-listed", "note", "annotate it, or remove the file", LEFT_OUT)


def image_findings(facts: ImageFacts) -> Iterator[Finding]:
    """The rules that a file breaks."""
    for rule, broken in IMAGE_RULES:
        text = broken(facts)
        if text is not None:
            picture = None if facts.problem else facts.path
            yield Finding(rule, facts.path, text, picture=picture)
