"""Archives of arrays that are none, or unpack to too much."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from backbone import npz
from backbone.npz import read_npz


def claimed(shape: tuple[int, ...]) -> bytes:
    """The header of an array of this shape, and four bytes of it."""
    stream = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + b"abcd"


@pytest.mark.parametrize(
    "content", [b"no array", claimed((1 << 40,)), claimed((1 << 62, 1 << 62)), claimed((-1,))]
)
def test_an_entry_that_is_no_array_is_refused(tmp_path: Path, content: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(ValueError, match=r"a\.npz: not a \.npz file of plain arrays \(") as error:
        read_npz(tmp_path / "a.npz")
    assert "\n" not in str(error.value)


def test_what_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(1000), b=np.zeros(1000))
    assert read_npz(tmp_path / "a.npz")["b"].shape == (1000,)
    monkeypatch.setattr(npz, "MAX_BYTES", 16_000)  # the arrays take that, their headers more
    with pytest.raises(ValueError, match="it unpacks to 16256 bytes, the limit is 16000"):
        read_npz(tmp_path / "a.npz")


def test_only_what_is_wanted_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.arange(3), b=np.array([None], object))
    assert read_npz(tmp_path / "a.npz", ("a",))["a"].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        read_npz(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="c is not a file in the archive"):
        read_npz(tmp_path / "a.npz", ("c",))
