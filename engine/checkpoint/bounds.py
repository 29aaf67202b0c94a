"""What keeps a hostile file from taking far more memory than it has bytes."""

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from torch import Tensor, nn, strided
from torch.nn.modules.module import register_module_parameter_registration_hook

MAX_WEIGHTS = 2**29  # of one model: 2 GB; the largest here has 9 million
MIN_PARAMETER = (
    2**10
)  # weights that a parameter counts for at least, so that there are not too many
MAX_SIDE = 2**14  # pixels of a network's input
MAX_NUMBER = 2**20  # of classes, layers, or anything else in a description


def check_unpacked(path: Path | str, stream: BinaryIO, packed: int = 0) -> None:
    """Refuse a zip archive that unpacks to more than its own size, as torch never writes one.

    Args:
        path: For messages.
        stream: The archive; at its beginning afterwards.
        packed: Bytes that its compressed entries may have, unpacked.

    Raises:
        ValueError: it does, or it is no zip archive.
    """
    size = stream.seek(0, 2)
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError, OSError) as error:
        raise ValueError(
            f"{path}: not readable as a safe checkpoint (damaged: {error}); convert foreign "
            "weights with tools/convert_weights.py"
        ) from error
    finally:
        stream.seek(0)
    stored = [entry.file_size for entry in entries if entry.compress_type == zipfile.ZIP_STORED]
    if sum(stored) > size or sum(entry.file_size for entry in entries) > sum(stored) + packed:
        raise ValueError(
            f"{path}: refused, it unpacks to more than its {size} bytes, as no file of torch does"
        )


def check_content(path: Path | str, content: object) -> None:
    """Refuse tensors larger than what is stored of them, and containers that occur twice.

    A container that holds one twice, which holds one twice, takes twice the time at every step.

    Raises:
        ValueError: there is one.
    """
    waiting, seen = [content], set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, Tensor):
            _check_tensor(path, node)
        elif isinstance(node, Mapping | list | tuple) and node:
            if id(node) in seen:
                raise ValueError(f"{path}: damaged checkpoint, a part of it stands in two places")
            seen.add(id(node))
            waiting += node.values() if isinstance(node, Mapping) else node


def _check_tensor(path: Path | str, tensor: Tensor) -> None:
    is_plain = tensor.layout == strided and tensor.device.type == "cpu"
    if not is_plain or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError(
            f"{path}: damaged checkpoint, it claims a tensor of {tuple(tensor.shape)} without "
            "storing its values"
        )


@contextmanager
def bounded_model() -> Iterator[None]:
    """Within, a module that gets more than `MAX_WEIGHTS` weights is refused before they are filled.

    Raises:
        ValueError: there are too many.
    """
    room = MAX_WEIGHTS

    def count(_module: nn.Module, _name: str, parameter: nn.Parameter) -> None:
        nonlocal room
        room -= max(parameter.numel(), MIN_PARAMETER)
        if room < 0:
            raise ValueError(
                f"the model a checkpoint describes has more than {MAX_WEIGHTS} weights"
            )

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    except RuntimeError as error:  # one so large that torch cannot even ask for its memory
        why = " ".join(str(error).split())[:120]
        raise ValueError(f"the model a checkpoint describes does not build: {why}") from error
    finally:
        handle.remove()


def check_number(key: str, value: Any) -> None:
    """Refuse a number of a checkpoint's description that no model has.

    Raises:
        ValueError: it is beyond `MAX_NUMBER`, or a side of the input beyond `MAX_SIDE`.
    """
    is_side = key in ("size", "train_sizes", "resize_shortest")
    for number in value if isinstance(value, list | tuple) else [value]:
        is_right = number is None or (type(number) is int and 0 < number <= MAX_SIDE)
        if is_side and not is_right:
            raise ValueError(
                f"checkpoint gives {key!r} as {value!r:.80}; sides are whole numbers from 1 to "
                f"{MAX_SIDE}"
            )
        if isinstance(number, int | float) and not abs(number) <= MAX_NUMBER and key != "seed":
            raise ValueError(f"checkpoint gives {key!r} as {value!r:.80}, beyond {MAX_NUMBER}")
