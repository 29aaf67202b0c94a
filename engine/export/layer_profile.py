"""Speed-up by 8 bits on one thread, in total and for each layer."""

import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.extras import require
from engine.runtime.exported import ENGINES, FLOAT32, Run, core, open_exported

ROUNDS = 40  # most rounds; each file runs once in a round
SECONDS = 20.0  # no round starts later
FEWEST = 5  # rounds, however long they take
PROFILED = 40  # runs whose layers are timed
QUIET = 0.1  # quantile of these runs: little disturbed by other work on the machine
MILLI = 1e3


class TimedLayer(NamedTuple):
    """Time of one node of the graph that the engine runs."""

    kind: str  # the engine's name of the operation
    eight_bit: bool
    time: float  # ms, QUIET quantile


class TimedKind(NamedTuple):
    """Times of all nodes of one kind, in float32 and in 8 bits."""

    name: str
    before: float  # ms
    after: float  # ms
    nodes: int  # of the 8-bit file
    eight_bit: int  # of these, computed in 8 bits


class Speed(NamedTuple):
    """Times of a float32 file and of its 8-bit version, in the same engine."""

    before: float  # ms of processor time, median
    after: float  # ms
    layers_before: dict[str, TimedLayer]  # by name, the slowest first
    layers_after: dict[str, TimedLayer]

    @property
    def ratio(self) -> float:
        """Time in 8 bits over the time in float32."""
        return self.after / self.before

    def kinds(self) -> list[TimedKind]:
        """The nodes by kind, the slowest first."""
        names = {
            layer.kind for layer in (*self.layers_before.values(), *self.layers_after.values())
        }
        return sorted((self._kind(name) for name in names), key=lambda kind: -kind.after)

    def _kind(self, name: str) -> TimedKind:
        before, after = (
            [layer for layer in layers.values() if layer.kind == name]
            for layers in (self.layers_before, self.layers_after)
        )
        total = [sum(layer.time for layer in layers) for layers in (before, after)]
        few = sum(layer.eight_bit for layer in after)
        return TimedKind(name, total[0], total[1], len(after), few)


def compare(before: Path, after: Path, sample: NDArray[Any]) -> Speed:
    """Time two exported files of one format on an input, in turns; errors as `open_exported`.

    Measures processor time, so that other work on the machine does not count.
    """
    total = _total([open_exported(path, threads=1).run for path in (before, after)], sample)
    profile = PROFILES[ENGINES[after.suffix]]
    return Speed(total[0], total[1], profile(before, sample), profile(after, sample))


def _total(runs: Sequence[Run], sample: NDArray[Any]) -> list[float]:
    """Median ms of each run function."""
    for run in runs:
        run(sample)
    times: list[list[float]] = []
    start = time.perf_counter()
    while len(times) < ROUNDS and (len(times) < FEWEST or time.perf_counter() - start < SECONDS):
        times.append([_seconds(run, sample) for run in runs])
    return [MILLI * value for value in np.median(times, axis=0).tolist()]


def _seconds(run: Run, sample: NDArray[Any]) -> float:
    start = time.process_time()
    run(sample)
    return time.process_time() - start


def _openvino_layers(path: Path, sample: NDArray[Any]) -> dict[str, TimedLayer]:
    """Time of each layer by its name, or by OpenVINO's name of the node."""
    options = {**FLOAT32, "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERF_COUNT": True}
    request = core().compile_model(str(path), "CPU", options).create_infer_request()
    times, kinds = defaultdict(list), {}
    for _ in range(PROFILED):
        request.infer([sample], share_inputs=True)
        for node in request.profiling_info:
            if node.status == node.Status.EXECUTED:
                name = node.node_name.removesuffix("/WithoutBiases")
                times[name].append(MILLI * node.real_time.total_seconds())
                kinds[name] = (node.node_type, node.exec_type.endswith("I8"))
    return _layers(times, kinds)


def _onnxruntime_layers(path: Path, sample: NDArray[Any]) -> dict[str, TimedLayer]:
    """Time of each node by its name."""
    runtime = require("onnxruntime")
    with tempfile.TemporaryDirectory() as folder:
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for _ in range(PROFILED):
            session.run(None, {session.get_inputs()[0].name: sample})
        events = json.loads(Path(session.end_profiling()).read_text())
    times, kinds = defaultdict(list), {}
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            name, kind = event["name"].removesuffix("_kernel_time"), event["args"]["op_name"]
            times[name].append(event["dur"] / MILLI)
            kinds[name] = (kind.removeprefix("QLinear"), kind.startswith("QLinear"))
    return _layers(times, kinds)


def _layers(
    times: Mapping[str, Sequence[float]], kinds: Mapping[str, tuple[str, bool]]
) -> dict[str, TimedLayer]:
    found = {
        name: TimedLayer(*kinds[name], float(np.quantile(times[name], QUIET))) for name in times
    }
    return dict(sorted(found.items(), key=lambda item: -item[1].time))


PROFILES = {"openvino": _openvino_layers, "onnxruntime": _onnxruntime_layers}
