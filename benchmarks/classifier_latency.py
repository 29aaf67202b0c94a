"""PP-LCNet x1.0 at 224 against others, 1 thread: python benchmarks/classifier_latency.py.

Against timm's lcnet_100 (its own ONNX export) and MobileNetV3-large x0.75 in OpenVINO, and against
itself in eager PyTorch; and the time that `model.predict` of a decoded image adds to the engine.
Weights are random; the time of these networks does not depend on them. Needs timm.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from targets import (
    CONFIGS,
    Target,
    calm,
    floor_note,
    in_engine,
    options,
    pixels,
    predictor,
    save,
    settle,
    subject,
)
from torch import Tensor

from engine import cli, load_model
from engine.benchmark import latency
from engine.benchmark.worker import Local

OURS = "PP-LCNet x1.0, OpenVINO"
TIMM = "timm lcnet_100, OpenVINO"
MOBILE = "MobileNetV3-large x0.75, OpenVINO"
EAGER = "PP-LCNet x1.0, eager"
PREDICT = "model.predict of PP-LCNet x1.0 in OpenVINO"
TARGETS = (
    Target(OURS, TIMM, 1.00),
    Target(OURS, MOBILE, 0.80),
    Target(OURS, EAGER, 0.33),
    Target(PREDICT, OURS, 1.25),
)
CONFIG = "classifier_lcnet.py"


def timms(path: Path) -> Path:
    """lcnet_100 as timm exports it."""
    import timm
    from timm.utils.onnx import onnx_export

    model = timm.create_model("lcnet_100", exportable=True).eval()
    onnx_export(model, str(path), batch_size=1, input_size=(3, 224, 224))
    return path


def eager(checkpoint: Path, layout: torch.memory_format) -> Local:
    """The model in PyTorch, with images in this memory format."""
    model = load_model(CONFIGS / CONFIG, checkpoint).network
    images = torch.randn(1, 3, 224, 224).contiguous(memory_format=layout)

    @torch.inference_mode()
    def run() -> Tensor:
        return model(images, mode="tensor")

    return Local(EAGER if layout == torch.contiguous_format else f"{EAGER}, channels last", run)


def main(arguments: argparse.Namespace) -> None:
    """Measure, print, write."""
    calm()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours = subject(CONFIG, folder)
        mobile = subject(
            "classifier_mobilenetv3.py", folder, options={"model.backbone.scale": 0.75}
        )
        assert ours.checkpoint is not None
        model = predictor(CONFIG, ours, folder)
        drawn = latency.photo(None, folder)
        image = pixels(drawn, drawn.read_bytes())
        entries = [
            in_engine(OURS, ours.path("openvino"), ours.size),
            in_engine(TIMM, timms(folder / "timm.onnx"), ours.size),
            in_engine(MOBILE, mobile.path("openvino"), mobile.size),
            eager(ours.checkpoint, torch.contiguous_format),
            eager(ours.checkpoint, torch.channels_last),
            Local(PREDICT, lambda: model.predict(image)),
        ]
        notes = {"PP-LCNet": floor_note(ours), "MobileNetV3": floor_note(mobile)}
        save(arguments, settle(entries, TARGETS, arguments.runs, notes))


if __name__ == "__main__":
    cli.run(main, options(__doc__ or ""))
