"""Divides a COCO json into splits; images are not changed.

Shapes: N images, K classes, S splits.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detection.data.coco_json import read_coco
from engine.data.splits import Division, SplitOptions, check_large_enough, stratify
from engine.fileio import read_json, write_binary


class DividedBoxes(NamedTuple):
    """The content of the splits that were written."""

    images: NDArray[np.int64]  # (S, K) images with each class in each split
    boxes: NDArray[np.int64]  # (S, K)
    num_images: tuple[int, ...]  # S
    classes: tuple[str, ...]  # K
    written: tuple[Path, ...]


def split_coco(
    ann_file: Path,
    shares: Mapping[str, float],
    seed: int,
    *,
    out: Path,
    images: Path,
    allow_small: bool = False,
    force: bool = False,
) -> DividedBoxes:
    """Write `out/annotations/instances_<split>.json`, and `out/<split>` as a link to `images`.

    An image goes to one split with all its annotations. A class is divided by the number of images
    that have it, the rarest class first (`engine.data.splits.stratify`); images without an
    annotation are divided last. The json keeps all its other entries.

    Args:
        ann_file: COCO json.
        shares: Share of the images by split; they sum to 1.
        seed: Of the random choice; another seed gives other splits.
        out: Folder to write to; may be the one that holds the data.
        images: Folder that the json's file names are relative to.
        allow_small: Continue if a class is in fewer images than there are splits.
        force: Replace existing files in `out`, but never `ann_file`.

    Raises:
        FileNotFoundError: no such json or folder.
        ValueError: the json is not COCO's, `out` holds other data, or a class is too small.
    """
    coco = read_coco(ann_file)  # its checks say what is wrong
    content = read_json(ann_file)
    image_ids = coco.image_ids.tolist()
    rows, columns = _indices(content, image_ids, coco.category_ids)  # (annotations,) each
    has = np.zeros((len(image_ids), len(coco.category_ids)), bool)
    has[rows, columns] = True  # (N, K) whether the image has an annotation of the class
    used: NDArray[np.bool_] = np.atleast_1d(has.any(axis=0))  # (K,)
    if not allow_small:
        names = [coco.classes[column] for column in np.flatnonzero(used).tolist()]
        sizes = has.sum(axis=0)[used].tolist()
        check_large_enough(names, sizes, len(shares), f"{ann_file} (--allow-small goes on)")
    images_of = [np.flatnonzero(column) for column in has.T[used]]
    place = stratify(images_of, len(image_ids), list(shares.values()), seed)
    targets = {split: out / "annotations" / f"instances_{split}.json" for split in shares}
    _check_free(ann_file, targets, out, images, force=force)
    split_of = dict(zip(image_ids, place.tolist(), strict=True))
    for number, path in enumerate(targets.values()):
        write_binary(path, json.dumps(_part(content, split_of, number)).encode())
    links = [link_folder(out / split, images) for split in shares]
    boxes = np.zeros((len(shares), len(coco.category_ids)), np.int64)
    np.add.at(boxes, (place[rows], columns), 1)
    return DividedBoxes(
        images=np.stack([has[place == number].sum(axis=0) for number in range(len(shares))]),
        boxes=boxes,
        num_images=tuple(np.bincount(place, minlength=len(shares)).tolist()),
        classes=coco.classes,
        written=(*targets.values(), *filter(None, links)),
    )


def splits_from(source: Path) -> bool:
    """Whether `source` is a json or a folder in COCO's layout."""
    return source.suffix == ".json" or (source / "annotations").is_dir()


