"""Predicts on image and video files, and writes the results."""

import csv
import io
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from engine.data.image_files import VIDEO_SUFFIXES
from engine.data.images import check_pixels, encode_image, read_image
from engine.fileio import write_binary, write_json, written_whole
from engine.inference.predictor import Predictor
from engine.inference.stopwatch import Stopwatch
from engine.progress import live_line
from engine.types import Mask, Picture

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # errors are reported below
PREPARE = "prepare"  # stopwatch stage of the model's preprocessing
RANKING = ("class", "label", "score")  # keys of a row, if rows rank the classes of an image
WRITTEN_SUFFIXES = {".jpg", ".jpeg", ".png"}


def predict_files(
    model: Predictor,
    sources: Sequence[Path],
    out_dir: Path | None,
    threshold: float,
    watch: Stopwatch | None = None,
    workers: int = 1,
    *,
    quiet: bool = False,
) -> dict[str, Any]:
    """Results of every image, and of every frame of every video, by file name.

    With `out_dir`, writes annotated pictures and videos under the names of the sources, numbered
    if two names are equal, and all results as predictions.json. A segmenter also writes
    `<name>_mask.png` with the class of each pixel, a classifier predictions.csv.

    Args:
        model: From `load_model`.
        sources: Files from `find_sources`.
        out_dir: Folder to write to, or None.
        threshold: Lowest score kept, 0..1.
        watch: Measures the stages read, network and write of every image; `network` excludes
            PREPARE if that is measured too. For one worker only.
        workers: Number of threads, each working on one source; the model must be loaded for that
            many callers.
        quiet: No progress bar.

    Raises:
        ValueError: a source is not a readable image or video, or is in `out_dir`, where the
            annotated picture would replace it.
    """
    if out_dir is not None:
        _check_apart(sources, out_dir)
    timer = watch or Stopwatch()

    def one(source: Path, target: Path | None) -> list[Any]:
        if source.suffix.lower() in VIDEO_SUFFIXES:
            return _predict_video(model, source, target, threshold)
        return _predict_image(model, source, target, threshold, timer)

    places = _targets(sources, out_dir)
    results: dict[str, Any] = {}
    with live_line(quiet=quiet) as bar, _at_once(workers) as apply:
        task = bar.add_task("predicting", total=len(sources), note="")
        targets = (target for _, target in places)
        for (name, _), found in zip(places, apply(one, sources, targets), strict=True):
            results[name] = found
            bar.update(task, advance=1)
    if out_dir is not None:
        _write_results(out_dir, results, sources)
    return results


def _targets(sources: Sequence[Path], out_dir: Path | None) -> list[tuple[str, Path | None]]:
    """The result name and the annotated file (or None) of each source."""
    if out_dir is None:
        return [(str(source), None) for source in sources]
    used: set[str] = set()
    targets: list[tuple[str, Path | None]] = []
    for source in sources:
        target = _free_name(_written_name(out_dir, source), used)
        used |= {target.name, _mask_path(target).name}
        targets.append((target.name, target))
    return targets


@contextmanager
def _at_once(workers: int) -> Iterator[Callable[..., Iterator[Any]]]:
    """A `map` with `workers` calls at a time, results in order; an error cancels the rest."""
    if workers == 1:
        yield map
        return
    pool = ThreadPoolExecutor(workers)
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)


def _write_results(out_dir: Path, results: dict[str, Any], sources: Sequence[Path]) -> None:
    write_json(out_dir / "predictions.json", results)
    rows = [row for frames in results.values() for row in _frames_of(frames)]
    if any(map(is_ranking, rows)):
        write_binary(
            out_dir / "predictions.csv", _as_csv(results, sources).encode(errors="surrogateescape")
        )


def is_ranking(rows: Sequence[Any]) -> bool:
    """Whether the rows of an image rank its classes, as a classifier's rows do."""
    return bool(rows) and isinstance(rows[0], dict) and tuple(rows[0]) == RANKING


def _frames_of(found: list[Any]) -> list[list[dict[str, Any]]]:
    """Rows of each frame of a video; an image is one frame."""
    return found if found and isinstance(found[0], list) else [found]


