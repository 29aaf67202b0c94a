"""Converts the weights of PaddleSeg's DeepLabV3P: its names -> ours."""

import re
from collections.abc import Sequence
from pathlib import Path

from backbone.pdparams import Arrays
from backbone.weights import (
    State,
    fill_norms,
    is_folded,
    read_arrays,
    read_classes,
    rename,
    trunk_name,
)
from engine.checkpoint.checkpoint import LoadReport
from engine.checkpoint.foreign_weights import Foreign, load_shapes, names_or_numbers
from segmentation.deeplabv3plus import DeepLabV3Plus

# Structured names -> ours, applied in this order.
LAYER_NAMES = (
    (r"^head\.aspp\.aspp_blocks\.", "aspp.branches."),
    (r"^head\.aspp\.global_avg_pool\.1\.", "aspp.pool."),
    (r"^head\.aspp\.conv_bn_relu\.", "aspp.project."),
    (r"^head\.decoder\.conv_bn_relu1\.", "decoder.low."),
    (r"^head\.decoder\.conv_bn_relu2\.", "decoder.mix.0."),
    (r"^head\.decoder\.conv_bn_relu3\.", "decoder.mix.1."),
    (r"^head\.decoder\.conv\.", "decoder.classify."),
    (r"\.depthwise_conv\.", ".depthwise."),
    (r"\.piontwise_conv\.", ".pointwise."),  # spelt so there
    (r"\._conv\.", ".conv."),
    (r"\._batch_norm\.", ".norm."),
    (r"\._mean$", ".running_mean"),
    (r"\._variance$", ".running_var"),
)


def deeplab_name(name: str) -> str:
    """Our name of a weight that PaddleSeg's DeepLabV3P calls `name`.

    `head.aspp.aspp_blocks.1.depthwise_conv._conv.weight` -> `aspp.branches.1.depthwise.conv.weight`
    """
    if name.startswith("backbone."):
        return "backbone." + trunk_name(name.removeprefix("backbone."))
    for pattern, replacement in LAYER_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def load_foreign(model: DeepLabV3Plus, arrays: Arrays, source: str) -> LoadReport:
    """Load the arrays of a foreign file into `model`.

    The file may hold a trunk alone: the report lists what kept its initial values.

    Raises:
        ValueError: an array has another shape than in the model, or no array fits.
    """
    return load_shapes(model, deeplab_state(arrays), source)


def deeplab_state(arrays: Arrays) -> State:
    """State dict of a DeepLabV3Plus from the arrays of a PaddleSeg file."""
    return fill_norms(rename(arrays, deeplab_name))


def load_file(model: DeepLabV3Plus, path: Path, classes: Sequence[str] = ()) -> Foreign:
    """Load a file of these classes into `model`; by default the file's own classes, else numbers.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not a weight file, or one of another model or number of classes.
    """
    arrays = read_arrays(path)
    report = load_foreign(model, arrays, str(path))
    names = names_or_numbers(classes or read_classes(path), model.num_classes, path)
    return Foreign(report, names, {"norms_folded": True} if is_folded(arrays) else {})
