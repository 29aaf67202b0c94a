"""Draw the mini data set: the same scenes for the detector, the segmenter and the classifier."""

import argparse
from pathlib import Path

from engine import cli
from engine.demo_data.writer import MiniData, make_mini_data
from engine.progress import live_line


def main(arguments: argparse.Namespace) -> None:
    """Draw, show progress, print the paths of the data."""
    data = MiniData(arguments.seed, arguments.train, arguments.val, arguments.side)
    with live_line() as progress:
        task = progress.add_task("drawing scenes", total=data.train + data.val, note="")
        made = make_mini_data(
            arguments.out, data, force=arguments.force, on_scene=lambda: progress.advance(task)
        )
    size = f"{data.train} training and {data.val} validation scenes"
    print(f"{arguments.out}: {size}, {'drawn' if made else 'already exists'}")
    for task_name in ("detection", "segmentation", "classification"):
        print(f"  --data {arguments.out / task_name}")


def arguments_of_command() -> argparse.ArgumentParser:
    """The command line."""
    default = MiniData()
    result = cli.parser(__doc__ or "")
    add = result.add_argument
    add("--out", type=Path, required=True, metavar="D", help="folder to create")
    add("--seed", type=int, default=default.seed, help="each seed gives other scenes")
    add("--train", type=int, default=default.train, help="number of training scenes")
    add("--val", type=int, default=default.val, help="number of validation scenes")
    add("--side", type=int, default=default.side, help="side of a scene, pixels")
    add("--force", action="store_true", help="replace the content of --out")
    return result


if __name__ == "__main__":
    cli.run(main, arguments_of_command())
