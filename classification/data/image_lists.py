"""Finds the images of a split and the class of each.

Two layouts: `<split>/<class>/` folders, or `<split>_list.txt` with one line `path index` per image.
If both exist the list is used, because it may select images of the folders. Training, evaluation
and the tools all use this module.

Shapes: N images, K classes.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from engine.data.class_list import CLASSES_FILE, ClassList, find_label_file, read_classes
from engine.data.image_files import IMAGE_SUFFIXES
from engine.data.safe_paths import check_inside, missing_files

REFERENCE = "train"  # the split that decides the classes if no file names them
MAX_LABEL = 2**31 - 1  # labels are int32


class Listing(NamedTuple):
    """The images of a split as flat arrays, which loader workers share."""

    paths: NDArray[np.bytes_]  # (N,) relative to the data's root, as the file system has them
    labels: NDArray[np.int32]  # (N,) 0..K-1
    classes: tuple[str, ...]  # K names


class ListFile(NamedTuple):
    """The content of a list file."""

    source: Path
    paths: list[str]  # (N,)
    labels: NDArray[np.int64]  # (N,)
    lines: NDArray[np.int64]  # (N,) number of the line that names the image, from 1


def find_images(data_root: Path, split: str) -> Listing:
    """Images and classes of a split, checked.

    Class names are those of the label file (see `class_list.find_label_file`), else the class
    folders of the split "train", sorted, else the numbers in its list.

    Raises:
        FileNotFoundError: neither list nor folder exists, or the list names a missing file.
        ValueError: an empty class folder, a class number out of range, fewer than two classes, or
            label file, train and other splits contradict each other. One line, for the first error.
    """
    if list_path(data_root, split).is_file():
        return _from_list(data_root, split)
    if (data_root / split).is_dir():
        return _from_folders(data_root, split)
    raise FileNotFoundError(
        f"{data_root / split}: no such folder, nor {list_path(data_root, split).name} beside it; "
        "the layout is <split>/<class>/ or <split>_list.txt with lines `path index`"
    )


def list_path(data_root: Path, split: str) -> Path:
    """The list file of a split."""
    return data_root / f"{split}_list.txt"


def read_list(path: Path) -> ListFile:
    """A list file: lines `path index`; a path may hold spaces. Empty lines are ignored.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line is something else, a class number is too large, or there is no line.
    """
    rows = []
    for number, entry in parse_list(path):
        if isinstance(entry, ValueError):
            raise entry
        rows.append((*entry, number))
    if not rows:
        raise ValueError(f"{path}: names no image; write a line `path index` for each")
    paths, *numbers = zip(*rows, strict=True)
    labels, lines = np.array(numbers, np.int64)  # (N,) each
    return ListFile(path, list(paths), labels, lines)


def parse_list(path: Path) -> Iterator[tuple[int, tuple[str, int] | ValueError]]:
    """Number of every line that is not empty, and its path and class, or what is wrong with it.

    Raises:
        FileNotFoundError: no such file.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such list file") from None
    for number, line in enumerate(text.split("\n"), 1):
        if line and not line.isspace():
            entry = _entry(line)
            where = f"{path}, line {number}: "
            yield number, ValueError(where + entry) if isinstance(entry, str) else entry


def _entry(line: str) -> tuple[str, int] | str:
    """Path and class number of a line, or what is wrong with it."""
    fields = line.rsplit(maxsplit=1)
    if len(fields) != 2 or not (fields[1].isascii() and fields[1].isdigit()):
        shown = repr(line.strip()[:80])
        return f"{shown} is not `path index`; the index is the class number, from 0"
    digits = fields[1].lstrip("0") or "0"
    if len(digits) > 10 or int(digits) > MAX_LABEL:
        return f"class number {digits[:30]} is too large; count from 0 to K - 1"
    return fields[0].strip(), int(digits)


def check_range(listed: ListFile, num_classes: int, source: Path | str) -> None:
    """Raise ValueError if a class number is not below `num_classes`, the number in `source`."""
    wrong = np.flatnonzero(listed.labels >= num_classes)
    if len(wrong):
        raise ValueError(
            f"{listed.source}, line {listed.lines[wrong[0]]}: class {listed.labels[wrong[0]]} is "
            f"not one of the {num_classes} classes 0..{num_classes - 1} that {source} has"
        )


