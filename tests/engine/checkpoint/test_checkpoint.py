"""engine/checkpoint/checkpoint.py: nothing runs from a file, files are whole, weights fit."""

import errno
import os
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import detection.picodet
from backbone import PPLCNet
from engine.checkpoint import checkpoint
from engine.data.preprocess import Preprocess

MODEL = {
    "type": "PicoDet",
    "num_classes": 3,
    "neck_channels": 16,
    "tower_convs": 1,
    "backbone": {"type": "PPLCNet", "scale": 0.25},
    "data_preprocessor": {"type": "Preprocess", "size": [64, 64]},
}


class Bomb:
    """Makes a marker file when unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.marker,))


def content(**changes: Any) -> dict[str, Any]:
    return {
        "model": {},
        "classes": ["a"],
        "state_dict": {"w": torch.ones(2)},
        "info": {},
        **changes,
    }


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "epoch_1.pth"
    checkpoint.save(path, content())
    return path


def test_save_and_read(saved: Path) -> None:
    read = checkpoint.read(saved)
    assert read.pop("format") == "lcnet-vision/1"
    assert torch.equal(read.pop("state_dict")["w"], torch.ones(2))
    assert read == {"model": {}, "classes": ["a"], "info": {}}


@pytest.mark.parametrize("how", ["torch", "pickle", "inside"])
def test_a_hostile_file_runs_nothing(tmp_path: Path, how: str) -> None:
    marker, path = tmp_path / "ran", tmp_path / "hostile.pth"
    bomb = Bomb(marker)
    if how == "pickle":
        path.write_bytes(pickle.dumps(bomb))
    else:
        inner = bomb if how == "torch" else {"format": checkpoint.FORMAT, **content(info=bomb)}
        torch.save(inner, path)
    with pytest.raises(ValueError, match=r"hostile\.pth: not readable as a safe checkpoint") as e:
        checkpoint.read(path)
    assert not marker.exists()
    assert "\n" not in str(e.value)
    if how != "pickle":
        torch.load(path, weights_only=False)  # shows that the bomb works
        assert marker.exists()


@pytest.mark.parametrize(
    "name",
    ["os.system", "torch.nn.Linear", "mmengine.runner.Runner", "Linear", "BaseDataPreprocessor"],
)
@pytest.mark.parametrize("where", ["model", "backbone", "deep"])
def test_foreign_types_are_not_built(name: str, where: str) -> None:
    node = {"type": name}
    wrong = {
        "model": node,
        "backbone": {**MODEL, "backbone": node},
        "deep": {**MODEL, "backbone": {"type": "PPLCNet", "scale": [{"a": (node,)}]}},
    }[where]
    with pytest.raises(
        ValueError, match=f"names the model type '{name}', which no imported task has"
    ):
        checkpoint.build_model(wrong)


def test_no_module_is_imported_for_a_scope() -> None:
    """mmengine would import `<scope>.registry` of any package."""
    with pytest.raises(ValueError, match="option '_scope_', which it does not take"):
        checkpoint.build_model({**MODEL, "_scope_": "antigravity"})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "names no type"),
        ({"type": "PicoDet"}, "cannot be built: .*backbone"),
        ({**MODEL, "num_clases": 3}, "'num_clases', which it does not take; .*num_classes"),
        ({**MODEL, "num_classes": "3"}, "cannot be built"),
        ({"type": "PicoDett"}, "nearest known: PicoDet"),
    ],
)
def test_wrong_descriptions(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        checkpoint.build_model(wrong)


def test_builds_what_it_describes() -> None:
    model = checkpoint.build_model(MODEL)
    assert isinstance(model, detection.picodet.PicoDet)
    assert isinstance(model.backbone, PPLCNet)
    assert isinstance(model.data_preprocessor, Preprocess)
    assert model.data_preprocessor.size == (64, 64)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        checkpoint.read(tmp_path)


@pytest.mark.slow
def test_damaged_files(saved: Path) -> None:
    """Every truncation and hundreds of changed bytes give one ValueError or a readable file."""
    data, refused = saved.read_bytes(), 0
    numbers = random.Random(0)
    cases = [data[: numbers.randrange(len(data))] for _ in range(150)] + [b"", b"hello\n" * 50]
    for _ in range(250):
        changed = bytearray(data)
        changed[numbers.randrange(len(data))] ^= 1 << numbers.randrange(8)
        cases.append(bytes(changed))
    for case in cases:
        saved.write_bytes(case)
        try:
            checkpoint.read(saved)
        except ValueError as error:
            refused += str(saved) in str(error)
    assert refused > 152


def test_another_programs_checkpoint(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"not a checkpoint of this project .*convert_weights"):
        checkpoint.read(tmp_path / "x.pth")
    with zipfile.ZipFile(tmp_path / "y.pth", "w") as archive:
        archive.writestr("a.txt", "text")
    with pytest.raises(ValueError, match="not readable"):
        checkpoint.read(tmp_path / "y.pth")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"classes": None}, "its entry 'classes' is not a list"),
        ({"state_dict": []}, "its entry 'state_dict' is not a dict"),
        ({"state_dict": {"w": 1}}, "not tensors"),
        ({"model": "PicoDet"}, "its entry 'model' is not a dict"),
    ],
)
def test_damaged_content(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    checkpoint.save(tmp_path / "x.pth", content(**change))
    with pytest.raises(ValueError, match=f"x.pth: damaged checkpoint, {said}|not tensors"):
        checkpoint.read(tmp_path / "x.pth")


@pytest.mark.parametrize("call", ["fsync", "write"])
def test_a_full_disk_keeps_the_old_file(
    saved: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    before = saved.read_bytes()
    if call == "fsync":

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            checkpoint.save(saved, content())
    else:
        resource = pytest.importorskip("resource")  # a real refusal by the system
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
        try:
            with pytest.raises(OSError, match="File too large") as error:
                checkpoint.save(saved, content(state_dict={"w": torch.rand(100, 1000)}))
            assert error.value.filename == str(saved)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


class Net(nn.Module):
    """A trunk of two numbers and a class layer."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.trunk = nn.Linear(2, 1)
        self.head = nn.Linear(2, classes)


