"""Checks of class folders and list files.

Training's own reader (`classification.data.image_lists`) reads the lines of a list. If no rule here
explains why it refuses a split, its message becomes a finding.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from classification.data.image_lists import (
    class_folders,
    files_below,
    find_images,
    list_path,
    parse_list,
)
from engine.checks.class_balance import balance
from engine.checks.duplicates import duplicates
from engine.checks.image_checks import (
    IMAGE_MISSING,
    LEFT_OUT,
    OUTSIDE,
    ImageFacts,
    image_findings,
    inspect,
)
from engine.checks.parallel import Spread
from engine.data.class_list import find_label_file, read_classes
from engine.data.safe_paths import LEADS_OUT, missing_files, outside_files
from engine.data.splits import SPLITS
from engine.findings import Finding, Rule, errors
from engine.types import Size

READER = Rule("reader-refuses", "error", "do what the message says")
LINE = Rule("list-line", "error", "write `path index`", LEFT_OUT)
CLASS_RANGE = Rule("class-out-of-range", "error", "correct it, or name the class", LEFT_OUT)
LISTED_TWICE = Rule("image-listed-twice", "warning", "keep one of the lines", LEFT_OUT)
TWO_CLASSES = Rule("image-in-two-classes", "error", "decide which class it is", "all left out")
EMPTY_CLASS = Rule("class-folder-empty", "error", "add images, or remove the folder", LEFT_OUT)
NO_IMAGE = Rule("file-no-image", "note", "nothing: such a file is not read", LEFT_OUT)


class ListedImage(NamedTuple):
    """An image that a split names."""

    path: str  # relative to the data's root
    label: str  # class as the list or folder gives it
    line: int = 0  # of the list file; 0 in class folders


class CheckedLists(NamedTuple):
    """The findings about a data set, and what was checked."""

    findings: list[Finding]
    splits: dict[str, list[ListedImage]]  # images that exist, each path once per split
    facts: dict[str, ImageFacts]  # by path


def splits_of(data_root: Path) -> list[str]:
    """Splits that have a list or a folder, train first.

    Raises FileNotFoundError if there is no split.
    """
    names = [s for s in SPLITS if list_path(data_root, s).is_file() or (data_root / s).is_dir()]
    if not names:
        find_images(data_root, SPLITS[0])  # raises: it says what is missing
    return names


def check_entries(data_root: Path, splits: Sequence[str]) -> CheckedLists:
    """Checks lists and folders alone; no image is opened.

    Raises FileNotFoundError if a split has neither.
    """
    findings: list[Finding] = []
    entries: dict[str, list[ListedImage]] = {}
    for split in splits:
        source = list_path(data_root, split)
        if source.is_file():
            found = list(_read_list(data_root, source))
        elif (data_root / split).is_dir():
            found = list(_read_folders(data_root, split))
        else:
            find_images(data_root, split)  # raises: it says what is missing
        own = [one for one in found if isinstance(one, Finding)]
        entries[split] = list(
            {one.path: one for one in found if isinstance(one, ListedImage)}.values()
        )
        findings += own if any(errors(own)) else [*own, *_reader_says(data_root, split)]
    return CheckedLists(findings, entries, {})


def _read_list(data_root: Path, source: Path) -> Iterator[ListedImage | Finding]:
    """Usable entries of a list file, and findings about the others."""
    entries: dict[str, ListedImage] = {}
    for number, entry in parse_list(source):
        where = f"line {number}"
        if isinstance(entry, ValueError):
            text = str(entry).removeprefix(f"{source}, {where}: ")
            yield Finding(LINE, source, text, where)
            continue
        path, label = entry
        first = entries.setdefault(path, ListedImage(path, str(label), number))
        if first.line != number:
            is_same = first.label == str(label)
            rule, also = (
                (LISTED_TWICE, "") if is_same else (TWO_CLASSES, f" as class {first.label}")
            )
            text = f"{path} is in line {first.line} too{also}"
            yield Finding(rule, source, text, where, picture=data_root / path)
    absent = {list(entries)[place] for place in missing_files(data_root, list(entries))}
    outside = {list(entries)[place] for place in outside_files(data_root, list(entries))}
    limit = _num_classes(data_root)
    for path, one in entries.items():
        where = f"line {one.line}"
        if path in outside:
            yield Finding(OUTSIDE, source, f"{path} {LEADS_OUT} {data_root}", where)
        elif path in absent:
            yield Finding(IMAGE_MISSING, source, f"no file {path} in {data_root}", where)
        elif limit is not None and int(one.label) >= limit:
            text = f"class {one.label} of {path} is not one of the {limit} classes"
            yield Finding(CLASS_RANGE, source, text, where, picture=data_root / path)
        else:
            yield one


def _num_classes(data_root: Path) -> int | None:
    """Number of classes that a label file names; None without a readable label file."""
    try:
        label_file = find_label_file(data_root)
    except ValueError:
        return None  # the reader reports it
    return None if label_file is None else len(read_classes(label_file).names)


def _read_folders(data_root: Path, split: str) -> Iterator[ListedImage | Finding]:
    """Images of the class folders, and findings about empty folders and about other files."""
    for name in class_folders(data_root / split):
        folder = data_root / split / name
        try:
            images, others = files_below(folder, f"{split}/{name}")
        except ValueError as error:
            yield Finding(EMPTY_CLASS, folder, str(error).removeprefix(f"{folder}: "))
            continue
        for path in others:
            yield Finding(NO_IMAGE, data_root / path, "is not an image by its name")
        outside = {images[place] for place in outside_files(data_root, images)}
        for path in sorted(outside):
            yield Finding(OUTSIDE, data_root / path, f"{LEADS_OUT} {data_root}")
        yield from (ListedImage(path, name) for path in images if path not in outside)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the reader's log lines; training will print them."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _reader_says(data_root: Path, split: str) -> Iterator[Finding]:
    """A finding if training's reader refuses the split for a reason that no rule covers."""
    try:
        with _quiet():
            find_images(data_root, split)
    except (ValueError, FileNotFoundError) as error:
        yield Finding(READER, data_root, str(error), split)


