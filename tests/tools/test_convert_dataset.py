"""tools/convert_dataset.py: person / nobody lists from COCO folders, and errors in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture
def coco(mini_coco: Path, tmp_path: Path) -> Path:
    """The drawn scenes with screws called persons."""
    root = tmp_path / "coco"
    shutil.copytree(mini_coco, root)
    for split in ("train", "val"):
        path = root / f"annotations/instances_{split}.json"
        content = json.loads(path.read_text())
        content["categories"][5]["name"] = "person"
        path.write_text(json.dumps(content))
    return root


def test_lists_of_persons_say_how_many(coco: Path, tmp_path: Path, run_tool: Run) -> None:
    out = tmp_path / "out"
    ran = run_tool("convert_dataset", "person_exists", coco, out, "--min-share", "0.01")
    assert (ran.code, ran.err) == (0, "")
    lines = (out / "train_list.txt").read_text().splitlines()
    someone = sum(line.endswith(" 1") for line in lines)
    assert f"{len(lines) - someone} images of nobody, {someone} of someone" in ran.out
    assert all((out / line.rsplit(" ", 1)[0]).is_file() for line in lines)
    assert (out / "val_list.txt").is_file()
    assert sorted(path.name for path in out.iterdir()) == [
        "classes.txt",
        "train_images_1",
        "train_list.txt",
        "val_images_1",
        "val_list.txt",
    ]


def test_several_folders_make_one_list(coco: Path, tmp_path: Path, run_tool: Run) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    run_tool("convert_dataset", "person_exists", coco, one, "--min-share", "0.01")
    run_tool("convert_dataset", "person_exists", coco, coco, two, "--min-share", "0.01")
    count = len((one / "train_list.txt").read_text().splitlines())
    assert len((two / "train_list.txt").read_text().splitlines()) == 2 * count


def test_errors_are_one_line(coco: Path, mini_coco: Path, tmp_path: Path, run_tool: Run) -> None:
    def line(*arguments: object) -> str:
        ran = run_tool("convert_dataset", "person_exists", *arguments)
        assert ran.code == 1, ran
        assert ran.err.count("\n") == 1
        return str(ran.err)

    out = tmp_path / "out"
    assert "no category is named person; it has " in line(mini_coco, out)
    assert "instances_train.json" in line(tmp_path / "none", out)
    assert "--min-share 3.0: expected a share of the image" in line(coco, out, "--min-share", "3")
    assert "0 of someone; both are needed" in line(coco, out, "--min-share", "0.99")
    assert not out.exists()
    assert run_tool("convert_dataset", "person_exists", coco).code == 2


def test_the_other_kind_still_takes_its_folder(tmp_path: Path, run_tool: Run) -> None:
    ran = run_tool("convert_dataset", "cityscapes", tmp_path, "--force")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "gtFine: no *_gtFine_polygons.json there" in ran.err
