"""Plot the schedule of a training: python tools/plot_schedule.py CONFIG --data DIR --out F.png.

Learning rate, momentum and EMA decay, as the runner will set them.
"""

import argparse
import tempfile
from pathlib import Path

from engine import cli, config
from engine.fileio import write_binary
from engine.reports.lr_plot import draw, length_of, make_plan, summary


def main(arguments: argparse.Namespace) -> None:
    """Step through the schedule, plot it, print a summary."""
    cfg = config.load(arguments.config, arguments.cfg_options)
    cfg.log_level = "WARNING"
    with tempfile.TemporaryDirectory() as work_dir:
        plan = make_plan(
            cfg,
            Path(work_dir),
            data=arguments.data,
            epoch_length=arguments.iters_per_epoch,
            scale_lr=arguments.auto_scale_lr,
        )
    write_binary(arguments.out, draw(plan, arguments.config.stem))
    for line in (length_of(plan), *summary(plan)):
        print(line)


if __name__ == "__main__":
    options = cli.parser(__doc__ or "")
    add = options.add_argument
    cli.add_config(options, checkpoint=False)
    length = options.add_mutually_exclusive_group()
    length.add_argument("--data", type=Path, help="data set that gives the length of an epoch")
    length.add_argument("--iters-per-epoch", type=cli.positive, metavar="N")
    add("--auto-scale-lr", action="store_true", help="as in training")
    add("--out", type=cli.png, required=True, metavar="F.png")
    cli.run(main, options)
