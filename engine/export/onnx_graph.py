"""Graphs as ONNX files, in float32 and in 8 bits by ONNX Runtime's static quantiser."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.extras import require
from engine.runtime.exported import as_texts

LARGEST_SIDE = 1 << 14
Dynamic = dict[int, Any]  # torch.export.Dim by axis of the input


def dynamic_sides(dynamic: str | None, with_preprocess: bool, divisor: int) -> Dynamic:
    """The axes of the input whose length may vary."""
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
    """Write a graph as ONNX and run ONNX's checker on it.

    Raises:
        ValueError: the exporter or the checker rejects it.
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
        raise ValueError(f"ONNX's checker rejects the export: {error}") from error


def describe_onnx(model: Any, content: Mapping[str, Any]) -> None:
    """Replace the metadata of an ONNX model by a description."""
    del model.metadata_props[:]
    for key, text in as_texts(content).items():
        model.metadata_props.add(key=key, value=text)


def _forget_sources(model: Any) -> None:
    """Remove the Python source position of each node: a tenth of the file."""
    for graph in (model.graph, *model.functions):
        for node in (*graph.node, *graph.value_info):
            del node.metadata_props[:]
            node.doc_string = ""
    del model.graph.metadata_props[:]


def _name_layers(model: Any) -> None:
    """Name each node with weights after its layer in the model.

    Equal weights are stored once; only the first of their layers gets its name.
    """
    taken = set()
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul") and node.input[1].endswith(".weight"):
            name = node.input[1].removeprefix("model.").removesuffix(".weight")
            node.name = node.name if name in taken else name
            taken.add(name)


def quantise_onnx(
    source: Path, target: Path, samples: Sequence[NDArray[Any]], kept: Sequence[str]
) -> None:
    """Write an ONNX file in 8 bits, except the layers `kept` and the preprocessing."""
    onnx, quantization = require("onnx"), require("onnxruntime.quantization")
    model = onnx.load(source)
    name = model.graph.input[0].name
    foreign = [node.name for node in model.graph.node if "bmm" in node.name]

    class Reader(quantization.CalibrationDataReader):  # type: ignore[name-defined]
        """Returns one sample per call."""

        def __init__(self) -> None:
            self.left = iter(samples)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            """The next sample, None at the end."""
            sample = next(self.left, None)
            return None if sample is None else {name: sample}

    prepared = target.with_suffix(".prepared.onnx")  # with the shapes of all tensors
    shape_inference = require("onnxruntime.quantization.shape_inference")
    shape_inference.quant_pre_process(source, prepared, skip_optimization=True)
    quantization.quantize_static(
        prepared,
        target,
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=["Conv", "Gemm", "MatMul"],
        per_channel=True,
        reduce_range=True,  # 7 bits of weights: processors lacking VNNI overflow with 8
        weight_type=quantization.QuantType.QInt8,
        activation_type=quantization.QuantType.QUInt8,
        nodes_to_exclude=[*kept, *foreign],
    )
    prepared.unlink()
