"""Builds mmengine's Runner from a checked config, and runs the training."""

import logging
from pathlib import Path
from typing import Any

import cv2
import torch
from mmengine.config import Config
from mmengine.dist import all_reduce, get_world_size, is_main_process
from mmengine.logging import MMLogger, print_log
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from torch import nn

from engine import config
from engine.checkpoint import checkpoint
from engine.cli import explain_loader
from engine.distributed import ShareLosses, join, wrap_on_cpu
from engine.hooks.checkpoint_hook import bare, find_hook, newest, state_files
from engine.hooks.progress import LiveProgress
from engine.hooks.signals import StopOnSignal
from engine.progress import hush, warn
from engine.training import config_checks
from engine.training.amp import CPUAmpOptimWrapper
from engine.training.compiled import compile_trunk
from engine.training.memory import keep_memory
from engine.training.norm_calibration import even_out_convolutions
from engine.training.recompute import recompute
from engine.training.resume import Resume

TRAINING_PARTS = (
    "model", "train_dataloader", "train_cfg", "val_dataloader", "val_cfg", "val_evaluator",
    "optim_wrapper", "param_scheduler", "default_hooks", "randomness",
)  # fmt: skip


def prepare_training(
    cfg: Config, *, data: Path | None, work_dir: Path, seed: int | None, amp: bool, scale_lr: bool
) -> None:
    """Set the options of the command line in the config, and check it against the data.

    Raises:
        ValueError: config and data do not fit together.
        FileNotFoundError: the data is missing.
    """
    cfg.work_dir = str(work_dir)
    if data is not None:
        config.use_data(cfg, data)
    if seed is not None:
        cfg.randomness.seed = seed
    if scale_lr:
        cfg.auto_scale_lr.enable = True
    if amp:
        use_amp(cfg)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    classes = dataset.metainfo["classes"]
    if data is not None:
        cfg.model.num_classes = len(classes)
    config_checks.check(cfg, classes)
    config_checks.check_ends(cfg)
    _fit_to_data(cfg, max(1, len(dataset) // get_world_size()))


def _fit_to_data(cfg: Config, num_images: int) -> None:
    """Reduce batch size and warm-up if a process has too few images, with a warning."""
    loader = cfg.train_dataloader
    if num_images < loader.batch_size:
        warn(
            f"{num_images} training images are fewer than one batch of {loader.batch_size}; "
            f"using a batch size of {num_images}"
        )
        loader.batch_size = num_images
    config_checks.fit_warmups(cfg, num_images // loader.batch_size)


def keep_quiet(cfg: Config) -> None:
    """Show only warnings and errors of a run on the console."""
    hush(MMLogger.get_current_instance())
    for hook in cfg.get("custom_hooks", []):
        if config.resolve(hook.type) is LiveProgress:
            hook.quiet = True


def use_amp(cfg: Config) -> None:
    """Train in mixed precision: bfloat16 on CPUs, mmengine's wrapper on CUDA."""
    on_gpu = torch.cuda.is_available()
    cfg.optim_wrapper.type = "AmpOptimWrapper" if on_gpu else CPUAmpOptimWrapper.__name__


def start(cfg: Config, launcher: str) -> Runner:
    """Build the runner: one process, or several with torchrun or SLURM; CPU or CUDA.

    Raises:
        ValueError: a part of the config cannot be built.
    """
    cv2.setNumThreads(1)
    keep_memory()
    cfg.launcher = launcher
    join(cfg, launcher)
    wrap_on_cpu(cfg)
    logging.disable(logging.INFO)  # mmengine logs much here
    try:
        runner = Runner.from_cfg(cfg)
        if cfg.get("optim_wrapper"):
            runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    except TypeError as error:  # an option is missing or has a wrong type
        raise ValueError(f"{cfg.filename}: cannot be built: {error}") from error
    finally:
        logging.disable(logging.NOTSET)
    runner.logger.setLevel(cfg.get("log_level", "INFO"))  # it caches the disabled levels
    if (progress := find_hook(runner, LiveProgress)) is not None and progress.quiet:
        hush(runner.logger)
    if get_world_size() > 1:
        runner.register_hook(ShareLosses())
    if modules := runner.cfg.pop("activation_checkpointing", None):  # not for mmengine
        recompute(bare(runner.model), modules)
    if options := runner.cfg.pop("compile", None):
        compile_trunk(bare(runner.model), options)
    device = next(runner.model.parameters()).device
    runner.logger.info(
        f"torch {torch.__version__} on {device}, {torch.get_num_threads()} threads, "
        f"{get_world_size()} processes, seed {runner.seed}, work dir {cfg.work_dir}"
    )
    return runner


def train(
    runner: Runner,
    *,
    resume: Path | None,
    load_from: Path | None,
    backbone_from: Path | None = None,
) -> None:
    """Check the data sets, load weights, and train to the end.

    Raises:
        ValueError: data, checkpoints or work dir do not fit the run.
        FloatingPointError: the loss or a weight is not finite any more.
        OSError: a checkpoint cannot be written, the data is gone, or a loader worker died.
        Stopped: a signal stopped the run; the state is saved.
    """
    if resume is None:
        _check_unused(Path(runner.work_dir))
    _make_ready(runner, load_from, backbone_from)
    if resume is not None:
        runner.register_hook(Resume(resume))
    runner.register_hook(stop := StopOnSignal())
    try:
        stop.train(runner)
    except RuntimeError as error:
        if (line := explain_loader(error)) is None:
            raise
        raise OSError(f"{line}; checkpoints in {runner.work_dir} are complete") from error
    finally:
        if (progress := find_hook(runner, LiveProgress)) is not None:
            progress.bar.stop()


def _make_ready(runner: Runner, load_from: Path | None, backbone_from: Path | None) -> None:
    """Check classes and batch size, and load weights."""
    _check_classes(runner)
    check_batch(runner)
    if load_from is not None:
        load_into(runner, load_from)
    if backbone_from is not None:
        load_backbone(runner, backbone_from)


def _check_unused(work_dir: Path) -> None:
    """ValueError if there are checkpoints: two runs would remove each other's."""
    found = [*state_files(work_dir), *work_dir.glob("best_*.pth")]
    if found:
        raise ValueError(
            f"{work_dir}: has checkpoints of an earlier run ({found[0].name}); continue it with "
            "--resume, or give another --work-dir"
        )


def _check_classes(runner: Runner) -> None:
    """Compare the class lists of training and validation data, and set them in the model."""
    known = tuple(runner.train_dataloader.dataset.metainfo["classes"])
    other = tuple(runner.val_dataloader.dataset.metainfo["classes"])
    if known != other:
        raise ValueError(
            f"training and validation data have different classes: {list(known)} and "
            f"{list(other)}; give both the same list in the same order"
        )
    bare(runner.model).classes = known


def check_batch(runner: Runner) -> None:
    """Warn if the learning rate is meant for another number of images per step.

    If it is scaled, mmengine counts the images of one batch; so the base is divided by the number
    of batches that are accumulated for a step.
    """
    scaling = runner.auto_scale_lr or {}
    gathered = runner.cfg.optim_wrapper.get("accumulative_counts", 1)
    images = runner.train_dataloader.batch_size * get_world_size() * gathered
    base = scaling.get("base_batch_size", images)
    if scaling.get("enable"):
        runner.auto_scale_lr = {**scaling, "base_batch_size": base / gathered}
    elif base != images:
        rate = runner.cfg.optim_wrapper.optimizer.lr
        warn(
            f"learning rate {rate} is meant for {base} images per step, this run has {images}; "
            f"--auto-scale-lr changes it to {rate * images / base:.4g}"
        )


def load_into(runner: Runner, path: Path) -> checkpoint.LoadReport:
    """Load the weights of `path` into the model, and log the load report.

    Raises:
        ValueError: the weights are of another model, or their batch-norms are folded.
    """
    content = _read_trainable(path)
    model = bare(runner.model)
    report = checkpoint.load_weights(
        model,
        content["state_dict"],
        classes=content["classes"],
        new_classes=runner.train_dataloader.dataset.metainfo["classes"],
        class_layers=model.class_layers,
        source=str(path),
    )
    if report.mismatched:
        raise ValueError(
            f"{path}: is a checkpoint of another model, {report}; give one of the same model"
        )
    runner.logger.info(f"{path}: {report}")
    _scale(runner, model, content)
    return report


def _scale(runner: Runner, model: nn.Module, content: dict[str, Any]) -> None:
    """Scale the convolutions for training if the checkpoint has rebuilt batch-norms."""
    if content["info"].get("norms_rebuilt"):
        count = even_out_convolutions(model)
        runner.logger.info(f"batch-norms were rebuilt: {count} convolutions scaled for training")


def _read_trainable(path: Path) -> dict[str, Any]:
    """Read a checkpoint; ValueError if its batch-norms are folded."""
    content = checkpoint.read(path)
    if content["info"].get("norms_folded"):
        raise ValueError(
            f"{path}: its batch-norms are folded, and training would destroy its weights; "
            "convert it again with tools/convert_weights.py --calibrate-bn IMAGE_DIR"
        )
    return content


def load_backbone(runner: Runner, path: Path) -> checkpoint.LoadReport:
    """Load only the backbone from a checkpoint of any task, and log the load report.

    Raises:
        ValueError: the backbone in the file has another type or size, weights are missing or do
            not fit, or its batch-norms are folded.
    """
    content = _read_trainable(path)
    theirs = content["model"].get("backbone") or {}
    ours = config.plain(runner.cfg.model.backbone)
    for key in ("type", "arch", "scale", "act"):
        if theirs.get(key) != ours.get(key):
            raise ValueError(
                f"{path}: its backbone is {_trunk(theirs)}, the config's is {_trunk(ours)}; give "
                f"--cfg-options model.backbone.{key}={theirs.get(key)}, or another checkpoint"
            )
    weights = content["state_dict"]
    trunk = {n: value for n, value in weights.items() if n.startswith("backbone.")}
    model = bare(runner.model)
    own = nn.ModuleDict({"backbone": model.backbone})
    report = checkpoint.load_weights(own, trunk, source=str(path))
    if report.missing or report.mismatched:
        raise ValueError(f"{path}: its backbone does not fit that of the config; {report}")
    runner.logger.info(f"{path}: backbone only, {report}")
    _scale(runner, model.backbone, content)
    return report


def _trunk(described: dict[str, Any]) -> str:
    """Text for a plain backbone config: `PPLCNet of scale 0.5`."""
    name = f"{described.get('type', 'missing')} {described.get('arch', '')}".strip()
    act = f" with {described['act']}" if "act" in described else ""
    return f"{name} of scale {described.get('scale')}{act}"


def resume_path(choice: str | None, work_dir: Path) -> Path | None:
    """The file of --resume; for "auto", the newest state file in the work dir, or None.

    Raises:
        FileNotFoundError: the named file does not exist.
    """
    if choice is None:
        return None
    if choice == "auto":
        found = newest(work_dir)
        if found is None:
            print_log(f"nothing to resume in {work_dir}; starting a new run", "current")
        return found
    if not Path(choice).is_file():
        raise FileNotFoundError(f"--resume {choice}: no such checkpoint")
    return Path(choice)


def dry_run(
    runner: Runner, load_from: Path | None = None, backbone_from: Path | None = None
) -> dict[str, Any]:
    """Test one batch: loss, optimiser, validation, metric, checkpoint; the file is deleted.

    Returns:
        The losses of the training batch and the metrics of the validation batch.
    """
    _make_ready(runner, load_from, backbone_from)
    runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    model = runner.model
    runner.train_dataloader.dataset.set_epoch(0)
    model.train()
    losses = model.train_step(
        next(iter(runner.train_dataloader)), optim_wrapper=runner.optim_wrapper
    )
    model.eval()
    batch = next(iter(runner.val_dataloader))
    with torch.no_grad():
        results = model.val_step(batch)
    count = len(batch["images"])
    evaluator = runner.val_evaluator
    evaluator = evaluator if hasattr(evaluator, "process") else runner.build_evaluator(evaluator)
    evaluator.dataset_meta = runner.val_dataloader.dataset.metainfo
    evaluator.process(data_samples=results[:count], data_batch=batch)
    total = torch.tensor([count])
    all_reduce(total)
    metrics = evaluator.evaluate(int(total))
    path = Path(runner.work_dir) / ".dry_run.pth"
    content = checkpoint.describe(
        bare(model), config.plain(runner.cfg.model), evaluator.dataset_meta["classes"], {}
    )
    if is_main_process():
        try:
            checkpoint.save(path, content)
            checkpoint.read(path)
        finally:
            path.unlink(missing_ok=True)
    return {name: float(value.detach()) for name, value in losses.items()} | metrics
