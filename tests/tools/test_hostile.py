"""Commands given hostile files: one line, exit code 1, no code run, no file written outside."""

import json
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).parents[2]
OWN = ROOT / "configs/picodet_lcnet_own.py"


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folder of hostile files, as current folder; no file may appear beside it, no code run."""
    marker = tmp_path / "was_run"
    (tmp_path / "private.png").write_bytes(b"secret")
    folder = tmp_path / "box"
    folder.mkdir()
    monkeypatch.chdir(folder)
    evil = Evil(marker)
    for name in ("raw.pth", "evil.pdparams", "raw.npz", "script.pt"):
        Path(name).write_bytes(pickle.dumps(evil))
    torch.save({"format": "lcnet-vision/1", "message_hub": evil}, "evil.pth")
    np.savez("evil.npz", scores=np.array([evil], object), image_ids=evil, classes=evil)
    Path("code.py").write_text(f"import os\nos.mkdir({str(marker)!r})\n")
    Path("config.yaml").write_text(f"model: !!python/object/apply:os.mkdir ['{marker}']\n")
    Path("deep.json").write_text("[" * 200_000)
    yield folder
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"box", "private.png"}
    assert (tmp_path / "private.png").read_bytes() == b"secret"


COMMANDS = [
    ("train", OWN, "--data", "D", "--load-from", "evil.pth"),
    ("train", OWN, "--data", "D", "--load-from", "code.py"),
    ("train", OWN, "--data", "D", "--backbone-from", "raw.pth"),
    ("train", OWN, "--data", "D", "--resume", "evil.pth"),
    ("train", OWN, "--data", "code.py"),
    ("train", "config.yaml"),
    ("train", "deep.json"),
    ("test", OWN, "evil.pth", "--data", "D"),
    ("test", OWN, "code.py", "--data", "D"),
    ("predict", OWN, "evil.pth", "../private.png"),
    ("predict", OWN, "script.pt", "../private.png"),
    ("export", OWN, "evil.pth", "--format", "onnx", "--out", "a.onnx"),
    ("convert_weights", "evil.pdparams", "a.pth", "--config", OWN),
    ("convert_weights", "evil.npz", "a.pth", "--config", OWN),
    ("convert_weights", "raw.npz", "a.pth", "--config", OWN),
    ("convert_weights", "code.py", "a.pth", "--config", OWN),
    ("benchmark", OWN, "evil.pth", "--backend", "torch"),
    ("eval_cls", "list.txt", "evil.npz"),
    ("eval_map", "deep.json", "deep.json"),
    ("split_dataset", "deep.json"),
    ("print_config", "config.yaml"),
]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: " ".join(map(str, words))[-60:])
def test_a_hostile_file_is_refused(
    box: Path, run_tool: Callable[..., Any], mini_coco: Path, command: tuple[str | Path, ...]
) -> None:
    ran = run_tool(*(mini_coco if word == "D" else word for word in command))
    assert ran.code == 1
    lines = [line for line in ran.err.splitlines() if line]
    assert lines[-1].startswith("error: ")
    assert "Traceback" not in ran.err


def coco(root: Path, name: str) -> Path:
    """A data set of one image with the name in its json."""
    (root / "annotations").mkdir(parents=True)
    (root / "train").mkdir()
    content = {
        "images": [{"id": 1, "file_name": name, "height": 8, "width": 8}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4]}],
        "categories": [{"id": 1, "name": "a"}],
    }
    (root / "annotations/instances_train.json").write_text(json.dumps(content))
    return root


@pytest.mark.parametrize(
    "name", ["../../../private.png", "/etc/passwd", "C:\\x.png", "a\0b", "\ud800"]
)
def test_names_of_a_json_stay_inside(box: Path, run_tool: Callable[..., Any], name: str) -> None:
    data = coco(box / "data", name)
    ran = run_tool("check_dataset", data, "--task", "det", "--fix", box / "out")
    assert ran.code == 1
    assert [path for path in (box / "out").rglob("*") if path.suffix == ".png"] == []
    ran = run_tool("split_dataset", data, "--allow-small", "--out", box / "split")
    assert ran.code == 1
    assert ran.err.startswith("error: ")
    assert len(ran.err.splitlines()) == 1


def test_lists_and_label_files_that_are_no_text(box: Path, run_tool: Callable[..., Any]) -> None:
    """Latin-1 names, as a spreadsheet saves them."""
    for split, name in (("train", "Füße"), ("train", "b"), ("val", "b")):
        folder = box / "data" / split / name
        folder.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(folder / "1.png")
    (box / "data/classes.txt").write_bytes("Füße\nb\n".encode("latin1"))
    ran = run_tool("check_dataset", box / "data", "--task", "cls")
    assert ran.code == 1
    ran = run_tool("make_shards", box / "data", "--out", box / "out")
    assert ran.err.splitlines() == [
        f"error: {box}/data/classes.txt: is not UTF-8 (invalid start byte at byte 1)"
    ]


def test_an_xml_that_grows(box: Path, run_tool: Callable[..., Any]) -> None:
    """Ten entities of ten entities each, nine times: a billion laughs."""
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10 if i else "ha"}">' for i in range(10))
    for name in ("Annotations", "JPEGImages"):
        (box / name).mkdir()
    Image.new("RGB", (8, 8)).save(box / "JPEGImages/1.jpg")
    text = f"<?xml version='1.0'?><!DOCTYPE a [{entities}]><annotation>&a9;</annotation>"
    (box / "Annotations/1.xml").write_text(text)
    ran = run_tool("convert_dataset", "voc", box)
    assert ran.code == 1
    assert ran.err.startswith(f"error: {box}/Annotations/1.xml: has a DOCTYPE")
