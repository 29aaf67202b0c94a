"""engine/fileio.py: files are written complete or not at all."""

import errno
import os
from pathlib import Path

import pytest

from engine.fileio import near, read_json, read_text, write_binary, write_json, written_whole


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


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"[" * 100_000, "recursion"),
        (b"9" * 5000, "4300 digits"),
        (b'"\xff"', "can't decode"),
        (b"{", "line 1 column 2"),
        (b"", "line 1 column 1"),
    ],
)
def test_json_that_is_none_is_one_line_with_the_path(
    tmp_path: Path, content: bytes, why: str
) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.json: not valid JSON \(.*{why}") as error:
        read_json(tmp_path / "a.json")
    assert "\n" not in str(error.value)


def test_text_that_is_not_utf8_is_refused_by_its_first_wrong_byte(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("Füße".encode("latin1"))
    with pytest.raises(ValueError, match=r"a\.txt: is not UTF-8 \(invalid start byte at byte 1\)"):
        read_text(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_bytes("Füße".encode("utf-8-sig"))
    assert read_text(tmp_path / "a.txt") == "Füße"
