"""Checks of COCO data: its entries, and the images compared with them.

The reader's own functions (`detection.data.coco_json`) decide what training refuses. If no rule
here explains why the reader refuses a json, its message becomes a finding.

Shapes: M annotations that have all their keys.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from detection.data.box_checks import Annotations, Record, check_boxes, read_annotations
from detection.data.coco_json import boxes_of, locate
from engine.checks.class_balance import balance
from engine.checks.duplicates import duplicates
from engine.checks.image_checks import (
    IMAGE_MISSING,
    LEFT_OUT,
    NOT_LISTED,
    OUTSIDE,
    ImageFacts,
    image_findings,
    inspect,
)
from engine.checks.parallel import Spread
from engine.data.image_files import IMAGE_SUFFIXES
from engine.data.safe_paths import LEADS_OUT, missing_files, outside_files, stays_inside
from engine.data.splits import SPLITS
from engine.findings import Finding, Rule, errors
from engine.types import Size

TINY = 4.0  # pixels at the training size, half of the detector's finest stride

JSON = Rule("json-unreadable", "error", "export the annotations again as COCO json")
READER = Rule("reader-refuses", "error", "do what the message says")
NO_FOLDER = Rule("image-folder-missing", "error", "put the images into a folder of this name")
RECORD = Rule("record-incomplete", "error", "complete the entry, or take it out", LEFT_OUT)
ID_TWICE = Rule("id-twice", "error", "give each entry its own id", "renumbered or left out")
LISTED_TWICE = Rule("image-listed-twice", "error", "keep one entry, all boxes", "joined")
PATH = Rule("path-outside", "error", "name files relative to the image folder", LEFT_OUT)
SIDES = Rule("image-size-invalid", "error", "write the file's size", "taken from the file")
SIZE = Rule("size-unlike-json", "error", "correct the size, check the boxes", "scaled or left out")
EMPTY = Rule("image-without-annotation", "note", "check that nothing is on it")
NAME_TWICE = Rule("category-name-twice", "error", "join the two categories, or rename one")
SPARSE = Rule("category-ids-sparse", "note", "nothing: ids may have gaps and start anywhere")
SPLITS_DIFFER = Rule("categories-differ", "error", "give all splits the same categories")
TINY_OBJECTS = Rule("tiny-objects", "note", "train at a larger size, or cut images into tiles")


def splits_of(data_root: Path) -> list[str]:
    """Splits that have a json, train first.

    Raises FileNotFoundError if there is no json.
    """
    files = (data_root / "annotations").glob("instances_*.json")
    names = [path.stem.removeprefix("instances_") for path in files]
    if not names:
        locate(data_root, "train")  # raises: it says what is missing
    ranks = {split: rank for rank, split in enumerate(SPLITS)}
    return sorted(names, key=lambda name: (ranks.get(name.removesuffix("2017"), 9), name))


# Entries of images and categories.


def incomplete_records(data: Annotations) -> Iterator[Finding]:
    """Entries that lack a key, or an integer."""
    for section, lacking in data.lacking.items():
        for place, text in lacking.items():
            yield Finding(RECORD, data.ann_file, text, f"{section}[{place}]", record=place)


def repeated_ids(data: Annotations) -> Iterator[Finding]:
    """Entries with the id of an earlier entry."""
    for section, records in data.records.items():
        seen: set[int] = set()
        for place, record in enumerate(records):
            if place in data.lacking[section]:
                continue
            if record["id"] in seen:
                text = f"{section}[{place}] has the id of an earlier entry"
                number = f"{section} id {record['id']}"
                yield Finding(ID_TWICE, data.ann_file, text, number, record=place)
            seen.add(record["id"])


def odd_images(data: Annotations) -> Iterator[Finding]:
    """Paths that lead out of the folder, files listed twice, sides below 1."""
    seen: dict[str, int] = {}
    for number, record in data.images.items():
        name, where = record["file_name"], f"image {number}"
        if not stays_inside(name):
            yield Finding(PATH, data.ann_file, f"file_name is {name!r:.100}", where)
            continue
        if name in seen:
            text = f"{name} is listed as image {seen[name]} too"
            picture = data.image_path(record)
            yield Finding(LISTED_TWICE, data.ann_file, text, where, picture=picture)
        seen.setdefault(name, number)
        if min(record["height"], record["width"]) < 1:
            text = f"height is {record['height']}, width is {record['width']}"
            yield Finding(SIDES, data.ann_file, text, where)


def listed(data: Annotations) -> dict[str, Record]:
    """Entries by file name, without paths that lead out of the folder."""
    found: dict[str, Record] = {}
    for record in data.images.values():
        if stays_inside(record["file_name"]):
            found.setdefault(record["file_name"], record)
    return found


def missing_images(data: Annotations) -> Iterator[Finding]:
    """Files that are listed, but do not exist."""
    if not data.folder.is_dir():
        yield Finding(NO_FOLDER, data.folder, f"no such folder, but {data.ann_file.name} is there")
        return
    entries = listed(data)
    for name in _missing(data, sorted(entries)):
        text = f"no such file, but {data.ann_file} lists it"
        yield Finding(IMAGE_MISSING, data.folder / name, text, f"image {entries[name]['id']}")


def outside_images(data: Annotations) -> Iterator[Finding]:
    """Files that are outside the image folder because of a link."""
    entries = listed(data)
    for name in _outside(data, sorted(entries)):
        text = f"{LEADS_OUT} {data.folder}"
        yield Finding(OUTSIDE, data.folder / name, text, f"image {entries[name]['id']}")


def _outside(data: Annotations, names: Sequence[str]) -> list[str]:
    return [names[place] for place in outside_files(data.folder, names)]


def _missing(data: Annotations, names: Sequence[str]) -> list[str]:
    return [names[place] for place in missing_files(data.folder, names)]


def empty_images(data: Annotations) -> Iterator[Finding]:
    """Images without an annotation."""
    used = set(data.image_ids.tolist())
    for number, record in data.images.items():
        if number not in used:
            text = f"{record['file_name']} has no annotation"
            yield Finding(EMPTY, data.ann_file, text, f"image {number}")


def odd_categories(data: Annotations) -> Iterator[Finding]:
    """Names that occur twice, ids with gaps."""
    seen: dict[str, int] = {}
    for number, name in _names(data).items():
        if name in seen:
            text = f"{name} is category {seen[name]} too"
            yield Finding(NAME_TWICE, data.ann_file, text, f"category {number}")
        seen.setdefault(name, number)
    ids = sorted(data.categories)
    if ids and (ids[-1] - ids[0] >= len(ids) or ids[0] not in (0, 1)):
        text = f"{len(ids)} ids from {ids[0]} to {ids[-1]}"
        yield Finding(SPARSE, data.ann_file, text, "categories")


def _names(data: Annotations) -> dict[int, str]:
    """Names of the categories, by id in ascending order."""
    return {i: str(data.categories[i].get("name", i)) for i in sorted(data.categories)}


def class_counts(data: Annotations) -> Iterator[Finding]:
    """Categories without a box, and how unequal their numbers of boxes are."""
    names = _names(data)
    counts = [int((data.category_ids == number).sum()) for number in names]
    yield from balance(data.ann_file, list(names.values()), np.array(counts), "annotations")


ENTRY_RULES: tuple[Callable[[Annotations], Iterator[Finding]], ...] = (
    incomplete_records,
    repeated_ids,
    odd_images,
    missing_images,
    outside_images,
    check_boxes,
    odd_categories,
    empty_images,
    class_counts,
)


class CheckedCoco(NamedTuple):
    """The findings about a data set, and what was checked."""

    findings: list[Finding]
    splits: dict[str, Annotations]
    facts: dict[Path, ImageFacts]  # of the images that exist


def check_entries(data_root: Path, splits: Sequence[str]) -> CheckedCoco:
    """Checks the jsons and folders alone; no image is opened.

    Raises FileNotFoundError if a split has no json.
    """
    findings: list[Finding] = []
    contents: dict[str, Annotations] = {}
    for split in splits:
        ann_file, folder = _located(data_root, split)
        try:
            contents[split] = read_annotations(ann_file, folder)
        except (ValueError, OSError, RecursionError) as error:
            findings.append(Finding(JSON, ann_file, _reason(error, ann_file)))
            continue
        found = [finding for rule in ENTRY_RULES for finding in rule(contents[split])]
        findings += found if any(errors(found)) else [*found, *_reader_says(contents[split])]
    return CheckedCoco([*findings, *_differing(contents)], contents, {})


def _located(data_root: Path, split: str) -> tuple[Path, Path]:
    """(json, image folder), also where the folder is missing."""
    try:
        return locate(data_root, split)
    except FileNotFoundError:
        ann_file = data_root / "annotations" / f"instances_{split}.json"
        if not ann_file.is_file():
            ann_file = ann_file.with_name(f"instances_{split}2017.json")
        if not ann_file.is_file():
            raise
        return ann_file, data_root / ann_file.stem.removeprefix("instances_")


def _reason(error: Exception, file: Path) -> str:
    return str(error).removeprefix(f"{file}: ")


def _reader_says(data: Annotations) -> Iterator[Finding]:
    """A finding if training's reader refuses the json for a reason that no rule covers."""
    try:
        boxes_of(data.ann_file, data.records)
    except ValueError as error:
        yield Finding(READER, data.ann_file, _reason(error, data.ann_file))


