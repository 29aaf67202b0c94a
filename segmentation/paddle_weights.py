"""Names that PaddleSeg's DeepLabV3P has for its weights -> ours."""

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
from engine.checkpoint.checkpoint import LoadReport, load_weights
from engine.checkpoint.foreign_weights import Foreign, names_or_numbers
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
    """Fill `model`, in place, with the arrays of a foreign file.

    A file of a trunk alone is fine: the report says what kept its start values.

    Raises:
        ValueError: an array has another shape than its place in the model, or not one fits.
    """
    report = load_weights(model, deeplab_state(arrays), source=source)
    if report.mismatched:
        raise ValueError(
            f"{source}: {len(report.mismatched)} arrays have another shape than the model "
            f"({', '.join(report.mismatched[:3])}, ...); is it a model of another size or number "
            "of classes than --config describes?"
        )
    return report


def deeplab_state(arrays: Arrays) -> State:
    """State dict of a DeepLabV3Plus from the arrays of a PaddleSeg file."""
    return fill_norms(rename(arrays, deeplab_name))


def load_file(model: DeepLabV3Plus, path: Path, classes: Sequence[str] = ()) -> Foreign:
    """Fill `model`, in place, from a file of these classes: default its own, else numbers.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no weight file, or one of another model or number of classes.
    """
    arrays = read_arrays(path)
    report = load_foreign(model, arrays, str(path))
    names = names_or_numbers(classes or read_classes(path), model.num_classes, path)
    return Foreign(report, names, {"norms_folded": True} if is_folded(arrays) else {})