def check(data_root: Path, spread: Spread, size: Size | None = None) -> CheckedLists:  # noqa: ARG001
    """All findings, of lists, folders and images.

    Args:
        data_root: Folder of the splits.
        spread: Inspects many files, as `engine.checks.parallel.spread` does.
        size: Not used.

    Raises FileNotFoundError if there is no split.
    """
    checked = check_entries(data_root, splits_of(data_root))
    paths = list(dict.fromkeys(one.path for own in checked.splits.values() for one in own))
    looks = spread(inspect, [data_root / path for path in paths])
    facts = dict(zip(paths, looks, strict=True))
    findings = list(checked.findings)
    for one in facts.values():
        findings += image_findings(one)
    findings += _in_two_classes(checked.splits, facts)
    for split, own in checked.splits.items():
        names, counts = np.unique([one.label for one in own], return_counts=True)
        findings += balance(data_root / split, names.tolist(), counts, "images")
    findings += duplicates(
        {s: [facts[one.path] for one in own] for s, own in checked.splits.items()}
    )
    return CheckedLists(findings, checked.splits, facts)


def _in_two_classes(
    splits: dict[str, list[ListedImage]], facts: dict[str, ImageFacts]
) -> Iterator[Finding]:
    """Images with the same bytes as an image of another class."""
    seen: dict[bytes, ListedImage] = {}
    for one in (one for own in splits.values() for one in own):
        look = facts[one.path]
        if look.problem:
            continue
        first = seen.setdefault(look.digest, one)
        if first.label != one.label:
            text = f"class {one.label}, but its copy {first.path} has class {first.label}"
            yield Finding(TWO_CLASSES, look.path, text, picture=look.path)
