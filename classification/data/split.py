"""Divides class folders into splits by list files; images are not changed."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from classification.data.image_lists import Listing, class_folders, find_unsplit, list_path
from engine.data.class_list import CLASSES_FILE
from engine.data.splits import SPLITS, Division, SplitOptions, check_large_enough, stratify
from engine.fileio import write_binary


class DividedFolders(NamedTuple):
    """The content of the splits that were written."""

    counts: NDArray[np.int64]  # (S, K) images of each class in each split
    classes: tuple[str, ...]  # K
    written: tuple[Path, ...]


def splits_from(source: Path) -> bool:
    """Whether `source` can be a folder of class folders."""
    return source.suffix != ".json" and not (source / "annotations").is_dir()


def split(source: Path, shares: Mapping[str, float], options: SplitOptions) -> Division:
    """Divide class folders; see `split_folders`.

    Raises:
        ValueError: options for other formats are given.
    """
    if options.out is not None or options.images is not None:
        raise ValueError("--out and --images are for a COCO json; lists are beside the images")
    done = split_folders(source, shares, options.seed, force=options.force)
    rows = {
        name: [str(count) for count in counts]
        for name, counts in zip(done.classes, done.counts.T.tolist(), strict=True)
    }
    total = [str(count) for count in done.counts.sum(axis=1).tolist()]
    where = "the images were not moved"
    return Division("images", rows, total, (), done.written, source, where)


def split_folders(
    root: Path, shares: Mapping[str, float], seed: int, *, force: bool = False
) -> DividedFolders:
    """Write `<split>_list.txt` for the images in `root/<class>/`, each class divided by `shares`.

    If no file names the classes, `classes.txt` is written too.

    Args:
        root: Folder that holds the class folders.
        shares: Share of the images by split; they sum to 1.
        seed: Of the random choice; another seed gives other splits.
        force: Replace lists with other content.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: it is split already, has other lists, or has a class of fewer images than
            splits.
    """
    _check_unsplit(root)
    found, label_file = find_unsplit(root)
    sizes = np.bincount(found.labels, minlength=len(found.classes)).tolist()
    check_large_enough(found.classes, sizes, len(shares), root)
    images_of = [np.flatnonzero(found.labels == label) for label in range(len(found.classes))]
    place = stratify(images_of, len(found.labels), list(shares.values()), seed)
    texts = {
        list_path(root, split): _list_text(found, np.flatnonzero(place == number))
        for number, split in enumerate(shares)
    }
    if label_file is None:
        lines = (f"{label}\t{name}\n" for label, name in enumerate(found.classes))
        texts[root / CLASSES_FILE] = "".join(lines)
    _check_free(root, texts, force)
    for path, text in texts.items():
        write_binary(path, text.encode(errors="surrogateescape"))
    per_split = [
        np.bincount(found.labels[place == n], minlength=len(sizes)) for n in range(len(shares))
    ]
    return DividedFolders(np.stack(per_split), found.classes, tuple(texts))


def _list_text(found: Listing, chosen: NDArray[np.int64]) -> str:
    paths = found.paths[chosen].tolist()
    labels = found.labels[chosen].tolist()
    return "".join(
        f"{path.decode(errors='surrogateescape')} {label}\n"
        for path, label in zip(paths, labels, strict=True)
    )


def _check_unsplit(root: Path) -> None:
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder; give the one that holds class folders")
    already = [name for name in class_folders(root) if name in SPLITS]
    if already:
        raise ValueError(
            f"{root}: split already, into {', '.join(f'{name}/' for name in already)}; to divide "
            f"one of these folders further, give {root / already[0]}"
        )


def _check_free(root: Path, texts: Mapping[Path, str], force: bool) -> None:
    """Raise ValueError if a list exists with other content, or for another split."""
    lists = {list_path(root, split) for split in SPLITS}
    other = [
        path
        for path in sorted(lists | set(texts))
        if path.is_file()
        and path.read_bytes() != texts.get(path, "").encode(errors="surrogateescape")
    ]
    if other and not force:
        raise ValueError(
            f"{other[0]}: exists with other content, as from another seed or other shares; --force "
            "replaces it"
        )
    for path in lists - set(texts) if force else ():
        path.unlink(missing_ok=True)
