"""Pickles of a few bytes that would take gigabytes, or centuries, or this process over."""

import pickle
import struct
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from backbone.weights import read_arrays

ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)


def doubled(times: int) -> bytes:
    """A dict whose one name is a tuple of one tuple twice, of one twice ...: slow to hash."""
    name = b"K\x01" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(times))
    return b"\x80\x02}" + name + b"K\x01s."


HOSTILE = {
    "place": b"\x80\x02Nr\xff\xff\xff\x1f.",
    "text place": b"\x80\x02Np999999999\n.",
    "doubled": doubled(60),
    "duplicated": b"\x80\x02}N" + b"2\x86" * 60 + b"Ns.",
    "bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 50) + b"x.",
    "frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 50) + b"N.",
    "state of a text": b"\x80\x02c_codecs\nencode\n(Nu}tb.",
    "state of a class": b"\x80\x02c_codecs\nencode\nN}X\x01\0\0\0aK\x01s\x86b.",
    "codec": b"\x80\x02}X\x01\0\0\0ac_codecs\nencode\nX\x01\0\0\0aX\x03\0\0\0zip\x86Rs.",
    "number for a name": pickle.dumps({1: ARRAY}),
    "array of nothing": b"\x80\x02}X\x01\0\0\0acnumpy.core.multiarray\n_reconstruct\n)Rs.",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_pickle_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.pdparams").write_bytes(HOSTILE[kind])
    with pytest.raises(ValueError, match=r"a\.pdparams: refused, not a \.pdparams file") as error:
        read_arrays(tmp_path / "a.pdparams")
    assert "\n" not in str(error.value)


def test_no_class_of_ours_was_changed() -> None:
    from backbone.pdparams import _Text

    assert not hasattr(_Text, "a")


def test_arrays_of_the_same_bytes_many_times_are_refused(tmp_path: Path) -> None:
    """One array of 40 kB under 5000 names: 200 MB of a file of 80 kB."""
    array = np.zeros(10_000, np.float32)
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps({str(i): array for i in range(5000)}))
    with pytest.raises(ValueError, match="its arrays are far larger than the file"):
        read_arrays(tmp_path / "a.pdparams")


@pytest.mark.parametrize("protocol", range(5))  # Paddle writes 2 to 4
@pytest.mark.parametrize("order", "CF")
def test_honest_files_of_every_protocol_are_read(tmp_path: Path, protocol: int, order: str) -> None:
    """Also one that stores an array under two names, and one with Paddle's pairs."""
    array = np.asarray(ARRAY, order=order)
    content = OrderedDict(a=array, b=array, c=("conv", array[:1].copy()))
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps(content, protocol))
    found = read_arrays(tmp_path / "a.pdparams")
    assert {name: value.tolist() for name, value in found.items()} == {
        "a": [[0, 1, 2], [3, 4, 5]], "b": [[0, 1, 2], [3, 4, 5]], "c": [[0, 1, 2]],
    }  # fmt: skip
