"""Converts foreign weight files to our state dicts; nothing inside a file is ever executed.

Readers return plain arrays by the file's own names; the name maps rename those of a trunk. Each
task renames what belongs to it (necks, heads, classifiers).
"""

import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from backbone.interface import require
from backbone.npz import read_npz
from backbone.pdparams import Arrays, read_pickled

State = dict[str, Tensor]

BATCH_NORM_EPS = 1e-5
# Paddle's own bookkeeping and graph constants: not weights of a layer.
NO_WEIGHT = re.compile(r"StructuredToParameterName@@|eager_tmp_\d+|p2o\.helper\.constant\.\d+")
NORM_NAMES = {"w_0": "weight", "b_0": "bias", "w_1": "running_mean", "w_2": "running_var"}
CREATION_ORDER = re.compile(r"(conv2d|batch_norm2d|linear)_\d+\.[wb]_\d")
NUMBERS = "fiub"  # kinds of numpy types: float, int, unsigned, bool


def read_arrays(path: Path) -> Arrays:
    """The arrays of a `.pdparams`, `.npz` or `.onnx` file by the names the file gives them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another kind of file, a damaged one, one that holds more than plain arrays, or
            the package onnx is missing for an `.onnx` file.
    """
    readers: dict[str, Callable[[Path], Arrays]] = {
        ".pdparams": partial(read_pickled, skip=NO_WEIGHT),
        ".npz": read_npz,
        ".onnx": _read_onnx,
    }
    if path.suffix not in readers:
        raise ValueError(f"{path}: cannot read {path.suffix!r}; known: {', '.join(readers)}")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weight file")
    found = readers[path.suffix](path)
    arrays = {name: array for name, array in found.items() if not NO_WEIGHT.fullmatch(name)}
    for name, array in arrays.items():
        if array.dtype.kind not in NUMBERS:
            raise ValueError(f"{path}: array {name!r} holds {array.dtype}, not plain numbers")
    return {re.sub(r"_deepcopy_\d+$", "", name): array for name, array in arrays.items()}


def read_classes(path: Path) -> tuple[str, ...]:
    """Class names in label order from the metadata of an `.onnx` file of Paddle's; else nothing.

    They are the lines of its entry "character".
    """
    if path.suffix != ".onnx":
        return ()
    entries = {entry.key: entry.value for entry in _onnx_model(path).metadata_props}
    return tuple(_text(path, entries.get("character", "")).splitlines())


def _text(path: Path, value: str | bytes) -> str:
    """A text in an `.onnx` file; ValueError if it is bytes, which it is where it is not UTF-8."""
    if isinstance(value, bytes):
        raise ValueError(f"{path}: a name in it is not UTF-8; is the file damaged?")
    return value


