"""Graphs as OpenVINO files, in float32 and in 8 bits by NNCF."""

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pooch
from numpy.typing import NDArray

from engine.extras import require
from engine.runtime.exported import KEY, as_texts, core


def convert(path: Path) -> Any:
    """An ONNX file as an OpenVINO model.

    Raises:
        ValueError: OpenVINO cannot convert it, or is not installed.
    """
    try:
        model = core().read_model(path)  # convert_model sends telemetry
    except RuntimeError as error:
        raise ValueError(f"OpenVINO cannot read this graph: {error}") from error
    _fold_constants(model)
    for node in [node for node in model.get_ops() if node.get_type_name() == "TopK"]:
        _keep_order(node)
    return model


def _fold_constants(model: Any) -> None:
    """Compute constant parts of the graph, so that NNCF finds the biases that it corrects."""
    passes = require("openvino.passes")
    manager = passes.Manager()
    manager.register_pass(passes.ConstantFolding())
    manager.run_passes(model)


def _keep_order(node: Any) -> None:
    """Make TopK stable, as ONNX defines it; OpenVINO's reader drops that."""
    given = node.get_attributes()
    values, count = node.input_value(0), node.input_value(1)
    stable = require("openvino.opset11").topk(
        values, count, given["axis"], given["mode"], given["sort"],
        given["index_element_type"], stable=True,
    )  # fmt: skip
    for old, new in zip(node.outputs(), stable.outputs(), strict=True):
        new.get_tensor().set_names(old.get_tensor().get_names())
        old.replace(new)


def write_openvino(model: Any, path: Path, content: Mapping[str, Any]) -> None:
    """Write an OpenVINO model, with its weights, not compressed, in a .bin file beside it."""
    openvino = require("openvino")
    openvino.save_model(model, path, compress_to_fp16=False)
    described = {**content, "weights_sha256": pooch.file_hash(path.with_suffix(".bin"))}
    for key, text in as_texts(described).items():
        model.set_rt_info(text, [KEY, key])
    openvino.save_model(model, path, compress_to_fp16=False)


def quantise_openvino(model: Any, samples: Sequence[NDArray[Any]], kept: Sequence[str]) -> Any:
    """An OpenVINO model in 8 bits, except the layers `kept` and the preprocessing.

    Biases are corrected by the shift of each channel's mean.
    """
    os.environ.setdefault("NNCF_CI", "1")  # else it sends telemetry
    nncf = require("nncf")
    nncf.set_log_level(logging.ERROR)
    with _one_core():
        return nncf.quantize(
            model,
            nncf.Dataset(list(samples)),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(samples),
            ignored_scope=nncf.IgnoredScope(
                patterns=[rf"^{re.escape(name)}(/.*)?$" for name in kept] + [".*bmm.*"],
                validate=False,
            ),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                # Half the range of weights: else processors without VNNI overflow.
                overflow_fix=nncf.OverflowFix.ENABLE
            ),
        )


@contextmanager
def _one_core() -> Iterator[None]:
    """Make `openvino.Core()` return the shared `core` while NNCF runs."""
    openvino, ours = require("openvino"), core()
    made = openvino.Core
    openvino.Core = lambda: ours
    try:
        yield
    finally:
        openvino.Core = made
