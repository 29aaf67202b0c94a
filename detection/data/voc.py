"""Reads PASCAL VOC's annotations: one XML file per image.

Layout: `Annotations/*.xml`, `JPEGImages/` (or `images/`), and a list of names for each split in
`ImageSets/Main/<split>.txt`; without these lists all images are one split "all". The challenge's
own data counts pixels from 1 and includes the last pixel; labelling tools count from 0.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn
from xml.etree import ElementTree

from detection.data.labelled import Labelled, Object, Split, find_image
from engine.fileio import near, read_text

SPLITS = ("train", "val", "test")
IMAGES = ("JPEGImages", "images")
MAX_BYTES = 2**24  # of an XML file; one of a thousand objects has 0.3 MB


class _NoDoctype(ElementTree.TreeBuilder):
    """Refuses a DOCTYPE, so that no entity can grow or read another file."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> NoReturn:  # noqa: ARG002
        raise ValueError("has a DOCTYPE, which an annotation does not need; remove it")


class Annotated(NamedTuple):
    """The content of an XML file."""

    names: list[str]  # of the objects' classes
    boxes: list[tuple[float, float, float, float]]  # left top width height in pixels
    difficult: list[bool]


def read_xml(path: Path, *, one_based: bool = False) -> Annotated:
    """The objects of an annotation file.

    Args:
        path: The file.
        one_based: Whether pixels count from 1 and the last is included, as in the challenge's data.

    Raises ValueError if it is not such a file, names an image outside, or defines entities.
    """
    root = _parse(path)
    name = root.findtext("filename")
    if name is not None and (".." in name.replace("\\", "/").split("/")):
        raise ValueError(f"{path}: filename {name!r:.100} leads out of the image folder")
    found = Annotated([], [], [])
    for number, node in enumerate(root.iter("object")):
        where = f"{path}: object {number}"
        label = (node.findtext("name") or "").strip()
        if not label:
            raise ValueError(f"{where}: has no name; write the class of the object")
        found.names.append(label)
        found.boxes.append(_box(where, node, one_based=one_based))
        found.difficult.append((node.findtext("difficult") or "0").strip() == "1")
    return found


def _parse(path: Path) -> ElementTree.Element:
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size} bytes; an annotation has at most 16 MB")
    parser = ElementTree.XMLParser(target=_NoDoctype())
    try:
        parser.feed(path.read_bytes())
        root = parser.close()
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    except ElementTree.ParseError as error:
        raise ValueError(f"{path}: not XML ({error})") from None
    if not isinstance(root, ElementTree.Element) or root.tag != "annotation":
        raise ValueError(f"{path}: not a VOC annotation; its first tag must be <annotation>")
    return root


def _box(
    where: str, node: ElementTree.Element, *, one_based: bool
) -> tuple[float, float, float, float]:
    """Left top width height of an object."""
    texts = [node.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
    try:
        left, top, right, bottom = (float(text or "") for text in texts)
    except ValueError:
        left = top = right = bottom = math.nan
    if not all(map(math.isfinite, (left, top, right, bottom))):
        raise ValueError(f"{where}: bndbox is {texts}; it needs numbers xmin, ymin, xmax, ymax")
    shift = int(one_based)
    return left - shift, top - shift, right - left + shift, bottom - top + shift


def find_splits(root: Path) -> dict[str, list[str] | None]:
    """Names of the images of each split; None means all images, if there is no list."""
    lists = {split: root / "ImageSets" / "Main" / f"{split}.txt" for split in SPLITS}
    found: dict[str, list[str] | None] = {
        split: [line.split()[0] for line in read_text(path).splitlines() if line.strip()]
        for split, path in lists.items()
        if path.is_file()
    }
    return found or {"all": None}


def read_splits(
    root: Path, classes: Sequence[str] | None, *, one_based: bool
) -> tuple[dict[str, Split], tuple[str, ...]]:
    """The labelled images by split, and the class names: those given, else those found, sorted.

    Difficult objects become crowds, which are neither trained on nor counted.

    Raises:
        FileNotFoundError: a folder, an annotation or an image is missing.
        ValueError: a file is not an annotation, a name leads out of the data, or a class is not
            among `classes`.
    """
    images = next((root / name for name in IMAGES if (root / name).is_dir()), None)
    folder = root / "Annotations"
    if images is None or not folder.is_dir():
        raise FileNotFoundError(f"{root}: needs Annotations/ beside {' or '.join(IMAGES)}/")
    read: dict[str, list[tuple[Path, Annotated]]] = {}
    for split, names in find_splits(root).items():
        stems = sorted(path.stem for path in folder.glob("*.xml")) if names is None else names
        read[split] = []
        for stem in stems:
            image = find_image(images, stem, f"{root}, split {split}")
            if image is None:
                raise FileNotFoundError(f"{images / stem}: no such image, but split {split} has it")
            if not (folder / f"{stem}.xml").is_file():
                raise FileNotFoundError(f"{folder / stem}.xml: no such annotation")
            read[split].append((image, read_xml(folder / f"{stem}.xml", one_based=one_based)))
    seen = {name for own in read.values() for _, one in own for name in one.names}
    known = tuple(sorted(seen)) if classes is None else tuple(classes)
    if not known:
        raise ValueError(f"{folder}: no object in any annotation")
    unknown = sorted(seen - set(known))
    if unknown:
        raise ValueError(f"{folder}: class {unknown[0]!r}: {near(unknown[0], list(known))}")
    return {split: Split(images, _labelled(own, known)) for split, own in read.items()}, known


def _labelled(read: Sequence[tuple[Path, Annotated]], classes: tuple[str, ...]) -> list[Labelled]:
    labels = {name: label for label, name in enumerate(classes)}
    return [
        Labelled(
            image,
            [
                Object(labels[name], box, difficult)
                for name, box, difficult in zip(*one, strict=True)
            ],
        )
        for image, one in read
    ]
