"""Measure latency: python tools/benchmark.py CONFIG [CKPT] --backend onnxruntime openvino.

CKPT is a checkpoint or an exported file; without it, weights are random.
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
    """Print the numbers and their limits."""
    console = Console()
    console.width = max(console.width, WIDTH)  # a file or pipe has 80, too few
    console.print(table(report["results"]))
    for line in (*stages(report["results"]), *floors(report), *remarks(report)):
        console.print(line, highlight=False, soft_wrap=True)


def table(rows: list[dict[str, Any]]) -> Table:
    """A table with one row per engine and number of threads."""
    result = Table("engine", "threads", *COLUMNS, title="milliseconds of the network, MB")
    for row in rows:
        numbers = (f"{row[key]:.2f}" for key in COLUMNS.values())
        result.add_row(row["backend"], str(row["threads"]), *numbers)
    return result


def who(row: dict[str, Any]) -> str:
    """Engine and threads of a result."""
    return f"{row['backend']}, {row['threads']} thread{'s' * (row['threads'] > 1)}"


def stages(rows: list[dict[str, Any]]) -> Iterator[str]:
    """The time of each stage from file to result, one line per result."""
    for row in rows:
        if row["stages"]:
            parts = dict(row["stages"])
            total = parts.pop("total")
            terms = " + ".join(f"{name} {value:.2f}" for name, value in parts.items())
            yield f"{who(row)}: {terms} = {sum(parts.values()):.2f} ms; measured {total:.2f}"


def floors(report: dict[str, Any]) -> Iterator[str]:
    """The cost of the network, and the lower bound of its time by number of threads."""
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
    """Limits of the numbers, and warnings."""
    yield (
        "fastest: the fastest run, little affected by other work on the machine and compared with "
        "the floor; p50 to p99: percentiles of all runs"
    )
    survived, machine = report["survived"], report["machine"]
    yield f"post-processing returned {survived['number']} {survived['kind']} for the picture"
    if report["random_weights"]:
        yield (
            "warning: random weights give post-processing other work than trained ones, so only "
            "times of the network count"
        )
    elif survived["number"] == 0:
        yield "warning: the picture gave no result; post-processing had little to do; give --image"
    yield f"machine {machine['id']}, load average {machine['load']:.2f} before the first run"
    for row in report["results"]:
        if not row["repeatable"]:
            yield (
                f"warning: {who(row)}: the medians of the two halves differ by more than 10 %; "
                "the machine is busy, measure again"
            )


if __name__ == "__main__":
    options = cli.parser(__doc__ or "")
    add = options.add_argument
    cli.add_config(options, checkpoint=False)
    add("checkpoint", type=Path, nargs="?", help="or exported file (default: random weights)")
    add("--backend", nargs="+", choices=BACKENDS, required=True)
    add("--threads", nargs="+", type=int, default=[1])
    add("--batch", type=int, default=1)
    add("--runs", type=int, default=300, help="runs of each engine (default: 300)")
    add("--shape", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"))
    add("--stages", action="store_true", help="time from file to result by stage")
    add("--image", type=Path, help="image file to measure on (default: generated)")
    add("--out", type=Path, help="all numbers as JSON")
    cli.run(main, options)