def _from_list(data_root: Path, split: str) -> Listing:
    listed = read_list(list_path(data_root, split))
    classes, source = _classes_of(data_root, split, listed)
    check_range(listed, len(classes.names), source)
    _check_folders(listed, classes, source)
    _check_files(data_root, listed)
    present = np.unique(listed.labels)
    if split == REFERENCE and len(present) < 2:
        raise ValueError(
            f"{listed.source}: all images have class {present[0]} "
            f"({classes.names[present[0]]}); training needs images of two classes or more"
        )
    if (data_root / split).is_dir():
        _log(f"{listed.source} decides the images of split {split!r}, not the folder {split}/")
    _report(listed.source, listed.labels, classes.names, must_have_all=False)
    return _listing(listed.paths, listed.labels, classes.names)


def _classes_of(data_root: Path, split: str, listed: ListFile | None) -> tuple[ClassList, Path]:
    """The classes of a split with a list or, if None, folders; and the file that names them."""
    label_file = find_label_file(data_root)
    if label_file is not None:
        return read_classes(label_file) if listed else _folders_of(label_file), label_file
    reference = list_path(data_root, REFERENCE)
    if split != REFERENCE and reference.is_file():
        return _numbered(read_list(reference)), reference
    folder = data_root / REFERENCE
    if listed and (split == REFERENCE or not folder.is_dir()):
        return _numbered(listed), listed.source
    folder = folder if folder.is_dir() else data_root / split
    return _named_by_folder(folder), folder


def _numbered(listed: ListFile) -> ClassList:
    """Classes of a list alone: its folders if folders and classes are one to one, else numbers."""
    present = np.unique(listed.labels)
    count = int(present[-1]) + 1
    if len(present) < count:
        unused = np.flatnonzero(present != np.arange(len(present)))[0]
        raise ValueError(
            f"{listed.source}: no image has class {unused}, but some have {count - 1}; name all "
            f"classes in {CLASSES_FILE}, or count without gaps"
        )
    if count < 2:
        raise ValueError(f"{listed.source}: one class only; a classifier needs two or more")
    by_label = {label: folder for folder, label in _folder_labels(listed).items()}
    names = tuple(by_label.get(label, str(label)) for label in range(count))
    names = names if len(by_label) == count else tuple(map(str, range(count)))
    return ClassList(names, names)


def _folder_labels(listed: ListFile) -> dict[str, int]:
    """Class of each folder of images; empty unless folders and classes are one to one."""
    pairs = {(_parent(path), label) for path, label in _with_labels(listed)}
    found = dict(pairs)
    one_to_one = len(pairs) == len(found) == len(set(found.values()))
    return found if one_to_one else {}


def _with_labels(listed: ListFile) -> Iterable[tuple[str, int]]:
    return zip(listed.paths, listed.labels.tolist(), strict=True)


def _parent(path: str) -> str:
    """Name of the folder of a listed file."""
    return path.rpartition("/")[0].rpartition("/")[2]


def _check_folders(listed: ListFile, classes: ClassList, source: Path) -> None:
    """Raise ValueError if most images of a folder with the name of a class have another class."""
    known = {folder: label for label, folder in enumerate(classes.folders)}
    counts = Counter((_parent(path), label) for path, label in _with_labels(listed))
    usual: dict[str, int] = {}
    for (folder, label), _ in counts.most_common():
        usual.setdefault(folder, label)
    for folder, label in usual.items():
        own = known.get(folder, label)
        if label != own and counts[folder, label] > counts[folder, own]:
            raise ValueError(
                f"{listed.source}: images in {folder}/ have class {label}, but {folder} is class "
                f"{own} by {source}; both need the same order of classes"
            )


def _check_files(data_root: Path, listed: ListFile) -> None:
    """Raise FileNotFoundError unless all exist, ValueError unless they are in the data."""
    check_inside(data_root, listed.paths)
    missing = missing_files(data_root, listed.paths)
    if missing:
        first = missing[0]
        raise FileNotFoundError(
            f"{listed.source}, line {listed.lines[first]}: no file {listed.paths[first]} in "
            f"{data_root} ({len(missing)} of {len(listed.paths)} are missing)"
        )


def find_unsplit(root: Path) -> tuple[Listing, Path | None]:
    """Images of `root/<class>/`, not divided into splits, and the label file if there is one.

    Raises:
        ValueError: an empty class folder, fewer than two classes, or a label file that disagrees.
    """
    label_file = find_label_file(root)
    classes = _named_by_folder(root) if label_file is None else _folders_of(label_file)
    return _below(root, "", classes, label_file or root, must_have_all=True), label_file


def _from_folders(data_root: Path, split: str) -> Listing:
    classes, source = _classes_of(data_root, split, None)
    must_have_all = split == REFERENCE
    return _below(data_root / split, f"{split}/", classes, source, must_have_all=must_have_all)


