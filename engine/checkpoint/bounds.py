"""Limits that stop a hostile file from using far more memory than its own size."""

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from torch import Tensor, nn, strided
from torch.nn.modules.module import register_module_parameter_registration_hook

MAX_WEIGHTS = 2**29  # of one model (2 GB); the largest model here has 9 million
MIN_PARAMETER = 2**10  # a smaller parameter counts as this many weights, which limits their number
MAX_SIDE = 2**14  # pixels of a side of the network input
MAX_NUMBER = 2**20  # largest number in a description, e.g. of classes or layers


def check_unpacked(path: Path | str, stream: BinaryIO, packed: int = 0) -> None:
    """Refuse a zip archive that unpacks to more than its own size; torch does not write such files.

    Args:
        path: For messages.
        stream: The archive; it is rewound.
        packed: Allowed unpacked size in bytes of all compressed entries.

    Raises:
        ValueError: the archive is too large, or it is not a zip archive.
    """
    size = stream.seek(0, 2)
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError, OSError) as error:
        raise ValueError(
            f"{path}: not readable as a safe checkpoint (damaged: {error}); convert weights of "
            "other projects with tools/convert_weights.py"
        ) from error
    finally:
        stream.seek(0)
    stored = [entry.file_size for entry in entries if entry.compress_type == zipfile.ZIP_STORED]
    if sum(stored) > size or sum(entry.file_size for entry in entries) > sum(stored) + packed:
        raise ValueError(
            f"{path}: refused, it unpacks to more than its {size} bytes; torch never writes that"
        )


def check_content(path: Path | str, content: object) -> None:
    """Refuse tensors larger than their stored data, and containers that occur twice.

    With containers in containers that each occur twice, the time doubles at every level.

    Raises:
        ValueError: the content has such a part.
    """
    waiting, seen = [content], set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, Tensor):
            _check_tensor(path, node)
        elif isinstance(node, Mapping | list | tuple) and node:
            if id(node) in seen:
                raise ValueError(f"{path}: damaged checkpoint, one of its parts occurs twice")
            seen.add(id(node))
            waiting += node.values() if isinstance(node, Mapping) else node


def _check_tensor(path: Path | str, tensor: Tensor) -> None:
    is_plain = tensor.layout == strided and tensor.device.type == "cpu"
    if not is_plain or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError(
            f"{path}: damaged checkpoint, the values of a tensor of shape {tuple(tensor.shape)} "
            "are not all stored"
        )


@contextmanager
def bounded_model() -> Iterator[None]:
    """Inside the context, refuse to build a module with more than `MAX_WEIGHTS` weights.

    Raises:
        ValueError: the module has more weights, or does not build; it is raised before they are
            filled.
    """
    room = MAX_WEIGHTS

    def count(_module: nn.Module, _name: str, parameter: nn.Parameter) -> None:
        nonlocal room
        room -= max(parameter.numel(), MIN_PARAMETER)
        if room < 0:
            raise ValueError(f"the model of a checkpoint has more than {MAX_WEIGHTS} weights")

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    except RuntimeError as error:  # a size that torch cannot even allocate
        why = " ".join(str(error).split())[:120]
        raise ValueError(f"the model of a checkpoint cannot be built: {why}") from error
    finally:
        handle.remove()


def check_number(key: str, value: Any) -> None:
    """Refuse unreasonably large numbers in a checkpoint's description of its model.

    Raises:
        ValueError: a number beyond `MAX_NUMBER`, or a side of the input beyond `MAX_SIDE`.
    """
    is_side = key in ("size", "train_sizes", "resize_shortest")
    for number in value if isinstance(value, list | tuple) else [value]:
        is_right = number is None or (type(number) is int and 0 < number <= MAX_SIDE)
        if is_side and not is_right:
            raise ValueError(
                f"checkpoint sets {key!r} to {value!r:.80}; expected whole numbers from 1 to "
                f"{MAX_SIDE}"
            )
        if isinstance(number, int | float) and not abs(number) <= MAX_NUMBER and key != "seed":
            raise ValueError(f"checkpoint sets {key!r} to {value!r:.80}, beyond {MAX_NUMBER}")
