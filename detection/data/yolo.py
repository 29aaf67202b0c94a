"""Reads YOLO's labels: one text file per image, with one line `class cx cy w h` per object.

Centre and sides are fractions of the image's width and height; a line of more numbers is an outline
`class x1 y1 x2 y2 ...`, whose bounding box is taken. Two layouts: images/<split>/ beside
labels/<split>/, or <split>/images/ beside <split>/labels/; "valid" means val.
"""

import math
from pathlib import Path

import yaml

from detection.data.labelled import Labelled, Object, Split
from engine.data.image_files import IMAGE_SUFFIXES
from engine.fileio import read_text

SPLITS = {"train": "train", "val": "val", "valid": "val", "test": "test"}  # folder: split
NAMES = ("data.yaml", "dataset.yaml", "classes.txt", "obj.names", "labels/classes.txt")
SLACK = 0.01  # by which a fraction may be outside 0..1, for rounding


def find_names(root: Path) -> Path:
    """The file that names the classes.

    Raises FileNotFoundError if there is no such file.
    """
    for name in NAMES:
        if (root / name).is_file():
            return root / name
    raise FileNotFoundError(
        f"{root}: no class names: it has none of {', '.join(NAMES)}; give --classes FILE, one name "
        "per line"
    )


def read_names(path: Path) -> tuple[str, ...]:
    """Class names: the lines of a text file, or `names` of a YAML file, a list or a numbered map.

    Raises ValueError if there are no names, or the numbers have gaps.
    """
    text = read_text(path)
    names: object = [line.strip() for line in text.splitlines() if line.strip()]
    if path.suffix in (".yaml", ".yml"):
        try:
            content = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise ValueError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
        names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[number] for number in range(len(names))]
    plain = isinstance(names, list) and all(isinstance(name, str | int) for name in names)
    if not isinstance(names, list) or not names or not plain:  # aliases of aliases would grow
        raise ValueError(f"{path}: has no class names; write a list `names`, or one name per line")
    return tuple(map(str, names))


def find_splits(root: Path) -> dict[str, tuple[Path, Path]]:
    """The folders (images, labels) of each split.

    Raises FileNotFoundError if there is no split.
    """
    found: dict[str, tuple[Path, Path]] = {}
    for name, split in SPLITS.items():
        for images, labels in (
            (root / "images" / name, root / "labels" / name),
            (root / name / "images", root / name / "labels"),
        ):
            if images.is_dir() and split not in found:
                found[split] = (images, labels)
    if not found:
        raise FileNotFoundError(
            f"{root}: no images of a split; the layout is images/<split>/ beside labels/<split>/, "
            f"or <split>/images/ beside <split>/labels/, <split> one of {', '.join(SPLITS)}"
        )
    return found


def read_split(images: Path, labels: Path, num_classes: int) -> Split:
    """The labelled images of a split; an image without a label file has no object.

    Raises ValueError for the first invalid line, and for labels without an image.
    """
    files = sorted(path for path in images.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    places = [labels / path.relative_to(images).with_suffix(".txt") for path in files]
    known = {*places, labels / "classes.txt"}
    lost = sorted(path for path in labels.rglob("*.txt") if path not in known)
    if lost:
        raise ValueError(
            f"{lost[0]}: no image of this name in {images} ({len(lost)} such files); add the image "
            "or remove the file"
        )
    return Split(
        images,
        [
            Labelled(image, read_labels(place, num_classes) if place.is_file() else [])
            for image, place in zip(files, places, strict=True)
        ],
    )


def read_labels(path: Path, num_classes: int) -> list[Object]:
    """The objects of a label file; boxes are left, top, width, height as fractions.

    Raises ValueError for the first invalid line.
    """
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    return [
        _object(f"{path}, line {number}", line.split(), num_classes)
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]


def _object(where: str, fields: list[str], num_classes: int) -> Object:
    try:
        label, *numbers = map(float, fields)
    except ValueError:
        label, numbers = -1.0, []
    is_outline = len(numbers) >= 6 and len(numbers) % 2 == 0
    if len(numbers) != 4 and not is_outline:
        raise ValueError(
            f"{where}: {' '.join(fields)!r:.80} is not `class cx cy w h`, five numbers, and not an "
            "outline `class x1 y1 x2 y2 ...`"
        )
    if label not in range(num_classes):
        raise ValueError(f"{where}: class {fields[0]:.20} is not in 0..{num_classes - 1}")
    if not all(math.isfinite(n) and -SLACK <= n <= 1 + SLACK for n in numbers):
        raise ValueError(
            f"{where}: {' '.join(fields[1:])!r:.80} must be fractions of width and height, 0 to 1"
        )
    if is_outline:
        left, top = min(numbers[::2]), min(numbers[1::2])
        return Object(int(label), (left, top, max(numbers[::2]) - left, max(numbers[1::2]) - top))
    cx, cy, width, height = numbers
    return Object(int(label), (cx - width / 2, cy - height / 2, width, height))