def _below(
    root: Path, prefix: str, classes: ClassList, source: Path, *, must_have_all: bool
) -> Listing:
    """Images in the class folders of `root`; `source` is the file or folder of the class names."""
    labels_of = {name: label for label, name in enumerate(classes.names)}
    labels_of |= {folder: label for label, folder in enumerate(classes.folders)}
    found = class_folders(root)
    if not found:
        raise ValueError(
            f"{root}: no class folder; put its images into a folder for each class, named as in "
            f"{source}: {_some(classes.folders)}"
        )
    unknown = [name for name in found if name not in labels_of]
    if unknown:
        raise ValueError(
            f"{root / unknown[0]}: {source} has no such class; it has {_some(classes.folders)}, "
            f"{root} has {_some(found)}"
        )
    paths: list[str] = []
    labels: list[int] = []
    others: list[str] = []
    for name in sorted(found, key=lambda name: labels_of[name]):
        images, rest = files_below(root / name, f"{prefix}{name}")
        paths += images
        labels += [labels_of[name]] * len(images)
        others += rest
    if others:
        _log(f"{root}: {len(others)} files in class folders are not images: {_some(others)}")
    check_inside(root.parent if prefix else root, paths)
    _report(root, np.array(labels, np.int64), classes.names, must_have_all=must_have_all)
    return _listing(paths, np.array(labels, np.int64), classes.names)


def _folders_of(label_file: Path) -> ClassList:
    """Classes of a label file; ValueError unless their folders have different names."""
    classes = read_classes(label_file)
    if len(set(classes.folders)) < len(classes.folders):
        raise ValueError(
            f"{label_file}: two classes have one name, so they would share a folder; write "
            "`index<tab>folder<tab>name`"
        )
    return classes


def _named_by_folder(root: Path) -> ClassList:
    names = tuple(class_folders(root))
    if len(names) < 2:
        raise ValueError(
            f"{root}: {'one class only, ' + names[0] if names else 'no class folder'}; it needs a "
            "folder of images for each of two classes or more"
        )
    return ClassList(names, names)


def class_folders(root: Path) -> list[str]:
    """Names of the folders in `root`, sorted, without those that begin with a dot."""
    with os.scandir(root) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))


def files_below(folder: Path, prefix: str) -> tuple[list[str], list[str]]:
    """Images of a class folder and its subfolders, sorted, and the other files: prefix + path.

    Links are followed, each folder once, but not to parent folders; folders `.name` are left out.

    Raises ValueError if there is no image.
    """
    images: list[str] = []
    others: list[str] = []
    visited = {folder.resolve(), *folder.resolve().parents}
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in sorted(folders) if _is_new(Path(place, name), visited)]
        below = Path(place).relative_to(folder).as_posix()
        start = prefix if below == "." else f"{prefix}/{below}"
        for name in names:
            is_image = os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122
            (images if is_image and not name.startswith(".") else others).append(f"{start}/{name}")
    if not images:
        raise ValueError(
            f"{folder}: no image in this class folder ({len(others)} other files); add images or "
            "remove the folder"
        )
    return sorted(images), sorted(others)


def _is_new(folder: Path, visited: set[Path]) -> bool:
    """Whether a folder has to be searched; it is added to `visited` then."""
    real = folder.resolve()
    if folder.name.startswith(".") or real in visited:
        return False
    visited.add(real)
    return True


def _report(
    source: Path, labels: NDArray[np.int64], names: Sequence[str], *, must_have_all: bool
) -> None:
    """Log what was found, and which classes have no image.

    Raises ValueError for a class without images if `must_have_all`.
    """
    counts = np.bincount(labels, minlength=len(names))
    empty = [name for name, count in zip(names, counts, strict=True) if not count]
    if empty and must_have_all:
        raise ValueError(
            f"{source}: no folder for {_some(empty)}, which the label file names; add images, or "
            "remove the class from the file"
        )
    if empty:
        _log(f"{source}: no image of {_some(empty)}", logging.WARNING)
    used = counts[counts > 0]
    _log(
        f"{source}: {len(labels)} images, {len(names)} classes of {used.min()} to {used.max()} "
        "images"
    )


def _listing(paths: Sequence[str], labels: NDArray[np.int64], classes: tuple[str, ...]) -> Listing:
    encoded = np.array([os.fsencode(path) for path in paths], np.bytes_)
    return Listing(encoded, labels.astype(np.int32), classes)


def _some(names: Sequence[str]) -> str:
    """The first five, and how many more there are."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{more}"


def _log(line: str, level: int = logging.INFO) -> None:
    print_log(line, logger="current", level=level)
