"""Graphs as files: ONNX, OpenVINO, TorchScript. Each carries its description."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.extras import require
from engine.runtime.exported import KEY, SCRIPT_ENTRY, as_texts, core, digest

LARGEST_SIDE = 1 << 14
Dynamic = dict[int, Any]  # of the input's axes: torch.export's dimensions


def dynamic_sides(dynamic: str | None, with_preprocess: bool, divisor: int) -> Dynamic:
    """The axes of the input that may have any length."""
    height, width = (torch.export.Dim(name, min=2, max=LARGEST_SIDE) for name in ("h", "w"))
    if with_preprocess:
        return {0: height, 1: width}
    if dynamic == "batch":
        return {0: torch.export.Dim("batch", min=1, max=LARGEST_SIDE)}
    return {2: divisor * height, 3: divisor * width} if dynamic == "size" else {}


def write_onnx(
    graph: nn.Module,
    example: Tensor,
    path: Path,
    *,
    content: Mapping[str, Any],
    dynamic: Dynamic,
    operators: Mapping[Any, Any],
    opset: int,
) -> None:
    """Write a graph as ONNX and let ONNX's checker look at it.

    Raises:
        ValueError: the exporter or the checker refuses it.
    """
    onnx = require("onnx")
    require("onnxscript")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        program = torch.onnx.export(
            graph,
            (example,),
            input_names=["image" if example.dtype == torch.uint8 else "images"],
            output_names=list(content["outputs"]),
            opset_version=opset,
            dynamo=True,
            dynamic_shapes={"images": dynamic},
            custom_translation_table=dict(operators),
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        cause = error.__cause__ or error
        why = " ".join(str(cause).split())[:200]
        raise ValueError(
            f"this model does not export to ONNX with --opset {opset}: {why}"
        ) from error
    assert program is not None
    model = program.model_proto
    _forget_sources(model)
    _name_layers(model)
    describe_onnx(model, content)
    onnx.save(model, path)
    try:
        onnx.checker.check_model(path, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ValueError(f"ONNX's checker refuses the export: {error}") from error


def describe_onnx(model: Any, content: Mapping[str, Any]) -> None:
    """Put a description in place of what metadata an ONNX model has."""
    del model.metadata_props[:]
    for key, text in as_texts(content).items():
        model.metadata_props.add(key=key, value=text)


def _forget_sources(model: Any) -> None:
    """Take out where in whose Python code each node comes from: a tenth of the file."""
    for graph in (model.graph, *model.functions):
        for node in (*graph.node, *graph.value_info):
            del node.metadata_props[:]
            node.doc_string = ""
    del model.graph.metadata_props[:]


def _name_layers(model: Any) -> None:
    """Call each node with weights what its layer is called in the model.

    Weights that are equal are stored once; of their layers only the first gets its name.
    """
    taken = set()
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul") and node.input[1].endswith(".weight"):
            name = node.input[1].removeprefix("model.").removesuffix(".weight")
            node.name = node.name if name in taken else name
            taken.add(name)


def convert(path: Path) -> Any:
    """An ONNX file as an OpenVINO model.

    Raises:
        ValueError: it does not convert, or openvino is not installed.
    """
    try:
        model = core().read_model(path)  # convert_model would report to its makers
    except RuntimeError as error:
        raise ValueError(f"OpenVINO does not take this graph: {error}") from error
    _fold_constants(model)
    for node in [node for node in model.get_ops() if node.get_type_name() == "TopK"]:
        _keep_order(node)
    return model


def _fold_constants(model: Any) -> None:
    """Compute what does not depend on the input, so that NNCF sees the biases it corrects."""
    passes = require("openvino.passes")
    manager = passes.Manager()
    manager.register_pass(passes.ConstantFolding())
    manager.run_passes(model)


def _keep_order(node: Any) -> None:
    """Let the first of equal values come first, as ONNX has it and OpenVINO's reader forgets."""
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
    """Write an OpenVINO model, its weights as they are, in a .bin beside it."""
    openvino = require("openvino")
    openvino.save_model(model, path, compress_to_fp16=False)
    described = {**content, "weights_sha256": digest(path.with_suffix(".bin"))}
    for key, text in as_texts(described).items():
        model.set_rt_info(text, [KEY, key])
    openvino.save_model(model, path, compress_to_fp16=False)


@torch.inference_mode()
def write_torchscript(
    graph: nn.Module, example: Tensor, path: Path, content: Mapping[str, Any]
) -> None:
    """Write a graph as a traced TorchScript archive."""
    script = torch.jit.trace(graph, (example,), check_trace=False)
    script.save(str(path), _extra_files={SCRIPT_ENTRY: json.dumps(content)})