def split(source: Path, shares: Mapping[str, float], options: SplitOptions) -> Division:
    """Divide a COCO json, or the one in `source`; as `split_coco`."""
    ann_file = find_json(source)
    if options.images is None:
        root, images = find_images(ann_file)
    else:
        root, images = options.images.resolve().parent, options.images
    out = options.out or root
    done = split_coco(
        ann_file,
        shares,
        options.seed,
        out=out,
        images=images,
        allow_small=options.allow_small,
        force=options.force,
    )
    rows = {
        name: [f"{count} ({box})" for count, box in zip(counts, boxes, strict=True)]
        for name, counts, boxes in zip(
            done.classes, done.images.T.tolist(), done.boxes.T.tolist(), strict=True
        )
    }
    boxes = done.boxes.sum(axis=1).tolist()
    total = [f"{count} ({box})" for count, box in zip(done.num_images, boxes, strict=True)]
    lacking = [
        f"{split} has no {name}"
        for split, counts in zip(shares, done.images.tolist(), strict=True)
        for name, count, of_class in zip(done.classes, counts, done.images.sum(axis=0), strict=True)
        if of_class and not count
    ]
    where = f"the images lie in {images}"
    return Division("images (boxes)", rows, total, lacking, done.written, out, where)


def find_json(source: Path) -> Path:
    """`source` itself if it is a file, else the one json in its `annotations/`.

    Raises:
        FileNotFoundError: there is no json.
        ValueError: there are several.
    """
    if source.is_file():
        return source
    files = sorted((source / "annotations").glob("*.json"))
    if not files:
        raise FileNotFoundError(f"{source}: not a COCO json, and has no annotations/*.json")
    if len(files) > 1:
        names = ", ".join(path.name for path in files)
        raise ValueError(f"{source}: several jsons in annotations/ ({names}); give one of them")
    return files[0]


def find_images(ann_file: Path) -> tuple[Path, Path]:
    """(folder of the data, folder of images) that a json belongs to.

    The folder of images is the one named as the json (instances_NAME.json: NAME/), `images/`, or
    the folder of the data; the first of these that has the json's first image.

    Raises:
        FileNotFoundError: none of these folders has that image.
    """
    beside = ann_file.resolve().parent
    root = beside.parent if beside.name == "annotations" else beside
    name = ann_file.stem.removeprefix("instances_")
    first = os.fsdecode(read_coco(ann_file).files[0])
    folders = [root / name, root / "images", root]
    for folder in folders:
        if (folder / first).is_file():
            return root, folder
    raise FileNotFoundError(
        f"{ann_file}: its image {first} is in none of {', '.join(map(str, folders))}; say where "
        "with --images"
    )


def _indices(
    content: dict[str, Any], image_ids: list[int], category_ids: tuple[int, ...]
) -> NDArray[np.int64]:
    """Image 0..N-1 and class 0..K-1 of every annotation, crowds included: (2, annotations)."""
    row_of = {image_id: row for row, image_id in enumerate(image_ids)}
    column_of = {category_id: column for column, category_id in enumerate(category_ids)}
    records = content["annotations"]
    pairs = [(row_of[r["image_id"]], column_of[r["category_id"]]) for r in records]
    return np.array(pairs, np.int64).reshape(-1, 2).T


def _part(content: dict[str, Any], split_of: Mapping[int, int], number: int) -> dict[str, Any]:
    """The json of one split: its images and their annotations; all else unchanged."""
    return {
        **content,
        "images": [r for r in content["images"] if split_of[r["id"]] == number],
        "annotations": [r for r in content["annotations"] if split_of[r["image_id"]] == number],
    }


def _check_free(
    ann_file: Path, targets: Mapping[str, Path], out: Path, images: Path, *, force: bool
) -> None:
    """Raise ValueError if writing would replace the source, or other data without `force`."""
    if not images.is_dir():
        raise FileNotFoundError(f"{images}: no such folder of images")
    for split, path in targets.items():
        if path.exists() and path.samefile(ann_file):
            raise ValueError(f"{path}: is the json to divide; give --out another folder")
        if path.exists() and not force:
            raise ValueError(f"{path}: exists already; --force replaces it, or give --out")
        folder = out / split
        if folder.exists() and not folder.samefile(images):
            raise ValueError(f"{folder}: holds other images; give --out another folder")


def link_folder(folder: Path, images: Path) -> Path | None:
    """Make `folder` a link to `images` unless it exists; returns it if it was made."""
    if folder.exists():
        return None
    folder.unlink(missing_ok=True)  # a broken link
    target = os.path.relpath(images.resolve(), folder.resolve().parent)
    folder.symlink_to(target, target_is_directory=True)
    return folder
