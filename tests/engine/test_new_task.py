"""docs/extending.md: a task of another kind works with no line of the engine or the tools edited.

Its files are the blocks of that page.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from engine.checkpoint import checkpoint

PAGE = Path(__file__).parents[2] / "docs/extending.md"
BLOCK = re.compile(r"^`([\w/]+\.py)`\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = dict(BLOCK.findall(PAGE.read_text()))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The package and its config, on Python's path, and data of noise around a grey."""
    root = tmp_path_factory.mktemp("task")
    (root / "brightness").mkdir()
    (root / "brightness/__init__.py").touch()
    for name, text in FILES.items():
        (root / name).write_text(text)
    data = root / "data/images"
    data.mkdir(parents=True)
    random = np.random.default_rng(0)
    for split, count in (("train", 32), ("val", 8)):
        lines = []
        for number in range(count):
            grey = random.integers(20, 236)
            image = np.clip(grey + random.integers(-20, 21, (48, 40, 3)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(data / f"{split}{number}.png"), image)
            lines.append(f"{split}{number}.png {image.mean() / 255:.6f}\n")
        (root / f"data/{split}.txt").write_text("".join(lines))
    sys.path.insert(0, str(root))
    yield root
    sys.path.remove(str(root))
    for name in [name for name in sys.modules if name.split(".")[0] == "brightness"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def trained(folder: Path, run_tool: Callable[..., SimpleNamespace]) -> Path:
    """The best checkpoint of a training."""
    ran = run_tool(
        "train", folder / "brightness_own.py", "--data", folder / "data",
        "--work-dir", folder / "run", "--seed", "1",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    (best,) = (folder / "run").glob("best_closeness_*.pth")
    return best


@pytest.fixture(scope="module")
def ran(folder: Path, run_tool: Callable[..., SimpleNamespace]) -> Callable[..., str]:
    """Runs a command with the config, and gives what it prints."""

    def run(name: str, *arguments: object) -> str:
        done = run_tool(name, folder / "brightness_own.py", *arguments)
        assert done.code == 0, done.err
        return str(done.out)

    return run


def truths(folder: Path) -> dict[str, float]:
    lines = (folder / "data/val.txt").read_text().splitlines()
    return {name: float(value) for name, value in map(str.split, lines)}


def test_the_page_has_the_files_it_speaks_of() -> None:
    modules = ("task", "network", "data", "pictures", "report")
    assert set(FILES) == {*(f"brightness/{name}.py" for name in modules), "brightness_own.py"}


def test_it_trains_and_the_report_has_the_metric(
    folder: Path, trained: Path, ran: Callable[..., str]
) -> None:
    ran("test", trained, "--data", folder / "data", "--report", folder / "report")
    numbers = json.loads((folder / "report/report.json").read_text())
    assert numbers["images"] == 8
    assert numbers["metrics"]["closeness"] > 95
    assert "Largest errors" in (folder / "report/index.html").read_text()


def test_it_predicts(folder: Path, trained: Path, ran: Callable[..., str]) -> None:
    out = folder / "out"
    ran("predict", trained, folder / "data/images", "--out-dir", out)
    found = json.loads((out / "predictions.json").read_text())
    assert len(found) == 40
    for name, value in truths(folder).items():
        assert found[name][0]["value"] == pytest.approx(value, abs=0.1)
        assert (out / name).is_file()


@pytest.mark.parametrize("format_", ["onnx", "openvino", "torchscript"])
def test_it_exports_and_the_file_predicts_the_same(
    folder: Path, trained: Path, ran: Callable[..., str], format_: str
) -> None:
    from engine import load_model

    suffix = {"onnx": ".onnx", "openvino": ".xml", "torchscript": ".pt"}[format_]
    path = folder / f"meter{suffix}"
    ran("export", trained, "--format", format_, "--out", path, "--end2end")
    images = sorted((folder / "data/images").glob("val*.png"))
    one, other = (
        load_model(folder / "brightness_own.py", p).predict(images) for p in (trained, path)
    )
    wanted = [min(max(result["value"], 0), 1) for result in one]
    assert [result["value"] for result in other] == pytest.approx(wanted, abs=1e-4)


def test_it_is_benchmarked(folder: Path, trained: Path, ran: Callable[..., str]) -> None:
    out = folder / "times.json"
    ran("benchmark", trained, "--backend", "torch", "onnxruntime", "--runs", "4", "--out", out)
    report = json.loads(out.read_text())
    assert [row["backend"] for row in report["results"]] == ["torch", "onnxruntime"]
    assert report["survived"] == {"number": 1, "kind": "values"}


def test_it_is_served(folder: Path, trained: Path) -> None:
    from engine import load_model
    from engine.serving.service import Served, Upload

    served = Served("meter", load_model(folder / "brightness_own.py", trained))
    uploads = [Upload((folder / "data/images" / name).read_bytes(), 0.0) for name in truths(folder)]
    answers = [json.loads(answer) for answer in served.answer(uploads)]
    values = [rows[0]["value"] for rows in answers]
    assert values == pytest.approx(list(truths(folder).values()), abs=0.1)


def test_what_the_task_lacks_is_said_in_a_line(
    folder: Path, trained: Path, run_tool: Callable[..., SimpleNamespace]
) -> None:
    image = folder / "data/images/val0.png"
    done = run_tool("cam", folder / "brightness_own.py", trained, image, "--out", folder / "cam")
    assert (done.code, done.err) == (1, "error: the task 'bright' has no cam target\n")
    for name in ("bright", "brightness"):
        done = run_tool("check_dataset", folder / "data", "--task", name)
        assert (done.code, done.err) == (1, "error: the task 'bright' has no check\n")


@pytest.mark.parametrize("name", ["os.system", "torch.nn.Linear", "brightness.network.results"])
def test_a_hostile_checkpoint_of_it_is_refused(
    folder: Path, trained: Path, run_tool: Callable[..., SimpleNamespace], name: str
) -> None:
    content = checkpoint.read(trained)
    del content["format"]
    content["model"] = {"type": name, "command": "true"}
    checkpoint.save(folder / "evil.pth", content)
    done = run_tool(
        "test", folder / "brightness_own.py", folder / "evil.pth", "--data", folder / "data"
    )
    assert done.code == 1
    assert "which no imported task has" in done.err
    assert done.err.count("\n") == 1


def test_a_checkpoint_causes_no_import(folder: Path, trained: Path) -> None:
    """In a process whose config did not import the package, its class is unknown."""
    import subprocess

    code = (
        "import sys\nfrom engine.checkpoint import checkpoint\n"
        f"content = checkpoint.read({str(trained)!r})\n"
        "try:\n    checkpoint.build_model(content['model'])\n"
        "except ValueError as error:\n    print(error)\n"
        "print('brightness' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)
    assert "names the model type 'MeanBrightness', which no imported task has" in done.stdout
    assert done.stdout.endswith("False\n"), done.stderr


def test_tensors_of_other_shapes_do_not_fit(folder: Path, trained: Path, tmp_path: Path) -> None:
    from engine import load_model

    content = checkpoint.read(trained)
    del content["format"]
    content["state_dict"]["linear.bias"] = torch.zeros(2)
    checkpoint.save(tmp_path / "other.pth", content)
    with pytest.raises(ValueError, match="does not fit the model it describes"):
        load_model(folder / "brightness_own.py", tmp_path / "other.pth")
