"""Divide images into train, val and test: python tools/split_dataset.py DIR --val 0.2 --test 0.1.

A folder of class folders gets train_list.txt, val_list.txt and test_list.txt; a COCO json (or a
folder with one in annotations/) becomes one json a split. No image is moved or copied.
"""

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from classification.data.split import split_folders
from detection.data.split import find_images, find_json, split_coco
from engine import cli
from engine.data.splits import shares_of


def main(arguments: argparse.Namespace) -> None:
    """Divide, say what was written."""
    shares = shares_of(arguments.val, arguments.test)
    source: Path = arguments.source
    if source.suffix == ".json" or (source / "annotations").is_dir():
        _split_coco(arguments, shares)
        return
    if arguments.out is not None or arguments.images is not None:
        raise ValueError("--out and --images are for a COCO json; lists lie beside the images")
    done = split_folders(source, shares, arguments.seed, force=arguments.force)
    table = Table("class", *shares, title=f"images by class, seed {arguments.seed}")
    for name, counts in zip(done.classes, done.counts.T.tolist(), strict=True):
        table.add_row(name, *map(str, counts))
    table.add_section()
    table.add_row("all", *map(str, done.counts.sum(axis=1).tolist()))
    Console().print(table)
    print("wrote", *done.written, sep="\n  ")
    print(f"train with --data {source}; the images lie where they were")


def _split_coco(arguments: argparse.Namespace, shares: dict[str, float]) -> None:
    ann_file = find_json(arguments.source)
    if arguments.images is None:
        root, images = find_images(ann_file)
    else:
        root, images = arguments.images.resolve().parent, arguments.images
    out = arguments.out or root
    done = split_coco(
        ann_file,
        shares,
        arguments.seed,
        out=out,
        images=images,
        allow_small=arguments.allow_small,
        force=arguments.force,
    )
    table = Table("class", *shares, title=f"images (boxes) by class, seed {arguments.seed}")
    for name, counts, boxes in zip(
        done.classes, done.images.T.tolist(), done.boxes.T.tolist(), strict=True
    ):
        cells = (f"{count} ({box})" for count, box in zip(counts, boxes, strict=True))
        table.add_row(name, *cells)
    table.add_section()
    all_boxes = done.boxes.sum(axis=1).tolist()
    cells = (f"{count} ({box})" for count, box in zip(done.num_images, all_boxes, strict=True))
    table.add_row("all", *cells)
    Console().print(table)
    missing = [
        f"{split} has no {name}"
        for split, counts in zip(shares, done.images.tolist(), strict=True)
        for name, count, total in zip(done.classes, counts, done.images.sum(axis=0), strict=True)
        if total and not count
    ]
    print(*missing, *(["wrote"] if done.written else []), sep="\n")
    print(*(f"  {path}" for path in done.written), sep="\n")
    print(f"train with --data {out}; the images lie in {images}")


if __name__ == "__main__":
    options = cli.parser(__doc__ or "")
    options.add_argument("source", type=Path, metavar="DIR", help="class folders, or a COCO json")
    options.add_argument("--val", type=float, default=0.2, help="share (default: %(default)s)")
    options.add_argument("--test", type=float, default=0.0, help="share (default: %(default)s)")
    options.add_argument("--seed", type=int, default=0, help="another seed, other splits")
    options.add_argument("--force", action="store_true", help="replace what an earlier call wrote")
    options.add_argument("--out", type=Path, metavar="D", help="COCO: where to write")
    options.add_argument("--images", type=Path, metavar="D", help="COCO: where the images are")
    options.add_argument(
        "--allow-small", action="store_true", help="COCO: classes in fewer images than splits"
    )
    cli.run(main, options)
