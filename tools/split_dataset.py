"""Divide images into train, val and test: python tools/split_dataset.py DIR --val 0.2 --test 0.1.

For class folders it writes train_list.txt, val_list.txt and test_list.txt; for a COCO json (or a
folder with one in annotations/), one json per split. No image is moved or copied.
"""

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from engine import cli
from engine.data.splits import Division, SplitOptions, shares_of
from engine.task import Task, known_tasks, task_named


def main(arguments: argparse.Namespace) -> None:
    """Divide, print a summary."""
    shares = shares_of(arguments.val, arguments.test)
    options = SplitOptions(
        seed=arguments.seed,
        force=arguments.force,
        out=arguments.out,
        images=arguments.images,
        allow_small=arguments.allow_small,
    )
    task = find_task(arguments.source) if arguments.task is None else task_named(arguments.task)
    done: Division = task.use("split")(arguments.source, shares, options)
    table = Table("class", *shares, title=f"{done.counted} by class, seed {arguments.seed}")
    for name, cells in done.rows.items():
        table.add_row(name, *cells)
    table.add_section()
    table.add_row("all", *done.total)
    Console().print(table)
    print(*done.lacking, *(["wrote"] if done.written else []), sep="\n")
    print(*(f"  {path}" for path in done.written), sep="\n")
    print(f"train with --data {done.data}; {done.images}")


def find_task(source: Path) -> Task:
    """The task that can divide the data.

    Raises:
        ValueError: the data is of an unknown kind.
    """
    for task in known_tasks():
        if task.split and task.use("splits_from")(source):
            return task
    raise ValueError(f"{source}: neither class folders nor a COCO json; give --task")


if __name__ == "__main__":
    options = cli.parser(__doc__ or "")
    add = options.add_argument
    add("source", type=Path, metavar="DIR", help="class folders, or a COCO json")
    add("--task", help="short name of a task (default: by the content of DIR)")
    add("--val", type=float, default=0.2, help="share (default: %(default)s)")
    add("--test", type=float, default=0.0, help="share (default: %(default)s)")
    add("--seed", type=int, default=0, help="each seed gives other splits (default: 0)")
    add("--force", action="store_true", help="replace files of an earlier call")
    add("--out", type=Path, metavar="D", help="COCO: folder to write to")
    add("--images", type=Path, metavar="D", help="COCO: folder of the images")
    add("--allow-small", action="store_true", help="COCO: classes in fewer images than splits")
    cli.run(main, options)
