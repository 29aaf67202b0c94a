"""Files that would take far more memory or time than their size."""

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from classification.classifier import Classifier
from engine.checkpoint import checkpoint
from engine.runtime import exported

CONTENT: dict[str, Any] = {
    "model": {"type": Classifier.__name__}, "classes": ["a"], "state_dict": {"w": torch.zeros(4)},
    "info": {},
}  # fmt: skip
ZEROS = bytes(1 << 20)


def repack(path: Path, source: Path, inner: str, megabytes: int, times: int = 1) -> Path:
    """The archive `source`, compressed, with `megabytes` MB of zeros as `inner`."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            if not name.endswith(inner):
                new.writestr(name, old.read(name))
        with new.open(f"archive/{inner}", "w", force_zip64=True) as stream:
            for _ in range(megabytes):
                stream.write(ZEROS)
        new.filelist += new.filelist[-1:] * (times - 1)
    return path


def saved(path: Path, **changes: Any) -> Path:
    checkpoint.save(path, {**CONTENT, **changes})
    return path


@pytest.mark.parametrize("inner", ["data.pkl", "data/0"])
def test_a_checkpoint_that_unpacks_is_refused(tmp_path: Path, inner: str) -> None:
    bomb = repack(tmp_path / "bomb.pth", saved(tmp_path / "a.pth"), inner, megabytes=3)
    size = bomb.stat().st_size
    assert size < 20_000
    with pytest.raises(ValueError, match=f"refused, it unpacks to more than its {size} bytes"):
        checkpoint.read(bomb)


def test_entries_that_lie_over_each_other_are_refused(tmp_path: Path) -> None:
    """A thousand names of the same stored bytes: nothing is packed, but all are read."""
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data/0", ZEROS)
        archive.filelist += [archive.filelist[0]] * 999
    with pytest.raises(ValueError, match="unpacks to more than its"):
        checkpoint.read(path)


def test_a_tensor_larger_than_what_is_stored_of_it_is_refused(tmp_path: Path) -> None:
    """Stride 0: four bytes that claim to be 256 GB."""
    path = saved(tmp_path / "a.pth", state_dict={"w": torch.zeros(1).expand(1 << 36)})
    assert path.stat().st_size < 4000
    with pytest.raises(ValueError, match=r"values of a tensor of shape \(68719476736,\) are not"):
        checkpoint.read(path)


@pytest.mark.parametrize("kind", ["sparse", "meta"])
def test_tensors_that_are_not_plain_are_refused(tmp_path: Path, kind: str) -> None:
    tensor = torch.eye(3).to_sparse() if kind == "sparse" else torch.zeros(3, device="meta")
    torch.save({"format": checkpoint.FORMAT, **CONTENT, "info": {"w": tensor}}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth: (damaged checkpoint|not readable)"):
        checkpoint.read(tmp_path / "a.pth")


def test_lists_that_hold_one_list_twice_are_refused(tmp_path: Path) -> None:
    """Forty levels have 2^40 entries for a walk without memory."""
    node: list[Any] = []
    for _ in range(40):
        node = [node, node]
    torch.save({"format": checkpoint.FORMAT, **CONTENT, "info": {"a": node}}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="occurs twice"):
        checkpoint.read(tmp_path / "a.pth")


CLASSIFIER = {
    "type": "Classifier", "num_classes": 3,
    "data_preprocessor": {"type": "Preprocess", "size": [8, 8]},
    "backbone": {"type": "PPLCNet", "scale": 0.25},
}  # fmt: skip
BACKBONE: dict[str, Any] = {"type": "PPLCNet"}


@pytest.mark.parametrize(
    "changes",
    [
        {"num_classes": 10**6},  # 5 GB
        {"num_classes": 10**15},
        {"num_classes": 10**30},
        {"backbone": BACKBONE | {"scale": 1e4}},
        {"backbone": BACKBONE | {"scale": float("nan")}},
        {"backbone": None},
    ],
    ids=str,
)
def test_a_description_of_a_huge_model_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(
        ValueError, match=r"has more than \d+ weights|cannot be built|, beyond 1048576|is unknown"
    ):
        checkpoint.build_model(CLASSIFIER | changes)


@pytest.mark.parametrize("size", [[10**6, 10**6], [-1, 8], [8.5, 8], ["8", 8]])
def test_a_description_of_a_huge_input_is_refused(size: list[Any]) -> None:
    preprocess = {"type": "Preprocess", "size": size}
    with pytest.raises(ValueError, match="expected whole numbers from 1 to 16384"):
        checkpoint.build_model(CLASSIFIER | {"data_preprocessor": preprocess})


def script(path: Path, function: Callable[..., Any]) -> Path:
    """A TorchScript file with the description of this project."""
    extra = {exported.SCRIPT_ENTRY: '{"format": "lcnet-vision/export/1"}'}
    torch.jit.save(torch.jit.script(function), str(path), _extra_files=extra)
    return path


class Opener(torch.nn.Module):
    """Creates a file when it is called."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images + torch.from_file("stolen", True, 4)


def test_torchscript_that_opens_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = script(tmp_path / "a.pt", Opener())
    with pytest.raises(ValueError, match="its code opens files or runs on loading"):
        exported.open_exported(path)
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


def test_torchscript_that_unpacks_is_refused(tmp_path: Path) -> None:
    path = script(tmp_path / "a.pt", torch.nn.Identity())
    bomb = repack(tmp_path / "bomb.pt", path, f"extra/{exported.SCRIPT_ENTRY}", megabytes=65)
    with pytest.raises(ValueError, match="unpacks to more than its"):
        exported.read(bomb)


MEASURED = """
import resource, sys
from pathlib import Path
import classification.classifier
import torch._dynamo
from backbone.weights import read_arrays
from engine.checkpoint import checkpoint; from engine.runtime import exported
read = {".pth": checkpoint.read, ".pt": exported.read}
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before, refused = peak(), 0
for path in map(Path, sys.argv[1:]):
    try:
        read.get(path.suffix, read_arrays)(path)
    except ValueError as error:
        refused += "\\n" not in str(error)
try:
    checkpoint.build_model({"type": "Classifier", "num_classes": 10**6, "data_preprocessor": {
        "type": "Preprocess", "size": [8, 8]}, "backbone": {"type": "PPLCNet", "scale": 0.25}})
except ValueError:
    refused += 1
print(peak() - before, refused)
"""


@pytest.mark.slow
def test_bombs_take_no_memory(tmp_path: Path) -> None:
    """Megabytes at most, of files that would take 128 MB to 8 GB."""
    plain = saved(tmp_path / "a.pth")
    np.savez(tmp_path / "plain.npz", a=np.zeros(3))
    files = [
        repack(tmp_path / "1.pth", plain, "data.pkl", 128),
        repack(tmp_path / "2.pth", plain, "data/0", 128),
        repack(tmp_path / "3.pt", plain, f"extra/{exported.SCRIPT_ENTRY}", 128),
        repack(tmp_path / "4.npz", tmp_path / "plain.npz", "b.npy", 128, times=17),
        tmp_path / "5.pdparams",
    ]
    files[-1].write_bytes(b"\x80\x02Nr\xff\xff\xff\x3f.")  # put at place 2^30
    ran = subprocess.run(
        [sys.executable, "-c", MEASURED, *map(str, files)], capture_output=True, text=True,
        check=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    grown, refused = map(int, ran.stdout.split())
    assert refused == len(files) + 1
    assert grown < 64
