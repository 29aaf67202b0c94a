"""Exported files: descriptions, refused files, and no reads outside the folder."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from engine import load_model
from engine.runtime.exported import SCRIPT_ENTRY, STARTERS, is_exported, open_exported, read

ROOT = Path(__file__).parents[3]
OWN = ROOT / "configs/picodet_lcnet_own.py"
IMAGE = np.zeros((128, 96, 3), np.uint8)
Write = Callable[..., Path]


def test_what_is_exported_and_what_a_checkpoint() -> None:
    names = ["a.onnx", "a.XML", "a.pt", "a.ts", "a.pth", "a.bin"]
    assert [is_exported(name) for name in names] == [True] * 4 + [False] * 2


def test_predicts_as_a_checkpoint_does(onnx_file: Write) -> None:
    """Boxes of an input of 64 x 96 in pixels of an image of 128 x 96."""
    model = load_model(OWN, onnx_file())
    assert model.classes == ("a", "b", "c")
    (found,) = model.predict(IMAGE)
    assert found["boxes"].tolist() == [[8.0, 16.0, 48.0, 64.0]]
    (row,) = model.describe(found, 0.5)
    assert row == {"class": "b", "label": 1, "score": 0.75, "box_xyxy": [8.0, 16.0, 48.0, 64.0]}
    assert model.draw(IMAGE, found, 0.5).shape == IMAGE.shape


def test_images_of_a_batch_one_by_one(onnx_file: Write) -> None:
    assert len(load_model(OWN, onnx_file()).predict([IMAGE, IMAGE[:64]])) == 2


def test_another_size_than_exported(onnx_file: Write) -> None:
    model = load_model(OWN, onnx_file(), {"model.data_preprocessor.size": [64, 64]})
    with pytest.raises(ValueError, match=r"takes inputs of 1 x 3 x 64 x 96, got 1 x 3 x 64 x 64"):
        model.predict(IMAGE)


def test_another_task(onnx_file: Write) -> None:
    with pytest.raises(ValueError, match=r"exported from a config of PicoDet, but .*DeepLabV3Plus"):
        load_model(ROOT / "configs/deeplabv3plus_lcnet.py", onnx_file())


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none.onnx: no such exported file"):
        read(tmp_path / "none.onnx")


@pytest.mark.parametrize("kept", [0.3, 0.99])
def test_truncated_onnx(onnx_file: Write, kept: float) -> None:
    path = onnx_file()
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(ValueError, match="damaged"):
        open_exported(path)


def test_not_ours(onnx_file: Write) -> None:
    with pytest.raises(ValueError, match="not exported by this project"):
        read(onnx_file(format="other/1"))


def test_damaged_description(onnx_file: Write) -> None:
    with pytest.raises(ValueError, match="its entry 'shape' is not a list"):
        read(onnx_file(shape=7))


def test_description_may_not_name_foreign_classes(onnx_file: Write) -> None:
    path = onnx_file(model={"type": "PicoDet", "backbone": {"type": "subprocess.Popen"}})
    with pytest.raises(ValueError, match="no imported task has"):
        load_model(OWN, path)


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd"])
def test_weights_outside_the_folder(onnx_file: Write, location: str) -> None:
    """The file is refused before any engine opens it, also where the weights exist."""
    import onnx

    path = onnx_file()
    (path.parent.parent / "secret").write_bytes(bytes(16))
    model = onnx.load(path)
    tensor = model.graph.node[0].attribute[0].t
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=f"read from {location}, outside its folder"):
        open_exported(path)
    path.write_bytes(path.read_bytes().replace(location.encode(), b"\xff" * len(location)))
    with pytest.raises(ValueError, match="damaged or incomplete"):
        open_exported(path)


def test_engine_that_is_not_installed(onnx_file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match="onnxruntime is not installed; run: pip install"):
        open_exported(onnx_file())


def test_openvino_without_its_weights(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<net/>")
    with pytest.raises(FileNotFoundError, match=r"a\.bin: missing; a\.xml needs its weights"):
        read(tmp_path / "a.xml")


def test_openvino_file_that_is_none(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    (tmp_path / "a.xml").write_text("<net")
    (tmp_path / "a.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"a\.xml: damaged or incomplete"):
        read(tmp_path / "a.xml")


def test_torchscript_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"PK truncated")
    with pytest.raises(ValueError, match=r"a\.pt: damaged or incomplete"):
        read(tmp_path / "a.pt")


def test_a_zip_file_of_somebody_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr(f"a/extra/{SCRIPT_ENTRY}", json.dumps({"format": "x"}))
    with pytest.raises(ValueError, match="not exported by this project"):
        read(tmp_path / "a.pt")


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_callers_at_once_get_their_own(tmp_path: Path, engine: str) -> None:
    """The result is twice the input of each call, with mixed calls from three threads."""
    onnx = pytest.importorskip("onnx")
    nodes = [onnx.helper.make_node("Add", ["x", "x"], ["y"])]
    given, made = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 4096]) for name in "xy"
    )
    graph = onnx.helper.make_graph(nodes, "twice", [given], [made])
    opset = [onnx.helper.make_opsetid("", 18)]
    path = tmp_path / "twice.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    run = STARTERS[engine](path, 1, 3)
    numbers = [np.full((1, 4096), n, np.float32) for n in range(60)]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda x: run(x)[0], numbers))
    assert [(float(y.min()), float(y.max())) for y in found] == [(2 * n, 2 * n) for n in range(60)]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_openvino_leaves_a_signal_stack_that_is_there(tmp_path: Path) -> None:
    """Models that overlap, the first going first; in OpenVINO's hands the stack would be gone."""
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    code = """
import ctypes, sys, openvino
from engine.runtime.exported import core
from engine.export.openvino_graph import _one_core
core().get_property("CPU", "FULL_DEVICE_NAME")
with _one_core():
    cores = [openvino.Core(), openvino.Core()]
    for one in cores:
        one.get_property("CPU", "FULL_DEVICE_NAME")
    del one
    while cores:
        del cores[0]
class Stack(ctypes.Structure):
    _fields_ = [("place", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]
stack = Stack()
ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack))
spans = [line.split()[0].split("-") for line in open("/proc/self/maps")]
mapped = any(int(a, 16) <= (stack.place or 0) < int(b, 16) for a, b in spans)
sys.exit(0 if mapped or not stack.place else 3)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert done.returncode == 0
