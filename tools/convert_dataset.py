"""Convert a data set to the layout for training: python tools/convert_dataset.py KIND DIR.

cityscapes DIR: draws gtFine/*/*/*_gtFine_labelTrainIds.png from the polygons beside them.
person_exists COCO_DIR... OUT: writes lists of images with and without persons; no image is moved.
yolo DIR, voc DIR: write annotations/instances_<split>.json for the detector, and links to the
images; exit code 1 if the rules of tools/check_dataset.py find errors or warnings.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from classification.data.convert_person_exists import MIN_SHARE, CocoSplit, write_lists
from detection.data import voc, yolo
from detection.data.coco_json import load_records, locate, read_coco
from detection.data.labelled import Split, write_coco
from engine import cli
from engine.checks.parallel import spread
from engine.findings import examples, exit_code
from engine.progress import live_line
from segmentation.data.polygons import draw_masks


def main(arguments: argparse.Namespace) -> int:
    """Convert by KIND; returns the exit code."""
    return KINDS[arguments.kind](arguments)


def draw(arguments: argparse.Namespace) -> int:
    """Draw the masks, show progress, print their number."""
    drawn = total = 0
    with live_line() as progress:
        task = progress.add_task("drawing masks", total=None, note="")
        for _, is_new in draw_masks(arguments.folder, force=arguments.force):
            total, drawn = total + 1, drawn + is_new
            progress.advance(task)
    print(f"{arguments.folder}: {total} masks of train ids, {drawn} drawn now")
    return 0


def write_person_lists(arguments: argparse.Namespace) -> int:
    """Write the lists, print the number of images of each class."""
    if not 0 <= arguments.min_share < 1:
        raise ValueError(
            f"--min-share {arguments.min_share}: expected a share of the image, from 0 to below 1"
        )
    splits: dict[str, list[CocoSplit]] = {}
    for folder in arguments.folders:
        for split, source in coco_splits(folder).items():
            splits.setdefault(split, []).append(source)
    found = write_lists(splits, arguments.out, arguments.min_share)
    for split, (nobody, someone, left_out) in found.items():
        print(
            f"{arguments.out}/{split}_list.txt: {nobody} images of nobody, {someone} of someone; "
            f"{left_out} with small persons or crowds only left out"
        )
    print(f"train with --data {arguments.out}; the images were not moved")
    return 0


def write_yolo(arguments: argparse.Namespace) -> int:
    """Write COCO jsons from YOLO's labels."""
    folder: Path = arguments.folder
    classes = yolo.read_names(arguments.classes or yolo.find_names(folder))
    splits = {
        split: yolo.read_split(images, labels, len(classes))
        for split, (images, labels) in yolo.find_splits(folder).items()
    }
    return _write_coco(arguments, splits, classes, in_shares=True)


def write_voc(arguments: argparse.Namespace) -> int:
    """Write COCO jsons from VOC's annotations."""
    classes = None if arguments.classes is None else yolo.read_names(arguments.classes)
    splits, known = voc.read_splits(arguments.folder, classes, one_based=arguments.one_based)
    return _write_coco(arguments, splits, known, in_shares=False)


def _write_coco(
    arguments: argparse.Namespace,
    splits: Mapping[str, Split],
    classes: Sequence[str],
    *,
    in_shares: bool,
) -> int:
    """Write and check; returns the exit code."""
    out: Path = arguments.out or arguments.folder
    findings = write_coco(out, splits, classes, spread, in_shares=in_shares, force=arguments.force)
    for path in (out / "annotations" / f"instances_{name}.json" for name in splits):
        images, annotations, _ = load_records(path).values()
        print(f"{path}: {len(images)} images, {len(annotations)} boxes, {len(classes)} classes")
    print(*examples([one for one in findings if one.rule.severity != "note"], 3), sep="\n")
    if "train" not in splits:
        print(cli.as_typed(f"divide it with python tools/split_dataset.py {out}"))
    print(cli.as_typed(f"check it with python tools/check_dataset.py {out} --task det"))
    return exit_code(findings)


KINDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "cityscapes": draw,
    "person_exists": write_person_lists,
    "yolo": write_yolo,
    "voc": write_voc,
}


def coco_splits(folder: Path) -> dict[str, CocoSplit]:
    """The checked annotations of train and val in a COCO folder.

    Raises FileNotFoundError if it has neither.
    """
    found: dict[str, CocoSplit] = {}
    for split in ("train", "val"):
        try:
            ann_file, images = locate(folder, split)
        except FileNotFoundError:
            continue
        read_coco(ann_file)  # raises an error if the file is wrong
        found[split] = CocoSplit(ann_file, images, load_records(ann_file))
    if not found:
        locate(folder, "train")  # raises an error with what is missing
    return found


def arguments_of_command() -> argparse.ArgumentParser:
    """The command line."""
    result = cli.parser(__doc__ or "")
    kinds = result.add_subparsers(dest="kind", required=True, metavar="KIND")
    cityscapes = kinds.add_parser("cityscapes", help="masks from polygons")
    cityscapes.add_argument("folder", type=Path, metavar="DIR", help="folder that holds gtFine/")
    cityscapes.add_argument("--force", action="store_true", help="draw existing masks again")
    persons = kinds.add_parser("person_exists", help="person / nobody from COCO")
    persons.add_argument("folders", type=Path, nargs="+", metavar="COCO_DIR", help="COCO's layout")
    persons.add_argument("out", type=Path, metavar="OUT", help="folder for the lists")
    persons.add_argument(
        "--min-share",
        type=float,
        default=MIN_SHARE,
        help="share of the image that a person's box must exceed (default: %(default)s)",
    )
    boxes = [
        kinds.add_parser("yolo", help="COCO json from YOLO's labels"),
        kinds.add_parser("voc", help="COCO json from PASCAL VOC's annotations"),
    ]
    for kind in boxes:
        kind.add_argument("folder", type=Path, metavar="DIR", help="folder of the data")
        kind.add_argument("--out", type=Path, metavar="D", help="where to write (default: DIR)")
        kind.add_argument("--classes", type=Path, metavar="F", help="class names, one per line")
        kind.add_argument("--force", action="store_true", help="replace existing jsons")
    boxes[1].add_argument("--one-based", action="store_true", help="pixel coordinates start at 1")
    for kind in (cityscapes, persons, *boxes):  # allowed after KIND too
        kind.add_argument("--debug", action="store_true", default=argparse.SUPPRESS)
    return result


if __name__ == "__main__":
    cli.run(main, arguments_of_command())