def _differing(contents: dict[str, Annotations]) -> Iterator[Finding]:
    """Splits whose class names, in order of their ids, differ from those of the first split."""
    lists = {split: tuple(_names(data).values()) for split, data in contents.items()}
    for split, names in lists.items():
        first, wanted = next(iter(lists.items()))
        if names != wanted:
            only = sorted(set(names) ^ set(wanted))[:5]
            text = (
                f"{len(names)} categories, {first} has {len(wanted)}; differing: {', '.join(only)}"
            )
            yield Finding(SPLITS_DIFFER, contents[split].ann_file, text, "categories")


def check(data_root: Path, spread: Spread, size: Size) -> CheckedCoco:
    """All findings, of the jsons and of the images.

    Args:
        data_root: Folder in COCO's layout.
        spread: Inspects many files, as `engine.checks.parallel.spread` does.
        size: Height and width that training resizes to.

    Raises FileNotFoundError if there is no json.
    """
    checked = check_entries(data_root, splits_of(data_root))
    wanted = {split: _paths(data) for split, data in checked.splits.items()}
    paths = dict.fromkeys(path for paths in wanted.values() for path in paths)
    facts = {one.path: one for one in spread(inspect, paths)}
    findings = [*checked.findings, *_unlisted(checked.splits)]
    for one in facts.values():
        findings += image_findings(one)
    for data in checked.splits.values():
        findings += [*_sizes(data, facts), *_tiny(data, size)]
    findings += duplicates({split: [facts[p] for p in ps] for split, ps in wanted.items()})
    return CheckedCoco(findings, checked.splits, facts)


