"""`read_image` on each kind of file."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from engine.data.images import MAX_PIXELS, decode, encode_image, pixels_of, read_image


def numbered(height: int, width: int) -> np.ndarray:
    """(height, width, 3) uint8 in which every pixel differs."""
    return np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)


def test_rgb_png_comes_back_bit_for_bit(tmp_path: Path) -> None:
    pixels = numbered(5, 7)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    np.testing.assert_array_equal(image, pixels)


def test_path_may_be_a_string_with_any_letters(tmp_path: Path) -> None:
    Image.fromarray(numbered(2, 2)).save(tmp_path / "früh 図.png")
    np.testing.assert_array_equal(read_image(str(tmp_path / "früh 図.png")), numbered(2, 2))


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp", "gif"])
def test_grey_is_repeated_over_three_channels(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(np.full((4, 6), 100, np.uint8)).save(tmp_path / f"grey.{suffix}")
    image = read_image(tmp_path / f"grey.{suffix}")
    assert image.shape == (4, 6, 3)
    np.testing.assert_allclose(image.astype(int), 100, atol=1)


def test_alpha_is_dropped_and_the_colour_under_it_stays(tmp_path: Path) -> None:
    pixels = np.full((4, 6, 4), (200, 100, 50, 0), np.uint8)  # fully transparent orange
    Image.fromarray(pixels).save(tmp_path / "rgba.png")
    np.testing.assert_array_equal(read_image(tmp_path / "rgba.png"), pixels[..., :3])


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_keeps_the_upper_8(tmp_path: Path, suffix: str) -> None:
    """200 * 257 = 51400 is 200 in 8 bits; 65535 is 255; 0 is 0."""
    bgr = np.array([[[0, 51400, 65535]]], np.uint16)
    cv2.imwrite(str(tmp_path / f"deep.{suffix}"), bgr)
    assert read_image(tmp_path / f"deep.{suffix}").tolist() == [[[255, 200, 0]]]


def test_16_bit_grey(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 3), 51400, np.uint16)).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), np.full((2, 3, 3), 200))


def test_cmyk_jpeg_is_converted(tmp_path: Path) -> None:
    """Ink (10, 100, 200, 0) of 255 leaves light (245, 155, 55); JPEG may be off by a few."""
    Image.new("CMYK", (16, 8), (10, 100, 200, 0)).save(tmp_path / "cmyk.jpg", quality=95)
    image = read_image(tmp_path / "cmyk.jpg")
    assert image.shape == (8, 16, 3)
    np.testing.assert_allclose(image[4, 8].astype(int), [245, 155, 55], atol=3)


def test_palette_is_converted(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2), (250, 20, 30)).quantize(4).save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png")[0, 0], [250, 20, 30])


def test_one_pixel(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "one.png")
    assert read_image(tmp_path / "one.png").tolist() == [[[1, 2, 3]]]


def save_with_orientation(path: Path, orientation: int) -> None:
    """A 16 x 32 JPEG, left half black and right half white, with an EXIF orientation."""
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, 16:] = 255
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(path, exif=exif, quality=95)


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    """Orientation 6 asks for a quarter turn clockwise: the left half goes on top."""
    save_with_orientation(tmp_path / "turned.jpg", 6)
    image = read_image(tmp_path / "turned.jpg")
    assert image.shape == (32, 16, 3)
    assert image[:15].mean() < 5
    assert image[17:].mean() > 250


def test_exif_rotation_can_be_left_out(tmp_path: Path) -> None:
    save_with_orientation(tmp_path / "turned.jpg", 3)
    assert read_image(tmp_path / "turned.jpg")[:, :15].mean() > 250
    assert read_image(tmp_path / "turned.jpg", apply_exif=False)[:, :15].mean() < 5


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg: no such image file$"):
        read_image(tmp_path / "gone.jpg")


def bad_files() -> dict[str, bytes]:
    """Contents that are not images: empty, text, and the first half of a photo."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    return {
        "empty": b"",
        "text": b"this is not an image",
        "jpeg": cv2.imencode(".jpg", noise)[1].tobytes()[:3000],
        "png": cv2.imencode(".png", noise)[1].tobytes()[:3000],
        "headers": b"\xff\xd8\xff\xff\xff\xc0",
    }


@pytest.mark.parametrize("kind", list(bad_files()))
def test_undecodable_file_is_one_line_with_the_path(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"{kind}.jpg"
    path.write_bytes(bad_files()[kind])
    with pytest.raises(ValueError, match=f"{kind}.jpg: not an image") as error:
        read_image(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["empty", "text", "jpeg"])
def test_undecodable_file_prints_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    (tmp_path / "bad.jpg").write_bytes(bad_files()[kind])
    with pytest.raises(ValueError, match="not an image"):
        read_image(tmp_path / "bad.jpg")
    assert capfd.readouterr() == ("", "")


def png_header(height: int, width: int) -> bytes:
    """A PNG with a valid header but no valid data."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    )


def jpeg_header(height: int, width: int) -> bytes:
    """The start of a JPEG: an application segment, the frame header, then the start of a scan."""
    frame = struct.pack(">HBHHB", 17, 8, height, width, 3) + bytes(9)
    return b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc2" + frame + b"\xff\xda\0\x02"


@pytest.mark.parametrize("header", [png_header, jpeg_header])
def test_image_bomb_is_refused_before_decoding(tmp_path: Path, header: object) -> None:
    assert callable(header)
    (tmp_path / "bomb.png").write_bytes(header(16384 + 1, 16384))
    with pytest.raises(ValueError, match=f"16384 x 16385 pixels are more than .* {MAX_PIXELS};"):
        read_image(tmp_path / "bomb.png")
    (tmp_path / "bomb.png").write_bytes(header(16384, 16384))  # at the limit: on to the decoder
    with pytest.raises(ValueError, match="not an image"):
        read_image(tmp_path / "bomb.png")


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp"])
def test_written_without_loss(suffix: str) -> None:
    picture = numbered(5, 7)
    assert np.array_equal(pixels_of("a", encode_image(picture, suffix)), picture)


def test_grey_ones_stay_grey_and_jpegs_have_the_quality() -> None:
    mask = np.arange(12, dtype=np.uint8).reshape(3, 4)
    grey = decode("a", encode_image(mask, ".png"), cv2.IMREAD_UNCHANGED)
    assert grey is not None
    assert grey.tolist() == mask.tolist()
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    plain = cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes()  # OpenCV's own quality is 95
    assert encode_image(picture, ".jpg") == encode_image(picture, ".JFIF") == plain
    assert len(encode_image(picture, ".jpeg", quality=50)) < len(plain) / 2


def test_a_format_that_cannot_be_written() -> None:
    with pytest.raises(ValueError, match=r"'.xyz': images cannot be written in this format"):
        encode_image(numbered(2, 2), ".xyz")
