"""Evaluates a checkpoint or an exported file on a data set."""

import copy
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from engine import config
from engine.checkpoint.restore import describe, fill
from engine.data.layout import data_of, without_log
from engine.export.metric_loss import Scorer
from engine.hooks.checkpoint_hook import bare, find_hook
from engine.hooks.progress import LiveProgress
from engine.inference.files import save_picture
from engine.runtime.content import read_content
from engine.runtime.exported import is_exported
from engine.runtime.exported_network import open_network
from engine.task import task_of_config
from engine.training.runner import start

TRAINING_KEYS = (
    "train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler", "auto_scale_lr",
    "val_dataloader", "val_cfg", "val_evaluator",
)  # fmt: skip


def run(  # noqa: PLR0913  # one option of the command each
    cfg: Config,
    checkpoint: Path,
    *,
    work_dir: Path,
    launcher: str = "none",
    options: Mapping[str, Any] | None = None,
    dump: Path | None = None,
    show: Path | None = None,
    watch: Hook | None = None,
    progress: Literal["live", "plain", "quiet"] = "plain",
) -> dict[str, float]:
    """Metrics of the checkpoint on the test data of the config.

    Args:
        cfg: Loaded config; its data, evaluator and loop are used.
        checkpoint: Checkpoint or file of tools/export.py; it contains the model's description.
        work_dir: Folder for the log.
        launcher: none, pytorch or slurm.
        options: Overrides that were applied to `cfg`; they apply to the model too.
        dump: File for the predictions, in the task's format.
        show: Folder for annotated pictures.
        watch: A further hook of the run, such as `engine.reports.report.WriteReport`.
        progress: "live" for a line on a terminal, "plain" for log lines, "quiet" for neither.

    Raises:
        ValueError: the classes of checkpoint and data differ.
    """
    config.require(cfg, ("model", "test_dataloader", "test_cfg", "test_evaluator"), "testing")
    content = read_content(cfg, checkpoint)
    classes = list(config.data_classes(cfg, "test_dataloader")["classes"])
    if classes != content["classes"]:
        raise ValueError(
            f"{checkpoint} was trained on the classes {content['classes']}, the data has "
            f"{classes}; evaluate on data with the same class list"
        )
    cfg.model = describe(cfg, content, checkpoint, options)
    cfg.work_dir = str(work_dir)
    if dump is not None:
        cfg.test_evaluator.results_path = str(dump)
    for key in TRAINING_KEYS:
        cfg.pop(key, None)
    cfg.custom_hooks = [dict(type=ShowPredictions.__name__, folder=str(show))] if show else []
    if progress != "plain":
        cfg.custom_hooks.append(dict(type=LiveProgress.__name__, quiet=progress == "quiet"))
    runner = start(cfg, launcher)
    if is_exported(checkpoint):
        runner.model = open_network(bare(runner.model), checkpoint)
    else:
        fill(bare(runner.model), content, checkpoint)
    if watch is not None:
        runner.register_hook(watch)
    try:
        return {name: float(value) for name, value in runner.test().items()}
    finally:
        if (line := find_hook(runner, LiveProgress)) is not None:
            line.bar.stop()


@HOOKS.register_module()
class ShowPredictions(Hook):
    """Writes every test image with its predictions drawn, as <image id>.jpg.

    Args:
        folder: Folder to write to.
        threshold: Lowest score drawn, 0..1.
    """

    def __init__(self, folder: str, threshold: float = 0.4) -> None:
        self.folder = Path(folder)
        self.threshold = threshold

    def after_test_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Mapping[str, Any],
        outputs: Sequence[Mapping[str, Any]],
    ) -> None:
        """Draw one batch."""
        network = bare(runner.model)
        draw = task_of_config(runner.cfg).use("draw")
        for image, target, found in zip(
            data_batch["images"], data_batch["targets"], outputs, strict=True
        ):
            picture = draw(image.numpy(), found, network.classes, self.threshold)
            save_picture(self.folder / _inside(f"{target['image_id']}.jpg"), picture)


def _inside(path: str) -> Path:
    """The path without its root and "..", so that it stays inside a folder."""
    return Path(*(part for part in Path(path).parts if part not in ("..", Path(path).anchor)))


def scorer_of(cfg: Config, folder: Path, options: Mapping[str, Any] | None = None) -> Scorer | None:
    """The scorer of files on the data set in a folder; None if the folder holds no data set.

    Args:
        cfg: Loaded config.
        folder: Data in the task's layout.
        options: Overrides that were applied to `cfg`; exported files already contain them.
    """
    data = data_of(cfg, folder) if folder.is_dir() else None
    if data is None:
        return None

    def score(path: Path) -> float:
        return metric(data, path, None if is_exported(path) else options)

    return Scorer(metric_name(cfg), task_of_config(cfg).metric_scale, score)


def metric(cfg: Config, path: Path, options: Mapping[str, Any] | None = None) -> float:
    """The metric that selects the best checkpoint, for a checkpoint or exported file."""
    cfg = copy.deepcopy(cfg)
    cfg.log_level = "ERROR"
    with tempfile.TemporaryDirectory() as work_dir, without_log():
        # mmengine names runs by the second: two runs in one second would share a folder.
        cfg.experiment_name = Path(work_dir).name
        found = run(cfg, path, work_dir=Path(work_dir), options=options)
    return found[metric_name(cfg)]


def metric_name(cfg: Config) -> str:
    """Key of the metric that selects the best checkpoint."""
    name: str = cfg.default_hooks.checkpoint.save_best
    return name
