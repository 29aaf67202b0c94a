"""Names that PaddleClas' PPLCNet and MobileNetV3 have for their weights -> ours."""

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
from engine.checkpoint.checkpoint import LoadReport, load_weights
from engine.checkpoint.foreign_weights import Foreign, names_or_numbers

# Names outside the trunk -> ours, structured ones and those by creation order.
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

    The last layer is transposed and multiplied by 1 - dropout, which Paddle's dropout does to its
    input in evaluation.
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
    """Fill `model`, in place, with the arrays of a foreign file.

    A file of a trunk alone is fine: the report says what kept its start values.

    Raises:
        ValueError: an array has another shape than its place in the model, or not one fits.
    """
    state = classifier_state(arrays, model)
    bias = state.get("classify.bias")
    if bias is not None and len(bias) != model.num_classes:
        raise ValueError(
            f"{source}: has {len(bias)} classes, but model.num_classes is {model.num_classes}; "
            f"pass --cfg-options model.num_classes={len(bias)}: training on other data takes the "
            "converted file with --load-from and adapts the last layer"
        )
    report = load_weights(model, state, source=source)
    if report.mismatched:
        raise ValueError(
            f"{source}: {len(report.mismatched)} arrays have another shape than the model "
            f"({', '.join(report.mismatched[:3])}, ...); is it a model of another size than "
            "--config describes?"
        )
    return report


def load_file(model: Classifier, path: Path, classes: Sequence[str] = ()) -> Foreign:
    """Fill `model`, in place, from a file of these classes: default its own, else numbers.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no weight file, or one of another model or number of classes.
    """
    arrays = read_arrays(path)
    report = load_foreign(model, arrays, str(path))
    names = names_or_numbers(classes or read_classes(path), model.num_classes, path)
    return Foreign(report, names, {"norms_folded": True} if is_folded(arrays) else {})
