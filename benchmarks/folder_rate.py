"""Images a second of a folder with two workers: python benchmarks/folder_rate.py [FOLDER].

`predict_files` (tools/predict.py --workers) with a classifier and a detector in OpenVINO, each
worker computing with one thread, against one worker; in turns. Weights are random.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from targets import CONFIGS, calm, options, predictor, save, subject

from engine import command_line, load_model
from engine.export import picture
from engine.machine import fingerprint
from engine.sources import find_sources, predict_files

CONFIG = {"classifier x1.0": "classifier_lcnet.py", "PicoDet-S": "picodet_lcnet.py"}
WORKERS = 2
REACH = 0.85
NUM_DRAWN = 40


def drawn(folder: Path) -> list[Path]:
    """JPEG files of 640 x 480."""
    folder.mkdir()
    image = picture(480, 640)[..., ::-1]
    for number in range(NUM_DRAWN):
        cv2.imwrite(str(folder / f"{number:03}.jpg"), np.roll(image, 16 * number, axis=1))
    return find_sources([str(folder)])


def rate(model: Any, files: Sequence[Path], workers: int) -> float:
    """Images a second."""
    start = time.perf_counter()
    predict_files(model, files, None, 0.4, workers=workers)
    return len(files) / (time.perf_counter() - start)


def main(arguments: argparse.Namespace) -> None:
    """Measure, print, write."""
    calm(WORKERS)
    report: dict[str, Any] = {"machine": fingerprint(), "rates": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = find_sources([str(arguments.folder)]) if arguments.folder else drawn(folder / "in")
        for key, file in CONFIG.items():
            what = subject(file, folder)
            one = predictor(file, what, folder)
            two = load_model(CONFIGS / file, one.exported.path, callers=WORKERS)
            found: dict[int, list[float]] = {1: [], WORKERS: []}
            for _ in range(max(2, arguments.runs // len(files))):
                found[1].append(rate(one, files, 1))
                found[WORKERS].append(rate(two, files, WORKERS))
            report["rates"][key] = found
            tell(key, found[1][1:], found[WORKERS][1:])
    print(
        f"{len(files)} files; machine {report['machine']['id']}, load average "
        f"{report['machine']['load']:.1f} before, {fingerprint()['load']:.1f} after"
    )
    save(arguments, report)


def tell(name: str, alone: Sequence[float], together: Sequence[float]) -> None:
    """Print the rates and their ratio: of rounds in pairs, and of the best of both."""
    pairs = [two / (WORKERS * one) for one, two in zip(alone, together, strict=True)]
    median, best = float(np.median(pairs)), max(together) / (WORKERS * max(alone))
    print(
        f"{name}: {np.median(alone):.1f} images/s alone, {np.median(together):.1f} with {WORKERS} "
        f"workers; {median:.3f} of {WORKERS} times (best rounds: {best:.3f}), to reach "
        f"{REACH:.2f}: {'met' if median >= REACH else 'missed'}"
    )


if __name__ == "__main__":
    given = options(__doc__ or "")
    given.add_argument("folder", nargs="?", type=Path, help="of JPEG files; drawn if none")
    command_line.run(main, given)
