"""DeepLabV3+ at 1024 x 512, 1 thread: python benchmarks/segmenter_latency.py.

PP-LCNet x1.0 against the same segmenter on MobileNetV3-large x0.75, from a JPEG's bytes to the mask
by `model.predict` in OpenVINO; then the time of each stage, and of each part of the network by
OpenVINO's own profile. Weights are random; these times do not depend on them.
"""

import argparse
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from targets import (
    CONFIGS,
    Target,
    calm,
    floor_note,
    options,
    pixels,
    predictor,
    save,
    settle,
    subject,
)

from engine import cli, config
from engine.benchmark.latency import Subject, middle_half
from engine.benchmark.worker import Job, Loaded, Local
from engine.data.images import encode_image
from engine.export.check_pictures import picture
from engine.extras import require

SIZE = (512, 1024)
CONFIG = {
    "PP-LCNet x1.0": "deeplabv3plus_lcnet.py",
    "MobileNetV3-large x0.75": "deeplabv3plus_mobilenetv3.py",
}
OURS, TWIN = CONFIG
TARGETS = (Target(OURS, TWIN, 0.90),)
PARTS = ("backbone", "aspp", "decoder")
PROFILED = 10  # runs


def parts(path: Path) -> dict[str, float]:
    """Milliseconds by part of the network, the median run of OpenVINO's profile."""
    options = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": 1,
        "PERF_COUNT": True,
    }
    compiled = require("openvino").Core().compile_model(str(path), "CPU", options)
    request = compiled.create_infer_request()
    runs: list[Counter[str]] = []
    for _ in range(PROFILED):
        request.infer([np.zeros((1, 3, *SIZE), np.float32)])
        runs.append(Counter())
        for node in request.get_profiling_info():
            part = next((name for name in PARTS if name in node.node_name), "resize and rest")
            runs[-1][part] += node.real_time.total_seconds() * 1e3
    return {name: float(np.median([run[name] for run in runs])) for name in sorted(runs[0])}


def stages(config_name: str, what: Subject, photo: Path, runs: int) -> dict[str, float]:
    """Milliseconds by stage from file to mask."""
    path = what.path("openvino")
    job = Job(CONFIGS / config_name, {}, path, "openvino", 1, what.size, 1, photo)
    return middle_half(Loaded(job, config.load(job.config)).stages(runs))


def main(arguments: argparse.Namespace) -> None:
    """Measure, print, write."""
    calm()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photo = folder / "street.jpg"
        data = encode_image(picture(*SIZE), ".jpg")
        photo.write_bytes(data)
        subjects = {key: subject(file, folder, shape=SIZE) for key, file in CONFIG.items()}
        models = {key: predictor(CONFIG[key], what, folder) for key, what in subjects.items()}
        entries = [
            Local(key, lambda model=model: model.predict(pixels(photo, data)))
            for key, model in models.items()
        ]
        notes: dict[str, Any] = {key: floor_note(what) for key, what in subjects.items()}
        report = settle(entries, TARGETS, arguments.runs, notes)
        for key, what in subjects.items():
            report[key] = {
                "stages": stages(CONFIG[key], what, photo, max(4, arguments.runs // 10)),
                "parts": parts(what.path("openvino")),
            }
            for kind, numbers in report[key].items():
                line = ", ".join(f"{part} {value:.1f}" for part, value in numbers.items())
                print(f"{key}, {kind}, ms: {line}")
        save(arguments, report)


if __name__ == "__main__":
    cli.run(main, options(__doc__ or ""))
