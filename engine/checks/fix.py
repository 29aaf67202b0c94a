"""Writes a repaired copy of a data set to a new folder, complete or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.checks.image_checks import DECODED, LEFT_OUT, ImageFacts, image_findings
from engine.data.images import encode_image, read_image
from engine.types import Picture


@contextmanager
def fresh_folder(out: Path, source: Path, option: str = "--fix") -> Iterator[Path]:
    """Give a temporary folder; renamed to `out` on success, removed on any failure.

    Raises:
        ValueError: `out` (of the command's `option`) is not empty, or is inside the data.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{option} {out}: exists and is not empty; give a new folder")
    if out.resolve().is_relative_to(source.resolve()):
        raise ValueError(f"{option} {out}: is inside the data {source}; give another folder")
    out = out.resolve()
    aside = out.with_name(f".{out.name}.{os.getpid()}.part")
    aside.mkdir(parents=True)
    try:
        yield aside
        if out.exists():
            out.rmdir()
        aside.replace(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def is_usable(facts: ImageFacts) -> bool:
    """Whether the file is kept: no rule leaves it out."""
    return all(finding.rule.fix != LEFT_OUT for finding in image_findings(facts))


def copy_image(facts: ImageFacts, target: Path, *, turn: bool = True) -> None:
    """Copy an image; save its pixels again if a rule needs it, with `turn` upright by its EXIF.

    The copy has new time stamps and does not share storage with the source.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if any(finding.rule.fix == DECODED for finding in image_findings(facts)):
        write_picture(target, read_image(facts.path, apply_exif=turn))
    else:
        shutil.copyfile(facts.path, target)


def write_picture(path: Path, picture: Picture) -> None:
    """Save an RGB picture (H, W, 3) in the format of its name, JPEG with quality 95."""
    try:
        content = encode_image(picture, path.suffix)
    except ValueError:
        raise ValueError(
            f"{path}: cannot be written in the format of its name; rename it to .png"
        ) from None
    path.write_bytes(content)
