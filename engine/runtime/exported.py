"""Opens and runs exported files, and reads their descriptions.

    .onnx       run by ONNX Runtime; one file
    .xml        run by OpenVINO; its weights are in the .bin beside it
    .pt .ts     run by torch (TorchScript)

Each has a description as plain data: in the metadata of an ONNX file, in the runtime info of an
OpenVINO model, in a separate file of a TorchScript archive.
"""

import json
import os
import re
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import torch
from numpy.typing import NDArray

from engine.checkpoint.bounds import check_unpacked
from engine.extras import require

Arrays = list[NDArray[Any]]
Run = Callable[[NDArray[Any]], Arrays]  # the input -> all outputs

FORMAT = "lcnet-vision/export/1"
KEY = "lcnet_vision"  # of the description in OpenVINO and TorchScript files
SCRIPT_ENTRY = f"{KEY}.json"
ENGINES = {".onnx": "onnxruntime", ".xml": "openvino", ".pt": "torch", ".ts": "torch"}
ENTRIES = {
    "model": dict, "classes": list, "info": dict, "shape": list, "outputs": list,
    "end2end": bool, "with_preprocess": bool, "precision": str,
}  # fmt: skip
MAX_CODE = 2**26  # bytes of the code and description in a TorchScript file
FORBIDDEN = re.compile(rb"from_file|__setstate__")  # opens a file, runs on loading
FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}  # for OpenVINO, which else may use bfloat16


@dataclass(frozen=True)
class Exported:
    """An opened exported file."""

    path: Path
    content: Mapping[str, Any]  # its description: ENTRIES and further entries of the exporter
    run: Run

    @property
    def batched(self) -> bool:
        """Whether it takes batches of any size."""
        return not self.content["with_preprocess"] and self.content["shape"][0] is None


def is_exported(path: Path | str) -> bool:
    """Whether the file name is that of an exported file, not of a checkpoint."""
    return Path(path).suffix.lower() in ENGINES


def open_exported(path: Path | str, threads: int | None = None, callers: int = 1) -> Exported:
    """Check and load an exported file.

    Args:
        path: The file.
        threads: Number of compute threads for each caller; None: as in torch.
        callers: Number of threads that may call it at the same time.

    Raises:
        FileNotFoundError: no such file, or its weights are missing.
        ValueError: it is damaged, not of this project, refers to files outside its folder, or its
            engine is not installed.
    """
    path = Path(path)
    content = read(path)
    engine = ENGINES[path.suffix.lower()]
    run = STARTERS[engine](path, threads or torch.get_num_threads(), callers)
    return Exported(path, content, run)


