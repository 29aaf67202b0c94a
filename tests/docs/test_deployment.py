"""The programs of docs/deployment.md, run as the page says."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import pytest

from engine import config, load_model
from engine.data.images import read_image
from engine.export.exporter import export
from engine.export.plan import Plan

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "docs/programs"
CONFIG = ROOT / "configs/picodet_xs_lcnet.py"
pytestmark = pytest.mark.slow


class Case(NamedTuple):
    """A photo, the published detector in two formats, and what its checkpoint finds."""

    folder: Path
    lines: list[list[str]]


@pytest.fixture(scope="module")
def case(real_dir: Path, run_tool, tmp_path_factory: pytest.TempPathFactory) -> Case:
    pytest.importorskip("onnxscript")
    pytest.importorskip("openvino")
    folder = tmp_path_factory.mktemp("deployment")
    weights = real_dir / "weights/picodet_xs_320_coco_lcnet/weights.npz"
    ran = run_tool("convert_weights", weights, folder / "xs.pth", "--config", CONFIG)
    assert ran.code == 0, ran.err
    image = read_image(sorted((real_dir / "data/coco_mini/val2017").glob("*.jpg"))[0])
    for name in ("photo.png", "photo.ppm"):
        cv2.imwrite(str(folder / name), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    for format_, name in (("onnx", "xs.onnx"), ("openvino", "xs.xml")):
        plan = Plan(format=format_, end2end=True, with_preprocess=True)
        export(config.load(CONFIG), folder / "xs.pth", folder / name, plan)
    model = load_model(CONFIG, folder / "xs.pth")
    rows = model.describe(model.predict(image)[0], 0.4)
    assert rows
    lines = [
        [row["class"], f"{row['score']:.3f}", *(f"{side:.1f}" for side in row["box_xyxy"])]
        for row in rows
    ]
    return Case(folder, lines)


def assert_same(printed: str, case: Case) -> None:
    """The same classes; scores within 0.002 and sides within half a pixel."""
    lines = [line.rsplit(" ", 5) for line in printed.splitlines()]
    assert [line[0] for line in lines] == [line[0] for line in case.lines]
    for found, wanted in zip(lines, case.lines, strict=True):
        assert float(found[1]) == pytest.approx(float(wanted[1]), abs=0.002)
        assert [float(v) for v in found[2:]] == pytest.approx(
            [float(v) for v in wanted[2:]], abs=0.5
        )


def run(*command: str | Path, folder: Path) -> str:
    """What a command prints; it may not see this repository."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_python_with_the_engine_alone(case: Case, engine: str) -> None:
    script = case.folder / f"detect_{engine}.py"
    shutil.copy(PROGRAMS / script.name, script)
    model = {"onnx": "xs.onnx", "openvino": "xs.xml"}[engine]
    assert_same(run(sys.executable, "-P", script, model, "photo.png", folder=case.folder), case)


def test_cpp(case: Case) -> None:
    compiler = shutil.which("g++")
    spec = importlib.util.find_spec("openvino")
    if compiler is None or spec is None or spec.origin is None:
        pytest.skip("no g++, or no OpenVINO whose headers it could use")
    home = Path(spec.origin).parent
    if not (home / "include/openvino/openvino.hpp").is_file():
        pytest.skip("this OpenVINO package has no C++ headers")
    shutil.copy(PROGRAMS / "detect.cpp", case.folder)
    libraries = sorted((home / "libs").glob("libopenvino.so.*"))
    run(
        compiler, "-std=c++17", "-O0", "detect.cpp", f"-I{home / 'include'}", *libraries,
        f"-Wl,-rpath,{home / 'libs'}", "-o", "detect", folder=case.folder,
    )  # fmt: skip
    assert_same(run("./detect", "xs.xml", "photo.ppm", folder=case.folder), case)
