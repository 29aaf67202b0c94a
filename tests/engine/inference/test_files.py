"""engine/inference/files.py: results, written files and their colours."""

import csv
import json
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.data import images
from engine.data.image_files import find_sources
from engine.data.images import read_image
from engine.inference.files import predict_files

Picture = NDArray[np.uint8]
RED = (220, 30, 20)


class Painter:
    """A model that finds the mean colour and draws a white corner."""

    def predict(self, image: Any) -> list[dict[str, Any]]:
        return [{"mean": image.reshape(-1, 3).mean(0).round().tolist()}]

    def draw(self, image: Picture, *_: object) -> Picture:
        canvas = image.copy()
        canvas[:4, :4] = 255
        return canvas

    def describe(self, found: dict[str, Any], threshold: float) -> list[dict[str, Any]]:
        return [{**found, "threshold": threshold}]


class Ranker(Painter):
    """A model that returns the red and green level of a picture."""

    def describe(self, found: dict[str, Any], threshold: float) -> list[dict[str, Any]]:  # noqa: ARG002
        scores = [(found["mean"][label] / 256, label) for label in (0, 1)]
        return [
            {"class": ("red", 'green, "leafy"')[label], "label": label, "score": score}
            for score, label in sorted(scores, reverse=True)
        ]


def paint(path: Path, colour: tuple[int, int, int] = RED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.full((32, 48, 3), colour, np.uint8)
    assert cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return path


def film(path: Path, code: str, frames: int = 5) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 10.0, (64, 48))
    if not writer.isOpened():
        pytest.skip(f"this OpenCV writes no {code}")
    picture = np.full((48, 64, 3), RED[::-1], np.uint8)
    for _ in range(frames):
        writer.write(picture)
    writer.release()
    return path


def test_folder_glob_list_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = paint(tmp_path / "in/a.png"), paint(tmp_path / "in/deep/b.JPG")
    (tmp_path / "in/notes.md").write_text("no image")
    (tmp_path / "list.txt").write_text(f"in/a.png\n\n{b}\n")
    assert find_sources([str(tmp_path / "in")]) == [a, b]
    assert find_sources([str(tmp_path / "in/*")]) == [a]
    assert find_sources([str(tmp_path / "*/deep/*.JPG")]) == [b]
    assert find_sources([str(tmp_path / "in/**/*.*")]) == [a, b]
    assert find_sources([str(tmp_path / "list.txt")]) == [a, b]
    assert find_sources([str(b), str(a)]) == [b, a]
    odd = paint(tmp_path / "in/c[1].png")
    assert find_sources([str(odd)]) == [odd]
    monkeypatch.chdir(tmp_path)
    assert find_sources(["in/deep"]) == [Path("in/deep/b.JPG")]


