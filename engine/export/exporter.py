"""Exports a checkpoint as a file that runs without this project, and checks the file.

Shapes: B images, H, W the size of the network input, h, w the size of an image.
"""

import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log
from numpy.typing import NDArray
from torch import Tensor

from engine.data.image_files import find_images
from engine.data.images import read_image
from engine.export.check_pictures import picture
from engine.export.formats import FORMATS, Format
from engine.export.graph import raw_outputs
from engine.export.head import ExportHead
from engine.export.layer_profile import Speed, compare
from engine.export.metric_loss import ALLOWED_POINTS, Drop, Scorer, ScorerOf
from engine.export.parity import Gap, largest, values_apart
from engine.export.plan import Plan, Prepared, Source, load, prepare
from engine.export.quantization import EightBit, Outcome, calibration_images, quantised
from engine.extras import require
from engine.runtime.exported import Exported, contiguous, open_exported
from engine.types import Picture

MAX_CHECKED = 8  # pictures that outputs are compared on
DRAWN_SIZES = ((240, 320), (320, 256), (128, 128))  # of the generated pictures

# Largest allowed differences from PyTorch, by (preprocessing in the graph, export head in it).
# Raw outputs: relative to the largest value. Export heads: in pixels and percent of score.
# Preprocessing in the graph may differ from cv2 by one of 255 levels, because of rounding: one
# value in 8,000 with cubic interpolation, one in 10 with linear.
TOLERANCE = {
    (False, False): Gap(value=1e-3, share=0.0),
    (False, True): Gap(value=0.05, share=0.02),
    (True, False): Gap(value=0.02, share=0.0),
    (True, True): Gap(value=0.5, share=0.05),
}


@dataclass(frozen=True)
class Report:
    """Result of an export."""

    path: Path
    gap: Gap
    allowed: Gap
    num_pictures: int
    drop: Drop | None  # None without a data set
    eight_bit: Outcome | None = None  # `gap` is then that of the float32 file before it
    speed: Speed | None = None  # of the 8-bit file, compared with the float32 one

    @property
    def size(self) -> int:
        """Bytes of the file and of the weights file beside it."""
        parts = {self.path, *(self.path.with_suffix(".bin"),) * (self.path.suffix == ".xml")}
        return sum(path.stat().st_size for path in parts)


def export(
    cfg: Config,
    path: Path,
    out: Path,
    plan: Plan,
    *,
    options: Mapping[str, Any] | None = None,
    verify: Path | None = None,
    eight_bit: EightBit | None = None,
    scorer_of: ScorerOf = lambda _: None,
) -> Report:
    """Export a checkpoint as the plan says; a file that fails a check is removed.

    Args:
        cfg: Loaded config of the checkpoint.
        path: The checkpoint.
        out: File to write.
        plan: What to export.
        options: Overrides that were applied to `cfg`.
        verify: Image or folder to check the outputs on; None uses generated pictures. For a data
            set in the task's layout, the metric is compared too.
        eight_bit: How to quantise; None exports float32.
        scorer_of: Returns the scorer for the data set in a folder, None if it holds no data set.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the plan does not fit the checkpoint, the export fails a check, or an engine is
            missing.
    """
    check_name(out, plan)
    format_ = FORMATS[plan.format]
    if eight_bit is not None and format_.quantisers is None:
        raise ValueError(
            f"--int8: 8-bit export to {format_.name} is not supported; use onnx or openvino"
        )
    images = pictures(verify)
    source = load(cfg, path, plan, options)
    given = None if eight_bit is None else calibration_images(cfg, eight_bit.calib)
    check_engines(format_, given is not None)
    prepared = prepare(source, plan)
    outcome, speed = None, None
    with written_together(out) as aside, tempfile.TemporaryDirectory() as folder:
        whole = aside if eight_bit is None else Path(folder) / aside.name
        write(prepared, whole)
        gap = check_outputs(prepared, whole, images)
        if eight_bit is not None and given is not None:
            scorer = scorer_of(eight_bit.calib)
            outcome = quantised(prepared, (whole, aside), given, eight_bit, scorer)
            speed = compare(whole, aside, _given(prepared, *network_input(prepared, images[0])))
        allowed = ALLOWED_POINTS if eight_bit is None else eight_bit.budget
        drop = None
        if verify is not None:
            drop = check_metric(source, aside, scorer_of(verify), allowed)
    return Report(out, gap, tolerance(prepared), len(images), drop, outcome, speed)


def check_metric(
    source: Source, path: Path, scorer: Scorer | None, allowed: float = ALLOWED_POINTS
) -> Drop | None:
    """Compare the metric of checkpoint and file on a data set; None without a scorer.

    Raises:
        ValueError: the file loses more than `allowed` points.
    """
    if scorer is None:
        return None
    drop = scorer.drop(scorer.score(source.path), scorer.score(path))
    if drop.points > allowed:
        raise ValueError(f"{drop}: more than {allowed} points lost; no file was written")
    return drop


def check_engines(format_: Format, eight_bit: bool) -> None:
    """Raise ValueError, with the install command, if a package is missing."""
    for name in (*format_.packages, *((format_.quantisers or ()) if eight_bit else ())):
        require(name)


@contextmanager
def written_together(out: Path) -> Iterator[Path]:
    """Path of the same name in a temporary folder, whose files move beside `out` on success."""
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        yield folder / out.name
        # `out` itself comes last: when it exists, the files that it needs exist too.
        for path in sorted(folder.iterdir(), key=lambda path: path.name == out.name):
            path.replace(out.parent / path.name)
    finally:
        shutil.rmtree(folder)


