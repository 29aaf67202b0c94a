"""Evaluate a checkpoint: python tools/test.py CONFIG CKPT [--data DIR] [--out metrics.json]."""

import argparse
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.logging import MMLogger
from rich.console import Console
from rich.table import Table

from engine import command_line, config, evaluate, zoo
from engine.distributed import join
from engine.files import write_json
from engine.progress import hush


def main(arguments: argparse.Namespace) -> None:
    """Evaluate, print the metrics, write what was asked for."""
    cfg = config.load(arguments.config, arguments.cfg_options)
    join(cfg, arguments.launcher)
    config.use_data(cfg, arguments.data, arguments.split)
    if arguments.quiet:
        hush(MMLogger.get_current_instance())
    metrics = evaluate.run(
        cfg,
        zoo.local(arguments.checkpoint),
        work_dir=arguments.work_dir or Path("work_dirs/test") / arguments.config.stem,
        launcher=arguments.launcher,
        options=arguments.cfg_options,
        dump=arguments.dump_predictions,
        show=arguments.show_dir,
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


if __name__ == "__main__":
    options = command_line.parser(__doc__)
    command_line.add_config(options, checkpoint=True)
    options.add_argument("--data", type=Path, help="folder in the task's standard layout")
    options.add_argument("--split", help="split other than val, e.g. train2017")
    options.add_argument("--work-dir", type=Path, help="where the log goes")
    options.add_argument("--out", type=Path, help="metrics as JSON")
    options.add_argument("--dump-predictions", type=Path, help="predictions in the task's format")
    options.add_argument("--show-dir", type=Path, help="annotated pictures")
    options.add_argument("--launcher", choices=("none", "pytorch", "slurm"), default="none")
    command_line.add_quiet(options)
    command_line.run(main, options)
