"""PicoDet-S at 320 against ultralytics' yolo11n, 1 thread: python benchmarks/detector_latency.py.

The networks in OpenVINO, each from its own ONNX export; and from a JPEG's bytes to boxes, ours by
`model.predict`, theirs by `YOLO.predict` with its OpenVINO export. Their weights and, without
--checkpoint, ours are random; how many boxes are left is printed.

ultralytics is AGPL-3.0 and no dependency of this project. To measure against it, install it beside:

    pip install --no-deps --target ULTRA ultralytics ultralytics-thop polars polars-runtime-32 py-cpuinfo
    PYTHONPATH=ULTRA python benchmarks/detector_latency.py --photo PHOTO.jpg
"""  # noqa: E501

import argparse
import os
import tempfile
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

from engine import benchmark, command_line
from engine.contestant import Local
from engine.exported import require

SIDE = 320
OURS, THEIRS = "PicoDet-S, OpenVINO", "yolo11n, OpenVINO"
OURS_WHOLE = "PicoDet-S, bytes to boxes"
TRAINED_WHOLE = "given checkpoint, bytes to boxes"
THEIRS_WHOLE = "yolo11n, bytes to boxes"
TARGETS = (Target(OURS, THEIRS, 0.68), Target(OURS_WHOLE, THEIRS_WHOLE, 0.60))
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


def main(arguments: argparse.Namespace) -> None:
    """Measure, print, write."""
    calm()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx, theirs = yolo(folder)
        photo = benchmark.photo(arguments.photo, folder)
        data = photo.read_bytes()
        what = subject(CONFIG, folder)
        ours = {OURS_WHOLE: predictor(CONFIG, what, folder)}
        if arguments.checkpoint is not None:
            given = subject(arguments.config, folder, path=arguments.checkpoint)
            ours[TRAINED_WHOLE] = predictor(arguments.config, given, folder)

        def their_boxes() -> Any:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            return theirs.predict(image, imgsz=SIDE, device="cpu", verbose=False)[0].boxes

        whole = [
            Local(name, lambda model=model: model.predict(pixels(photo, data)))
            for name, model in ours.items()
        ]
        entries = [
            in_engine(OURS, what.path("openvino"), what.size),
            in_engine(THEIRS, onnx, (SIDE, SIDE)),
            *whole,
            Local(THEIRS_WHOLE, their_boxes),
        ]
        height, width = pixels(photo, data).shape[:2]
        notes = {
            "PicoDet-S": floor_note(what),
            "photo": f"{width} x {height}, {len(data) / 1e3:.0f} kB",
            **{
                f"boxes left, {name}": len(model.predict(pixels(photo, data))[0]["boxes"])
                for name, model in ours.items()
            },
            f"boxes left, {THEIRS_WHOLE}": len(their_boxes()),
        }
        save(arguments, settle(entries, TARGETS, arguments.runs, notes))


if __name__ == "__main__":
    given = options(__doc__ or "")
    given.add_argument("--photo", type=Path, help="JPEG file; drawn if none")
    given.add_argument("--checkpoint", type=Path, help="trained detector, timed as well")
    given.add_argument("--config", default=CONFIG, help="of --checkpoint, by its name in configs/")
    command_line.run(main, given)
