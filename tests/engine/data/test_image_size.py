"""Sizes read from headers: equal to the decoded size, and for bombs the claimed size."""

import io
import itertools
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from engine.data.image_size import header_size
from engine.data.images import MAX_PIXELS, read_image

FORMATS = {
    "png": {}, "jpg": {}, "progressive.jpg": {"progressive": True}, "bmp": {}, "gif": {},
    "tif": {}, "lzw.tif": {"compression": "tiff_lzw"}, "webp": {}, "lossless.webp": {"lossless": 1},
    "big.tif": {"big_tiff": True},
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_the_size_is_that_of_the_pixels(tmp_path: Path, name: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (37, 61, 3), np.uint8)
    path = tmp_path / f"a.{name}"
    Image.fromarray(pixels).save(path, **FORMATS[name])
    assert header_size(path.read_bytes()) == (37, 61)
    assert read_image(path).shape == (37, 61, 3)


def test_the_size_of_a_webp_with_a_canvas_and_of_a_bmp_from_the_top(tmp_path: Path) -> None:
    Image.new("RGBA", (61, 37), (1, 2, 3, 4)).save(tmp_path / "a.webp", exif=Image.Exif())
    frames = [Image.new("RGB", (61, 37), (shade, 0, 0)) for shade in (0, 200)]
    frames[0].save(tmp_path / "b.webp", save_all=True, append_images=frames[1:])
    for name in ("a.webp", "b.webp"):
        assert header_size((tmp_path / name).read_bytes()) == (37, 61)
    bmp = bytearray(cv2.imencode(".bmp", np.zeros((37, 61, 3), np.uint8))[1])
    bmp[22:26] = struct.pack("<i", -37)
    assert header_size(bytes(bmp)) == (37, 61)


def png(height: int, width: int) -> bytes:
    """A grey PNG without pixel data."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    length, check = struct.pack(">I", 13), struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + length + chunk + check


def jpeg(height: int, width: int) -> bytes:
    """A JPEG of three channels, up to the start of a scan."""
    frame = struct.pack(">HBHHB", 17, 8, height, width, 3) + bytes(9)
    return b"\xff\xd8\xff\xc0" + frame + b"\xff\xda\0\x02" + bytes(64)


def bmp(height: int, width: int) -> bytes:
    """Run-length coded: a kilobyte of palette, then the end of the picture."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, 2, 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 1080, 0, 0, 1078) + header + bytes(1024) + b"\0\1"


def gif(height: int, width: int) -> bytes:
    """A frame of one pixel on a huge screen."""
    image = Image.new("L", (1, 1))
    image.save(stream := io.BytesIO(), "GIF")
    data = stream.getvalue()
    return data[:6] + struct.pack("<HH", width, height) + data[10:]


def tiff(height: int, width: int) -> bytes:
    """A directory of two sides, without pixels."""
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (262, 3, 1, 1)]
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4)


def tiled(height: int, width: int) -> bytes:
    """A small picture of one huge tile."""
    small = tiff(8, 8)
    tags = struct.pack("<HHIIHHII", 322, 4, 1, width, 323, 4, 1, height)
    return small[:8] + struct.pack("<H", 6) + small[10:-4] + tags + bytes(4)


def webp(height: int, width: int) -> bytes:
    """A frame of one pixel on a huge canvas."""
    Image.new("L", (1, 1)).save(stream := io.BytesIO(), "WEBP", lossless=True)
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    parts = (b"VP8X", b"\2\0\0\0" + sides), (b"ANIM", bytes(6)), (
        b"ANMF", bytes(16) + stream.getvalue()[12:],
    )  # fmt: skip
    chunks = b"".join(kind + struct.pack("<I", len(data)) + data for kind, data in parts)
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


HUGE = (20000, 20100)
BOMBS = (png, jpeg, bmp, gif, tiff, tiled, webp)


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused(tmp_path: Path, bomb: Callable[[int, int], bytes]) -> None:
    (tmp_path / "bomb.png").write_bytes(bomb(*HUGE))
    line = f"20100 x 20000 pixels are more than the limit of {MAX_PIXELS};"
    with pytest.raises(ValueError, match=line):
        read_image(tmp_path / "bomb.png")


@pytest.mark.parametrize("data", [b"II+\0\x08\0\0\0" + b"\xff" * 64, b"II*\0", b"BM", b"GIF89a"])
def test_damaged_headers_have_no_size(data: bytes) -> None:
    """The first has its directory beyond all memory."""
    assert header_size(data) == (0, 0)


@pytest.mark.parametrize(
    "data", [b"P6\n9 9\n255\n" + bytes(243), b"#?RADIANCE\n", b"%!PS-Adobe-3.0 EPSF-3.0\n"]
)
def test_other_formats_are_not_read(tmp_path: Path, data: bytes) -> None:
    """OpenCV would decode the first without a size check; Pillow runs the third."""
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.png: not an image that can be read"):
        read_image(tmp_path / "a.png")


SMALL = (37, 61)
PIXELS = np.random.default_rng(0).integers(0, 255, (*SMALL, 3), np.uint8)


def saved(kind: str) -> bytes:
    Image.fromarray(PIXELS).save(stream := io.BytesIO(), kind)
    return stream.getvalue()


def pngs() -> Iterator[bytes]:
    """Two headers: the true one and a smaller one."""
    whole, other = saved("PNG"), png(2, 2)
    yield whole[:33] + other[8:] + whole[33:]
    yield other + whole[8:]


