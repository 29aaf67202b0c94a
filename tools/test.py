"""Evaluate a checkpoint: python tools/test.py CONFIG CKPT [--data DIR] [--report DIR]."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import MMLogger
from rich.console import Console
from rich.table import Table

from engine import cli, config
from engine.checkpoint import zoo
from engine.distributed import join
from engine.fileio import write_json
from engine.inference import evaluate
from engine.progress import hush
from engine.reports.report import PAGE, WriteReport
from engine.task import task_of_config


def main(arguments: argparse.Namespace) -> None:
    """Evaluate, print the metrics, write the requested files."""
    cfg = config.load(arguments.config, arguments.cfg_options)
    join(cfg, arguments.launcher)
    config.use_data(cfg, arguments.data, arguments.split)
    if arguments.quiet:
        hush(MMLogger.get_current_instance())
    watch = report_of(cfg, arguments) if arguments.report else None
    metrics = evaluate.run(
        cfg,
        zoo.local(arguments.checkpoint),
        work_dir=arguments.work_dir or Path("work_dirs/test") / arguments.config.stem,
        launcher=arguments.launcher,
        options=arguments.cfg_options,
        dump=arguments.dump_predictions,
        show=arguments.show_dir,
        watch=watch,
        progress="quiet" if arguments.quiet else "live",
    )
    if not is_main_process():
        return
    table = Table("metric", "value")
    for name, value in metrics.items():
        table.add_row(name, f"{value:.4f}")
    Console().print(table)
    if arguments.out:
        write_json(arguments.out, metrics)
    if watch is not None:
        watch.write()
        print(f"report: {arguments.report / PAGE}")


def report_of(cfg: Config, arguments: argparse.Namespace) -> WriteReport:
    """The hook that writes the report of the config's task.

    Raises:
        ValueError: the task has no report, or the config has several metrics.
    """
    config.require(cfg, ("model", "test_evaluator", "test_dataloader"), "testing")
    if isinstance(cfg.test_evaluator, Sequence) and len(cfg.test_evaluator) != 1:
        count = len(cfg.test_evaluator)
        raise ValueError(f"--report: test_evaluator has {count} entries; give one metric")
    report = task_of_config(cfg).use("report")
    facts = {
        "model": str(arguments.checkpoint),
        "config": str(arguments.config),
        "data": str(cfg.test_dataloader.dataset.get("data_root", "")),
        "split": str(cfg.test_dataloader.dataset.get("split", "")),
    }
    return WriteReport(arguments.report, report(), facts)


if __name__ == "__main__":
    options = cli.parser(__doc__)
    add = options.add_argument
    cli.add_config(options, checkpoint=True)
    add("--data", type=Path, help="folder in the task's standard layout")
    add("--split", help="split other than val, e.g. train2017")
    add("--work-dir", type=Path, help="folder for the log")
    add("--out", type=Path, help="file for metrics as JSON")
    add("--dump-predictions", type=Path, help="file for predictions in the task's format")
    add("--show-dir", type=Path, help="folder for annotated pictures")
    add("--report", type=Path, help="folder for a web page on the errors of the model")
    add("--launcher", choices=("none", "pytorch", "slurm"), default="none")
    cli.add_quiet(options)
    cli.run(main, options)
