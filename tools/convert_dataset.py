"""Bring a data set into the layout that training reads: python tools/convert_dataset.py KIND DIR.

cityscapes DIR: draws gtFine/*/*/*_gtFine_labelTrainIds.png from the polygons beside them.
person_exists COCO_DIR... OUT: lists of images with and without persons, which stay where they are.
"""

import argparse
from pathlib import Path

from classification.person_exists import MIN_SHARE, Source, write_lists
from detection.coco_json import load_records, locate, read_coco
from engine import command_line
from engine.progress import live_line
from segmentation.polygons import draw_masks


def main(arguments: argparse.Namespace) -> None:
    """Convert what KIND says."""
    {"cityscapes": draw, "person_exists": write_person_lists}[arguments.kind](arguments)


def draw(arguments: argparse.Namespace) -> None:
    """Draw the masks, show progress, say how many there are."""
    drawn = total = 0
    with live_line() as progress:
        task = progress.add_task("drawing masks", total=None, note="")
        for _, is_new in draw_masks(arguments.folder, force=arguments.force):
            total, drawn = total + 1, drawn + is_new
            progress.advance(task)
    print(f"{arguments.folder}: {total} masks of train ids, {drawn} drawn now")


def write_person_lists(arguments: argparse.Namespace) -> None:
    """Write the lists, say how many images of each class there are."""
    if not 0 <= arguments.min_share < 1:
        raise ValueError(f"--min-share {arguments.min_share}: a share of the image, 0 to below 1")
    splits: dict[str, list[Source]] = {}
    for folder in arguments.folders:
        for split, source in coco_splits(folder).items():
            splits.setdefault(split, []).append(source)
    found = write_lists(splits, arguments.out, arguments.min_share)
    for split, (nobody, someone, left_out) in found.items():
        print(
            f"{arguments.out}/{split}_list.txt: {nobody} images of nobody, {someone} of someone; "
            f"{left_out} with small persons or crowds only left out"
        )
    print(f"train with --data {arguments.out}; the images lie where they were")


def coco_splits(folder: Path) -> dict[str, Source]:
    """The annotations of train and val in a COCO folder, checked.

    Raises FileNotFoundError where it has neither.
    """
    found: dict[str, Source] = {}
    for split in ("train", "val"):
        try:
            ann_file, images = locate(folder, split)
        except FileNotFoundError:
            continue
        read_coco(ann_file)  # its checks name what is wrong
        found[split] = Source(ann_file, images, load_records(ann_file))
    if not found:
        locate(folder, "train")  # says what is missing
    return found


def arguments_of_command() -> argparse.ArgumentParser:
    """The command line."""
    result = command_line.parser(__doc__ or "")
    kinds = result.add_subparsers(dest="kind", required=True, metavar="KIND")
    cityscapes = kinds.add_parser("cityscapes", help="masks from polygons")
    cityscapes.add_argument("folder", type=Path, metavar="DIR", help="folder that holds gtFine/")
    cityscapes.add_argument("--force", action="store_true", help="draw existing masks anew")
    persons = kinds.add_parser("person_exists", help="person / nobody from COCO")
    persons.add_argument("folders", type=Path, nargs="+", metavar="COCO_DIR", help="COCO's layout")
    persons.add_argument("out", type=Path, metavar="OUT", help="folder for the lists")
    persons.add_argument(
        "--min-share",
        type=float,
        default=MIN_SHARE,
        help="share of the image that a person's box must exceed (default: %(default)s)",
    )
    for kind in (cityscapes, persons):  # may stand behind KIND, too
        kind.add_argument("--debug", action="store_true", default=argparse.SUPPRESS)
    return result


if __name__ == "__main__":
    command_line.run(main, arguments_of_command())