def jpegs() -> Iterator[bytes]:
    """The true frame header and a smaller one, plain or within any other segment; filling."""
    whole = saved("JPEG")
    start = whole.index(b"\xff\xc0")
    end = start + 2 + int.from_bytes(whole[start + 2 : start + 4], "big")
    other = whole[start : start + 5] + b"\0\2\0\2" + whole[start + 9 : end]
    hidden = [struct.pack(">BBH", 0xFF, code, 2 + len(other)) + other for code in range(256)]
    bare = [bytes((0xFF, code)) + other for code in range(256)]
    for extra in (other, *hidden, *bare, b"\0junk", b"\xff\xff\xff", b"\xff\0", b"\xff\1"):
        yield whole[:end] + extra + whole[end:]
        yield whole[:start] + extra + whole[start:]


def bmps() -> Iterator[bytes]:
    """Headers of any length; OS/2's; rows from the top; less than nothing."""
    whole = saved("BMP")
    yield from (whole[:14] + struct.pack("<I", length) + whole[18:] for length in range(256))
    yield b"BM" + struct.pack("<IHHIIHHHH", 6834, 0, 0, 26, 12, 61, 37, 1, 24) + bytes(37 * 184)
    yield whole[:18] + struct.pack("<i", -61) + whole[22:]
    yield whole[:22] + struct.pack("<i", -37) + whole[26:]
    yield whole[:22] + struct.pack("<i", -(2**31)) + whole[26:]


def gifs() -> Iterator[bytes]:
    """A screen smaller and larger than the frame."""
    whole = saved("GIF")
    for height, width in ((2, 2), (50, 70)):
        yield whole[:6] + struct.pack("<HH", width, height) + whole[10:]


def tiffs() -> Iterator[bytes]:
    """Sides in every number type, also given twice."""
    others = [(258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 200), (277, 3, 1), (279, 4, 37 * 61)]
    for kind, order in itertools.product(range(20), "<>"):
        true, small = ((256, kind, 61), (257, kind, 37)), ((256, 4, 2), (257, 4, 2))
        far = ((256, kind, 180), (257, kind, 188))  # where numbers of 64 bits lie
        for sides in (true, true + small, small + true, far, far + small, small + far):
            entries = sorted((*sides, *others), key=lambda entry: entry[0])
            packed = b"".join(
                struct.pack(f"{order}HHI", tag, code, 1)
                + struct.pack(
                    order + {1: "B3x", 6: "B3x", 3: "H2x", 8: "H2x"}.get(code, "I"), value
                )
                for tag, code, value in entries
            )
            start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(
                f"{order}IH", 8, len(entries)
            )
            numbers = struct.pack(f"{order}QQ", 61, 37)
            yield (start + packed + bytes(4)).ljust(180, b"\0") + numbers.ljust(20) + bytes(37 * 61)


def webps() -> Iterator[bytes]:
    """A canvas smaller and larger than the picture."""
    whole = saved("WEBP")
    for height, width, flag in itertools.product((2, 50), (2, 70), b"\0\2"):
        canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        data = b"WEBPVP8X\x0a\0\0\0" + bytes((flag, 0, 0, 0)) + canvas + whole[12:]
        yield b"RIFF" + struct.pack("<I", len(data)) + data


@pytest.mark.parametrize("liars", [pngs, jpegs, bmps, gifs, tiffs, webps])
def test_what_opencv_decodes_is_not_larger_than_the_claim(
    liars: Callable[[], Iterator[bytes]],
) -> None:
    """Files that give their size twice or in an unusual way."""
    for data in liars():
        claimed = header_size(data)
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if claimed != (0, 0) and decoded is not None:
            assert decoded.shape[0] <= claimed[0], data[:300]
            assert decoded.shape[1] <= claimed[1], data[:300]


def test_what_is_no_matter_of_size_does_not_hinder(tmp_path: Path) -> None:
    """Damaged or long texts in a PNG (Pillow refuses them), and damaged EXIF (it warns)."""
    whole = saved("PNG")
    text = b"zTXta\0\0" + zlib.compress(bytes(3 << 20))
    for check in (0, zlib.crc32(text)):
        chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", check)
        (tmp_path / "a.png").write_bytes(whole[:33] + chunk + whole[33:])
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), PIXELS)
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\0" + bytes(range(64))
    jpeg = saved("JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    (tmp_path / "a.jpg").write_bytes(jpeg[:2] + segment + jpeg[20:])  # without JFIF's density
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "a.jpg").shape == (*SMALL, 3)


MEASURED = """
import resource, sys
from pathlib import Path
from engine.checks.image_checks import inspect
from engine.data.images import read_image
from segmentation.data.checks import inspect_mask
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before, faults = peak(), []
for path in map(Path, sys.argv[1:]):
    try:
        read_image(path)
    except ValueError:
        faults.append(inspect(path).problem + inspect_mask(path, ("a", "b")).fault)
print(peak() - before, *faults)
"""


@pytest.mark.slow
def test_bombs_take_no_memory(tmp_path: Path) -> None:
    """Increase of the peak memory of a process that reads all of them, in MB."""
    files = [tmp_path / f"{bomb.__name__}.png" for bomb in BOMBS]
    for path, bomb in zip(files, BOMBS, strict=True):
        path.write_bytes(bomb(*HUGE))
    ran = subprocess.run(
        [sys.executable, "-c", MEASURED, *map(str, files)], capture_output=True, text=True,
        check=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    grown, *faults = ran.stdout.split()
    assert int(grown) < 64
    assert faults == ["image-hugemask-unreadable"] * len(BOMBS)
