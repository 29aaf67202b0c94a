"""Checks the paths in lists and JSON files: whether files exist, and lie inside the data."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

FOLLOW = "LCNET_FOLLOW_LINKS"  # environment variable: trust paths and links in the data
LEADS_OUT = "leads out of the data folder"
REMEDY = f"copy the file there, or set {FOLLOW}=1 if you trust this data"


def missing_files(data_root: Path, paths: Sequence[str]) -> list[int]:
    """Indices of the paths that are not files; each folder is listed once, which is fast."""
    present: dict[str, set[str]] = {}
    missing = []
    for number, path in enumerate(paths):
        folder, _, name = path.rpartition("/")
        folder = folder or "/" * path.startswith("/")
        if folder not in present:
            present[folder] = _names(data_root / folder, os.DirEntry.is_file)
        if name not in present[folder]:
            missing.append(number)
    return missing


def _names(folder: Path, is_wanted: Callable[[os.DirEntry[str]], bool]) -> set[str]:
    """Names of the wanted entries of a folder; empty if the folder is missing."""
    if not folder.is_dir():
        return set()
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if is_wanted(entry)}


def stays_inside(name: object) -> bool:
    """Whether `name` is a relative path that does not lead out of its folder."""
    return (
        isinstance(name, str)
        and not Path(name).is_absolute()
        and ".." not in re.split(r"[/\\]", name)
    )


def outside_files(data_root: Path, paths: Sequence[str]) -> list[int]:
    """Indices of the paths that lead out of the data: by `..`, as absolute paths or through links.

    The data is the folder and the targets of links directly in it, because users link whole data
    sets and the tools link splits. A link deeper inside may come from an untrusted author of the
    data. If LCNET_FOLLOW_LINKS is set, nothing is outside.
    """
    if os.environ.get(FOLLOW):
        return []
    allowed = _roots(data_root)
    links: dict[str, set[str] | None] = {}  # by folder; None: the folder is outside
    outside = []
    for number, path in enumerate(paths):
        folder, _, name = path.rpartition("/")
        if folder not in links:
            place = data_root / (folder or "/" * path.startswith("/"))
            inside = _is_in(place, allowed)
            links[folder] = _names(place, os.DirEntry.is_symlink) if inside else None
        own = links[folder]
        if own is None or (name in own and not _is_in(data_root / path, allowed)):
            outside.append(number)
    return outside


def check_inside(data_root: Path, paths: Sequence[str]) -> None:
    """Raise ValueError if a path leads out of the data; see `outside_files`."""
    outside = outside_files(data_root, paths)
    if outside:
        raise ValueError(
            f"{data_root / paths[outside[0]]}: {LEADS_OUT} {data_root} ({len(outside)} of "
            f"{len(paths)} do); {REMEDY}"
        )


def _roots(data_root: Path) -> list[str]:
    """Real paths of the folder and of the folders linked directly in it."""
    if not data_root.is_dir():
        return [os.path.realpath(data_root)]
    with os.scandir(data_root) as entries:
        linked = [Path(entry) for entry in entries if entry.is_symlink() and entry.is_dir()]
    return [os.path.realpath(path) for path in (data_root, *linked)]


def _is_in(path: Path, roots: Sequence[str]) -> bool:
    real = os.path.realpath(path)
    return any(real == root or real.startswith(os.path.join(root, "")) for root in roots)  # noqa: PTH118