def state(classes: int) -> dict[str, Tensor]:
    rows = torch.arange(1.0, classes + 1)
    return {
        "trunk.weight": torch.tensor([[7.0, 8.0]]),
        "trunk.bias": torch.tensor([9.0]),
        "head.weight": torch.stack([rows, 10 * rows], dim=1),  # (K, 2)
        "head.bias": 100 * rows,  # (K,)
    }


def load(model: nn.Module, weights: dict[str, Tensor], **options: Any) -> checkpoint.LoadReport:
    return checkpoint.load_weights(model, weights, source="file.pth", **options)


def test_rows_are_taken_by_class_name() -> None:
    model = Net(3)
    before = model.head.weight[1].clone()
    report = load(
        model,
        state(2),
        classes=["cat", "dog"],
        new_classes=["dog", "cow", "cat"],
        class_layers=["head."],
    )
    assert model.head.weight[0].tolist() == [2, 20]
    assert model.head.weight[2].tolist() == [1, 10]
    assert torch.equal(model.head.weight[1], before)
    assert model.head.bias[[0, 2]].tolist() == [200, 100]
    assert model.trunk.weight.tolist() == [[7, 8]]
    assert report.common_classes == ("dog", "cat")
    assert str(report) == (
        "weights: 2 matched, 2 reshaped to other classes (head.weight, head.bias; rows taken by "
        "class name: dog, cat)"
    )


def test_another_order_of_the_same_classes() -> None:
    model = Net(2)
    load(model, state(2), classes=["a", "b"], new_classes=["b", "a"], class_layers=["head."])
    assert model.head.bias.tolist() == [200, 100]


def test_no_common_class_keeps_the_start_values() -> None:
    model = Net(2)
    before = model.head.bias.clone()
    report = load(
        model, state(2), classes=["a", "b"], new_classes=["c", "d"], class_layers=["head"]
    )
    assert torch.equal(model.head.bias, before)
    assert "rows taken by class name: none" in str(report)


def test_report_of_missing_extra_and_mismatched() -> None:
    weights = state(4)
    weights["old.weight"] = weights.pop("trunk.bias")
    model = Net(2)
    report = load(model, weights)
    assert report.matched == ["trunk.weight"]
    assert report.missing == ["trunk.bias"]
    assert report.extra == ["old.weight"]
    assert report.mismatched == ["head.weight", "head.bias"]


def test_a_checkpoint_of_another_model() -> None:
    with pytest.raises(ValueError, match=r"file\.pth: none of its 1 tensors fits the model"):
        load(Net(2), {"conv.weight": torch.ones(1)})


def test_the_message_hub_of_mmengine_is_refused(tmp_path: Path) -> None:
    """It holds objects; mmengine's own resume would unpickle them and all else."""
    from mmengine.logging import MessageHub

    hub = MessageHub("hub")
    hub.update_scalar("train/loss", 0.5)
    torch.save({"state_dict": {}, "message_hub": hub.state_dict()}, tmp_path / "epoch_1.pth")
    assert torch.load(tmp_path / "epoch_1.pth", weights_only=False)["message_hub"]
    with pytest.raises(ValueError, match="not readable as a safe checkpoint"):
        checkpoint.read(tmp_path / "epoch_1.pth")
