"""Time of a training step of the segmenter: python benchmarks/segmenter_step.py [--crop H W].

Two measurements: the parts of the network, forward and backward; and the whole step if the memory
of the step before is kept (engine/training/memory.py), or returned to the system, in new processes
that take turns.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine import cli, config
from engine.checkpoint.checkpoint import build_model
from engine.fileio import write_json
from engine.training.memory import keep_memory
from segmentation.sliding_window import resize

Sizes = tuple[int, int, int]  # images, height, width


def milliseconds(step: Callable[[], object], repeats: int) -> float:
    """Median duration, after one uncounted call."""
    step()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        taken.append(1000 * (time.perf_counter() - start))
    return statistics.median(taken)


def build(path: Path, sizes: Sizes) -> tuple[Any, Tensor, list[dict[str, Tensor]]]:
    """The model of a config in training mode, and a random batch for it."""
    torch.manual_seed(0)
    model = build_model(config.plain(config.load(path).model)).train()
    batch, height, width = sizes
    images = torch.randn(batch, 3, height, width).contiguous(memory_format=torch.channels_last)
    masks = torch.randint(0, model.num_classes, (batch, height, width))
    return model, images, [{"mask": mask} for mask in masks]


def time_step(path: Path, sizes: Sizes, threads: int, repeats: int, kept: bool) -> float:
    """Milliseconds of forward and backward pass; runs in a new process."""
    torch.set_num_threads(threads)
    if kept and not keep_memory():
        raise ValueError("this C library has no mallopt; the comparison needs glibc")
    model, images, targets = build(path, sizes)
    return milliseconds(lambda: model(images, targets, mode="loss")["loss_ce"].backward(), repeats)


def time_parts(path: Path, sizes: Sizes, repeats: int) -> dict[str, float]:
    """Milliseconds by part, forward and backward, each alone."""
    model, images, targets = build(path, sizes)
    maps = [part.detach() for part in model.backbone(images)]
    deep = model.aspp(maps[-1]).detach().requires_grad_()
    low, last = maps[model.low_index].requires_grad_(), maps[-1].requires_grad_()
    logits = model.decoder(deep, low).detach().requires_grad_()
    masks = torch.stack([target["mask"] for target in targets])  # (B, H, W)

    def trunk() -> None:
        sum(part.sum() for part in model.backbone(images)).backward()

    return {
        "trunk": milliseconds(trunk, repeats),
        "aspp": milliseconds(lambda: model.aspp(last).sum().backward(), repeats),
        "decoder": milliseconds(lambda: model.decoder(deep, low).sum().backward(), repeats),
        "loss": milliseconds(
            lambda: model.loss(resize(logits, sizes[1:]), masks)["loss_ce"].backward(), repeats
        ),
    }


def main(arguments: argparse.Namespace) -> None:
    """Measure, print, write."""
    sizes = (arguments.batch, *arguments.crop)
    taken: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(2 * arguments.rounds):
        kept = bool(turn % 2)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            options = (arguments.config, sizes, arguments.threads, arguments.repeats, kept)
            taken[kept].append(pool.apply(time_step, options))
    torch.set_num_threads(arguments.threads)
    keep_memory()
    parts = time_parts(arguments.config, sizes, arguments.repeats)
    given_back, kept_ms = (statistics.median(taken[kept]) for kept in (False, True))
    print(f"{sizes[0]} crops of {sizes[1]} x {sizes[2]}, {arguments.threads} threads, median ms")
    print(f"step, memory given back {given_back:8.0f}")
    print(f"step, memory kept       {kept_ms:8.0f}  ({given_back / kept_ms:.2f} times as fast)")
    for name, value in parts.items():
        print(f"{name:23} {value:8.0f}  ({value / sum(parts.values()):.0%} of the parts)")
    if arguments.out is not None:
        write_json(arguments.out, {"given_back": given_back, "kept": kept_ms, "parts": parts})


if __name__ == "__main__":
    options = cli.parser(__doc__ or "")
    options.add_argument("--config", type=Path, default=Path("configs/deeplabv3plus_lcnet_own.py"))
    options.add_argument("--batch", type=int, default=8, help="crops per step")
    options.add_argument("--crop", type=int, nargs=2, default=(192, 256), metavar=("H", "W"))
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    options.add_argument("--repeats", type=int, default=5, help="steps per process")
    options.add_argument("--rounds", type=int, default=3, help="processes of each kind")
    options.add_argument("--out", type=Path, metavar="JSON", help="write the numbers to this file")
    cli.run(main, options)
