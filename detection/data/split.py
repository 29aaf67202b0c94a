"""A COCO json divided into splits; no image is touched.

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
from engine.data.splits import check_large_enough, stratify
from engine.fileio import read_json, write_binary


class DividedCoco(NamedTuple):
    """What was written."""

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
) -> DividedCoco:
    """Write `out/annotations/instances_<split>.json`, and `out/<split>` as a link to `images`.

    An image goes to one split with all its annotations. A class is divided by the number of images
    that have it, the rarest class first (`engine.data.splits.stratify`); images without any
    annotation are divided last. The json keeps all its other entries.

    Args:
        ann_file: COCO json.
        shares: Share of the images by split; they sum to 1.
        seed: Another seed, other splits.
        out: Folder to write to; may be the one that holds the data.
        images: Folder that the json's file names are relative to.
        allow_small: Go on where a class is in fewer images than there are splits.
        force: Replace files of `out`, though never `ann_file`.

    Raises:
        FileNotFoundError: no such json or folder.
        ValueError: the json is not COCO's, `out` holds other data, or a class is too small.
    """
    coco = read_coco(ann_file)  # its checks name what is wrong
    content = read_json(ann_file)
    image_ids = coco.image_ids.tolist()
    has = _presence(content, image_ids, coco.category_ids)  # (N, K)
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
    return DividedCoco(
        images=np.stack([has[place == number].sum(axis=0) for number in range(len(shares))]),
        boxes=_boxes(content, split_of, coco.category_ids, len(shares)),
        num_images=tuple(np.bincount(place, minlength=len(shares)).tolist()),
        classes=coco.classes,
        written=(*targets.values(), *filter(None, links)),
    )


def find_json(source: Path) -> Path:
    """`source` itself where it is a file, else the one json in its `annotations/`.

    Raises:
        FileNotFoundError: there is none.
        ValueError: there are several.
    """
    if source.is_file():
        return source
    files = sorted((source / "annotations").glob("*.json"))
    if not files:
        raise FileNotFoundError(f"{source}: no COCO json, nor annotations/*.json in it")
    if len(files) > 1:
        names = ", ".join(path.name for path in files)
        raise ValueError(f"{source}: several jsons in annotations/ ({names}); give one of them")
    return files[0]


def find_images(ann_file: Path) -> tuple[Path, Path]:
    """(folder of the data, folder of images) that a json belongs to.

    Images lie in the folder called as the json (instances_NAME.json: NAME/), in `images/`, or
    beside the json; the first of these that has the json's first image.

    Raises:
        FileNotFoundError: none has.
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


def _presence(
    content: dict[str, Any], image_ids: list[int], category_ids: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Whether each image has an annotation of each class (N, K); crowds count."""
    row_of = {image_id: row for row, image_id in enumerate(image_ids)}
    column_of = {category_id: column for column, category_id in enumerate(category_ids)}
    result = np.zeros((len(image_ids), len(category_ids)), bool)
    for record in content["annotations"]:
        result[row_of[record["image_id"]], column_of[record["category_id"]]] = True
    return result


def _boxes(
    content: dict[str, Any],
    split_of: Mapping[int, int],
    category_ids: tuple[int, ...],
    num_splits: int,
) -> NDArray[np.int64]:
    """Annotations of each class in each split (S, K)."""
    column_of = {category_id: column for column, category_id in enumerate(category_ids)}
    result = np.zeros((num_splits, len(category_ids)), np.int64)
    for record in content["annotations"]:
        result[split_of[record["image_id"]], column_of[record["category_id"]]] += 1
    return result


def _part(content: dict[str, Any], split_of: Mapping[int, int], number: int) -> dict[str, Any]:
    """The json of one split: its images and their annotations, all else as it is."""
    return {
        **content,
        "images": [r for r in content["images"] if split_of[r["id"]] == number],
        "annotations": [r for r in content["annotations"] if split_of[r["image_id"]] == number],
    }


def _check_free(
    ann_file: Path, targets: Mapping[str, Path], out: Path, images: Path, *, force: bool
) -> None:
    """Raise ValueError where writing would replace the source, or other data without `force`."""
    if not images.is_dir():
        raise FileNotFoundError(f"{images}: no such folder of images")
    for split, path in targets.items():
        if path.exists() and path.samefile(ann_file):
            raise ValueError(f"{path}: is what is to be split; give --out another folder")
        if path.exists() and not force:
            raise ValueError(f"{path}: is there already; --force replaces it, or give --out")
        folder = out / split
        if folder.exists() and not folder.samefile(images):
            raise ValueError(f"{folder}: holds other images; give --out another folder")


def link_folder(folder: Path, images: Path) -> Path | None:
    """Make `folder` a link to `images` unless it is that already."""
    if folder.exists():
        return None
    folder.unlink(missing_ok=True)  # a link to something that is gone
    target = os.path.relpath(images.resolve(), folder.resolve().parent)
    folder.symlink_to(target, target_is_directory=True)
    return folder
