"""Class lists: the names of the classes, and the folders of their images."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from engine.fileio import read_text

CLASSES_FILE = "classes.txt"
LABEL_FILES = (CLASSES_FILE, "labels.txt", "*label_list.txt")  # the last pattern is of PaddleClas
_INDEXED = re.compile(r"(\d{1,9})\s+(\S.*)")
_WORDNET = re.compile(r"(n\d{8})\s+(\S.*)")


class ClassList(NamedTuple):
    """Names and folders of the classes 0..K-1; by default they are the same."""

    names: tuple[str, ...]  # K different names
    folders: tuple[str, ...]  # K


def find_label_file(data_root: Path) -> Path | None:
    """`classes.txt`, else `labels.txt`, else the one `*label_list.txt` in `data_root`.

    Raises:
        ValueError: two of them name different classes.
    """
    files = [path for pattern in LABEL_FILES for path in sorted(data_root.glob(pattern))]
    if not files:
        return None
    first = read_classes(files[0])
    for other in files[1:]:
        if read_classes(other).names != first.names:
            raise ValueError(
                f"{other}: does not name the same classes as {files[0]}; keep one of them"
            )
    return files[0]


def read_classes(path: Path) -> ClassList:
    """Read a label file: one class per line, `name` or `index name`, indices in any order.

    A line may also give the folder of a class: before a tab, or as a WordNet id (n01440764 tench).
    If several classes have the same name, the folder (else the index) is added to it; two classes
    of ImageNet are called crane.

    Raises:
        ValueError: fewer than two classes, lines of both kinds, or not each index of 0..K-1 once.
    """
    lines = [line.strip() for line in read_text(path).splitlines()]
    rows = {number: line for number, line in enumerate(lines, 1) if line}
    if len(rows) < 2:
        raise ValueError(
            f"{path}: has {len(rows)} class{'es' * (not rows)}; a classifier needs at least two"
        )
    parts = [_split(text) for text in _in_order(path, rows)]
    return ClassList(
        names=tuple(_told_apart([name for _, name in parts], [folder for folder, _ in parts])),
        folders=tuple(folder for folder, _ in parts),
    )


def read_names(path: Path) -> tuple[str, ...]:
    """The names of `read_classes` in label order; same errors."""
    return read_classes(path).names


def _in_order(path: Path, rows: dict[int, str]) -> list[str]:
    """Text of each class in the order of the indices; the lines if there are no indices."""
    indexed = {number: _INDEXED.fullmatch(line) for number, line in rows.items()}
    plain = [number for number, match in indexed.items() if match is None]
    if len(plain) == len(rows):
        return list(rows.values())
    if plain:
        raise ValueError(
            f"{path}, line {plain[0]}: {rows[plain[0]]!r} has no index, but other lines have "
            "one; write `index name` in every line or in none"
        )
    texts: dict[int, str] = {}
    for number, match in indexed.items():
        assert match is not None
        index = int(match[1])
        if index in texts or index >= len(rows):
            why = "occurs twice" if index in texts else f"is not below the {len(rows)} classes"
            raise ValueError(f"{path}, line {number}: index {index} {why}; count from 0 to K - 1")
        texts[index] = match[2]
    return [texts[index] for index in range(len(rows))]


def _split(text: str) -> tuple[str, str]:
    """(folder, name) of a class."""
    if "\t" in text:
        folder, name = text.split("\t", 1)
        return folder.strip(), name.strip()
    match = _WORDNET.fullmatch(text)
    return (match[1], match[2]) if match else (text, text)


def _told_apart(names: Sequence[str], folders: Sequence[str]) -> list[str]:
    """The names; folder or index are added to those that occur more than once."""
    counts = Counter(names)
    return [
        name if counts[name] == 1 else f"{name} ({index if folder == name else folder})"
        for index, (name, folder) in enumerate(zip(names, folders, strict=True))
    ]