def _as_csv(results: dict[str, Any], sources: Sequence[Path]) -> str:
    """Rankings as CSV: image, source, frame of a video, rank from 1, class, label, score."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["image", "source", "frame", "rank", *RANKING])
    for source, (name, found) in zip(sources, results.items(), strict=True):
        frames = _frames_of(found)
        for number, rows in enumerate(frames):
            frame = number if frames is found else ""
            for rank, row in enumerate(rows, 1):
                writer.writerow([name, source, frame, rank, *(row[key] for key in RANKING)])
    return stream.getvalue()


def _check_apart(sources: Sequence[Path], out_dir: Path) -> None:
    inside = [source for source in sources if source.resolve().parent == out_dir.resolve()]
    if inside:
        raise ValueError(
            f"--out-dir {out_dir}: contains the source {inside[0].name}, which its annotated "
            "picture would replace; give another folder"
        )


def _written_name(out_dir: Path, source: Path) -> Path:
    """Path of the annotated source: videos become MP4, rare image formats PNG."""
    suffix = source.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return out_dir / f"{source.stem}.mp4"
    return out_dir / (source.name if suffix in WRITTEN_SUFFIXES else f"{source.stem}.png")


def _free_name(path: Path, used: Collection[str]) -> Path:
    """`path`, with a number if its name or that of its mask is already used."""
    number, free = 1, path
    while free.name in used or _mask_path(free).name in used:
        number, free = number + 1, path.with_stem(f"{path.stem}_{number + 1}")
    return free


def _mask_path(picture: Path) -> Path:
    """Path of the mask that belongs to the annotated `picture`."""
    return picture.with_name(f"{picture.stem}_mask.png")


def _predict_image(
    model: Predictor, source: Path, target: Path | None, threshold: float, watch: Stopwatch
) -> list[dict[str, Any]]:
    with watch.stage("read"):
        image = read_image(source)
    with watch.stage("network", without=PREPARE):
        found = model.predict(image)[0]
    if target is not None:
        with watch.stage("write"):
            save_picture(target, model.draw(image, found, threshold))
            if "mask" in found:
                mask: Mask = found["mask"].cpu().numpy()
                write_binary(_mask_path(target), encode_image(mask, ".png"))
    return model.describe(found, threshold)


def save_picture(path: Path, picture: Picture) -> None:
    """Write an RGB picture atomically, as JPEG or PNG by its suffix."""
    write_binary(path, encode_image(picture, path.suffix))


def _predict_video(
    model: Predictor, source: Path, target: Path | None, threshold: float
) -> list[Any]:
    """Results of every frame; writes the annotated video to `target` atomically, if given."""
    capture = cv2.VideoCapture(str(source))
    rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
    width, height = map(capture.get, (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    check_pixels(source, (int(height), int(width)))
    results: list[Any] = []
    writer: cv2.VideoWriter | None = None
    whole = nullcontext() if target is None else written_whole(target, suffix=".mp4")
    try:
        with whole as aside:
            for frame in _frames(capture):
                found = model.predict(frame)[0]
                results.append(model.describe(found, threshold))
                if aside is not None:
                    drawn = model.draw(frame, found, threshold)
                    writer = writer or _video_writer(aside, rate, drawn)
                    writer.write(cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
            if not results:
                raise ValueError(f"{source}: no frame of this video can be decoded; re-encode it")
            if writer is not None:
                writer.release()
    finally:
        capture.release()
    return results


def _frames(capture: cv2.VideoCapture) -> Iterator[Picture]:
    while True:
        alive, frame = capture.read()
        if not alive:
            return
        picture: Picture = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
        yield picture


def _video_writer(path: Path, rate: float, picture: Picture) -> cv2.VideoWriter:
    """Writer of an MP4 file for frames of the picture's size."""
    code = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(path), code, rate, picture.shape[1::-1])
    if not writer.isOpened():
        raise ValueError(f"{path.name}: this OpenCV cannot write mp4v video; use pictures")
    return writer
