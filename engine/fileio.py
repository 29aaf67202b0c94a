"""Reads and writes files; a written file appears complete or not at all."""

import errno
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, BinaryIO

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Buffer = bytes | memoryview
Hook = Callable[[dict[str, Any]], Any]


@contextmanager
def written_whole(path: Path, suffix: str = ".part") -> Iterator[Path]:
    """Give a temporary path; it is renamed to `path` on success and removed on any failure."""
    aside = path.with_name(f".{path.name}.{os.getpid()}{suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_binary(path: Path, content: Buffer | Callable[[BinaryIO], None]) -> None:
    """Write bytes, or what a function writes, to disk; then give the file its name.

    Raises:
        OSError: the disk is full or not writable; an older file of that name is not changed.
    """
    try:
        with written_whole(path) as aside, aside.open("wb") as stream:
            if callable(content):
                content(stream)
            else:
                stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        error.filename = error.filename or str(path)  # not set if the disk is full
        raise


def sync_folder(folder: Path) -> None:
    """Write the names in `folder` to disk, so that they survive a power cut.

    Raises:
        OSError: the disk fails; file systems without this operation are ignored.
    """
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path, pattern: str) -> None:
    """Remove temporary files of `written_whole` for names like `pattern` after a killed run."""
    for aside in folder.glob(f".{pattern}.*.part"):
        if not runs(aside.name.split(".")[-2]):
            aside.unlink(missing_ok=True)


def runs(process: str) -> bool:
    """Whether another process has this number; True if it is not a number."""
    if not process.isdecimal():
        return True
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return int(process) != os.getpid()


def write_json(path: Path, content: object) -> None:
    """Write `content` as a JSON file, complete or not at all."""
    write_binary(path, (json.dumps(content, indent=1) + "\n").encode())


def read_text(path: Path) -> str:
    """Text of a UTF-8 file without a byte-order mark.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8 ({error.reason} at byte {error.start})") from None


def parse_json(path: Path | str, text: bytes | str, hook: Hook | None = None) -> Any:
    """Parse the text of a JSON file; `hook` converts its objects, `path` is for the error.

    Raises:
        ValueError: not JSON, too deeply nested, or a number with thousands of digits.
    """
    try:
        return json.loads(text, object_hook=hook)
    except (ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{path}: not valid JSON ({str(error) or type(error).__name__})") from None


def read_json(path: Path) -> Any:
    """Content of a JSON file; errors as `parse_json`."""
    return parse_json(path, path.read_bytes())


def read_toml(path: Path) -> dict[str, Any]:
    """Content of a TOML file.

    Raises:
        ValueError: not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # of TOML, or of UTF-8
        raise ValueError(f"{path}: not readable as TOML ({error})") from error


def near(wrong: str, known: list[str]) -> str:
    """Text for an error message: the entries of `known` most similar to `wrong`."""
    close = get_close_matches(wrong, known, n=3, cutoff=0.4) or sorted(known)[:12]
    return f"nearest known: {', '.join(close)}" if close else "none is known"
