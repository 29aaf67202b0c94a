"""Converts the weights of PaddleDetection's PicoDet: its names -> ours."""

import re
from collections.abc import Callable, Iterator, Sequence
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
from detection.data.coco_classes import CATEGORY_IDS, CLASSES
from detection.picodet import PicoDet
from engine.checkpoint.checkpoint import LoadReport
from engine.checkpoint.foreign_weights import Foreign, load_shapes
from engine.fileio import read_text

# Stored in every file, never applied (scale) or a constant (0..reg_max of the expectation).
UNUSED = re.compile(r"head\.p\d_feat\.scale_reg|head\.distribution_project\.project")

# Structured names -> ours, applied in this order.
LAYER_NAMES = (
    (r"^neck\.conv_t\.convs\.", "neck.laterals."),
    (r"^neck\.first_top_conv\.", "neck.extra_lateral."),
    (r"^neck\.second_top_conv\.", "neck.extra_output."),
    (r"^neck\.(top_down|bottom_up)_blocks\.", r"neck.\1."),
    (r"^(neck\.\w+\.\d)\.(main|short|final)_conv\.", r"\1.\2."),
    (r"^(neck\.\w+\.\d)\.blocks\.0\.conv1\.", r"\1.bottleneck.0."),
    (r"^(neck\.\w+\.\d)\.blocks\.0\.conv2\.", r"\1.bottleneck.1."),
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

    Of a classifier only the trunk is used; the rest keeps its name, so that loading reports it as
    extra. The first generation's head predicts classes and distances by one convolution, which is
    split.

    Raises:
        ValueError: two different arrays get one name.
    """
    used = {name: array for name, array in arrays.items() if not UNUSED.fullmatch(name)}
    state = fill_norms(rename(used, _namer(used, model)))
    return _split_outputs(state, model) if model.generation == 1 else state


def _namer(arrays: Arrays, model: PicoDet) -> Callable[[str], str]:
    """Map from the names of the file to ours."""
    if is_creation_order(arrays):
        is_classifier = any(name.startswith("linear_") for name in arrays)
        order = _convs(model, "backbone") if is_classifier else _creation_order(model)
        return creation_names(order)
    if any(name.startswith(("backbone.", "neck.", "head.")) for name in arrays):
        return picodet_name
    return lambda name: picodet_name(f"backbone.{name}")


def _split_outputs(state: State, model: PicoDet) -> State:
    """`state` with the distances of `head.cls`, which follow the classes, as `head.reg`."""
    split = {}
    for name, tensor in state.items():
        if not name.startswith("head.cls."):
            split[name] = tensor
        else:
            split[name] = tensor[: model.num_classes]
            split[name.replace("cls", "reg")] = tensor[model.num_classes :]
    return split


def _creation_order(model: PicoDet) -> Iterator[str | None]:
    """Convolutions of PicoDet in the order in which PaddleDetection builds them.

    None are the two that its base class builds and its head replaces. The first generation's output
    convolutions, of classes and distances together, are called as those of the classes.
    """
    heads = range(len(model.head.cls))
    parts = [
        "backbone", "neck.laterals", "neck.extra_lateral", "neck.extra_output", "neck.top_down",
        "neck.downsamples.0", "neck.bottom_up.0", "neck.downsamples.1", "neck.bottom_up.1",
    ]  # fmt: skip
    aligned = model.head.aligned
    for level in heads:
        for part in ("towers", "se_gate", "se_conv") if aligned else ("towers",):
            parts.append(f"head.{part}.{level}")
    for part in parts:
        yield from _convs(model, part)
    yield from (None, None)
    for level in heads:
        for part in ("cls", "reg", "align") if aligned else ("cls",):
            yield from _convs(model, f"head.{part}.{level}")


def _convs(model: PicoDet, part: str) -> list[str]:
    return [name.rstrip(".") for name in conv_names(model.get_submodule(part), f"{part}.")]


def read_class_list(path: Path) -> tuple[str, ...]:
    """Classes that a file lists in label order, one a line.

    Raises:
        ValueError: it is empty or has a name twice.
    """
    names = tuple(filter(None, map(str.strip, read_text(path).splitlines())))
    if not names or len(set(names)) != len(names):
        raise ValueError(
            f"{path}: line i must name class i, each once; it has {len(names)} names, "
            f"{len(set(names))} of them different"
        )
    return names


def load_foreign(
    model: PicoDet, arrays: Arrays, source: str, classes: Sequence[str] = CLASSES
) -> LoadReport:
    """Load the arrays of a foreign file of these classes into `model`.

    The file may hold a trunk or classifier alone: the report lists what kept its initial values.

    Raises:
        ValueError: the model has another number of classes, an array has another shape than in the
            model, or no array fits.
    """
    if model.num_classes != len(classes):
        whose = "of COCO" if tuple(classes) == CLASSES else f"({', '.join(classes[:3])}, ...)"
        raise ValueError(
            f"{source}: its classes are the {len(classes)} {whose}, but model.num_classes is "
            f"{model.num_classes}; leave it at {len(classes)}: training on other data takes the "
            "converted file with --load-from and adapts the last layer"
        )
    return load_shapes(model, picodet_state(arrays, model), source)


def load_file(model: PicoDet, path: Path, classes: Sequence[str] = ()) -> Foreign:
    """Load a file of these classes into `model`; by default the file's own classes, else COCO's.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not a weight file, or one of another model.
    """
    arrays = read_arrays(path)
    names = tuple(classes) or read_classes(path) or CLASSES
    report = load_foreign(model, arrays, str(path), names)
    info: dict[str, object] = {"norms_folded": True} if is_folded(arrays) else {}
    if names == CLASSES:
        info["category_ids"] = list(CATEGORY_IDS)
    return Foreign(report, names, info)
