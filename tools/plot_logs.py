"""Draw what trainings have logged: python tools/plot_logs.py RUN... --out F.png.

RUN is a work dir of tools/train.py; the training may still go on.
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
    options.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="work dir of a training")
    options.add_argument("--out", type=cli.png, required=True, metavar="F.png")
    options.add_argument(
        "--metrics",
        nargs="+",
        default=(),
        metavar="KEY",
        help="default: the first four of each run",
    )
    options.add_argument(
        "--smooth", type=cli.share, default=0.6, metavar="W",
        help="weight of what was before, from 0 (as logged) to below 1 (default: 0.6)",
    )  # fmt: skip
    cli.run(main, options)
