"""Draw rates before a training: python tools/plot_schedule.py CONFIG --data DIR --out F.png.

Learning rate, momentum and decay of the moving average, as the runner will set them.
"""

import argparse
import tempfile
from pathlib import Path

from engine import command_line, config
from engine.files import write_binary
from engine.plan_chart import draw, length_of, summary
from engine.planned import make_plan


def main(arguments: argparse.Namespace) -> None:
    """Step through the schedule, draw, say the numbers that matter."""
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
    options = command_line.parser(__doc__ or "")
    command_line.add_config(options, checkpoint=False)
    length = options.add_mutually_exclusive_group()
    length.add_argument("--data", type=Path, help="data set, for the length of an epoch")
    length.add_argument("--iters-per-epoch", type=command_line.positive, metavar="N")
    options.add_argument("--auto-scale-lr", action="store_true", help="as in training")
    options.add_argument("--out", type=command_line.png, required=True, metavar="F.png")
    command_line.run(main, options)
