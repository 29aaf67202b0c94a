"""Reads the arrays of a `.pdparams` file. It is a pickle; nothing in it is executed."""

import pickle
import pickletools
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

Arrays = dict[str, np.ndarray]

PUTS = ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")
GETS = ("GET", "BINGET", "LONG_BINGET")
TUPLES = ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "POP", "POP_MARK")  # may leave a tuple on top
PASSIVE = (*PUTS, "PROTO", "FRAME")  # do not change the top of the stack
GROWTH = 4  # most bytes of all arrays, in file sizes; equal arrays are stored once


class _Dtype:
    """Replaces `numpy.dtype` in a pickle: keeps the type code and the byte order."""

    def __init__(self, code: object, *_: object) -> None:
        self.code = code if isinstance(code, str) else ""

    def __setstate__(self, state: tuple[object, ...]) -> None:
        order = state[1]
        self.code = (order if order in ("<", ">") else "") + self.code


class _Array:
    """Replaces `numpy.ndarray` in a pickle: keeps shape, type and bytes, interprets nothing."""

    def __init__(self, *_: object) -> None:
        self.state: tuple[object, ...] = ()

    def __setstate__(self, state: tuple[object, ...]) -> None:
        self.state = state

    def decode(self) -> np.ndarray:
        """The array; ValueError unless the bytes are plain numbers of that shape."""
        _, shape, dtype, fortran, data = self.state
        if not isinstance(dtype, _Dtype) or not re.fullmatch(r"[<>]?[fiub]\d", dtype.code):
            raise ValueError("it holds an array of something other than numbers")
        if isinstance(data, _Text):  # protocol 2
            data = data.text
        if isinstance(data, str):  # protocol 2 of Python 2
            data = data.encode("latin1")
        if not isinstance(data, bytes) or not isinstance(shape, tuple):
            raise ValueError("it holds an array without plain bytes")
        array = np.frombuffer(data, dtype=dtype.code)
        native = array.astype(array.dtype.newbyteorder("="))
        return native.reshape(shape, order="F" if fortran else "C")


class _Text:
    """Replaces `_codecs.encode`, by which protocol 2 writes bytes: keeps the text."""

    def __init__(self, text: object, codec: object) -> None:
        if not isinstance(text, str) or codec not in ("latin1", "latin-1"):
            raise pickle.UnpicklingError("it asks for a codec that no weight file needs")
        self.text = text

    def __setstate__(self, state: object) -> None:  # else a pickle could set attributes
        raise pickle.UnpicklingError("it sets the state of a text")


REPLACEMENTS: dict[tuple[str, str], Callable[..., object]] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _Text,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Uses REPLACEMENTS for arrays and plain containers; refuses any other name in the file."""

    def find_class(self, module: str, name: str) -> Callable[..., object]:
        if (module, name) not in REPLACEMENTS:
            asked = f"{module}.{name}"
            raise pickle.UnpicklingError(f"it asks for {asked:.100}, which no weight file needs")
        return REPLACEMENTS[module, name]


# The documentation of pickle lists these; operations in a wrong order raise others of them.
PICKLE_ERRORS = (
    pickle.UnpicklingError, AttributeError, EOFError, ImportError, IndexError, KeyError,
    MemoryError, OverflowError, RecursionError, TypeError, ValueError,
)  # fmt: skip


def read_pickled(path: Path, skip: re.Pattern[str]) -> Arrays:
    """Arrays of the dict that `paddle.save` pickled: name -> array or (name, array).

    Args:
        path: The file.
        skip: Names to leave out.

    Raises:
        ValueError: it holds anything else, or would grow far beyond its own size in memory.
    """
    try:
        with path.open("rb") as stream:
            _check_operations(stream.read())
            size = stream.tell()
            stream.seek(0)
            content = _ArrayUnpickler(stream, encoding="latin1").load()
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__} instead of a dict")
        return dict(_arrays(content, skip, GROWTH * size))
    except PICKLE_ERRORS as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path}: refused, not a .pdparams file of plain arrays: {why}") from error


def _arrays(
    content: dict[object, object], skip: re.Pattern[str], room: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Names and arrays, which together take at most `room` bytes."""
    for name, value in content.items():
        if not isinstance(name, str):
            raise ValueError(f"it has a {type(name).__name__} for a name")
        if skip.fullmatch(name):
            continue
        array = value[1] if isinstance(value, tuple) and len(value) == 2 else value
        if not isinstance(array, _Array):
            raise ValueError(f"entry {name!r:.100} is a {type(array).__name__}, not an array")
        decoded = array.decode()
        room -= decoded.nbytes
        if room < 0:
            raise ValueError("its arrays are far larger than the file")
        yield name, decoded


def _check_operations(data: bytes) -> None:
    """Refuse operations by which a few bytes take gigabytes or centuries; pickle never writes them.

    The reader makes its list of places as long as the highest number put. Where a tuple holds a
    tuple twice, which holds another one twice, every level doubles the time.

    Raises:
        ValueError: there is such an operation, or an unknown one.
    """
    top, places = "", 0
    tuples: set[object] = set()  # places
    for number, (operation, argument, _) in enumerate(pickletools.genops(data)):
        name = operation.name
        if name == "DUP" or (name in GETS and argument in tuples):
            raise ValueError("it uses a part twice, as no weight file does")
        if name in PUTS:
            place = places if name == "MEMOIZE" else argument
            if not isinstance(place, int) or place > number:
                raise ValueError("it counts its parts from another number than 0")
            places += 1
            if top in TUPLES:
                tuples.add(place)
        top = top if name in PASSIVE else name
