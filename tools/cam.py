"""Draw class activation maps (Grad-CAM): python tools/cam.py CONFIG CKPT IMAGE... --out DIR.

They show which places support a class, for all tasks; needs the extra "cam".
"""

import argparse
from itertools import chain, count
from pathlib import Path

from engine import cli, load_model
from engine.data.image_files import VIDEO_SUFFIXES, find_sources
from engine.extras import require
from engine.inference.files import save_picture
from engine.progress import live_line
from engine.reports.cam import LIBRARY, METHODS, Wish, check_classes, explain, find_layer
from engine.runtime.exported import is_exported


def main(arguments: argparse.Namespace) -> None:
    """Write one picture of heat maps for every image."""
    require(LIBRARY)  # before slow work
    sources = images(arguments.images)
    if is_exported(arguments.checkpoint):
        raise ValueError(
            f"{arguments.checkpoint}: an exported file has no gradients; give the checkpoint"
        )
    model = load_model(arguments.config, arguments.checkpoint, arguments.cfg_options)
    wish = Wish(arguments.classes, arguments.layer, arguments.method, arguments.score_thr)
    find_layer(model.network, wish.layer or model.task.use("cam_target").layer)
    check_classes(model.classes, wish.classes)
    with live_line() as bar:
        task = bar.add_task("explaining", total=len(sources), note="")
        for target, source in zip(targets(arguments.out, sources), sources, strict=True):
            picture, classes = explain(model, source, wish)
            save_picture(target, picture)
            print(f"{target}: {', '.join(classes) or 'no class found'}")
            bar.advance(task)


def images(names: list[str]) -> list[Path]:
    """The image files of the arguments."""
    sources = find_sources(names)
    for source in sources:
        if source.suffix.lower() in VIDEO_SUFFIXES:
            raise ValueError(f"{source}: is a video; give images")
    return sources


def targets(out: Path, sources: list[Path]) -> list[Path]:
    """A PNG for each source, numbered if its name is used."""
    taken: dict[str, None] = {}
    for stem in (source.stem for source in sources):
        numbered = (f"{stem}_{number}" for number in count(2))
        taken[next(name for name in chain([stem], numbered) if name not in taken)] = None
    return [out / f"{name}_cam.png" for name in taken]


if __name__ == "__main__":
    options = cli.parser(__doc__ or "")
    add = options.add_argument
    cli.add_config(options, checkpoint=True)
    add("images", nargs="+", help="image, folder, glob or .txt list")
    add("--out", type=Path, required=True, help="folder for the pictures")
    add("--layer", default="", metavar="NAME", help="default: the task's")
    add(
        "--method",
        choices=tuple(METHODS),
        default="",
        help="default: gradcam, for detectors layercam",
    )
    add(
        "--class", dest="classes", nargs="+", default=(), metavar="NAME",
        help="default: up to three classes found (classifier: the best one)",
    )  # fmt: skip
    add("--score-thr", type=float, default=0.4, help="lowest score of a box")
    cli.run(main, options)
