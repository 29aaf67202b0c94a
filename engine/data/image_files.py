"""Finds the image and video files that a user names: files, folders, globs and lists."""

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.fileio import read_text

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
VIDEO_SUFFIXES = {".mp4", ".avi", ".mov", ".mkv", ".webm"}
SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES


def find_sources(sources: Sequence[str]) -> list[Path]:
    """All image and video files of the given files, folders, globs and text lists, in order.

    Raises:
        FileNotFoundError: a source has no such file.
    """
    found: list[Path] = []
    for source in sources:
        files = list(_expand(Path(source)))
        if not files:
            raise FileNotFoundError(
                f"{source}: no image or video found; give a file, a folder, a quoted glob or a "
                ".txt list with one path per line"
            )
        found += files
    return found


def _expand(source: Path) -> Iterator[Path]:
    if source.is_dir():
        yield from sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES)
    elif source.suffix == ".txt" and source.is_file():
        for line in read_text(source).splitlines():
            if line.strip():
                yield from _listed(source, line.strip())
    elif source.is_file():
        yield source
    elif glob.has_magic(str(source)):
        matches = map(Path, sorted(glob.glob(str(source), recursive=True)))  # noqa: PTH207
        yield from (path for path in matches if path.suffix.lower() in SUFFIXES)


def _listed(source: Path, line: str) -> list[Path]:
    """Files that one line of a text list names, relative to the list."""
    if Path(line).suffix == ".txt":
        raise ValueError(f"{source}: lists {line}; a list in a list is not supported")
    try:
        return find_sources([str(source.parent / line)])
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{source}: {error}") from None
    except (OSError, ValueError):  # the name is too long or has a zero byte
        raise ValueError(f"{source}: {line!r:.80} is not a path") from None


def find_images(folder: Path) -> list[Path]:
    """All image files below `folder`, sorted.

    Raises:
        FileNotFoundError: no image found.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise FileNotFoundError(f"{folder}: no image found; give a folder of images")
    return files
