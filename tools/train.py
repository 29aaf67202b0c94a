"""Train any config: python tools/train.py CONFIG [--data DIR]."""

import argparse
import os
import sys
from pathlib import Path

from mmengine.dist import is_main_process

from engine import cli, config
from engine.checkpoint import zoo
from engine.checks.preflight import check_data
from engine.distributed import join
from engine.hooks.signals import EXIT_SAVED, Stopped
from engine.training import runner
from engine.training.resume import saved_seed


def main(arguments: argparse.Namespace) -> int:
    """Load, check, build, then train or try one batch; returns the exit code."""
    cfg = config.load(arguments.config, arguments.cfg_options)
    config.require(cfg, runner.TRAINING_PARTS, "training")
    if arguments.save_every_steps is not None:
        cfg.default_hooks.checkpoint.every_steps = arguments.save_every_steps
    load_from = arguments.load_from and zoo.local(arguments.load_from)
    backbone_from = arguments.backbone_from and zoo.local(arguments.backbone_from)
    join(cfg, arguments.launcher)
    if arguments.quiet:
        runner.keep_quiet(cfg)
    work_dir = arguments.work_dir or Path("work_dirs") / arguments.config.stem
    resume = runner.resume_path(arguments.resume, work_dir)
    seed = arguments.seed
    if seed is None and resume is not None:
        seed = saved_seed(resume)
    config.use_data(cfg, arguments.data)
    check_data(cfg)
    runner.prepare_training(
        cfg,
        data=arguments.data,
        work_dir=work_dir,
        seed=seed,
        amp=arguments.amp,
        scale_lr=arguments.auto_scale_lr,
    )
    run = runner.start(cfg, arguments.launcher)
    if arguments.dry_run:
        values = runner.dry_run(run, load_from=load_from, backbone_from=backbone_from)
        if is_main_process():
            for name, value in values.items():
                print(f"{name:24} {value:.4f}")
            print("dry run done: data, model, loss, validation and checkpoint work")
        return 0
    try:
        runner.train(run, resume=resume, load_from=load_from, backbone_from=backbone_from)
    except Stopped as stopped:
        sys.stderr.write(f"{stopped}\n")
        return EXIT_SAVED
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted without saving; continue with --resume from the last checkpoint in "
            f"{work_dir}"
        ) from None
    return 0


if __name__ == "__main__":
    options = cli.parser(__doc__)
    add = options.add_argument
    cli.add_config(options, checkpoint=False)
    add("--data", type=Path, help="folder in the task's standard layout")
    add("--work-dir", type=Path, help="default: work_dirs/<config name>")
    add(
        "--resume",
        nargs="?",
        const="auto",
        help="a file, or auto: the work dir's newest checkpoint",
    )
    add("--save-every-steps", type=cli.positive, metavar="N", help="also save every N iterations")
    add("--load-from", type=Path, help="checkpoint or zoo:NAME to start from")
    add("--backbone-from", type=Path, help="checkpoint or zoo:NAME of any task: backbone only")
    add("--amp", action="store_true", help="mixed precision (bf16 on a CPU)")
    add("--auto-scale-lr", action="store_true", help="scale lr to the batch size")
    add("--seed", type=int, help="default: the config's; when resuming, the run's")
    add("--launcher", choices=("none", "pytorch", "slurm"), default="none")
    add("--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    cli.add_quiet(options)
    add("--dry-run", action="store_true", help="run all steps with one batch")
    os.environ.setdefault("LOCAL_RANK", "0")
    cli.run(main, options)