def read(path: Path | str) -> dict[str, Any]:
    """Read the description in an exported file; no code in the file is run.

    Raises:
        As `open_exported`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such exported file")
    content = READERS[ENGINES[path.suffix.lower()]](path)
    if content.get("format") != FORMAT:
        raise ValueError(
            f"{path}: not exported by this project (format {FORMAT}); write it with tools/export.py"
        )
    for name, kind in ENTRIES.items():
        if not isinstance(content.get(name), kind):
            raise ValueError(f"{path}: damaged, its entry {name!r} is not a {kind.__name__}")
    return content


@cache
def core() -> Any:
    """The only OpenVINO Core of this process.

    With two Cores, after the first is deleted the process has a signal stack that is not mapped any
    more (2026.4): the next signal, such as the end of a child, kills it.
    """
    return require("openvino").Core()


def as_texts(content: Mapping[str, Any]) -> dict[str, str]:
    """The description as a text for each key; values that are not texts become JSON."""
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in content.items()}


def _from_texts(texts: Mapping[str, str]) -> dict[str, Any]:
    return {key: _parsed(text) for key, text in texts.items()}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _damaged(path: Path, error: Exception) -> ValueError:
    why = " ".join(str(error).split())[:120]
    return ValueError(f"{path}: damaged or incomplete; export it again ({why})")


# ONNX


def read_onnx(path: Path) -> dict[str, Any]:
    """Read the description of an ONNX file; its weights must be in it or beside it."""
    onnx = require("onnx")
    try:
        model = onnx.load(path, load_external_data=False)
    except require("google.protobuf.message").DecodeError as error:
        raise _damaged(path, error) from error
    for location in _external_files(model):
        target = path.parent / os.fsdecode(location)
        if not target.resolve().is_relative_to(path.parent.resolve()):
            raise ValueError(
                f"{path}: its weights would be read from {location}, outside its folder; do not "
                "use this file"
            )
    return _from_texts({entry.key: entry.value for entry in model.metadata_props})


def _external_files(message: Any) -> Iterator[str]:
    """Files that store the tensors of a protobuf message and its parts."""
    for field, value in message.ListFields():
        if field.name == "external_data":
            yield from (entry.value for entry in value if entry.key == "location")
        elif field.message_type is not None:
            parts = value if hasattr(value, "__len__") else [value]
            for part in parts:
                if hasattr(part, "ListFields"):
                    yield from _external_files(part)


def start_onnxruntime(path: Path, threads: int, callers: int = 1) -> Run:  # noqa: ARG001
    """Load an ONNX file in ONNX Runtime on the CPU; any number of threads may call it."""
    runtime = require("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except _onnxruntime_errors() as error:
        raise _damaged(path, error) from error
    name = session.get_inputs()[0].name
    return lambda images: list(session.run(None, {name: images}))


def _onnxruntime_errors() -> tuple[type[Exception], ...]:
    """All exceptions of ONNX Runtime, and the error of invalid bytes in their messages."""
    state = vars(require("onnxruntime.capi.onnxruntime_pybind11_state"))
    kinds = [kind for kind in state.values() if isinstance(kind, type)]
    return (UnicodeDecodeError, *(kind for kind in kinds if issubclass(kind, Exception)))


# OpenVINO


def read_openvino(path: Path) -> dict[str, Any]:
    """Read the description of an OpenVINO file, and check the hash of its weights."""
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise FileNotFoundError(f"{weights}: missing; {path.name} needs its weights beside it")
    try:
        model = core().read_model(path)
        known = model.get_rt_info([KEY]).value if model.has_rt_info([KEY]) else {}
    except RuntimeError as error:
        raise _damaged(path, error) from error
    content = _from_texts({key: str(value) for key, value in known.items()})
    if content.get("format") == FORMAT and content.get("weights_sha256") != pooch.file_hash(
        weights
    ):
        raise ValueError(f"{weights}: not the weights that belong to {path.name}")
    return content


def start_openvino(path: Path, threads: int, callers: int = 1) -> Run:
    """Load an OpenVINO or ONNX file in OpenVINO on the CPU; float32, except int8 layers."""
    options = {
        **FLOAT32,
        "INFERENCE_NUM_THREADS": threads * callers,
        "NUM_STREAMS": callers,
        "PERFORMANCE_HINT": "LATENCY",
    }
    try:
        compiled = core().compile_model(str(path), "CPU", options)
    except RuntimeError as error:
        raise _damaged(path, error) from error
    own = threading.local()  # a request cannot serve two callers at the same time

    def run(images: NDArray[Any]) -> Arrays:
        if not vars(own):
            own.request = compiled.create_infer_request()
        found = own.request.infer([images], share_inputs=True, share_outputs=False)
        return [found[port] for port in compiled.outputs]

    return run


# TorchScript


_NO_ARCHIVE = (zipfile.BadZipFile, OSError, TypeError, RecursionError, KeyError)


def read_torchscript(path: Path) -> dict[str, Any]:
    """Read the description of a TorchScript archive; code that opens files is refused."""
    try:
        with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            check_unpacked(path, stream, MAX_CODE)
            for name in archive.namelist():
                if name.endswith(".py") and FORBIDDEN.search(archive.read(name)):
                    raise ValueError(f"{path}: refused, its code opens files or runs on loading")
            names = [name for name in archive.namelist() if name.endswith(f"extra/{SCRIPT_ENTRY}")]
            return dict(json.loads(archive.read(names[0]))) if names else {}
    except (*_NO_ARCHIVE, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise _damaged(path, error) from error


def start_torchscript(path: Path, threads: int, callers: int = 1) -> Run:  # noqa: ARG001
    """Load a TorchScript archive in torch; the threads are those of the process."""
    try:
        script = torch.jit.load(str(path), map_location="cpu").eval()
    except RuntimeError as error:
        raise _damaged(path, error) from error
    torch.set_num_threads(threads)

    @torch.inference_mode()
    def run(images: NDArray[Any]) -> Arrays:
        return [output.numpy() for output in script(torch.from_numpy(images))]

    return run


READERS = {"onnxruntime": read_onnx, "openvino": read_openvino, "torch": read_torchscript}
STARTERS: dict[str, Callable[..., Run]] = {  # file, threads, callers
    "onnxruntime": start_onnxruntime,
    "openvino": start_openvino,
    "torch": start_torchscript,
}


def contiguous(images: torch.Tensor) -> NDArray[Any]:
    """The tensor as a contiguous array."""
    return np.ascontiguousarray(images.numpy())
