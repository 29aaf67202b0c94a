"""Images per second of a folder with two workers: python benchmarks/folder_rate.py [FOLDER].

`predict_files` (tools/predict.py --workers) with the classifier x1.0 in OpenVINO: two workers of
one thread each against one, in turns. Weights are random.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from targets import CONFIGS, calm, options, predictor, save, subject

from engine import cli, load_model
from engine.data.image_files import find_sources
from engine.data.images import encode_image
from engine.export.check_pictures import picture
from engine.hardware import fingerprint
from engine.inference.files import predict_files

CONFIG = {"classifier x1.0": "classifier_lcnet.py"}
WORKERS = 2
REACH = 0.85
NUM_DRAWN = 40


def drawn(folder: Path) -> list[Path]:
    """JPEG files of 640 x 480."""
    folder.mkdir()
    image = picture(480, 640)
    for number in range(NUM_DRAWN):
        shifted = np.roll(image, 16 * number, axis=1)
        (folder / f"{number:03}.jpg").write_bytes(encode_image(shifted, ".jpg"))
    return find_sources([str(folder)])


class Rate(NamedTuple):
    """Speed over a folder."""

    images: float  # per second
    processor: float  # seconds of processor time per image, over all threads


def rate(model: Any, files: Sequence[Path], workers: int) -> Rate:
    """One pass over the folder."""
    wall, processor = time.perf_counter(), time.process_time()
    predict_files(model, files, None, 0.4, workers=workers)
    taken = time.perf_counter() - wall, time.process_time() - processor
    return Rate(len(files) / taken[0], taken[1] / len(files))


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
            found: dict[int, list[Rate]] = {1: [], WORKERS: []}
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


def tell(name: str, alone: Sequence[Rate], together: Sequence[Rate]) -> None:
    """Print the rates and their ratio, of pairs of rounds and of the best rounds.

    If other work uses the cores, processor time shows how much two workers slow each other down.
    """
    pairs = [two.images / (WORKERS * one.images) for one, two in zip(alone, together, strict=True)]
    median = float(np.median(pairs))
    one, two = (max(row.images for row in rows) for rows in (alone, together))
    costs = [float(np.median([row.processor for row in rows])) for rows in (alone, together)]
    print(
        f"{name}: at best {one:.1f} images/s alone, {two:.1f} with {WORKERS} workers: "
        f"{two / one / WORKERS:.3f} of {WORKERS} times (median of rounds: {median:.3f}), target "
        f"{REACH:.2f}; processor time per image {costs[0] * 1e3:.1f} ms alone, "
        f"{costs[1] * 1e3:.1f} ms with {WORKERS}: {costs[0] / costs[1]:.3f}"
    )


if __name__ == "__main__":
    given = options(__doc__ or "")
    given.add_argument("folder", nargs="?", type=Path, help="of JPEG files; default: drawn ones")
    cli.run(main, given)
