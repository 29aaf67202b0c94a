"""Convert foreign weights: python tools/convert_weights.py SRC DST --config CONFIG.

SRC is a Paddle .pdparams, an .npz or an unfused .onnx file; nothing in it is executed. DST is a
checkpoint of ours.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import DictAction
from rich.progress import Progress

from backbone.weights import Arrays, is_folded, read_arrays, read_classes
from classification.classes import read_classes as read_label_file
from classification.classifier import Classifier
from classification.weights import load_foreign as load_classifier
from detection.coco_classes import CATEGORY_IDS, CLASSES
from detection.picodet import PicoDet
from detection.weights import class_names
from detection.weights import load_foreign as load_detector
from engine import checkpoint, command_line, config
from engine.calibrate import calibrate_norms, find_images, network_inputs
from engine.progress import live_line
from segmentation.deeplabv3plus import DeepLabV3Plus
from segmentation.weights import load_foreign as load_segmenter


def main(arguments: argparse.Namespace) -> None:
    """Read, rename, calibrate where wanted, write, say what fitted."""
    cfg = config.plain(config.load(arguments.config, arguments.cfg_options).model)
    model = checkpoint.build_model(cfg)
    if not isinstance(model, PicoDet | Classifier | DeepLabV3Plus):
        raise ValueError(f"{arguments.config}: {cfg['type']} has no table of foreign names")
    arrays = read_arrays(arguments.source)
    report, classes = fill(model, arrays, arguments)
    print(f"{arguments.source}: {report}")
    info: dict[str, object] = {"source": arguments.source.name}
    if classes == CLASSES:
        info["category_ids"] = list(CATEGORY_IDS)
    if arguments.calibrate_bn:
        with live_line() as progress:
            info["norms_rebuilt"] = calibrate(model, arguments.calibrate_bn, progress)
        print(f"batch-norm statistics rebuilt from {info['norms_rebuilt']} images")
    elif is_folded(arrays):
        info["norms_folded"] = True
        print(
            "batch-norms of this file are folded away: good for evaluation and export; before "
            "training on it, convert with --calibrate-bn IMAGE_DIR"
        )
    checkpoint.save(arguments.target, checkpoint.describe(model, cfg, classes, info))
    print(f"{arguments.target}: written")


def fill(
    model: PicoDet | Classifier | DeepLabV3Plus, arrays: Arrays, arguments: argparse.Namespace
) -> tuple[checkpoint.LoadReport, Sequence[str]]:
    """What became of the weights, and the class names in label order."""
    source = str(arguments.source)
    if isinstance(model, PicoDet):
        names = class_names(arguments.source, arguments.classes)
        return load_detector(model, arrays, source, names), names
    if isinstance(model, DeepLabV3Plus):
        report = load_segmenter(model, arrays, source)
    else:
        report = load_classifier(model, arrays, source)
    return report, classes_of(arguments, model.num_classes)


def classes_of(arguments: argparse.Namespace, count: int) -> Sequence[str]:
    """Class names of --classes, else those that the file brings along, else numbers.

    Raises:
        ValueError: they are not `count`.
    """
    source = arguments.classes or arguments.source
    names = read_label_file(source).names if arguments.classes else read_classes(source)
    if names and len(names) != count:
        raise ValueError(f"{source}: names {len(names)} classes, model.num_classes is {count}")
    return names or [str(label) for label in range(count)]


def calibrate(model: PicoDet | Classifier | DeepLabV3Plus, folder: Path, progress: Progress) -> int:
    """Rebuild the batch-norms from the images of `folder`; their number."""
    files = find_images(folder)
    task = progress.add_task("images", total=len(files), note="")
    batches = network_inputs(model.data_preprocessor, files)
    seen = (progress.advance(task, len(batch)) or batch for batch in batches)
    return calibrate_norms(model, seen)


if __name__ == "__main__":
    options = command_line.parser(__doc__ or "")
    options.add_argument("source", type=Path, metavar="SRC", help=".pdparams, .npz or .onnx")
    options.add_argument("target", type=Path, metavar="DST", help="checkpoint to write (.pth)")
    options.add_argument("--config", type=Path, required=True, help="config that names the model")
    options.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        default={},
        metavar="KEY=VALUE",
        help="override config entries",
    )
    options.add_argument(
        "--classes",
        type=Path,
        metavar="F",
        help="file with a class name a line (default: those in SRC, else COCO's or numbers)",
    )
    options.add_argument(
        "--calibrate-bn",
        type=Path,
        metavar="IMAGE_DIR",
        help="rebuild batch-norm statistics from these images (needed to train on folded files)",
    )
    command_line.run(main, options)
