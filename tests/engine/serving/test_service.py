"""Uploads: sizes in headers, and answers equal to tools/predict.py."""

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engine import load_model
from engine.serving.service import BadImage, Served, TooManyPixels, Upload, count_pixels

ROOT = Path(__file__).parents[3]
OWN = ROOT / "configs/picodet_lcnet_own.py"
SEGMENTER = ROOT / "configs/deeplabv3plus_lcnet_mini.py"


def encoded(suffix: str, height: int = 30, width: int = 50, seed: int = 0) -> bytes:
    """A file of coarse noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 10, 3), np.uint8)
    return bytes(cv2.imencode(suffix, cv2.resize(noise, (width, height)))[1])


def png_claiming(height: int, width: int) -> bytes:
    """A PNG of a few bytes."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"0")), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
def test_pixels_by_the_header(suffix: str) -> None:
    data = encoded(suffix)
    assert count_pixels(data, 1500) == 1500
    with pytest.raises(TooManyPixels, match="50 x 30 pixels exceed the limit of 1499"):
        count_pixels(data, 1499)


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize("side", [10_000, 100_000])
def test_small_files_that_claim_to_be_large(side: int) -> None:
    """Also beyond what Pillow itself opens."""
    with pytest.raises(TooManyPixels, match="the limit of 24000000"):
        count_pixels(png_claiming(side, side), 24_000_000)


@pytest.mark.parametrize(
    "data", [b"", b"text", b"\xff\xd8\xff", encoded(".png")[:20], encoded(".tiff")],
    ids=["nothing", "text", "JPEG head", "PNG head", "TIFF"],
)  # fmt: skip
def test_no_image(data: bytes) -> None:
    with pytest.raises(
        BadImage, match=f"image: not a JPEG, PNG, WEBP, BMP file .{len(data)} bytes"
    ):
        count_pixels(data, 10**6)


def uploads(number: int) -> list[Upload]:
    """Images of several sizes, in three formats."""
    return [
        Upload(encoded((".png", ".bmp", ".webp")[n % 3], 40 + 7 * n, 60 - 5 * n, n), 0.05)
        for n in range(number)
    ]


def alone(model: Any, upload: Upload) -> list[dict[str, Any]]:
    """The results of tools/predict.py."""
    image = cv2.imdecode(np.frombuffer(upload.data, np.uint8), cv2.IMREAD_COLOR_RGB)
    rows: list[dict[str, Any]] = model.describe(model.predict(image)[0], upload.threshold)
    return rows


def assert_close(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    assert [row["class"] for row in found] == [row["class"] for row in wanted]
    for row, other in zip(found, wanted, strict=True):
        assert row.keys() == other.keys()
        for key in row.keys() - {"class"}:
            assert row[key] == pytest.approx(other[key], rel=1e-4, abs=1e-3)


@pytest.fixture(scope="module")
def detector(small_detector: Path) -> Served:
    return Served("d", load_model(OWN, small_detector))


def test_a_batch_of_detections(detector: Served) -> None:
    given = uploads(4)
    assert detector.model.batched
    answers = [json.loads(answer) for answer in detector.answer(given) if isinstance(answer, bytes)]
    wanted = [alone(detector.model, upload) for upload in given]
    assert sum(map(len, wanted)) > 4
    for found, rows in zip(answers, wanted, strict=True):
        assert_close(found, rows)


def test_broken_images_among_good_ones(detector: Served) -> None:
    first, second, third = uploads(3)
    broken = second._replace(data=second.data[:30])
    answers = detector.answer([broken, first, broken, third])
    assert isinstance(answers[0], BadImage)
    assert "image: not an image that can be read (30 bytes" in str(answers[2])
    for answer, upload in ((answers[1], first), (answers[3], third)):
        assert isinstance(answer, bytes)
        assert_close(json.loads(answer), alone(detector.model, upload))
    (only,) = detector.answer([broken])
    assert isinstance(only, BadImage)


def test_threshold_of_each(detector: Served) -> None:
    (upload,) = uploads(1)
    scores = [row["score"] for row in alone(detector.model, upload._replace(threshold=0.0))]
    middle = scores[len(scores) // 2]
    asked = [upload._replace(threshold=t) for t in (0.0, middle + 1e-4, 1.0)]
    numbers = [len(json.loads(a)) for a in detector.answer(asked) if isinstance(a, bytes)]
    assert numbers[0] == len(scores) > numbers[1] > numbers[2] == 0


def test_segmenter_takes_images_one_by_one(small_segmenter: Path) -> None:
    """Padding to the largest image would change the results of smaller ones."""
    served = Served("s", load_model(SEGMENTER, small_segmenter))
    assert not served.model.batched
    assert served.input_rule() == {"size": None, "resize_shortest": None, "interpolation": "cubic"}
    given = uploads(3)
    for answer, upload in zip(served.answer(given), given, strict=True):
        assert isinstance(answer, bytes)
        assert json.loads(answer) == alone(served.model, upload)


def test_exported_for_one_image(onnx_file: Callable[..., Path]) -> None:
    served = Served("o", load_model(OWN, onnx_file()))
    assert not served.model.batched
    assert served.input_rule()["size"] == [64, 96]
    given = uploads(2)
    for answer, upload in zip(served.answer(given), given, strict=True):
        assert isinstance(answer, bytes)
        (row,) = json.loads(answer)
        height, width = 40 + 7 * given.index(upload), 60 - 5 * given.index(upload)
        box = np.array([8, 8, 48, 32]) * [width / 96, height / 64, width / 96, height / 64]
        assert row["box_xyxy"] == pytest.approx(box.tolist())


def test_image_of_a_size_that_an_exported_file_does_not_take(
    onnx_file: Callable[..., Path],
) -> None:
    """The request's error, not the server's."""
    served = Served("o", load_model(OWN, onnx_file(), {"model.data_preprocessor.size": [64, 64]}))
    answers = served.answer(uploads(2))
    assert all(isinstance(answer, BadImage) for answer in answers)
    assert "takes inputs of 1 x 3 x 64 x 96, got 1 x 3 x 64 x 64" in str(answers[0])
