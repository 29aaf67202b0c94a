"""Show the data as the model gets it: python tools/browse_dataset.py CONFIG --data DIR --out DIR.

Writes pictures with boxes, masks or classes, contact_sheet.png, classes.png and sizes.png.
"""

import argparse
import logging
from pathlib import Path

from engine import cli, config
from engine.progress import live_line
from engine.reports.album import write_album
from engine.reports.browse import Browser


def main(arguments: argparse.Namespace) -> None:
    """Draw the pictures and count the objects."""
    logging.disable(logging.INFO)  # it would report the data set twice
    cfg = config.load(arguments.config, arguments.cfg_options)
    config.use_data(cfg, arguments.data)
    seed = cfg.randomness.seed if arguments.seed is None else arguments.seed
    browser = Browser(cfg, arguments.split, seed)
    with live_line() as bar:
        task = bar.add_task("reading images", total=None, note="")
        counted = write_album(
            arguments.out,
            browser,
            mode=arguments.mode,
            number=arguments.number,
            sample=arguments.sample,
            advance=lambda total: bar.update(task, advance=1, total=total),
        )
    print(
        f"{arguments.out}: pictures, contact_sheet.png, classes.png and sizes.png; {counted} of "
        f"{len(browser.data)} images counted"
    )


if __name__ == "__main__":
    options = cli.parser(__doc__)
    add = options.add_argument
    cli.add_config(options, checkpoint=False)
    add("--data", type=Path, help="folder in the task's standard layout")
    add("--split", choices=("train", "val"), default="train")
    add(
        "--mode", choices=("original", "pipeline", "pairs"), default="pairs",
        help="as stored, as the model gets it, or both side by side (default)",
    )  # fmt: skip
    add("--number", type=cli.positive, default=12, help="pictures (default: 12)")
    add(
        "--sample",
        type=cli.positive,
        default=500,
        metavar="M",
        help="images counted (default: 500)",
    )
    add("--seed", type=int, help="default: the config's, as in training")
    add("--out", type=Path, required=True, help="new folder")
    cli.run(main, options)
