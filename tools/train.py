"""Train any config: python tools/train.py configs/picodet_lcnet.py [--data DIR]."""

import argparse
import os
from pathlib import Path

from mmengine.dist import is_main_process

from engine import command_line, config, runner
from engine.distributed import join
from engine.saving import done_of, unit_of


def main(arguments: argparse.Namespace) -> None:
    """Load, check, build, then train or try one batch."""
    cfg = config.load(arguments.config, arguments.cfg_options)
    join(cfg, arguments.launcher)
    work_dir = arguments.work_dir or Path("work_dirs") / arguments.config.stem
    runner.prepare_training(
        cfg,
        data=arguments.data,
        work_dir=work_dir,
        seed=arguments.seed,
        amp=arguments.amp,
        scale_lr=arguments.auto_scale_lr,
    )
    resume = runner.resume_path(arguments.resume, work_dir)
    run = runner.start(cfg, arguments.launcher)
    if arguments.dry_run:
        values = runner.dry_run(
            run, load_from=arguments.load_from, backbone_from=arguments.backbone_from
        )
        if is_main_process():
            for name, value in values.items():
                print(f"{name:24} {value:.4f}")
            print("dry run done: data, model, loss, validation and checkpoint work")
        return
    try:
        runner.train(
            run,
            resume=resume,
            load_from=arguments.load_from,
            backbone_from=arguments.backbone_from,
        )
    except KeyboardInterrupt:
        place = f"{unit_of(run)} {done_of(run) + 1}"
        raise KeyboardInterrupt(
            f"interrupted in {place}; checkpoints in {work_dir} are whole, continue with --resume"
        ) from None


if __name__ == "__main__":
    options = command_line.parser(__doc__)
    command_line.add_config(options, checkpoint=False)
    options.add_argument("--data", type=Path, help="folder in the task's standard layout")
    options.add_argument("--work-dir", type=Path, help="default: work_dirs/<config name>")
    options.add_argument(
        "--resume", nargs="?", const="auto", help="auto (the newest of the work dir) or a file"
    )
    options.add_argument("--load-from", type=Path, help="checkpoint whose weights to start from")
    options.add_argument(
        "--backbone-from", type=Path, help="checkpoint of any task: its trunk only"
    )
    options.add_argument("--amp", action="store_true", help="mixed precision (bf16 on a CPU)")
    options.add_argument("--auto-scale-lr", action="store_true", help="scale lr to the batch size")
    options.add_argument("--seed", type=int)
    options.add_argument("--launcher", choices=("none", "pytorch", "slurm"), default="none")
    options.add_argument("--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    options.add_argument("--dry-run", action="store_true", help="one batch through everything")
    os.environ.setdefault("LOCAL_RANK", "0")
    command_line.run(main, options)
