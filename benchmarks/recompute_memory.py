"""Memory and time of activation checkpointing: python benchmarks/recompute_memory.py.

DeepLabV3+ on PP-LCNet does one training step at a large input, in a new process for each choice of
modules to recompute: the largest memory that the step adds, and its time.
"""

import argparse
import multiprocessing
import resource
import time
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from train_speed import machine

from backbone import PPLCNet
from engine import cli
from engine.fileio import write_json
from engine.training.recompute import recompute
from segmentation.deeplabv3plus import DeepLabV3Plus

STAGES = [f"backbone.stages.{number}" for number in range(5)]
CHOICES = {
    "nothing": [],
    "stages": STAGES,
    "all": [*STAGES, "aspp", "decoder.mix.0", "decoder.mix.1"],
}


class Cost(NamedTuple):
    """Cost and result of a step."""

    megabytes: float  # largest memory minus memory before the step
    core_seconds: float
    loss: float
    slope: float  # sum of all gradients' absolute values


def step(names: list[str], batch: int, height: int, width: int) -> Cost:
    """One forward and backward pass."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = DeepLabV3Plus(backbone=PPLCNet(1.0, out_strides=(4, 32)), num_classes=19).train()
    if names:
        recompute(model, names)
    _learn(model, 1, 64, 64)  # the first call allocates more, which does not count
    model.zero_grad()
    start_memory, start = peak(), time.process_time()
    loss = _learn(model, batch, height, width)
    slope = sum(float(p.grad.abs().sum()) for p in model.parameters() if p.grad is not None)
    return Cost(peak() - start_memory, time.process_time() - start, float(loss.detach()), slope)


def _learn(model: DeepLabV3Plus, batch: int, height: int, width: int) -> Tensor:
    torch.manual_seed(1)
    images = torch.randn(batch, 3, height, width)
    targets = [{"mask": torch.randint(0, 19, (height, width))} for _ in range(batch)]
    loss: Tensor = model(images, targets, mode="loss")["loss_ce"]
    loss.backward()
    return loss


def peak() -> float:
    """The largest memory that this process had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(arguments: argparse.Namespace) -> None:
    """Measure every choice, print."""
    print(machine())
    height, width = arguments.size
    print(f"DeepLabV3+ on PP-LCNet x1.0, {arguments.batch} images of {height} x {width}")
    costs = {}
    for name, modules in CHOICES.items():
        with multiprocessing.get_context("spawn").Pool(1) as alone:
            costs[name] = cost = alone.apply(step, (modules, arguments.batch, height, width))
        print(
            f"{name:12} {cost.megabytes:7.0f} MB, {cost.core_seconds:6.2f} s of a core, loss "
            f"{cost.loss:.6f}, gradients {cost.slope:.4f}"
        )
    if arguments.out is not None:
        write_json(arguments.out, {name: cost._asdict() for name, cost in costs.items()})


if __name__ == "__main__":
    command = cli.parser(__doc__ or "")
    command.add_argument("--size", type=int, nargs=2, default=(512, 1024), metavar=("H", "W"))
    command.add_argument("--batch", type=int, default=2)
    command.add_argument("--out", type=Path, metavar="JSON", help="write all numbers to this file")
    cli.run(main, command)
