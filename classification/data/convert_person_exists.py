"""Makes PULC's person / nobody data, a list of two classes, from COCO annotations.

The published rule (PaddleClas, PULC person_exists): "someone" are images with the box of a person
of more than 10 % of the image's area, "nobody" are images without a person. Images that have
smaller persons only are left out.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from classification.data.image_lists import list_path
from engine.data.class_list import CLASSES_FILE
from engine.fileio import write_binary

NOBODY, SOMEONE, LEFT_OUT = 0, 1, -1
CLASSES = ("nobody", "someone")
MIN_SHARE = 0.1  # of the image's area that the largest person's box exceeds

Records = dict[str, list[dict[str, Any]]]  # images, annotations, categories of a COCO json


class CocoSplit(NamedTuple):
    """The annotations of one COCO split."""

    ann_file: Path
    images: Path  # folder that file names are relative to
    records: Records


def label_images(source: Path, records: Records, min_share: float = MIN_SHARE) -> NDArray[np.int64]:
    """NOBODY, SOMEONE or LEFT_OUT for each image (N,) of a COCO json.

    A crowd does not count as the box of a person, but its image is not "nobody" either. The area of
    a box is its width times its height, not the area in the json, which is that of the outline.

    Args:
        source: The json, for messages.
        records: Its images, annotations and categories.
        min_share: Share of the image's area that a box must exceed, 0..1.

    Raises:
        ValueError: there is no category "person".
    """
    person = _person_id(source, records["categories"])
    row_of = {image["id"]: row for row, image in enumerate(records["images"])}
    areas = np.array([image["width"] * image["height"] for image in records["images"]], np.float64)
    labels = np.full(len(areas), NOBODY)
    for record in records["annotations"]:
        if record["category_id"] != person:
            continue
        row = row_of[record["image_id"]]
        is_large = record["bbox"][2] * record["bbox"][3] > min_share * areas[row]
        if is_large and not record.get("iscrowd", 0):
            labels[row] = SOMEONE
        elif labels[row] == NOBODY:
            labels[row] = LEFT_OUT
    return labels


def _person_id(source: Path, categories: Sequence[dict[str, Any]]) -> int:
    for category in categories:
        if str(category.get("name", "")).lower() == "person":
            return int(category["id"])
    names = ", ".join(str(category.get("name", category["id"])) for category in categories[:5])
    raise ValueError(f"{source}: no category is named person; it has {names or 'none'}")


def write_lists(
    splits: dict[str, list[CocoSplit]], out: Path, min_share: float = MIN_SHARE
) -> dict[str, tuple[int, int, int]]:
    """Write `<split>_list.txt`, `classes.txt` and links to the folders of images to `out`.

    Args:
        splits: The COCO annotations that each split is made of.
        out: Folder to write to, created if missing. Paths in the lists are relative to it.
        min_share: See `label_images`.

    Returns:
        Number of images of nobody, of someone, and left out, by split.

    Raises:
        ValueError: a split would have images of one class only, or `out` holds other data.
    """
    lines: dict[str, list[str]] = {}
    names: dict[str, list[str]] = {}  # of the links to the folders of images
    found: dict[str, tuple[int, int, int]] = {}
    for split, sources in splits.items():
        labels = [label_images(s.ann_file, s.records, min_share) for s in sources]
        together = np.concatenate(labels)
        nobody, someone, left_out = (
            int((together == label).sum()) for label in (NOBODY, SOMEONE, LEFT_OUT)
        )
        if not nobody or not someone:
            raise ValueError(
                f"{', '.join(str(s.ann_file) for s in sources)}: {nobody} images of nobody, "
                f"{someone} of someone; both are needed, give a further COCO folder"
            )
        pairs = zip(sources, labels, strict=True)
        names[split] = [f"{split}_images_{number}" for number in range(1, len(sources) + 1)]
        lines[split] = [
            line
            for (s, own), name in zip(pairs, names[split], strict=True)
            for line in _lines(s, own, name)
        ]
        found[split] = (nobody, someone, left_out)
    for split, own in lines.items():
        for source, name in zip(splits[split], names[split], strict=True):
            _link(out / name, source.images)
        write_binary(list_path(out, split), "".join(own).encode(errors="surrogateescape"))
    classes = "".join(f"{label} {name}\n" for label, name in enumerate(CLASSES))
    write_binary(out / CLASSES_FILE, classes.encode())
    return found


def _link(place: Path, images: Path) -> None:
    """Make `place` a link to the folder `images`; a link there is replaced."""
    if place.is_symlink():
        place.unlink()
    if place.exists():
        raise ValueError(f"{place}: exists already; give another folder")
    place.parent.mkdir(parents=True, exist_ok=True)
    target = os.path.relpath(images.resolve(), place.parent.resolve())
    place.symlink_to(target, target_is_directory=True)


def _lines(source: CocoSplit, labels: NDArray[np.int64], folder: str) -> list[str]:
    pairs = zip(source.records["images"], labels.tolist(), strict=True)
    return [f"{folder}/{image['file_name']} {label}\n" for image, label in pairs if label >= 0]