def _paths(data: Annotations) -> list[Path]:
    """Images of a split that exist inside its folder."""
    names = listed(data)
    without = {*_missing(data, list(names)), *_outside(data, list(names))}
    return [data.folder / name for name in names if name not in without]


def _unlisted(splits: dict[str, Annotations]) -> Iterator[Finding]:
    """Images that no json of their folder lists; several splits may share one folder."""
    known: dict[Path, set[Path]] = {}
    for data in splits.values():
        names = known.setdefault(data.folder.resolve(), set())
        names |= {Path(name) for name in listed(data)}
    for folder, names in known.items():
        files = (path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        for path in sorted(path for path in files if path.relative_to(folder) not in names):
            yield Finding(NOT_LISTED, path, "no json lists this image", picture=path)


def _sizes(data: Annotations, facts: dict[Path, ImageFacts]) -> Iterator[Finding]:
    """Images whose size, turned by EXIF or as stored, differs from that in the json."""
    for number, record in data.images.items():
        one = facts.get(data.image_path(record))
        expected = (record["height"], record["width"])
        if one is None or one.problem or min(expected) < 1:
            continue
        if expected not in (one.turned, one.size):
            text = f"{_words(one.turned)} pixels, but {data.ann_file} says {_words(expected)}"
            yield Finding(SIZE, one.path, text, f"image {number}", picture=one.path)


def _words(size: Size) -> str:
    return f"{size[1]} x {size[0]}"


def _tiny(data: Annotations, size: Size) -> Iterator[Finding]:
    """Classes with boxes that have a side below TINY at the training size."""
    scale = np.array(size[::-1]) / np.maximum(data.sizes, 1)  # (M, 2)
    sides = (data.xywh[:, 2:] * scale).min(axis=1, initial=np.inf)
    counted = data.is_box & data.has_image & ~data.crowd & (data.xywh[:, 2:] > 0).all(axis=1)
    for number, name in _names(data).items():
        mine = counted & (data.category_ids == number)
        tiny = int((sides[mine] < TINY).sum())
        if tiny:
            text = (
                f"{tiny} of {mine.sum()} boxes have a side below {TINY:g} pixels at {_words(size)}"
            )
            yield Finding(TINY_OBJECTS, data.ann_file, text, f"category {number} ({name})")
