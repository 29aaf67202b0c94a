"""Describes the machine, its peak speed, and the size of networks."""

import hashlib
import os
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

PACKAGES = ("torch", "onnxruntime", "openvino", "numpy", "opencv-python-headless", "nncf")
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
SIDE = 1024  # of the matrices for the peak arithmetic
BLOCK = 1 << 26  # bytes copied to measure bandwidth: larger than any cache
REPEATS = 40
FACTOR = 1e9


class Cost(NamedTuple):
    """Size of a network at one input."""

    parameters: int  # number of trainable weights
    macs: int  # multiply-adds of convolutions and matrix products, whole batch
    weight_bytes: int  # size of all weights


class Peak(NamedTuple):
    """Peak speed of a number of threads."""

    gflops: float  # float32; a multiply-add counts as two
    gigabytes: float  # per second; reads and writes both count

    def or_better(self, other: "Peak") -> "Peak":
        """The higher value of each field."""
        return Peak(max(self.gflops, other.gflops), max(self.gigabytes, other.gigabytes))


def fingerprint() -> dict[str, Any]:
    """Processor, system and versions as plain data; equal machines have the same `id`."""
    info = _cpu_info()
    flags = info.get("flags", info.get("Features", "")).split()
    found: dict[str, Any] = {
        "processor": info.get("model name", platform.processor()),
        "cores": os.cpu_count(),
        "flags": [flag for flag in FLAGS if flag in flags],
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: text for name in PACKAGES if (text := _version(name))},
    }
    found["id"] = hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()[:12]
    return {**found, "load": os.getloadavg()[0]}


def _cpu_info() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def cost(model: nn.Module, images: Tensor) -> Cost:
    """Size of a network or trunk, and multiply-adds of `model(images)`; also on the meta device.

    PaddleClas' own counts are a few percent higher: they include batch-norms and pooling.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images)
    macs = counter.get_total_flops() // 2
    weights = list(model.parameters())
    trainable = sum(weight.numel() for weight in weights if weight.requires_grad)
    return Cost(trainable, macs, sum(weight.nbytes for weight in weights))


def peak(threads: int) -> Peak:
    """Measure large matrix products and copies, and take the best; needs one or two seconds.

    It counts processor time, so that other work on the machine does not change the result.
    """
    a = torch.randn(SIDE, SIDE)
    source, target = (np.ones(BLOCK // 8) for _ in range(2))
    with torch_threads(threads):
        product = _best(lambda: a @ a) / threads
    copy = _best(lambda: np.copyto(target, source))
    return Peak(2 * SIDE**3 / product / FACTOR, 2 * BLOCK / copy / FACTOR)


def _best(task: Callable[[], Any]) -> float:
    """Lowest processor time in seconds, summed over all threads."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        task()
        times.append(time.process_time() - start)
    return min(times)


@contextmanager
def torch_threads(count: int) -> Any:
    """Run torch with `count` threads inside the context."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def pin(cores: Sequence[int]) -> None:
    """Pin this thread, and the threads it starts later, to these cores (Linux only)."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


@contextmanager
def pinned(count: int) -> Any:
    """Pin this thread to the first `count` usable cores inside the context."""
    cores = usable_cores()
    pin(cores[:count])
    try:
        yield
    finally:
        pin(cores)


def usable_cores() -> list[int]:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def resident_bytes() -> int:
    """Bytes of RAM that this process uses; 0 if the system does not tell."""
    path = Path("/proc/self/statm")
    if not path.is_file():
        return 0
    return int(path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