def _read_onnx(path: Path) -> Arrays:
    """Arrays that the graph of an `.onnx` file holds; the graph itself is not run."""
    graph = _onnx_model(path).graph  # first: it says how to install onnx if it is missing
    from onnx import TensorProto, numpy_helper

    tensors = {_text(path, tensor.name): tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.output and _has_tensor(node):
            tensors[_text(path, node.output[0])] = node.attribute[0].t
    weights = {name: tensor for name, tensor in tensors.items() if not NO_WEIGHT.fullmatch(name)}
    for name, tensor in weights.items():
        if tensor.data_location == TensorProto.EXTERNAL:
            raise ValueError(f"{path}: array {name!r} is in another file; merge them into one")
    try:
        return {name: numpy_helper.to_array(tensor) for name, tensor in weights.items()}
    except (ValueError, TypeError, KeyError, OverflowError, MemoryError, AttributeError) as error:
        why = " ".join(str(error).split())[:200]
        raise ValueError(f"{path}: holds an array that is damaged ({why})") from error


def _has_tensor(node: Any) -> bool:
    return bool(node.attribute) and node.attribute[0].HasField("t")


def _onnx_model(path: Path) -> Any:
    """The parsed file.

    Raises:
        ValueError: it is damaged, or the package onnx is missing.
    """
    onnx = require("onnx", "export")
    from google.protobuf.message import DecodeError

    try:
        return onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise ValueError(f"{path}: not an .onnx file, or a damaged one") from error


# Structured names of PaddleClas, PaddleDetection and PaddleSeg -> ours, applied in this order.
LAYER_NAMES = (
    (r"^conv1?\.", "stem."),
    (r"^conv(\d+)\.", lambda match: f"blocks.{int(match[1]) - 2}."),
    (r"^blocks(\d+)\.", lambda match: f"stages.{int(match[1]) - 2}."),
    (r"\.(dw_conv|bottleneck_conv)\.", ".depthwise."),
    (r"\.pw_conv\.", ".pointwise."),
    (r"\.expand_conv\.", ".expand."),
    (r"\.linear_conv\.", ".project."),
    (r"\.(mid_)?se\.conv1\.", ".se.reduce."),
    (r"\.(mid_)?se\.conv2\.", ".se.expand."),
    (r"\.bn\.", ".norm."),
    (r"\._mean$", ".running_mean"),
    (r"\._variance$", ".running_var"),
)


def trunk_name(name: str) -> str:
    """Our name of a weight that Paddle's PP-LCNet or MobileNetV3 trunk calls `name`.

    `blocks6.0.se.conv1.weight` -> `stages.4.0.se.reduce.weight`; unknown parts stay.
    """
    for pattern, replacement in LAYER_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def trunk_state(arrays: Arrays, backbone: nn.Module) -> State:
    """State dict for `backbone` from the arrays of a classifier or trunk file.

    An array that does not belong to the trunk keeps the file's name, so that loading reports it as
    extra.
    """
    if is_creation_order(arrays):
        return fill_norms(rename(arrays, creation_names(conv_names(backbone))))
    return fill_norms(rename(arrays, trunk_name))


def is_creation_order(arrays: Arrays) -> bool:
    """Whether the names number the layers (`conv2d_7.w_0`) instead of naming their modules."""
    return any(CREATION_ORDER.fullmatch(name) for name in arrays)


def is_folded(arrays: Arrays) -> bool:
    """Whether the file has batch-norms with an offset alone (their scale is in the conv)."""
    norms = [name.removesuffix("b_0") for name in arrays if re.match(r"batch_norm.*b_0$", name)]
    return any(f"{norm}w_2" not in arrays for norm in norms)


def conv_names(module: nn.Module, prefix: str = "") -> list[str]:
    """Dotted names of all convolutions in `module`, in the order they were built."""
    return [prefix + name for name, part in module.named_modules() if isinstance(part, nn.Conv2d)]


def creation_names(convs: Iterable[str | None]) -> Callable[[str], str]:
    """Map from names by creation order to ours, for convolutions built in the order of `convs`.

    A convolution called `X.conv` has a batch-norm called `X.norm` (see ConvBN); any other has no
    batch-norm. None means a convolution that was built but never used.
    """
    table: dict[str, str] = {}
    num_norms = 0
    for k, conv in enumerate(convs):
        if conv is None:
            continue
        table[f"conv2d_{k}.w_0"] = f"{conv}.weight"
        table[f"conv2d_{k}.b_0"] = f"{conv}.bias"
        if conv.endswith(".conv"):
            norm = conv.removesuffix("conv") + "norm"
            for short, name in NORM_NAMES.items():
                table[f"batch_norm2d_{num_norms}.{short}"] = f"{norm}.{name}"
            num_norms += 1
    return lambda name: table.get(name, name)


def rename(arrays: Arrays, name_of: Callable[[str], str]) -> State:
    """Tensors by new names; two arrays may get the same one only if they are equal.

    Raises:
        ValueError: two different arrays get one name.
    """
    state: State = {}
    for name, array in arrays.items():
        ours, tensor = name_of(name), torch.from_numpy(np.array(array))
        if ours in state and not torch.equal(state[ours], tensor):
            raise ValueError(f"{name}: a different array is already stored for {ours}")
        state[ours] = tensor
    return state


def fill_norms(state: State) -> State:
    """`state` with the missing arrays of its batch-norms: counters, and for folded ones all else.

    A folded norm has an offset alone and computes x + bias: weight 1, mean 0, variance 1 - eps.
    """
    filled = dict(state)
    for name, offset in state.items():
        if not name.endswith("norm.bias"):
            continue
        norm = name.removesuffix("bias")
        filled.setdefault(f"{norm}weight", torch.ones_like(offset))
        filled.setdefault(f"{norm}running_mean", torch.zeros_like(offset))
        filled.setdefault(f"{norm}running_var", torch.full_like(offset, 1 - BATCH_NORM_EPS))
        filled[f"{norm}num_batches_tracked"] = torch.tensor(0)
    return filled
