"""Converts the weights of PaddleClas' PPLCNet and MobileNetV3: their names -> ours."""

import re
from collections.abc import Sequence
from pathlib import Path

from backbone.pdparams import Arrays
from backbone.weights import (
    State,
    conv_names,
    creation_names,
    fill_norms,
    is_creation_order,
    is_folded,
    read_arrays,
    read_classes,
    rename,
    trunk_name,
)
from classification.classifier import Classifier
from engine.checkpoint.checkpoint import LoadReport
from engine.checkpoint.foreign_weights import Foreign, load_shapes, names_or_numbers

# Names outside the trunk -> ours: structured names, and names by creation order.
HEAD_NAMES = (
    (r"^last_second_conv\.", "widen."),
    (r"^last_conv\.", "hidden."),
    (r"^fc\.|^linear_0\.", "classify."),
    (r"\.w_0$", ".weight"),
    (r"\.b_0$", ".bias"),
)


def classifier_name(name: str) -> str:
    """Our name of a weight that PaddleClas calls `name`.

    `blocks6.0.se.conv1.weight` -> `backbone.stages.4.0.se.reduce.weight`, `fc.bias` ->
    `classify.bias`.
    """
    if re.match(r"(last_second_conv|last_conv|fc|linear_0)\.", name):
        for pattern, replacement in HEAD_NAMES:
            name = re.sub(pattern, replacement, name)
        return trunk_name(name)
    return f"backbone.{trunk_name(name)}"


def classifier_state(arrays: Arrays, model: Classifier) -> State:
    """State dict for `model` from the arrays of a PaddleClas file.

    The last layer is transposed and multiplied by 1 - dropout: Paddle's dropout multiplies its
    input so in evaluation.
    """
    if is_creation_order(arrays):
        convs = [
            *conv_names(model.backbone, "backbone."),
            *(name.rstrip(".") for name in conv_names(model.widen, "widen.")),
            "hidden",
        ]
        by_order = creation_names(convs)
        state = rename(arrays, lambda n: classifier_name(n) if "linear" in n else by_order(n))
    else:
        state = rename(arrays, classifier_name)
    if "classify.weight" in state:
        kept = 1 - model.dropout.p
        state["classify.weight"] = kept * state["classify.weight"].T.contiguous()
    return fill_norms(state)


def load_foreign(model: Classifier, arrays: Arrays, source: str) -> LoadReport:
    """Load the arrays of a foreign file into `model`.

    The file may hold a trunk alone: the report lists what kept its initial values.

    Raises:
        ValueError: an array has another shape than in the model, or no array fits.
    """
    state = classifier_state(arrays, model)
    bias = state.get("classify.bias")
    if bias is not None and len(bias) != model.num_classes:
        raise ValueError(
            f"{source}: has {len(bias)} classes, but model.num_classes is {model.num_classes}; "
            f"pass --cfg-options model.num_classes={len(bias)}: training on other data takes the "
            "converted file with --load-from and adapts the last layer"
        )
    return load_shapes(model, state, source)


def load_file(model: Classifier, path: Path, classes: Sequence[str] = ()) -> Foreign:
    """Load a file of these classes into `model`; by default the file's own classes, else numbers.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not a weight file, or one of another model or number of classes.
    """
    arrays = read_arrays(path)
    report = load_foreign(model, arrays, str(path))
    names = names_or_numbers(classes or read_classes(path), model.num_classes, path)
    return Foreign(report, names, {"norms_folded": True} if is_folded(arrays) else {})