@pytest.mark.parametrize("name", ["none.jpg", "empty", "*.jpg", "http://x.org/a.jpg"])
def test_nothing_found(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no image or video found"):
        find_sources([str(tmp_path / name)])


def test_bad_lists(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("gone.jpg\n")
    with pytest.raises(FileNotFoundError, match=r"list\.txt: .*gone\.jpg: no image"):
        find_sources([str(path)])
    path.write_text("list.txt\n")
    with pytest.raises(ValueError, match="a list in a list is not supported"):
        find_sources([str(path)])


def test_pictures_keep_their_colours(tmp_path: Path) -> None:
    source = paint(tmp_path / "in/a.png")
    results = predict_files(Painter(), [source], tmp_path / "out", 0.25)
    assert results == {"a.png": [{"mean": list(RED), "threshold": 0.25}]}
    written = read_image(tmp_path / "out/a.png")
    assert written[20, 20].tolist() == list(RED)
    assert written[0, 0].tolist() == [255, 255, 255]
    assert json.loads((tmp_path / "out/predictions.json").read_text()) == results
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "predictions.json"]


def test_one_name_never_hides_another(tmp_path: Path) -> None:
    """Same names in two folders, and formats that become one format when written."""
    sources = [
        paint(tmp_path / path, (value, 0, 0))
        for value, path in enumerate(
            ("1/a.png", "2/a.png", "3/a.png", "1/b.bmp", "1/b.png", "1/c.tiff", "1/a_2.png"), 100
        )
    ]
    results = predict_files(Painter(), sources, tmp_path / "out", 0.5)
    names = ["a.png", "a_2.png", "a_3.png", "b.png", "b_2.png", "c.png", "a_2_2.png"]
    assert list(results) == names
    reds = [int(read_image(tmp_path / "out" / name)[20, 20, 0]) for name in names]
    assert reds == list(range(100, 107))


def test_a_source_is_never_overwritten(tmp_path: Path) -> None:
    source = paint(tmp_path / "a.png")
    before = source.read_bytes()
    with pytest.raises(ValueError, match=r"contains the source a\.png"):
        predict_files(Painter(), [source], tmp_path / "x/..", 0.5)
    assert source.read_bytes() == before


def test_without_a_folder_nothing_is_written(tmp_path: Path) -> None:
    source = paint(tmp_path / "a.png")
    assert list(predict_files(Painter(), [source], None, 0.5)) == [str(source)]
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(("suffix", "code"), [(".avi", "MJPG"), (".mp4", "mp4v")])
def test_video(tmp_path: Path, suffix: str, code: str) -> None:
    source = film(tmp_path / f"film{suffix}", code)
    results = predict_files(Painter(), [source], tmp_path / "out", 0.5)
    assert list(results) == ["film.mp4"]
    assert len(results["film.mp4"]) == 5
    assert results["film.mp4"][0][0]["mean"] == pytest.approx(RED, abs=8)
    capture = cv2.VideoCapture(str(tmp_path / "out/film.mp4"))
    alive, frame = capture.read()
    assert alive
    assert capture.get(cv2.CAP_PROP_FPS) == 10
    assert frame[30, 40, ::-1].tolist() == pytest.approx(RED, abs=12)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["film.mp4", "predictions.json"]


def test_films_of_one_name(tmp_path: Path) -> None:
    sources = [film(tmp_path / "f.avi", "MJPG", 2), film(tmp_path / "f.mp4", "mp4v", 3)]
    results = predict_files(Painter(), sources, tmp_path / "out", 0.5)
    assert {name: len(frames) for name, frames in results.items()} == {"f.mp4": 2, "f_2.mp4": 3}


def test_rankings_are_a_table_too(tmp_path: Path) -> None:
    red, green = paint(tmp_path / "1/a.png", (128, 64, 0)), paint(tmp_path / "2/a.png", (0, 32, 0))
    predict_files(Ranker(), [red, green], tmp_path / "out", 0.5)
    with (tmp_path / "out/predictions.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows == [
        ["image", "source", "frame", "rank", "class", "label", "score"],
        ["a.png", str(red), "", "1", "red", "0", "0.5"],
        ["a.png", str(red), "", "2", 'green, "leafy"', "1", "0.25"],
        ["a_2.png", str(green), "", "1", 'green, "leafy"', "1", "0.125"],
        ["a_2.png", str(green), "", "2", "red", "0", "0.0"],
    ]


def test_rankings_of_a_video_have_the_frame(tmp_path: Path) -> None:
    predict_files(Ranker(), [film(tmp_path / "f.avi", "MJPG", 2)], tmp_path / "out", 0.5)
    with (tmp_path / "out/predictions.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert [row[2:4] for row in rows[1:]] == [["0", "1"], ["0", "2"], ["1", "1"], ["1", "2"]]


def test_a_damaged_film(tmp_path: Path) -> None:
    source = tmp_path / "film.mp4"
    source.write_bytes(b"no film" * 100)
    with pytest.raises(ValueError, match=r"film\.mp4: no frame of this video can be decoded"):
        predict_files(Painter(), [source], tmp_path / "out", 0.5)
    assert not list((tmp_path / "out").glob("*"))


def test_a_damaged_image(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8 broken")
    with pytest.raises(ValueError, match=r"a\.jpg: not an image"):
        predict_files(Painter(), [tmp_path / "a.jpg"], None, 0.5)


class Slow(Painter):
    """A model that is slower on dark pictures, and counts simultaneous calls."""

    def __init__(self) -> None:
        self.now, self.most, self.seen = 0, 0, 0
        self.lock = threading.Lock()

    def predict(self, image: Any) -> list[dict[str, Any]]:
        with self.lock:
            self.now, self.seen = self.now + 1, self.seen + 1
            self.most = max(self.most, self.now)
        time.sleep(0.02 - 0.00007 * float(image.mean()))
        with self.lock:
            self.now -= 1
        return super().predict(image)


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_share_the_images_and_keep_their_order(tmp_path: Path, workers: int) -> None:
    files = [paint(tmp_path / f"{n}.png", (20 * n, 20 * n, 20 * n)) for n in range(12)]
    model = Slow()
    results = predict_files(model, [*files, files[0]], tmp_path / "out", 0.5, workers=workers)
    assert model.most == workers
    assert [rows[0]["mean"][0] for rows in results.values()] == [*(20 * n for n in range(12)), 0]
    assert list(results) == [*(f"{n}.png" for n in range(12)), "0_2.png"]


def test_an_error_ends_all_workers(tmp_path: Path) -> None:
    files = [paint(tmp_path / f"{n:02}.png") for n in range(40)]
    files[1].write_bytes(b"nothing")
    model = Slow()
    with pytest.raises(ValueError, match=r"01\.png: not an image"):
        predict_files(model, files, None, 0.5, workers=2)
    assert model.seen < 20


@pytest.mark.parametrize("line", ["x" * 300, "a\0b", "[a]\0*"], ids=["long", "zero", "magic"])
def test_a_list_of_what_is_no_path(tmp_path: Path, line: str) -> None:
    (tmp_path / "list.txt").write_text(line)
    with pytest.raises((ValueError, FileNotFoundError), match=r"list\.txt: .{3,200}$") as error:
        find_sources([str(tmp_path / "list.txt")])
    assert "\n" not in str(error.value)


def test_a_film_of_huge_frames_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = film(tmp_path / "film.mp4", "mp4v")
    monkeypatch.setattr(images, "MAX_PIXELS", 100)
    with pytest.raises(ValueError, match=r"film\.mp4: \d+ x \d+ pixels are more than the limit"):
        predict_files(Painter(), [source], None, 0.5)
