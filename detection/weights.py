"""Names that PaddleDetection's PicoDet has for its weights -> ours."""

import re
from collections.abc import Iterator

from backbone.weights import (
    Arrays,
    State,
    conv_names,
    creation_names,
    fill_norms,
    is_creation_order,
    rename,
    trunk_name,
)
from detection.coco_classes import CLASSES
from detection.picodet import PicoDet
from engine.checkpoint import LoadReport, load_weights

# Stored in every file, never applied (scale) or a constant (0..reg_max of the expectation).
UNUSED = re.compile(r"head\.p\d_feat\.scale_reg|head\.distribution_project\.project")

# Structured names -> ours, applied in this order.
LAYER_NAMES = (
    (r"^neck\.conv_t\.convs\.", "neck.laterals."),
    (r"^neck\.first_top_conv\.", "neck.extra_lateral."),
    (r"^neck\.second_top_conv\.", "neck.extra_output."),
    (r"^neck\.(top_down|bottom_up)_blocks\.", r"neck.\1."),
    (r"^head\.conv_feat\.cls_conv_dw(\d)\.(\d)\.", r"head.towers.\1.\2.depthwise."),
    (r"^head\.conv_feat\.cls_conv_pw(\d)\.(\d)\.", r"head.towers.\1.\2.pointwise."),
    (r"^head\.conv_feat\.se\.(\d)\.fc\.", r"head.se_gate.\1."),
    (r"^head\.conv_feat\.se\.(\d)\.conv\.", r"head.se_conv.\1."),
    (r"^head\.head_(cls|reg)(?:_list\.)?(\d)\.", r"head.\1.\2."),
    (r"^head\.cls_align\.(\d)\.dwconv\.", r"head.align.\1.conv1.conv."),
    (r"^head\.cls_align\.(\d)\.pwconv\.", r"head.align.\1.conv2.conv."),
    (r"^head\.cls_align\.(\d)\.bn(\d)\.", r"head.align.\1.conv\2.norm."),
    (r"\.dwconv\.", ".depthwise.conv."),
    (r"\.pwconv\.", ".pointwise.conv."),
    (r"\.bn1\.", ".depthwise.norm."),
    (r"\.bn2\.", ".pointwise.norm."),
)


def picodet_name(name: str) -> str:
    """Our name of a weight that PaddleDetection's PicoDet calls `name`.

    `neck.downsamples.0.bn1._mean` -> `neck.downsamples.0.depthwise.norm.running_mean`.
    """
    if name.startswith("backbone."):
        return "backbone." + trunk_name(name.removeprefix("backbone."))
    for pattern, replacement in LAYER_NAMES:
        name = re.sub(pattern, replacement, name)
    return trunk_name(name)


def picodet_state(arrays: Arrays, model: PicoDet) -> State:
    """State dict for the PicoDet `model` from the arrays of a detector, trunk or classifier file.

    Of a classifier only the trunk has a place here; the rest keeps its name, so that loading
    reports it as extra.

    Raises:
        ValueError: two different arrays claim one name.
    """
    used = {name: array for name, array in arrays.items() if not UNUSED.fullmatch(name)}
    if is_creation_order(used):
        is_classifier = any(name.startswith("linear_") for name in used)
        order = _convs(model, "backbone") if is_classifier else _creation_order(model)
        return fill_norms(rename(used, creation_names(order)))
    if any(name.startswith(("backbone.", "neck.", "head.")) for name in used):
        return fill_norms(rename(used, picodet_name))
    return fill_norms(rename(used, lambda name: picodet_name(f"backbone.{name}")))


def _creation_order(model: PicoDet) -> Iterator[str | None]:
    """Convolutions of PicoDet in the order in which PaddleDetection builds them.

    The two that its base class builds and its head replaces are None.
    """
    heads = range(len(model.head.cls))
    parts = [
        "backbone", "neck.laterals", "neck.extra_lateral", "neck.extra_output", "neck.top_down",
        "neck.downsamples.0", "neck.bottom_up.0", "neck.downsamples.1", "neck.bottom_up.1",
    ]  # fmt: skip
    for level in heads:
        parts += [f"head.towers.{level}", f"head.se_gate.{level}", f"head.se_conv.{level}"]
    for part in parts:
        yield from _convs(model, part)
    yield from (None, None)
    for level in heads:
        for part in ("cls", "reg", "align"):
            yield from _convs(model, f"head.{part}.{level}")


def _convs(model: PicoDet, part: str) -> list[str]:
    return [name.rstrip(".") for name in conv_names(model.get_submodule(part), f"{part}.")]


def load_foreign(model: PicoDet, arrays: Arrays, source: str) -> LoadReport:
    """Fill `model`, in place, with the arrays of a foreign file of COCO's 80 classes.

    A file of a trunk or classifier alone is fine: the report says what kept its start values.

    Raises:
        ValueError: the model has another number of classes than COCO, an array has another shape
            than its place in the model, or not one fits.
    """
    if model.num_classes != len(CLASSES):
        raise ValueError(
            f"{source}: its classes are the {len(CLASSES)} of COCO, but model.num_classes is "
            f"{model.num_classes}; leave it at {len(CLASSES)}: training on other data takes the "
            "converted file with --load-from and adapts the last layer"
        )
    report = load_weights(model, picodet_state(arrays, model), source=source)
    if report.mismatched:
        raise ValueError(
            f"{source}: {len(report.mismatched)} arrays have another shape than the model "
            f"({', '.join(report.mismatched[:3])}, ...); is it a model of another size than "
            "--config describes?"
        )
    return report
