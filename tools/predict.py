"""Predict on images, folders, lists or videos: python tools/predict.py CONFIG CKPT SOURCE..."""

import argparse
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import MMLogger
from rich.console import Console
from rich.table import Table

from engine import cli, load_model
from engine.inference.files import PREPARE, find_sources, is_ranking, predict_files
from engine.inference.stopwatch import Stopwatch
from engine.progress import hush


def main(arguments: argparse.Namespace) -> None:
    """Predict, write, say where."""
    workers = arguments.workers
    check_workers(workers, arguments.timings)
    sources = find_sources(arguments.sources)
    if workers > 1:  # each computes with its share
        torch.set_num_threads(max(1, torch.get_num_threads() // workers))
    if arguments.quiet:
        hush(MMLogger.get_current_instance())
    model = load_model(arguments.config, arguments.checkpoint, arguments.cfg_options, workers)
    watch = Stopwatch()
    if arguments.timings:
        watch.watch(PREPARE, model.data_preprocessor)
    results = predict_files(
        model,
        sources,
        arguments.out_dir,
        arguments.score_thr,
        watch,
        workers,
        quiet=arguments.quiet,
    )
    show(arguments, results)
    if arguments.timings:
        stages = ", ".join(f"{name} {value:.2f}" for name, value in watch.medians().items())
        print(f"median ms an image: {stages}")


def check_workers(workers: int, timings: bool) -> None:
    """ValueError where so many workers cannot be, or cannot be timed."""
    if workers < 1:
        raise ValueError(f"--workers {workers}: give 1 or more")
    if workers > 1 and timings:
        raise ValueError("--timings: the stages of several images run at once; use --workers 1")


def show(arguments: argparse.Namespace, results: dict[str, Any]) -> None:
    """Print what was found, or where it was written."""
    if arguments.quiet and arguments.out_dir is not None:
        return  # all of it is in the files
    for name, found in results.items():
        if is_ranking(found):
            print(f"{name}  {_ranking(found)}")
        elif arguments.out_dir is None and found and isinstance(found[0], dict):
            Console().print(_table(name, found))
        elif arguments.out_dir is None:
            print(name, found)
    if arguments.out_dir is not None:
        print(
            f"{len(results)} files predicted; pictures and predictions.json in {arguments.out_dir}"
        )


def _ranking(rows: list[dict[str, Any]]) -> str:
    """The best classes of one image in a line."""
    return ", ".join(f"{row['class']} {row['score']:.4f}" for row in rows)


def _table(name: str, rows: list[dict[str, Any]]) -> Table:
    """What was found in one image, a line each."""
    table = Table(*rows[0], title=name, title_justify="left")
    for row in rows:
        table.add_row(*(f"{v:.4f}" if isinstance(v, float) else str(v) for v in row.values()))
    return table


if __name__ == "__main__":
    options = cli.parser(__doc__)
    cli.add_config(options, checkpoint=True)
    options.add_argument("sources", nargs="+", help="image, folder, glob, .txt list or video")
    options.add_argument("--out-dir", type=Path, help="where annotated pictures and JSON go")
    options.add_argument("--score-thr", type=float, default=0.4, help="lowest score shown")
    options.add_argument("--workers", type=int, default=1, help="images worked on at once")
    options.add_argument("--timings", action="store_true", help="print where the time goes")
    cli.add_quiet(options)
    cli.run(main, options)
