"""Plot the logs of trainings: python tools/plot_logs.py RUN... --out F.png.

RUN is a work dir of tools/train.py; the training may still be running.
"""

import argparse
from pathlib import Path

from engine import cli
from engine.fileio import write_binary
from engine.reports.run_log import read_runs
from engine.reports.training_curves import draw


def main(arguments: argparse.Namespace) -> None:
    """Read, draw, write."""
    runs = read_runs(arguments.runs)
    write_binary(arguments.out, draw(runs, arguments.metrics, arguments.smooth))
    for run in runs:
        last = max((points[-1][0] for points in run.training.values()), default=0)
        print(f"{run.name}: {last:g} iterations logged")


if __name__ == "__main__":
    options = cli.parser(__doc__ or "")
    add = options.add_argument
    add("runs", type=Path, nargs="+", metavar="RUN", help="work dir of a training")
    add("--out", type=cli.png, required=True, metavar="F.png")
    add(
        "--metrics",
        nargs="+",
        default=(),
        metavar="KEY",
        help="default: the first four of each run",
    )
    add(
        "--smooth", type=cli.share, default=0.6, metavar="W",
        help="smoothing: weight of earlier values, from 0 (none) to below 1 (default: 0.6)",
    )  # fmt: skip
    cli.run(main, options)
