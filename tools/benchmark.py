"""Measure latency: python tools/benchmark.py CONFIG [CKPT] --backend onnxruntime openvino.

CKPT is a checkpoint or an exported file; without it weights are random.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from engine import benchmark, command_line, config
from engine.files import write_json
from engine.images import read_image
from engine.machine import fingerprint
from engine.progress import live_line

WIDTH = 130
COLUMNS = ("p50", "p90", "p95", "p99", "processor_p50", "load_ms", "memory_mb")


def main(arguments: argparse.Namespace) -> None:
    """Load all engines, let them run in turns, print and write the numbers."""
    cfg = config.load(arguments.config, arguments.cfg_options)
    with tempfile.TemporaryDirectory() as folder:
        report = measure(cfg, arguments, Path(folder))
    show(report)
    if arguments.out:
        write_json(arguments.out, report)


def measure(cfg: Any, arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All numbers as plain data."""
    what = benchmark.subject(
        cfg,
        arguments.checkpoint,
        folder,
        backends=arguments.backend,
        shape=None if arguments.shape is None else tuple(arguments.shape),
        batch=arguments.batch,
    )
    peaks = benchmark.peaks(arguments.threads)
    entries = [
        benchmark.contestant(what, backend, threads)
        for backend in arguments.backend
        for threads in arguments.threads
    ]
    path = benchmark.photo(arguments.image, folder)
    image = read_image(path)
    with live_line() as bar:
        task = bar.add_task("runs", total=arguments.runs, note="")
        images = benchmark.inputs(what, image, arguments.batch)
        benchmark.race(entries, images, arguments.runs, lambda: bar.advance(task))
    count, kind = benchmark.survivors(what, entries[0], image)
    size = benchmark.sizes(what)
    parts = [
        benchmark.stages(what, entry, path, arguments.runs // 5) if arguments.stages else {}
        for entry in entries
    ]
    return {
        "machine": fingerprint(),
        "config": arguments.config.name,
        "input": list(images.shape),
        "random_weights": what.random,
        "survived": {"count": count, "kind": kind},
        "macs": size.macs,
        "weight_bytes": size.weight_bytes,
        "peaks": {str(threads): best._asdict() for threads, best in peaks.items()},
        "results": [
            benchmark.summary(entry, arguments.batch, size, peaks[entry.threads], part)
            for entry, part in zip(entries, parts, strict=True)
        ],
    }


def show(report: dict[str, Any]) -> None:
    """Print the numbers, and what to mind about them."""
    console = Console()
    console.width = max(console.width, WIDTH)  # of a file or pipe it is 80, too little
    table = Table("engine", "threads", *COLUMNS, "floor", "x floor", title="milliseconds, MB")
    for row in report["results"]:
        floor = max(row["floor_arithmetic"], row["floor_weights"])
        numbers = [*(row[name] for name in COLUMNS), floor, row["over_floor"]]
        table.add_row(row["backend"], str(row["threads"]), *(f"{n:.2f}" for n in numbers))
    console.print(table)
    for row in report["results"]:
        if row["stages"]:
            parts = "  ".join(f"{name} {value:.2f}" for name, value in row["stages"].items())
            console.print(f"{row['backend']}, {row['threads']} threads: {parts}")
    for threads, best in report["peaks"].items():
        console.print(
            f"best of this machine with {threads} threads: {best['gflops']:.0f} GFLOP/s, "
            f"{best['gigabytes']:.1f} GB/s; the network: {report['macs'] / 1e6:.1f} M "
            f"multiply-adds, {report['weight_bytes'] / 1e6:.1f} MB of weights"
        )
    survived = report["survived"]
    console.print(f"post-processing left {survived['count']} {survived['kind']} of the picture")
    if report["random_weights"]:
        console.print(
            "warning: random weights; what they leave to post-processing is not what trained "
            "ones do, so only forward times count"
        )
    for row in report["results"]:
        if not row["repeatable"]:
            console.print(
                f"warning: {row['backend']}, {row['threads']} threads: the medians of both halves "
                "differ by more than 10 %; the machine is busy, measure again"
            )


if __name__ == "__main__":
    options = command_line.parser(__doc__ or "")
    command_line.add_config(options, checkpoint=False)
    options.add_argument(
        "checkpoint",
        type=Path,
        nargs="?",
        help="checkpoint or exported file; random weights if none",
    )
    options.add_argument("--backend", nargs="+", choices=benchmark.BACKENDS, required=True)
    options.add_argument("--threads", nargs="+", type=int, default=[1])
    options.add_argument("--batch", type=int, default=1)
    options.add_argument("--runs", type=int, default=300, help="of each engine")
    options.add_argument("--shape", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"))
    options.add_argument("--stages", action="store_true", help="time from file to result by stage")
    options.add_argument("--image", type=Path, help="image file to measure on; drawn if none")
    options.add_argument("--out", type=Path, help="all numbers as JSON")
    command_line.run(main, options)
