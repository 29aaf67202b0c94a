"""A run with wrong data stops before it begins."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from detection.data.dataset import CocoDetection
from engine.checks.preflight import check_data

Json = dict[str, list[dict[str, Any]]]


@pytest.fixture
def seeded(mini_coco: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copies the drawn data and changes the JSON file of a split."""

    def write(edit: Callable[[Json], object], split: str = "train") -> Path:
        root = tmp_path / "data"
        shutil.copytree(mini_coco, root, dirs_exist_ok=True)
        path = root / f"annotations/instances_{split}.json"
        content = json.loads(path.read_text())
        edit(content)
        path.write_text(json.dumps(content))
        return root

    return write


def config(root: Path) -> Config:
    def loader(split: str) -> dict[str, Any]:
        return {"dataset": {"type": CocoDetection, "data_root": str(root), "split": split}}

    return Config({"train_dataloader": loader("train"), "val_dataloader": loader("val")})


def test_clean_data_passes_without_a_word(
    mini_coco: Path, caplog: pytest.LogCaptureFixture
) -> None:
    check_data(config(mini_coco))
    assert caplog.messages == []


def test_an_error_stops_with_the_command_that_lists_all(seeded: Callable[..., Path]) -> None:
    def edit(content: Json) -> None:
        content["annotations"][0]["bbox"] = [0.1, 0.1, 0.5, 0.5]
        content["annotations"][1]["category_id"] = 77

    root = seeded(edit, "val")
    ann_file = root / "annotations/instances_val.json"
    number = json.loads(ann_file.read_text())["annotations"][0]["id"]
    with pytest.raises(ValueError, match="bbox is ") as error:
        check_data(config(root))
    assert str(error.value).startswith(f"{ann_file}: annotation {number}: ")
    assert str(error.value).endswith(
        "; write pixels of the image; 1 more error; "
        f"python tools/check_dataset.py {root} --task det lists all"
    )


def test_warnings_are_counted_and_notes_are_not(
    seeded: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def edit(content: Json) -> None:
        content["annotations"][0]["bbox"] = [5, 5, 0, 9]
        content["annotations"][1]["iscrowd"] = 1

    said: list[str] = []
    monkeypatch.setattr("engine.checks.preflight.warn", said.append)
    root = seeded(edit)
    check_data(config(root))
    line = f"{root}: 1 warning about the data; python tools/check_dataset.py {root} --task det"
    assert said == [f"{line} lists all"]


def test_only_the_first_process_looks(
    seeded: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = seeded(lambda content: content["annotations"][0].update(image_id=-1))
    monkeypatch.setenv("RANK", "1")
    check_data(config(root))
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ValueError, match="image_id is -1"):
        check_data(config(root))
