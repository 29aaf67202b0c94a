"""Files that a list or a json names, looked up quickly."""

import os
from collections.abc import Sequence
from pathlib import Path

FOLLOW = "LCNET_FOLLOW_LINKS"  # in the environment: trust names and links of the data
LEADS_OUT = "leads out of the data folder"
REMEDY = f"copy the file there, or set {FOLLOW}=1 where you trust this data"


def missing_files(data_root: Path, paths: Sequence[str]) -> list[int]:
    """Places of the paths that are no files: one listing a folder, not one look a file."""
    present: dict[str, set[str]] = {}
    missing = []
    for number, path in enumerate(paths):
        folder, _, name = path.rpartition("/")
        folder = folder or "/" * path.startswith("/")
        if folder not in present:
            present[folder] = _file_names(data_root / folder)
        if name not in present[folder]:
            missing.append(number)
    return missing


def _file_names(folder: Path) -> set[str]:
    """Names of the files in a folder, and of links to files; none where there is no folder."""
    if not folder.is_dir():
        return set()
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if entry.is_file()}


def outside_files(data_root: Path, paths: Sequence[str]) -> list[int]:
    """Places of the paths that lead out of the data, by `..`, as absolute ones or through links.

    The data are the folder given and those that links directly in it lead to, for people link whole
    data sets and our own tools link splits. A link deeper in it may have come with the data, from
    whoever made it. Nothing is outside where the environment has LCNET_FOLLOW_LINKS.
    """
    if os.environ.get(FOLLOW):
        return []
    allowed = _roots(data_root)
    links: dict[str, set[str] | None] = {}  # of every folder; None where it is outside
    outside = []
    for number, path in enumerate(paths):
        folder, _, name = path.rpartition("/")
        if folder not in links:
            place = data_root / (folder or "/" * path.startswith("/"))
            links[folder] = _links_in(place) if _is_in(place, allowed) else None
        own = links[folder]
        if own is None or (name in own and not _is_in(data_root / path, allowed)):
            outside.append(number)
    return outside


def check_inside(data_root: Path, paths: Sequence[str]) -> None:
    """Raise ValueError where a path leads out of the data; see `outside_files`."""
    outside = outside_files(data_root, paths)
    if outside:
        raise ValueError(
            f"{data_root / paths[outside[0]]}: {LEADS_OUT} {data_root} ({len(outside)} of "
            f"{len(paths)} do); {REMEDY}"
        )


def _roots(data_root: Path) -> list[str]:
    """Real paths of the folder and of the folders that links directly in it lead to."""
    if not data_root.is_dir():
        return [os.path.realpath(data_root)]
    with os.scandir(data_root) as entries:
        linked = [Path(entry) for entry in entries if entry.is_symlink() and entry.is_dir()]
    return [os.path.realpath(path) for path in (data_root, *linked)]


def _is_in(path: Path, roots: Sequence[str]) -> bool:
    real = os.path.realpath(path)
    return any(real == root or real.startswith(os.path.join(root, "")) for root in roots)  # noqa: PTH118


def _links_in(folder: Path) -> set[str]:
    """Names of the links in a folder; none where there is no folder."""
    if not folder.is_dir():
        return set()
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if entry.is_symlink()}
