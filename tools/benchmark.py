"""Measure latency: python tools/benchmark.py CONFIG [CKPT] --backend onnxruntime openvino.

CKPT is a checkpoint or an exported file; without it weights are random.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from engine import cli
from engine.benchmark.latency import BACKENDS, Order, measure
from engine.checkpoint import zoo
from engine.fileio import write_json
from engine.progress import live_line

WIDTH = 130
COLUMNS = {
    "fastest": "fastest", "p50": "p50", "p90": "p90", "p95": "p95", "p99": "p99",
    "processor": "processor_p50", "load": "load_ms", "first": "first_ms", "MB": "memory_mb",
    "x floor": "over_floor",
}  # fmt: skip


def main(arguments: argparse.Namespace) -> None:
    """Measure, print, write."""
    order = Order(
        config=arguments.config,
        options=arguments.cfg_options,
        path=arguments.checkpoint and zoo.local(arguments.checkpoint),
        backends=arguments.backend,
        threads=arguments.threads,
        batch=arguments.batch,
        runs=arguments.runs,
        shape=None if arguments.shape is None else tuple(arguments.shape),
        stages=arguments.stages,
        image=arguments.image,
    )
    with tempfile.TemporaryDirectory() as folder, live_line() as bar:
        task = bar.add_task("runs", total=order.runs, note="")
        report = measure(order, Path(folder), lambda runs: bar.advance(task, runs))
    show(report)
    if arguments.out:
        write_json(arguments.out, report)


def show(report: dict[str, Any]) -> None:
    """Print the numbers, and what to mind about them."""
    console = Console()
    console.width = max(console.width, WIDTH)  # of a file or pipe it is 80, too little
    console.print(table(report["results"]))
    for line in (*stages(report["results"]), *floors(report), *remarks(report)):
        console.print(line, highlight=False, soft_wrap=True)


def table(rows: list[dict[str, Any]]) -> Table:
    """A row an engine and number of threads."""
    result = Table("engine", "threads", *COLUMNS, title="milliseconds of the network, MB")
    for row in rows:
        numbers = (f"{row[key]:.2f}" for key in COLUMNS.values())
        result.add_row(row["backend"], str(row["threads"]), *numbers)
    return result


def who(row: dict[str, Any]) -> str:
    """Engine and threads of a result."""
    return f"{row['backend']}, {row['threads']} thread{'s' * (row['threads'] > 1)}"


def stages(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Where the time from file to result goes, a line a result."""
    for row in rows:
        if row["stages"]:
            parts = dict(row["stages"])
            total = parts.pop("total")
            terms = " + ".join(f"{name} {value:.2f}" for name, value in parts.items())
            yield f"{who(row)}: {terms} = {sum(parts.values()):.2f} ms; measured {total:.2f}"


def floors(report: dict[str, Any]) -> Iterator[str]:
    """What the machine and the network are, and the least time by number of threads."""
    yield (
        f"the network: {report['macs'] / 1e6:.1f} M multiply-adds an image, "
        f"{report['weight_bytes'] / 1e6:.1f} MB of float32 weights"
    )
    least = {str(row["threads"]): row for row in report["results"]}
    for threads, best in report["peaks"].items():
        row = least[threads]
        yield (
            f"floor, {who(row).split(', ')[1]}: {row['floor_arithmetic']:.2f} ms of arithmetic at "
            f"{best['gflops']:.0f} GFLOP/s, {row['floor_weights']:.2f} ms to read the weights at "
            f"{best['gigabytes']:.1f} GB/s (float32, the best measured here)"
        )


def remarks(report: dict[str, Any]) -> Iterator[str]:
    """What to mind about the numbers."""
    yield (
        "fastest: one run, which other work on the machine hardly moves, and which is set against "
        "the floor; p50 to p99: of all runs, with whatever else the machine did"
    )
    survived, machine = report["survived"], report["machine"]
    yield f"post-processing left {survived['number']} {survived['kind']} of the picture"
    if report["random_weights"]:
        yield (
            "warning: random weights; what they leave to post-processing is not what trained ones "
            "do, so only times of the network count"
        )
    elif survived["number"] == 0:
        yield "warning: no result was left, so post-processing had little to do; give --image"
    yield f"machine {machine['id']}, load average {machine['load']:.2f} before the first run"
    for row in report["results"]:
        if not row["repeatable"]:
            yield (
                f"warning: {who(row)}: the medians of both halves differ by more than 10 %; the "
                "machine is busy, measure again"
            )


if __name__ == "__main__":
    options = cli.parser(__doc__ or "")
    cli.add_config(options, checkpoint=False)
    options.add_argument(
        "checkpoint",
        type=Path,
        nargs="?",
        help="checkpoint or exported file; random weights if none",
    )
    options.add_argument("--backend", nargs="+", choices=BACKENDS, required=True)
    options.add_argument("--threads", nargs="+", type=int, default=[1])
    options.add_argument("--batch", type=int, default=1)
    options.add_argument("--runs", type=int, default=300, help="of each engine")
    options.add_argument("--shape", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"))
    options.add_argument("--stages", action="store_true", help="time from file to result by stage")
    options.add_argument("--image", type=Path, help="image file to measure on; drawn if none")
    options.add_argument("--out", type=Path, help="all numbers as JSON")
    cli.run(main, options)
