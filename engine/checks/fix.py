"""A repaired copy of a data set: it appears whole in a folder of its own, or not at all."""

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
    """Folder beside `out` to write to; renamed to `out` on success, removed on any failure.

    Raises:
        ValueError: `out` (of the command's `option`) holds something, or lies in the data itself.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{option} {out}: is there already and not empty; give a new folder")
    if out.resolve().is_relative_to(source.resolve()):
        raise ValueError(f"{option} {out}: lies in {source}, the data itself; give another folder")
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
    """Whether no rule has the file left out."""
    return all(finding.rule.fix != LEFT_OUT for finding in image_findings(facts))


def copy_image(facts: ImageFacts, target: Path, *, turn: bool = True) -> None:
    """Copy an image, saved anew where a rule asks for it; upright by its EXIF with `turn`.

    The copy has the time stamps of today and never shares storage with the source.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if any(finding.rule.fix == DECODED for finding in image_findings(facts)):
        write_picture(target, read_image(facts.path, apply_exif=turn))
    else:
        shutil.copyfile(facts.path, target)


def write_picture(path: Path, picture: Picture) -> None:
    """Save an RGB picture (H, W, 3) in the format of the name, JPEGs at quality 95."""
    try:
        content = encode_image(picture, path.suffix)
    except ValueError:
        raise ValueError(
            f"{path}: cannot be written in the format of its name; rename it .png"
        ) from None
    path.write_bytes(content)
