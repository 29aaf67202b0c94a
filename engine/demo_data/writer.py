"""Writes the mini data set: drawn scenes in the layouts of all three tasks.

    detection/       annotations/instances_<split>.json, <split>/<id>.jpg         (COCO)
    segmentation/    leftImg8bit/<split>/<scene>/*.jpg, gtFine/<split>/<scene>/*.png, classes.txt
    classification/  <split>/<class>/*.jpg, classes.txt
    mini_data.json   the settings

Detector and segmenter share the picture of a scene by a hard link, if the file system has them.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.data.images import encode_image
from engine.demo_data.scenes import CLASSES, Scene, draw_scene
from engine.types import IGNORE

VERSION = 2  # increase it with every change of the content
DESCRIPTION = "mini_data.json"
JPEG_QUALITY = 92
SPLITS = ("train", "val")
Mask = NDArray[np.bool_]  # (H, W)


class Drawn(NamedTuple):
    """A scene with its split and image id."""

    scene: Scene
    split: str
    image_id: int


@dataclass(frozen=True)
class MiniData:
    """Settings; equal values give equal bytes with the same versions of OpenCV and NumPy.

    Raises:
        ValueError: a number is out of range.
    """

    seed: int = 0
    train: int = 400  # scenes of the training split
    val: int = 100  # scenes of the validation split
    side: int = 320  # height and width of a scene in pixels

    def __post_init__(self) -> None:
        """Check the ranges."""
        least = {"seed": 0, "train": 1, "val": 1, "side": 128}
        for name, value in asdict(self).items():
            if value < least[name]:
                raise ValueError(
                    f"mini data set: {name} is {value}, expected {least[name]} or more"
                )

    def described(self) -> dict[str, object]:
        """The content of mini_data.json."""
        return {"version": VERSION, **asdict(self), "classes": list(CLASSES)}


def draw_split(data: MiniData, split: str) -> Iterator[Drawn]:
    """Draw the scenes of a split, each from its own random stream.

    The content of scene i does not depend on the number of scenes. All scenes of all splits have
    different streams, so validation scenes differ from training scenes in everything.
    """
    which = SPLITS.index(split)
    first_id = 1 if split == "train" else data.train + 1
    for index in range(data.train if split == "train" else data.val):
        stream = np.random.SeedSequence(data.seed, spawn_key=(which, index))
        scene = draw_scene(np.random.default_rng(stream), data.side, index % len(CLASSES))
        yield Drawn(scene, split, first_id + index)


# --- the folder ---------------------------------------------------------------------------------


def make_mini_data(
    out: Path, data: MiniData, *, force: bool = False, on_scene: Callable[[], None] = lambda: None
) -> bool:
    """Write the data set to `out` atomically, and call `on_scene` after each scene.

    Returns False and changes nothing if `out` already contains this data set (without `force`).

    Raises:
        FileExistsError: `out` has other content, and `force` is not set.
        ValueError: `out` is the current folder or a parent of it.
    """
    out = out.resolve()
    if not force and _holds(out, data):
        return False
    _check_free(out, force)
    with _folder_written_whole(out) as aside:
        for split in SPLITS:
            _write_split(aside, data, split, on_scene)
        _write_lines(aside / "segmentation" / "classes.txt", ("background", *CLASSES))
        _write_lines(aside / "classification" / "classes.txt", CLASSES)
        (aside / DESCRIPTION).write_text(json.dumps(data.described(), indent=1) + "\n")
    return True


def _holds(out: Path, data: MiniData) -> bool:
    try:
        return json.loads((out / DESCRIPTION).read_bytes()) == data.described()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False


def _check_free(out: Path, force: bool) -> None:
    if Path.cwd().is_relative_to(out):
        raise ValueError(
            f"{out} is the current folder or a parent of it; give --out another folder"
        )
    empty = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    if force or empty:
        return
    held = "has other content"
    if (out / DESCRIPTION).is_file():
        held = f"has a mini data set of other settings (see {DESCRIPTION})"
    raise FileExistsError(f"{out} {held}; give another --out, or --force to replace it")


@contextmanager
def _folder_written_whole(out: Path) -> Iterator[Path]:
    """Give a temporary folder beside `out`, which replaces `out` on success."""
    aside = out.with_name(f".{out.name}.{os.getpid()}.part")
    old = out.with_name(f".{out.name}.{os.getpid()}.old")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        if out.exists():
            out.rename(old)
        aside.rename(out)
        shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write_split(root: Path, data: MiniData, split: str, on_scene: Callable[[], None]) -> None:
    (root / "detection" / split).mkdir(parents=True)
    for name in CLASSES:
        (root / "classification" / split / name).mkdir(parents=True)
    images: list[dict[str, object]] = []
    annotations: list[dict[str, Any]] = []
    for drawn in draw_split(data, split):
        picture = _write_picture(root, drawn)
        size = {"height": data.side, "width": data.side}
        images.append({"id": drawn.image_id, "file_name": picture.name, **size})
        annotations += annotate(drawn, first_id=len(annotations) + 1)
        _write_crops(root, drawn)
        on_scene()
    content = {
        "info": {"description": f"mini data set, drawn, {split}", "version": str(VERSION)},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in enumerate(CLASSES, 1)],
    }
    path = root / "detection" / "annotations" / f"instances_{split}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, separators=(",", ":")) + "\n")


def _write_picture(root: Path, drawn: Drawn) -> Path:
    """Write the picture of detector and segmenter, and the segmenter's mask."""
    split, place = drawn.split, f"{drawn.scene.ground}-{drawn.split}"
    stem = f"{place}_000000_{drawn.image_id:06d}"
    picture = root / "detection" / split / f"{drawn.image_id:06d}.jpg"
    picture.write_bytes(encode_image(drawn.scene.image, ".jpg", JPEG_QUALITY))
    twin = root / "segmentation/leftImg8bit" / split / place / f"{stem}_leftImg8bit.jpg"
    mask = root / "segmentation/gtFine" / split / place / f"{stem}_gtFine_labelTrainIds.png"
    for folder in (twin.parent, mask.parent):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        os.link(picture, twin)
    except OSError:  # the file system has no hard links
        shutil.copyfile(picture, twin)
    mask.write_bytes(encode_image(train_ids(drawn.scene), ".png"))
    return picture


