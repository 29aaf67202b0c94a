"""Files that a list or a json names, looked up quickly."""

import os
from collections.abc import Sequence
from pathlib import Path


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