def check_name(out: Path, plan: Plan) -> None:
    """Raise ValueError if the file's suffix is not one of the format."""
    suffixes = FORMATS[plan.format].suffixes
    if out.suffix not in suffixes:
        raise ValueError(
            f"--out {out}: the suffix of --format {plan.format} is {' or '.join(suffixes)}"
        )


def write(prepared: Prepared, path: Path) -> None:
    """Write the graph in the plan's format.

    Raises:
        ValueError: the exporter or its checker rejects the graph, or an engine is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # deprecations and tracing hints; the outputs are checked later
        FORMATS[prepared.plan.format].write(prepared, path)


def pictures(sources: Path | None) -> list[Picture]:
    """Pictures to compare outputs on: from a file or folder, or generated ones.

    Raises:
        FileNotFoundError: the folder has no images.
    """
    if sources is None:
        return [picture(*size) for size in DRAWN_SIZES]
    files = find_images(sources) if sources.is_dir() else [sources]
    step = max(1, len(files) // MAX_CHECKED)
    return [read_image(path) for path in files[::step][:MAX_CHECKED]]


def check_outputs(prepared: Prepared, path: Path, images: Sequence[Picture]) -> Gap:
    """Largest difference of the file's outputs from those of the unfolded model in PyTorch.

    The model gets its inputs from `Preprocess`, so preprocessing in the graph is checked too.

    Raises:
        ValueError: the difference exceeds the tolerance.
    """
    exported = open_exported(path)
    gap = largest([_picture_gap(prepared, exported, image) for image in images])
    allowed = tolerance(prepared)
    if prepared.head is not None and not gap.within(allowed):
        gap = _gap_of_parts(prepared, exported, images)
    if not gap.within(allowed):
        raise ValueError(
            f"the outputs of the {prepared.plan.format} file differ from PyTorch's: {gap} "
            f"(allowed: {allowed}); no file was written"
        )
    return gap


def _gap_of_parts(prepared: Prepared, exported: Exported, images: Sequence[Picture]) -> Gap:
    """Difference of the export head alone, after a check of the network alone.

    When scores differ only by rounding, as those of an untrained model do, the last bit decides
    what an export head returns. So both heads get the network outputs of the same engine.

    Raises:
        ValueError: the network's outputs exceed their tolerance.
    """
    alone = prepare(prepared.source, replace(prepared.plan, end2end=False))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / exported.path.name
        write(alone, path)
        check_outputs(alone, path, images)
        network = open_exported(path)
        gaps = [_head_gap(prepared, network, exported, image) for image in images]
    print_log(
        "scores are equal within rounding: network and export head were checked separately",
        "current",
    )
    return largest(gaps)


def _head_gap(prepared: Prepared, network: Exported, exported: Exported, image: Picture) -> Gap:
    """Difference between the export heads of file and PyTorch, on the same network outputs."""
    image, inputs = network_input(prepared, image)
    wanted = _finished(prepared, _run(prepared, network, image, inputs), image, inputs)
    head: ExportHead = prepared.head
    return head.apart(wanted, _run(prepared, exported, image, inputs))


def tolerance(prepared: Prepared) -> Gap:
    """Largest allowed difference between the outputs of a float32 file and PyTorch's."""
    return TOLERANCE[prepared.plan.with_preprocess, prepared.head is not None]


def _picture_gap(prepared: Prepared, exported: Exported, image: Picture) -> Gap:
    """Difference of all outputs for one picture."""
    image, inputs = network_input(prepared, image)
    wanted, found = reference(prepared, image, inputs), _run(prepared, exported, image, inputs)
    if prepared.head is not None:
        head: ExportHead = prepared.head
        return head.apart(wanted, found)
    return largest([values_apart(*pair) for pair in zip(wanted, found, strict=True)])


def _run(prepared: Prepared, exported: Exported, image: Picture, inputs: Tensor) -> list[Tensor]:
    """Outputs of the file for a picture, or for the network input (B, 3, H, W) made from it."""
    given = _given(prepared, image, inputs)
    return [torch.from_numpy(np.asarray(output)) for output in exported.run(given)]


def _given(prepared: Prepared, image: Picture, inputs: Tensor) -> NDArray[Any]:
    """Input of the file: the picture if the graph preprocesses it, else the network input."""
    return image if prepared.plan.with_preprocess else contiguous(inputs)


def network_input(prepared: Prepared, image: Picture) -> tuple[Picture, Tensor]:
    """A picture, cropped to a size that fits the network, and the input (B, 3, H, W) from it."""
    model = prepared.source.model
    if prepared.source.size is None:
        image = _trimmed(image, model.size_divisor)
    inputs = model.data_preprocessor({"images": [torch.from_numpy(image)]})["images"]
    if prepared.plan.dynamic == "batch":
        inputs = torch.cat([inputs, inputs.flip(-1)])
    return image, inputs


@torch.inference_mode()
def reference(prepared: Prepared, image: Picture, inputs: Tensor) -> list[Tensor]:
    """Outputs in PyTorch for a picture and the network input (B, 3, H, W) made from it."""
    outputs = raw_outputs(prepared.source.model, inputs)
    if prepared.head is None:
        return list(outputs)
    return _finished(prepared, outputs, image, inputs)


def _finished(
    prepared: Prepared, outputs: Sequence[Tensor], image: Picture, inputs: Tensor
) -> list[Tensor]:
    """Outputs of the export head in PyTorch for the network's outputs."""
    size = (inputs.shape[2], inputs.shape[3])
    given = (image.shape[0], image.shape[1]) if prepared.plan.with_preprocess else size
    return list(prepared.head(*outputs, size, given))


def _trimmed(image: Picture, divisor: int) -> Picture:
    height, width = (side // divisor * divisor for side in image.shape[:2])
    return np.ascontiguousarray(image[:height, :width])