def _write_crops(root: Path, drawn: Drawn) -> None:
    """Write a square crop of each object that is at least 0.8 visible to its class folder."""
    scene = drawn.scene
    for i, (label, visible) in enumerate(zip(scene.labels, scene.visible, strict=True)):
        if visible >= 0.8:
            folder = root / "classification" / drawn.split / CLASSES[label]
            path = folder / f"{drawn.image_id:06d}_{i}.jpg"
            crop = scene.image[around(scene.owners == i + 1)]
            path.write_bytes(encode_image(crop, ".jpg", JPEG_QUALITY))


def _write_lines(path: Path, lines: tuple[str, ...]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


# --- one scene ----------------------------------------------------------------------------------


def annotate(drawn: Drawn, first_id: int) -> list[dict[str, Any]]:
    """COCO annotations of a scene's objects, with ids from `first_id`; boxes are x, y, w, h."""
    masks = [drawn.scene.owners == i + 1 for i in range(len(drawn.scene.labels))]
    return [
        dict(
            id=first_id + i,
            image_id=drawn.image_id,
            category_id=drawn.scene.labels[i] + 1,
            bbox=list(cv2.boundingRect(mask.astype(np.uint8))),
            area=int(np.count_nonzero(mask)),
            segmentation=run_lengths(mask),
            iscrowd=0,
        )
        for i, mask in enumerate(masks)
    ]


def run_lengths(mask: Mask) -> dict[str, list[int]]:
    """COCO's uncompressed run-length encoding of a mask (H, W).

    `counts` are the lengths of alternating runs of 0 and 1 in column order, starting with 0.
    """
    pixels = np.concatenate([[False], mask.ravel(order="F")])  # the first run is of 0
    starts = np.flatnonzero(pixels[1:] != pixels[:-1])
    counts = np.diff(np.concatenate([[0], starts, [mask.size]]))
    return {"size": list(mask.shape), "counts": counts.tolist()}


def train_ids(scene: Scene) -> NDArray[np.uint8]:
    """Segmentation target (H, W): 0 background, class + 1 on objects, 255 on outlines.

    An outline has one pixel on each side of the border between two objects or to the background.
    """
    window = np.ones((3, 3), np.uint8)
    outline = cv2.dilate(scene.owners, window) != cv2.erode(scene.owners, window)
    table = np.array([0, *(label + 1 for label in scene.labels)], dtype=np.uint8)
    return np.where(outline, np.uint8(IGNORE), table[scene.owners])


def around(mask: Mask) -> tuple[slice, slice]:
    """The square 1.25 times as large as a mask's box, shifted to be inside the picture (H, W)."""
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    side = min(round(1.25 * max(width, height)), *mask.shape)
    y = int(np.clip(top + height // 2 - side // 2, 0, mask.shape[0] - side))
    x = int(np.clip(left + width // 2 - side // 2, 0, mask.shape[1] - side))
    return slice(y, y + side), slice(x, x + side)
