"""Export formats, one class each."""

import json
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from engine.export import onnx_graph, openvino_graph
from engine.export.plan import Prepared, example
from engine.export.sensitivity import DEPTHWISE, FIRST, LAST, POOLED
from engine.extras import require
from engine.runtime.exported import SCRIPT_ENTRY

Samples = Sequence[NDArray[Any]]  # inputs of a graph
Content = Mapping[str, Any]  # description stored in the file


class Format(ABC):
    """Writes graphs as files that an engine runs.

    Attributes:
        name: Value of --format.
        suffixes: File name suffixes.
        packages: Packages that write and run these files.
        quantisers: Packages that write 8-bit files; None if 8 bits are not supported.
        float_reasons: Reasons to keep layers of an 8-bit file in float, the cheapest first.
    """

    name: str
    suffixes: tuple[str, ...]
    packages: tuple[str, ...] = ()
    quantisers: tuple[str, ...] | None = None
    float_reasons: tuple[tuple[str, ...], ...] = ()

    @abstractmethod
    def write(self, prepared: Prepared, path: Path) -> None:
        """Write the graph with its description.

        Raises:
            ValueError: the exporter or its checker rejects it.
        """

    def quantise(
        self, source: Path, target: Path, samples: Samples, kept: Sequence[str], content: Content
    ) -> None:
        """Write the float32 file `source` in 8 bits as `target`, except the layers `kept`.

        Args:
            source: File that `write` wrote.
            target: File to write.
            samples: Inputs to calibrate with.
            kept: Names of layers that stay in float.
            content: Description of the 8-bit file.
        """
        raise NotImplementedError(f"{self.name}: 8-bit export is not supported")


class Onnx(Format):
    """One .onnx file, for ONNX Runtime and others."""

    name = "onnx"
    suffixes = (".onnx",)
    packages = ("onnx", "onnxscript", "onnxruntime")
    quantisers = ()
    # ONNX Runtime uses one scale per tensor: too coarse for the inputs of depthwise layers.
    float_reasons = ((POOLED, DEPTHWISE), (FIRST,), (LAST,))

    def write(self, prepared: Prepared, path: Path) -> None:
        plan, source = prepared.plan, prepared.source
        onnx_graph.write_onnx(
            prepared.graph,
            example(source, plan),
            path,
            content=prepared.content,
            dynamic=onnx_graph.dynamic_sides(
                plan.dynamic, plan.with_preprocess, source.model.size_divisor
            ),
            operators={} if prepared.head is None else prepared.head.onnx_operators(),
            opset=plan.opset,
        )

    def quantise(
        self, source: Path, target: Path, samples: Samples, kept: Sequence[str], content: Content
    ) -> None:
        onnx_graph.quantise_onnx(source, target, samples, kept)
        onnx = require("onnx")
        written = onnx.load(target)
        onnx_graph.describe_onnx(written, content)
        onnx.save(written, target)


class OpenVino(Format):
    """An .xml file, with its weights in a .bin file beside it."""

    name = "openvino"
    suffixes = (".xml",)
    packages = ("onnx", "onnxscript", "openvino")
    quantisers = ("nncf",)
    float_reasons = ((POOLED,), (FIRST,), (LAST,))

    def write(self, prepared: Prepared, path: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            through = Path(folder) / "graph.onnx"
            FORMATS["onnx"].write(prepared, through)
            openvino_graph.write_openvino(openvino_graph.convert(through), path, prepared.content)

    def quantise(
        self, source: Path, target: Path, samples: Samples, kept: Sequence[str], content: Content
    ) -> None:
        model = openvino_graph.quantise_openvino(openvino_graph.convert(source), samples, kept)
        openvino_graph.write_openvino(model, target, content)


class TorchScript(Format):
    """A traced archive, for PyTorch without this project."""

    name = "torchscript"
    suffixes = (".pt", ".ts")

    @torch.inference_mode()
    def write(self, prepared: Prepared, path: Path) -> None:
        inputs = example(prepared.source, prepared.plan)
        script = torch.jit.trace(prepared.graph, (inputs,), check_trace=False)
        script.save(str(path), _extra_files={SCRIPT_ENTRY: json.dumps(prepared.content)})


FORMATS: dict[str, Format] = {one.name: one for one in (Onnx(), OpenVino(), TorchScript())}
