"""A checkpoint, or an exported file, against a data set."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from engine import config
from engine.hooks.checkpoint_hook import bare, find_hook
from engine.hooks.progress import LiveProgress
from engine.inference.files import save_picture
from engine.inference.predictor import describe, fill, read_content
from engine.runtime.deployed import deployed
from engine.runtime.exported import is_exported
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
        checkpoint: Checkpoint or exported file of ours; it describes the model itself.
        work_dir: Where the log goes.
        launcher: none, pytorch or slurm.
        options: Overrides that were applied to `cfg`, so that they reach the model too.
        dump: Where the evaluator writes the predictions in its task's format.
        show: Folder for annotated pictures.
        watch: What else looks at the run, such as `engine.reports.report.WriteReport`.
        progress: A live line on a terminal, log lines, or neither.

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
        runner.model = deployed(bare(runner.model), checkpoint)
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
        folder: Where to.
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
        model = bare(runner.model)
        for image, target, found in zip(
            data_batch["images"], data_batch["targets"], outputs, strict=True
        ):
            picture = model.draw(image.numpy(), found, self.threshold)
            save_picture(self.folder / _inside(f"{target['image_id']}.jpg"), picture)


def _inside(path: str) -> Path:
    """The path without what would lead out of a folder, for images listed from elsewhere."""
    return Path(*(part for part in Path(path).parts if part not in ("..", Path(path).anchor)))
