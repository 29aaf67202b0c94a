"""Checkpoints as exported files: equal results, and no file after a failure."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import config, load_model
from engine.checkpoint import checkpoint
from engine.export import exporter
from engine.export.parity import Gap
from engine.export.plan import Plan, load, prepare
from engine.runtime.exported import open_exported

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
OWN = ROOT / "configs/picodet_lcnet_own.py"
SEGMENTER = ROOT / "configs/deeplabv3plus_lcnet_mini.py"
SUFFIX = {"onnx": ".onnx", "openvino": ".xml", "torchscript": ".pt"}
ENGINES = {"onnx": "onnxruntime", "openvino": "openvino", "torchscript": "torch"}


def picture(height: int, width: int) -> np.ndarray:
    """Smooth blobs of colour."""
    coarse = np.random.default_rng(1).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    return np.ascontiguousarray(np.kron(coarse, np.ones((height // 4, width // 4, 1), np.uint8)))


def written(config_file: Path, checkpoint: Path, folder: Path, **options: Any) -> Path:
    plan = Plan(**options)
    pytest.importorskip(ENGINES[plan.format])
    pytest.importorskip("onnxscript")
    out = folder / f"file{SUFFIX[plan.format]}"
    report = exporter.export(config.load(config_file), checkpoint, out, plan)
    assert report.gap.value <= report.allowed.value
    assert report.drop is None
    return out


@pytest.mark.parametrize("format_", ["onnx", "openvino", "torchscript"])
@pytest.mark.parametrize("whole", [False, True])
def test_detector_finds_what_its_checkpoint_finds(
    small_detector: Path, tmp_path: Path, format_: str, whole: bool
) -> None:
    out = written(
        OWN, small_detector, tmp_path, format=format_, end2end=whole, with_preprocess=whole
    )
    image = picture(120, 160)
    model = load_model(OWN, small_detector)
    (wanted,), (found,) = model.predict(image), load_model(OWN, out).predict(image)
    assert len(wanted["scores"]) > 10
    assert len(wanted["labels"].unique()) == 3
    head = model.task.use("export_head")(model.network, batched=False)
    gap = head.apart(*([one[key] for key in head.outputs] for one in (wanted, found)))
    assert gap.within(Gap(0.5 if whole else 0.05, 0.02 if whole else 0.0))


def test_batches_and_sizes(small_detector: Path, small_segmenter: Path, tmp_path: Path) -> None:
    images = [picture(64, 96), picture(128, 64)]
    batched = written(OWN, small_detector, tmp_path, format="onnx", dynamic="batch", end2end=True)
    wanted = load_model(OWN, small_detector).predict(images)
    model = load_model(OWN, batched)
    assert model.batched
    for count in (1, 3):  # the graph was traced with 2
        assert len(model.predict(images[:1] * count)) == count
    found = model.predict(images)
    for one, other in zip(wanted, found, strict=True):
        assert other["scores"].numpy() == pytest.approx(one["scores"].numpy(), abs=1e-3)
    sized = written(
        SEGMENTER, small_segmenter, tmp_path, format="onnx", dynamic="size",
        end2end=True, with_preprocess=True,
    )  # fmt: skip
    model, exported = load_model(SEGMENTER, small_segmenter), load_model(SEGMENTER, sized)
    for image in images:
        one, other = model.predict(image)[0]["mask"], exported.predict(image)[0]["mask"]
        assert (one == other).float().mean() > 0.999


@pytest.mark.parametrize("format_", ["onnx", "openvino"])
def test_scores_that_tie_within_rounding(
    small_detector: Path, tmp_path: Path, format_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last bit decides the order of boxes: network and suppression agree only separately.

    What is wrong in either part is still found.
    """
    pytest.importorskip(ENGINES[format_])
    pytest.importorskip("onnxscript")
    content = checkpoint.read(small_detector)
    for name, weight in content["state_dict"].items():
        if name.startswith(("head.cls.", "head.align.")) and weight.dim() > 0:
            content["state_dict"][name] = weight * (1e-6 if name.endswith("weight") else 0)
    checkpoint.save(tmp_path / "tied.pth", content)
    out = tmp_path / f"file{SUFFIX[format_]}"
    plan = Plan(format=format_, end2end=True)

    def one_less(forward: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given: [output[5:] for output in forward(*given)]

    prepared = prepare(load(config.load(OWN), tmp_path / "tied.pth", plan), plan)
    exporter.write(prepared, out)
    images = exporter.pictures(None)
    exported = open_exported(out)
    assert max(exporter._picture_gap(prepared, exported, i).share for i in images) > 0.05
    assert exporter.check_outputs(prepared, out, images).within(Gap(1e-3, 0.0))
    monkeypatch.setattr(prepared.head, "forward", one_less(prepared.head.forward))
    with pytest.raises(ValueError, match="differ from PyTorch"):
        exporter.check_outputs(prepared, out, images)


def test_the_file_says_what_it_is_and_names_no_machine(
    small_segmenter: Path, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    out = written(SEGMENTER, small_segmenter, tmp_path, format="onnx", shape=(64, 96))
    told = {entry.key: entry.value for entry in onnx.load(out).metadata_props}
    assert told["classes"] == '["a", "b", "c", "d", "e", "f", "g", "h", "i"]'
    assert told["mean"] == "[0.5, 0.5, 0.5]"
    assert told["shape"] == "[1, 3, 64, 96]"
    assert "64 x 96 (height x width) by cubic interpolation" in told["input"]
    assert str(ROOT).encode() not in out.read_bytes()


def test_a_failed_check_leaves_nothing(
    small_detector: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "write", lambda _, path: path.write_text("x"))
    monkeypatch.setattr(exporter, "open_exported", lambda _: None)
    monkeypatch.setattr(exporter, "_picture_gap", lambda *_: Gap(0.1, 0.0))
    out = tmp_path / "new/file.onnx"
    with pytest.raises(ValueError, match=r"differ from PyTorch's: 0.1 apart"):
        exporter.export(config.load(OWN), small_detector, out, Plan(format="onnx"))
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"shape": (64, 65)}, "input size 65 is not a multiple of 32; use 64 or 96"),
        ({"opset": 7}, "--opset 7: use 18 to "),
        ({"dynamic": "batch", "with_preprocess": True}, "already takes one image of any size"),
        ({"dynamic": "size", "shape": (64, 64)}, "exclude each other"),
    ],
)
def test_plans_that_do_not_fit(
    small_detector: Path, tmp_path: Path, plan: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        exporter.export(
            config.load(OWN), small_detector, tmp_path / "a.onnx", Plan(format="onnx", **plan)
        )
    assert list(tmp_path.iterdir()) == []


def test_size_that_only_the_user_knows(small_segmenter: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"give --shape HEIGHT WIDTH.* or --dynamic size"):
        exporter.export(
            config.load(SEGMENTER), small_segmenter, tmp_path / "a.onnx", Plan(format="onnx")
        )


def test_name_says_the_format(small_detector: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"suffix of --format openvino is \.xml"):
        exporter.export(
            config.load(OWN), small_detector, tmp_path / "a.onnx", Plan(format="openvino")
        )
