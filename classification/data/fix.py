"""Writes a repaired copy of class folders or lists: applies the fix of each rule."""

import shutil
from pathlib import Path, PurePosixPath

from classification.data.checks import TWO_CLASSES, CheckedLists, ListedImage
from classification.data.image_lists import list_path
from engine.checks.duplicates import ACROSS
from engine.checks.fix import copy_image, fresh_folder, is_usable
from engine.data.class_list import LABEL_FILES
from engine.fileio import write_binary


def repair(data_root: Path, out: Path, checked: CheckedLists) -> None:
    """Write a repaired copy of all splits to the new folder `out`; the source is only read.

    A list keeps its paths, except those that lead out of the data: these files are copied in.

    Raises:
        ValueError: `out` is not empty or is inside the source.
    """
    leaking = {found.file for found in checked.findings if found.rule is ACROSS}
    unclear = _of_two_classes(checked)
    with fresh_folder(out, data_root) as folder:
        for path in (path for pattern in LABEL_FILES for path in data_root.glob(pattern)):
            shutil.copyfile(path, folder / path.name)
        first = next(iter(checked.splits))
        firsts = {data_root / one.path for one in checked.splits[first]}
        for split, entries in checked.splits.items():
            # A file in two lists is kept in the later one.
            out_of = {one for one in leaking if split == first or one not in firsts}
            looks = ((one, checked.facts[one.path]) for one in entries)
            kept = [
                one
                for one, facts in looks
                if is_usable(facts) and facts.digest not in unclear and facts.path not in out_of
            ]
            lines = []
            for number, one in enumerate(kept):
                place = _inside(one, split, number)
                copy_image(checked.facts[one.path], folder / place)
                lines.append(f"{place} {one.label}\n")
            if list_path(data_root, split).is_file():
                content = "".join(lines).encode(errors="surrogateescape")
                write_binary(list_path(folder, split), content)


def _of_two_classes(checked: CheckedLists) -> set[bytes]:
    """Digests of the images that have more than one class, in lists or as copies."""
    found = {found.picture for found in checked.findings if found.rule is TWO_CLASSES}
    return {facts.digest for facts in checked.facts.values() if facts.path in found}


def _inside(one: ListedImage, split: str, number: int) -> str:
    """Path of the copy below the new folder."""
    path = PurePosixPath(one.path)
    if path.is_absolute() or ".." in path.parts:
        return f"{split}/{one.label}/{number:06d}_{path.name}"
    return one.path
