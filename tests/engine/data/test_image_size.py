"""Sizes read from headers: those that decoding gives, and of bombs those that they claim."""

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
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


def test_what_stands_between_the_segments_of_a_jpeg_is_passed_over() -> None:
    """libjpeg passes over it, too; a walk that stopped there would miss the true size."""
    jpeg = cv2.imencode(".jpg", np.zeros((37, 61, 3), np.uint8))[1].tobytes()
    for filling in (b"\0junk", b"\xff\x01", b"\xff\xff\xff", b"\xff\x00"):
        assert header_size(jpeg[:2] + filling + jpeg[2:]) == (37, 61)


def png(height: int, width: int) -> bytes:
    """One of grey pixels that are not there."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    length, check = struct.pack(">I", 13), struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + length + chunk + check


def jpeg(height: int, width: int) -> bytes:
    """Of three channels."""
    return b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 17, 8, height, width, 3) + bytes(64)


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
    """A canvas; a picture alone has at most 16383 pixels a side."""
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0" + sides + bytes(8)


BOMBS = (png, jpeg, bmp, gif, tiff, tiled, webp)


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused(tmp_path: Path, bomb: Callable[[int, int], bytes]) -> None:
    (tmp_path / "bomb.png").write_bytes(bomb(65500, 65400))
    line = f"65400 x 65500 pixels are more than the limit of {MAX_PIXELS};"
    with pytest.raises(ValueError, match=line):
        read_image(tmp_path / "bomb.png")


@pytest.mark.parametrize(
    "data", [b"P6\n9 9\n255\n" + bytes(243), b"#?RADIANCE\n", b"%!PS-Adobe-3.0 EPSF-3.0\n"]
)
def test_other_formats_are_not_read(tmp_path: Path, data: bytes) -> None:
    """OpenCV would decode the first, whose size nobody checked; Pillow runs the third."""
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.png: not an image that can be read"):
        read_image(tmp_path / "a.png")


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
    """The highest use of memory of a process that is given all of them, less that before: MB."""
    files = [tmp_path / f"{bomb.__name__}.png" for bomb in BOMBS]
    for path, bomb in zip(files, BOMBS, strict=True):
        path.write_bytes(bomb(65500, 65400))
    ran = subprocess.run(
        [sys.executable, "-c", MEASURED, *map(str, files)], capture_output=True, text=True,
        check=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    grown, *faults = ran.stdout.split()
    assert int(grown) < 64
    assert faults == ["image-hugemask-unreadable"] * len(BOMBS)
