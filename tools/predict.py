"""Predict on images, folders, lists or videos: python tools/predict.py CONFIG CKPT SOURCE..."""

import argparse
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import MMLogger
from rich.console import Console
from rich.table import Table

from engine import cli, load_model
from engine.data.image_files import find_sources
from engine.inference.files import PREPARE, is_ranking, predict_files
from engine.inference.stopwatch import Stopwatch
from engine.progress import hush


def main(arguments: argparse.Namespace) -> None:
    """Predict, write and print the results."""
    workers = arguments.workers
    check_workers(workers, arguments.timings)
    sources = find_sources(arguments.sources)
    if workers > 1:  # each worker gets its share
        torch.set_num_threads(max(1, torch.get_num_threads() // workers))
    if arguments.quiet:
        hush(MMLogger.get_current_instance())
    model = load_model(arguments.config, arguments.checkpoint, arguments.cfg_options, workers)
    watch = Stopwatch()
    if arguments.timings:
        watch.watch(PREPARE, model.network.data_preprocessor)
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
    """Raise ValueError if the number of workers is wrong, or does not fit --timings."""
    if workers < 1:
        raise ValueError(f"--workers {workers}: give 1 or more")
    if workers > 1 and timings:
        raise ValueError("--timings: stages cannot be timed with several workers; use --workers 1")


def show(arguments: argparse.Namespace, results: dict[str, Any]) -> None:
    """Print the results, or where they were written."""
    if arguments.quiet and arguments.out_dir is not None:
        return  # the files have all results
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
    """The best classes of one image in one line."""
    return ", ".join(f"{row['class']} {row['score']:.4f}" for row in rows)


def _table(name: str, rows: list[dict[str, Any]]) -> Table:
    """The results of one image, one row each."""
    table = Table(*rows[0], title=name, title_justify="left")
    for row in rows:
        table.add_row(*(f"{v:.4f}" if isinstance(v, float) else str(v) for v in row.values()))
    return table


if __name__ == "__main__":
    options = cli.parser(__doc__)
    add = options.add_argument
    cli.add_config(options, checkpoint=True)
    add("sources", nargs="+", help="image, folder, glob, .txt list or video")
    add("--out-dir", type=Path, help="folder for annotated pictures and JSON")
    add("--score-thr", type=float, default=0.4, help="lowest score shown (default: 0.4)")
    add("--workers", type=int, default=1, help="number of threads, one image each (default: 1)")
    add("--timings", action="store_true", help="print the time of each stage")
    cli.add_quiet(options)
    cli.run(main, options)
