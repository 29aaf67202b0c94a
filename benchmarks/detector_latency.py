"""PicoDet-S at 320 against ultralytics' yolo11n, 1 thread: python benchmarks/detector_latency.py.

The networks in OpenVINO, each from its own ONNX export, with random weights; and with --checkpoint
from a JPEG's bytes to boxes, ours by `model.predict`, theirs, with random weights, by
`YOLO.predict` with its OpenVINO export. The number of boxes is printed. Ours needs trained weights:
with random ones 170,000 candidates pass the threshold, with trained ones some thousand.

ultralytics is AGPL-3.0 and not a dependency of this project. To measure it, install it separately:

    pip install --no-deps --target ULTRA ultralytics ultralytics-thop polars polars-runtime-32 py-cpuinfo
    PYTHONPATH=ULTRA python benchmarks/detector_latency.py --photo PHOTO.jpg
"""  # noqa: E501

import argparse
import os
import tempfile
from collections.abc import Callable, Sized
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from targets import (
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

from engine import cli
from engine.benchmark import latency
from engine.benchmark.worker import Local
from engine.extras import require

SIDE = 320
OURS, THEIRS = "PicoDet-S, OpenVINO", "yolo11n, OpenVINO"
OURS_WHOLE = "PicoDet of --checkpoint, bytes to boxes"
THEIRS_WHOLE = "yolo11n, bytes to boxes"
TARGETS = [Target(OURS, THEIRS, 0.68)]
WHOLE = Target(OURS_WHOLE, THEIRS_WHOLE, 0.60)
CONFIG = "picodet_lcnet.py"


def yolo(folder: Path) -> tuple[Path, Any]:
    """Their network as ONNX, and their predictor on their OpenVINO export."""
    os.environ.setdefault("YOLO_CONFIG_DIR", str(folder))
    kind = require("ultralytics").YOLO
    before = Path.cwd()
    os.chdir(folder)  # where their exporter writes
    try:
        model = kind("yolo11n.yaml", verbose=False)
        onnx = Path(model.export(format="onnx", imgsz=SIDE)).resolve()
        return onnx, kind(Path(model.export(format="openvino", imgsz=SIDE)).resolve(), "detect")
    finally:
        os.chdir(before)


def whole(
    photo: Path, folder: Path, arguments: argparse.Namespace, theirs: Any
) -> dict[str, Callable[[], Sized]]:
    """Functions from the photo's bytes to boxes: of the given checkpoint, and theirs."""
    data = photo.read_bytes()
    given = subject(arguments.config, folder, path=arguments.checkpoint)
    model = predictor(arguments.config, given, folder)

    def their_boxes() -> Sized:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        return theirs.predict(image, imgsz=SIDE, device="cpu", verbose=False)[0].boxes

    return {
        OURS_WHOLE: lambda: model.predict(pixels(photo, data))[0]["boxes"],
        THEIRS_WHOLE: their_boxes,
    }


def main(arguments: argparse.Namespace) -> None:
    """Measure, print, write."""
    calm()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx, theirs = yolo(folder)
        what = subject(CONFIG, folder)
        photo = latency.photo(arguments.photo, folder)
        height, width = pixels(photo, photo.read_bytes()).shape[:2]
        tasks = whole(photo, folder, arguments, theirs) if arguments.checkpoint else {}
        entries = [
            in_engine(OURS, what.path("openvino"), what.size),
            in_engine(THEIRS, onnx, (SIDE, SIDE)),
            *(Local(name, task) for name, task in tasks.items()),
        ]
        notes = {
            "PicoDet-S": floor_note(what),
            "photo": f"{width} x {height}, {photo.stat().st_size / 1e3:.0f} kB",
            **{f"boxes found, {name}": len(task()) for name, task in tasks.items()},
        }
        targets = [*TARGETS, WHOLE] if tasks else TARGETS
        save(arguments, settle(entries, targets, arguments.runs, notes))


if __name__ == "__main__":
    given = options(__doc__ or "")
    given.add_argument("--photo", type=Path, help="JPEG file; default: a drawn one")
    given.add_argument("--checkpoint", type=Path, help="trained detector, for the second part")
    given.add_argument("--config", default=CONFIG, help="of --checkpoint, by its name in configs/")
    cli.run(main, given)
