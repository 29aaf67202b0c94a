"""Our classifier's training step against timm's: python benchmarks/classifier_step.py.

Both train PP-LCNet x1.0 (timm's lcnet_100) with 1000 classes on one random uint8 batch, from these
pixels to the updated weights: normalising, forward pass, cross-entropy with smoothed labels,
backward pass, SGD with momentum, without weight decay of batch-norms. Ours is the step of
tools/train.py; theirs does what timm's train.py does (the prefetcher's normalising,
create_optimizer_v2). Steps alternate, so that other work on the machine slows both down; each round
starts with another one. Needs timm.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from torch import Tensor

from engine import cli, config
from engine.checkpoint.checkpoint import build_model
from engine.fileio import write_json
from engine.training.memory import keep_memory
from engine.training.runner import use_amp

CONFIG = Path(__file__).parents[1] / "configs/classifier_lcnet.py"
WARM_UP = 2  # uncounted rounds, in which kernels are chosen and memory is allocated
LEARNING_RATE = 1e-3  # small, because there is no warm-up here
Step = Callable[[], Tensor]


def our_step(pixels: Tensor, labels: Tensor, bf16: bool) -> Step:
    """A step of BaseModel.train_step; pixels (B, H, W, 3) as from the data set."""
    cfg = config.load(CONFIG)
    if bf16:
        use_amp(cfg)
    cfg.optim_wrapper.optimizer.lr = LEARNING_RATE
    model: Any = build_model(config.plain(cfg.model)).train()
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    wrapper.initialize_count_status(model, 0, 2**31)
    targets = [{"label": int(label)} for label in labels]
    batch = {"images": list(pixels), "targets": targets}
    return lambda: model.train_step(batch, wrapper)["loss"]


def timms_step(pixels: Tensor, labels: Tensor, bf16: bool, channels_last: bool) -> Step:
    """A step of timm's train.py; pixels are stacked and permuted before, as its loader does."""
    import timm
    from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
    from timm.loss import LabelSmoothingCrossEntropy
    from timm.optim import create_optimizer_v2

    model = timm.create_model("lcnet_100", drop_rate=0.2).train()
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model.to(memory_format=layout)
    optimizer = create_optimizer_v2(
        model, opt="momentum", lr=LEARNING_RATE, weight_decay=3e-5, momentum=0.9
    )
    loss_of = LabelSmoothingCrossEntropy(smoothing=0.1)
    mean, std = (
        torch.tensor([255 * x for x in values]).view(1, 3, 1, 1)
        for values in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    )
    stacked = pixels.permute(0, 3, 1, 2).contiguous()  # (B, 3, H, W) uint8

    def step() -> Tensor:
        images = stacked.float().sub_(mean).div_(std).contiguous(memory_format=layout)
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = loss_of(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    return step


def rates(
    steps: dict[str, Step], batch: int, rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Images per second of each step in each round."""
    names = list(steps)
    found: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(WARM_UP + rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            start = clock()
            steps[name]()
            found[name].append(batch / (clock() - start))
    return {name: values[WARM_UP:] for name, values in found.items()}


def main(arguments: argparse.Namespace) -> None:
    """Measure, print, write."""
    MMLogger.get_current_instance().setLevel("WARNING")
    keep_memory()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    side = arguments.size
    pixels = torch.randint(0, 256, (arguments.batch, side, side, 3), dtype=torch.uint8)
    labels = torch.randint(0, 1000, (arguments.batch,))
    steps = {
        "ours": our_step(pixels, labels, arguments.bf16),
        "timm": timms_step(pixels, labels, arguments.bf16, channels_last=False),
        "timm, channels last": timms_step(pixels, labels, arguments.bf16, channels_last=True),
    }
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    found = rates(steps, arguments.batch, arguments.rounds, clock)
    medians = {name: statistics.median(values) for name, values in found.items()}
    for name, value in medians.items():
        turns = zip(found["ours"], found[name], strict=True)
        ratio = statistics.median(ours / other for ours, other in turns)
        print(f"{name:22}{value:8.1f} images/s; ours {ratio:.3f} times as fast, median of rounds")
    if arguments.out is not None:
        write_json(arguments.out, {"images_per_second": found, "medians": medians})


if __name__ == "__main__":
    options = cli.parser(__doc__ or "")
    options.add_argument("--batch", type=int, default=32, help="images a step")
    options.add_argument("--size", type=int, default=224, help="pixels of the input's side")
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    options.add_argument("--rounds", type=int, default=20, help="steps of each")
    options.add_argument(
        "--cpu-time", action="store_true", help="measure processor time, for busy machines"
    )
    options.add_argument("--bf16", action="store_true", help="autocast in bfloat16 for both")
    options.add_argument("--out", type=Path, metavar="JSON", help="write all numbers to this file")
    cli.run(main, options)
