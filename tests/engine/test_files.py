"""engine/files.py: whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from engine.files import near, write_binary, write_json, written_whole


def full_disk(_: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "new/folder/file.bin"
    write_binary(path, b"one")
    write_binary(path, lambda stream: stream.write(b"two") and None)
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"a": 1})
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left") as error:
        write_json(path, {"a": 2})
    assert error.value.filename == str(path)
    assert path.read_text() == '{\n "a": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_writer_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with written_whole(tmp_path / "x.mp4", suffix=".mp4") as aside:
            aside.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_near() -> None:
    assert near("lerning_rate", ["learning_rate", "momentum"]) == "nearest known: learning_rate"
    assert near("zzz", ["b", "a"]) == "nearest known: a, b"
    assert near("zzz", []) == "none is known"
