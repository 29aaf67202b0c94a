"""Convert weights of other programs: python tools/convert_weights.py SRC DST --config CONFIG.

SRC is a Paddle .pdparams, an .npz or an unfused .onnx file; nothing in it is executed. DST is the
checkpoint to write.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.progress import Progress

from engine import cli, config
from engine.checkpoint import checkpoint
from engine.checkpoint.foreign_weights import Foreign, content, names_or_numbers
from engine.data.image_files import find_images
from engine.progress import live_line
from engine.task import task_of
from engine.training.norm_calibration import calibrate_norms, network_inputs


def main(arguments: argparse.Namespace) -> None:
    """Read, rename, calibrate if requested, write, print a summary."""
    cfg = config.plain(config.load(arguments.config, arguments.cfg_options).model)
    model = checkpoint.build_model(cfg)
    task = task_of(model)
    names: Sequence[str] = ()
    if arguments.classes is not None:
        listed = task.use("class_list")(arguments.classes)
        names = names_or_numbers(listed, cfg.get("num_classes", len(listed)), arguments.classes)
    filled: Foreign = task.use("foreign_weights")(model, arguments.source, names)
    print(f"{arguments.source}: {filled.report}")
    info: dict[str, object] = {"source": arguments.source.name}
    if arguments.calibrate_bn:
        with live_line() as progress:
            info["norms_rebuilt"] = calibrate(model, arguments.calibrate_bn, progress)
        print(f"batch-norm statistics rebuilt from {info['norms_rebuilt']} images")
        info["norms_folded"] = False
    elif filled.info.get("norms_folded"):
        print(
            "this file has folded batch-norms: use it for evaluation and export; for training, "
            "convert with --calibrate-bn IMAGE_DIR"
        )
    checkpoint.save(arguments.target, content(model, cfg, filled, info))
    print(f"{arguments.target}: written")


def calibrate(model: Any, folder: Path, progress: Progress) -> int:
    """Rebuild batch-norm statistics from the images in `folder`; returns their number."""
    files = find_images(folder)
    task = progress.add_task("images", total=len(files), note="")
    batches = network_inputs(model.data_preprocessor, files)
    seen = (progress.advance(task, len(batch)) or batch for batch in batches)
    return calibrate_norms(model, seen)


if __name__ == "__main__":
    options = cli.parser(__doc__ or "")
    add = options.add_argument
    add("source", type=Path, metavar="SRC", help=".pdparams, .npz or .onnx")
    add("target", type=Path, metavar="DST", help="checkpoint to write (.pth)")
    add("--config", type=Path, required=True, help="config that names the model")
    cli.add_overrides(options)
    add(
        "--classes", type=Path, metavar="F",
        help="file with one class name per line (default: those in SRC, else COCO's or numbers)",
    )  # fmt: skip
    add(
        "--calibrate-bn", type=Path, metavar="IMAGE_DIR",
        help="rebuild batch-norm statistics from these images (needed to train from folded files)",
    )  # fmt: skip
    cli.run(main, options)
