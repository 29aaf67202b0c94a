"""tools/predict.py and engine.load_model: pictures and JSON, errors in one line."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from engine import load_model
from engine.checkpoint import checkpoint
from engine.data.images import read_image

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
OWN = ROOT / "configs/picodet_lcnet_own.py"
Run = Callable[..., Any]


@pytest.fixture(scope="session")
def model(trained: Path) -> Any:
    return load_model(OWN, trained / "epoch_2.pth")


def test_a_ready_model(model: Any, trained: Path) -> None:
    assert not model.network.training
    assert model.classes == tuple(checkpoint.read(trained / "epoch_2.pth")["classes"])


def test_arrays_paths_and_lists_give_the_same(model: Any, mini_coco: Path) -> None:
    paths = sorted((mini_coco / "val").iterdir())[:2]
    arrays = [read_image(path) for path in paths]
    both = model.predict(arrays)
    assert len(both) == 2
    for given in (paths[0], str(paths[0]), arrays[0], [paths[0]], [arrays[0]]):
        (alone,) = model.predict(given)
        assert torch.equal(alone["labels"], both[0]["labels"])
        assert torch.allclose(alone["scores"], both[0]["scores"], atol=1e-5)
        assert torch.allclose(alone["boxes"], both[0]["boxes"], atol=1e-2)
    assert not alone["boxes"].requires_grad


def test_boxes_are_in_pixels_of_the_image(model: Any, mini_coco: Path) -> None:
    """The same picture twice as wide and three times as high: boxes 2 and 3 times as far."""
    model.preprocess.interpolation = "nearest"
    image = read_image(sorted((mini_coco / "val").iterdir())[0])[:64, :64].copy()
    large = image.repeat(3, axis=0).repeat(2, axis=1)
    small, big = model.predict([image, large])
    model.preprocess.interpolation = "cubic"
    assert len(small["scores"]) == len(big["scores"]) > 0
    scaled = small["boxes"] * torch.tensor([2.0, 3.0, 2.0, 3.0])
    assert torch.allclose(scaled, big["boxes"], atol=1e-2)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 1), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.uint16),
    ],
    ids=["grey", "RGBA", "one channel", "float", "16 bit"],
)
def test_wrong_arrays(model: Any, image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected RGB uint8") as error:
        model.predict(image)
    assert str(image.shape) in str(error.value)


def test_other_input_types(model: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Tensor is not an image; give RGB uint8 arrays or paths"):
        model.predict([torch.zeros(3, 8, 8)])
    with pytest.raises(ValueError, match="int is not an image"):
        model.predict([7])
    with pytest.raises(FileNotFoundError, match="no such image file"):
        model.predict(tmp_path / "none.jpg")
    assert model.predict([]) == []


def test_pictures_json_and_video(
    run_tool: Run, trained: Path, mini_coco: Path, tmp_path: Path
) -> None:
    film = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"MJPG"), 5.0, (64, 64))
    for _ in range(2):
        writer.write(np.full((64, 64, 3), 99, np.uint8))
    writer.release()
    out = tmp_path / "out"
    arguments = [mini_coco / "val", film, "--out-dir", out, "--score-thr", "0.001"]
    ran = run_tool("predict", OWN, trained / "epoch_2.pth", *arguments)
    assert (ran.code, ran.err) == (0, "")
    assert "7 files predicted" in ran.out
    results = json.loads((out / "predictions.json").read_text())
    names = {path.name for path in (mini_coco / "val").iterdir()} | {"film.mp4"}
    assert set(results) == names
    assert {path.name for path in out.iterdir()} == names | {"predictions.json"}
    assert len(results["film.mp4"]) == 2
    found = [row for name, rows in results.items() if name != "film.mp4" for row in rows]
    assert found
    for row in found:
        assert set(row) == {"class", "label", "score", "box_xyxy"}
        assert 0.001 <= row["score"] <= 1
        assert 0 <= row["label"] < 8
        assert row["box_xyxy"][0] < row["box_xyxy"][2]


def test_without_a_folder_results_are_printed(
    run_tool: Run, trained: Path, mini_coco: Path
) -> None:
    image = sorted((mini_coco / "val").iterdir())[0]
    ran = run_tool("predict", OWN, trained / "epoch_2.pth", image, "--score-thr", "0.9999")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[-1] == f"{image} []"


def test_where_the_time_goes(run_tool: Run, trained: Path, mini_coco: Path, tmp_path: Path) -> None:
    image = sorted((mini_coco / "val").iterdir())[0]
    command = ("predict", OWN, trained / "epoch_2.pth", image, "--timings")
    ran = run_tool(*command)
    assert re.search(r"median ms an image: read [\d.]+, prepare [\d.]+, network [\d.]+\n", ran.out)
    ran = run_tool(*command, "--out-dir", tmp_path / "out")
    assert re.search(r"read [\d.]+, prepare [\d.]+, network [\d.]+, write [\d.]+\n", ran.out)


def test_errors(
    run_tool: Run, trained: Path, mini_coco: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def line(path: Path, *sources: Path | str) -> str:
        ran = run_tool("predict", OWN, path, *sources)
        assert ran.code == 1, ran
        assert ran.err.count("\n") == 1, ran.err
        assert capfd.readouterr().err == ""  # from C libraries
        return str(ran.err)

    good = trained / "epoch_2.pth"
    assert "none.jpg: no image or video found" in line(good, tmp_path / "none.jpg")
    assert "none.pth: no such checkpoint" in line(tmp_path / "none.pth", mini_coco / "val")
    (tmp_path / "a.jpg").write_bytes(b"no image")
    assert "a.jpg: not an image" in line(good, tmp_path / "a.jpg")
    (tmp_path / "a.mp4").write_bytes(b"no film")
    assert "a.mp4: no frame of this video" in line(good, tmp_path / "a.mp4")
    assert "contains the source" in line(good, mini_coco / "val", "--out-dir", mini_coco / "val")
    assert run_tool("predict", OWN, good).code == 2


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--workers", "0"], "error: --workers 0: give 1 or more\n"),
        (
            ["--workers", "2", "--timings"],
            "error: --timings: stages cannot be timed with several workers; use --workers 1\n",
        ),
    ],
)
def test_workers_that_cannot_be(run_tool: Run, arguments: list[str], line: str) -> None:
    ran = run_tool("predict", OWN, "none.pth", "none.jpg", *arguments)
    assert (ran.code, ran.err) == (1, line)


def test_workers_find_what_one_finds(
    run_tool: Run, trained: Path, mini_coco: Path, tmp_path: Path
) -> None:
    threads = torch.get_num_threads()
    given = [OWN, trained / "epoch_2.pth", mini_coco / "val", "--score-thr", "0.05"]
    for workers in ("1", "2"):
        ran = run_tool("predict", *given, "--workers", workers, "--out-dir", tmp_path / workers)
        assert ran.code == 0, ran.err
    torch.set_num_threads(threads)
    one, two = (json.loads((tmp_path / n / "predictions.json").read_text()) for n in ("1", "2"))
    assert one == two
    assert len(one) == 6


@pytest.mark.slow
@pytest.mark.parametrize("pair", ["detector", "segmenter", "classifier"])
def test_nothing_that_only_training_needs_is_imported(
    pair: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    config, checkpoint = request.getfixturevalue(f"small_{pair}_pair")
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((64, 96, 3), np.uint8))
    argv = ["predict", str(config), str(checkpoint), str(tmp_path / "a.png")]
    argv += ["--out-dir", str(tmp_path / "out")]
    code = (
        f"import runpy, sys\nsys.argv = {argv!r}\n"
        f"try:\n    runpy.run_path({str(ROOT / 'tools/predict.py')!r}, run_name='__main__')\n"
        "except SystemExit as done:\n    assert not done.code\n"
        "names = {name.split('.')[0] for name in sys.modules}\n"
        "print(sorted(names & {'matplotlib', 'albumentations', 'pycocotools'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr
    assert (tmp_path / "out/a.png").is_file()
