"""Two processes compared with one, for all three tasks: gradients, training, metrics, files."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import SyncBuffersHook
from mmengine.model import MMDistributedDataParallel, convert_sync_batchnorm
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from backbone import PPLCNet
from classification.classifier import Classifier
from detection.picodet import PicoDet
from engine import config
from engine.checkpoint import checkpoint
from engine.demo_data.writer import MiniData, make_mini_data
from engine.distributed import join
from engine.hooks.checkpoint_hook import bare
from engine.training import runner
from segmentation.deeplabv3plus import DeepLabV3Plus
from segmentation.loss import SegmentationLoss

ROOT = Path(__file__).parents[2]
Ranks = Callable[..., list[Any]]
TINY = {
    "model.backbone.scale": 0.25,
    "train_dataloader.num_workers": 0,
    "train_dataloader.persistent_workers": False,
    "train_dataloader.batch_size": 2,
    "val_dataloader.num_workers": 0,
    "val_dataloader.persistent_workers": False,
    "val_dataloader.batch_size": 2,
    "test_dataloader.num_workers": 0,
    "test_dataloader.batch_size": 2,
    "default_hooks.logger.interval": 1,
    "train_cfg.val_interval": 1,
}
TASKS = {
    "detection": {
        "model.neck_channels": 16,
        "model.tower_convs": 1,
        "model.data_preprocessor.size": [64, 64],
        "model.data_preprocessor.train_sizes": [64, 96],
        "param_scheduler.0.warmup_iters": 0,
        "param_scheduler.0.epochs": 1,
        "train_cfg.max_epochs": 1,
        "auto_scale_lr.base_batch_size": 8,
        "+val_evaluator.library": "pycocotools",  # hotcoco's threads do not survive a fork
        "+test_evaluator.library": "pycocotools",
    },
    "segmentation": {
        "train_dataloader.dataset.transforms.1.height": 48,
        "train_dataloader.dataset.transforms.1.width": 48,
        "train_cfg.max_iters": 2,
        "train_cfg.val_interval": 2,
        "val_dataloader.batch_size": 1,
        "test_dataloader.batch_size": 1,
    },
    "classification": {
        "model.data_preprocessor.size": [48, 48],
        "model.data_preprocessor.resize_shortest": 56,
        "train_dataloader.dataset.transforms.0.size": [32, 32],
        "param_scheduler.0.warmup_epochs": 0,
        "param_scheduler.0.epochs": 1,
        "train_cfg.max_epochs": 1,
        "auto_scale_lr.base_batch_size": 4,
    },
}
CONFIGS = {
    "detection": "picodet_lcnet_own.py",
    "segmentation": "deeplabv3plus_lcnet_own.py",
    "classification": "classifier_lcnet_own.py",
}


def options_of(task: str) -> dict[str, Any]:
    return {**TINY, **TASKS[task]}


def words(options: dict[str, Any]) -> list[str]:
    """As arguments of the command line."""
    return ["--cfg-options", *(f"{k}={v}".replace(" ", "") for k, v in options.items())]


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 training scenes and 7 of validation, which two processes cannot share evenly."""
    folder = tmp_path_factory.mktemp("mini")
    make_mini_data(folder, MiniData(seed=3, train=8, val=7, side=128))
    return folder


# Gradients.


def detector() -> Any:
    backbone = PPLCNet(0.25)
    return PicoDet(backbone=backbone, num_classes=3, neck_channels=16, tower_convs=1)


def first_detector() -> Any:
    return PicoDet(
        backbone=PPLCNet(0.25), num_classes=3, neck_channels=16, tower_convs=1, generation=1
    )


def aligned_detector() -> Any:
    model = detector()
    model.epoch = model.static_epochs  # task-aligned assignment
    return model


def segmenter(loss: SegmentationLoss | None = None) -> Any:
    backbone = PPLCNet(0.25, out_strides=(4, 32))
    return DeepLabV3Plus(backbone=backbone, num_classes=3, loss=loss)


def weighing_segmenter() -> Any:
    return segmenter(SegmentationLoss(class_weights=[1.0, 5.0, 0.2]))


def mining_segmenter() -> Any:
    return segmenter(SegmentationLoss(ohem_threshold=0.4, ohem_min_kept=0))


def classifier() -> Any:
    return Classifier(backbone=PPLCNet(0.25, out_strides=(32,)), num_classes=3, hidden=16)


def batch() -> tuple[Tensor, list[dict[str, Any]]]:
    """Four images: the first two with little to learn from, the others with much."""
    random = np.random.default_rng(0)
    images = torch.from_numpy(random.standard_normal((4, 3, 64, 64), np.float32))
    targets = []
    for number, objects in enumerate((0, 1, 6, 7)):
        corners = random.uniform(0, 30, (objects, 2))
        boxes = np.concatenate([corners, corners + random.uniform(8, 30, (objects, 2))], 1)
        mask = np.full((64, 64), 255)
        mask[:, : 5 + 18 * number] = random.integers(0, 3, (64, 5 + 18 * number))
        targets.append(
            {
                "boxes": torch.tensor(boxes, dtype=torch.float32),
                "labels": torch.tensor(random.integers(0, 3, objects)),
                "mask": torch.tensor(mask),
                "label": int(random.integers(3)),
            }
        )
    return images, targets


def made(build: Callable[[], Any]) -> Any:
    """The model in training, with fixed norm statistics and without random numbers.

    Processes normalise by their own batch; that is a difference of its own.
    """
    torch.manual_seed(0)
    model = build().train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.Dropout):
            module.eval()
    return model


def gradients(model: Any, part: slice) -> dict[str, Tensor]:
    images, targets = batch()
    sum(model(images[part], targets[part], mode="loss").values()).backward()
    return {name: p.grad for name, p in bare(model).named_parameters() if p.grad is not None}


@pytest.mark.slow
@pytest.mark.parametrize(
    "build",
    [
        detector,
        aligned_detector,
        first_detector,
        segmenter,
        weighing_segmenter,
        mining_segmenter,
        classifier,
    ],
)
def test_gradients_equal_those_of_one_process(ranks: Ranks, build: Callable[[], Any]) -> None:
    """Two images on each of two processes equal four on one."""

    def work(rank: int) -> Any:
        join(Config(), "pytorch")
        model = MMDistributedDataParallel(made(build), broadcast_buffers=False)
        found = gradients(model, slice(2 * rank, 2 * rank + 2))
        return {name: value.numpy() for name, value in found.items()}

    wanted = gradients(made(build), slice(0, 4))
    halves = [gradients(made(build), part) for part in (slice(0, 2), slice(2, 4))]
    for found in ranks(work):
        assert found.keys() == wanted.keys()
        gap = max(float(np.abs(found[n] - wanted[n].numpy()).max()) for n in wanted)
        assert gap < 1e-5
    if build not in (classifier, mining_segmenter):
        apart = max(
            float(((halves[0][n] + halves[1][n]) / 2 - wanted[n]).abs().max()) for n in wanted
        )
        assert apart > 1e-3  # the difference if each process used its own count


@pytest.mark.slow
def test_batches_gathered_on_two_processes_are_one_step(ranks: Ranks) -> None:
    """Two batches of one image on each of two processes equal one batch of four."""

    def stepped(model: Any, parts: list[slice]) -> dict[str, Any]:
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        wrapper = OptimWrapper(optimizer, accumulative_counts=len(parts))
        images, targets = batch()
        for part in parts:
            with wrapper.optim_context(model):
                losses = model(images[part], targets[part], mode="loss")
            wrapper.update_params(losses["loss_ce"])
        return {name: value.detach().numpy() for name, value in bare(model).named_parameters()}

    def work(rank: int) -> Any:
        join(Config(), "pytorch")
        model = MMDistributedDataParallel(made(classifier), broadcast_buffers=False)
        return stepped(model, [slice(2 * rank + i, 2 * rank + i + 1) for i in range(2)])

    start = {name: value.detach().numpy() for name, value in made(classifier).named_parameters()}
    wanted = stepped(made(classifier), [slice(0, 4)])
    assert max(float(np.abs(wanted[n] - start[n]).max()) for n in wanted) > 1e-2
    for found in ranks(work):
        assert max(float(np.abs(found[n] - wanted[n]).max()) for n in wanted) < 1e-5


def test_shared_norms_keep_the_names_of_weights() -> None:
    """What `sync_bn` makes of a model, which itself needs a GPU to run."""
    model = detector()
    names = list(model.state_dict())
    shared = convert_sync_batchnorm(model, "torch")
    assert list(shared.state_dict()) == names
    kinds = {type(module) for module in shared.modules()}
    assert nn.SyncBatchNorm in kinds
    assert nn.BatchNorm2d not in kinds


# Runs.


def trained_on(rank: int, task: str, data: Path, folder: Path) -> dict[str, Any]:
    """One of two processes trains; what it has at the end."""
    cfg = config.load(ROOT / "configs" / CONFIGS[task], options_of(task))
    join(cfg, "pytorch")
    # SaveCheckpoint alone has to see to buffers and average.
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook.type is not SyncBuffersHook]
    runner.prepare_training(
        cfg, data=data, work_dir=folder, seed=None, amp=False, scale_lr=task == "detection"
    )
    with patch("yapf.yapflib.yapf_api.FormatCode", lambda text, **_: (text, True)):  # for speed
        run = runner.start(cfg, "pytorch")
    before = {n: v.clone() for n, v in bare(run.model).state_dict().items() if "running_" in n}
    runner.train(run, resume=None, load_from=None)
    state = bare(run.model).state_dict()
    moved = sum(not torch.equal(before[name], state[name]) for name in before)
    return {
        "state": {name: value.numpy() for name, value in state.items()},
        "moved": moved == len(before),
        "lr": run.optim_wrapper.param_groups[0]["initial_lr"] / cfg.optim_wrapper.optimizer.lr,
        "iterations": run.iter,
        "wrapped": type(run.model).__name__,
    }


def evaluated(run_tool: Callable[..., Any], task: str, path: Path, *arguments: Any) -> Any:
    tests = {k: v for k, v in options_of(task).items() if k.lstrip("+").startswith("test_")}
    config_file = ROOT / "configs" / CONFIGS[task]
    return run_tool("test", config_file, path, *arguments, *words(tests))


def report_without_order(folder: Path) -> dict[str, Any]:
    """The report's numbers, with sorted lists of images, because equal ones may change places."""
    numbers = json.loads((folder / "report.json").read_text())
    for name in ("worst", "most_confident_mistakes"):
        if name in numbers:
            numbers[name] = sorted(map(str, numbers[name]))
    return dict(numbers)


@pytest.mark.slow
@pytest.mark.parametrize("task", list(TASKS))
def test_two_processes_train_and_evaluate_as_one(
    ranks: Ranks, run_tool: Callable[..., Any], mini: Path, tmp_path: Path, task: str
) -> None:
    """One model, saved once; its metrics do not depend on the number of processes."""
    data, folder = mini / task, tmp_path / "run"
    first, second = ranks(lambda rank: trained_on(rank, task, data, folder))
    assert first["wrapped"] == "MMDistributedDataParallel"
    assert first["moved"]
    assert first["iterations"] == second["iterations"] > 0
    # Two images on each of two processes, at a rate for eight.
    assert first["lr"] == second["lr"] == (0.5 if task == "detection" else 1.0)
    for name, value in first["state"].items():
        assert np.array_equal(value, second["state"][name]), name
    (path,) = (p for p in folder.glob("*.pth") if not p.name.startswith("best_"))
    saved = checkpoint.read(path)["training"]
    for name, value in first["state"].items():
        assert np.array_equal(value, saved["weights"][name].numpy()), name
    assert sorted(p.suffix for p in folder.iterdir() if p.is_file()) == [".pth", ".pth", ".py"]

    def evaluate(rank: int) -> Any:
        return evaluated(
            run_tool, task, path, "--data", data, "--launcher", "pytorch", "--work-dir",
            tmp_path / "two", "--out", tmp_path / "two.json", "--report", tmp_path / "two",
        )  # fmt: skip

    here, there = ranks(evaluate)
    assert (here.code, there.code) == (0, 0), here.err + there.err
    assert "value" in here.out
    assert there.out == ""
    alone = evaluated(
        run_tool, task, path, "--data", data, "--work-dir", tmp_path / "one", "--out",
        tmp_path / "one.json", "--report", tmp_path / "one",
    )  # fmt: skip
    assert alone.code == 0, alone.err
    metrics = [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "two")]
    assert metrics[0] == metrics[1]
    reports = [report_without_order(tmp_path / name) for name in ("one", "two")]
    assert reports[0] == reports[1]
    assert reports[0]["metrics"] == metrics[0]


@pytest.mark.slow
def test_dry_run_counts_the_images_of_both(
    ranks: Ranks, run_tool: Callable[..., Any], mini: Path, tmp_path: Path
) -> None:
    """Two batches of two validation images; only the first process reports."""

    def work(rank: int) -> Any:
        return run_tool(
            "train", ROOT / "configs" / CONFIGS["segmentation"], "--data", mini / "segmentation",
            "--work-dir", tmp_path, "--launcher", "pytorch", "--dry-run",
            *words(options_of("segmentation")),
        )  # fmt: skip

    first, second = ranks(work)
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert "dry run done" in first.out
    assert "mIoU" in first.out
    assert second.out == ""
    assert not list(tmp_path.glob("*.pth"))


def test_average_precision_of_odd_images_on_two_processes(ranks: Ranks, mini: Path) -> None:
    """Seven images, of which the sampler gives one twice; all twelve numbers to the last bit."""
    from mmengine.dataset import DefaultSampler

    from detection.data.dataset import CocoDetection
    from detection.evaluation.metric import CocoMetric

    data = CocoDetection(mini / "detection", split="val", training=False)
    random = np.random.default_rng(1)
    found = []
    for sample in data:
        target = sample["targets"]
        boxes = target["boxes"] + torch.from_numpy(random.normal(0, 4, target["boxes"].shape))
        scores = torch.from_numpy(random.random(len(boxes)))
        found.append(
            {"boxes": boxes.float(), "scores": scores, "labels": target["labels"]}
            | {"image_id": target["image_id"]}
        )

    def evaluate(own: list[int]) -> Any:
        metric = CocoMetric(
            library="pycocotools"
        )  # hotcoco has threads, which do not survive a fork
        metric.dataset_meta = data.metainfo
        metric.process(None, [found[index] for index in own])
        return metric.evaluate(len(data))

    def work(rank: int) -> Any:
        join(Config(), "pytorch")
        return evaluate(list(DefaultSampler(data, shuffle=False)))

    alone = evaluate(list(range(7)))
    assert 0.1 < alone["coco/bbox_mAP"] < 0.9
    assert ranks(work) == [alone, alone]


@pytest.mark.slow
@pytest.mark.parametrize("script", ["dist_train.sh", "slurm_train.sh"])
def test_the_launching_scripts(mini: Path, tmp_path: Path, script: str) -> None:
    """dist_train.sh unchanged; slurm_train.sh with an srun that starts two tasks here."""
    srun = tmp_path / "srun"
    srun.write_text(
        "#!/bin/sh\n"
        "while [ $# -gt 0 ]; do case $1 in --*) shift;; *) break;; esac; done\n"
        "export SLURM_NTASKS=2 SLURM_JOB_NODELIST=localhost SLURM_JOB_ID=$$\n"
        'SLURM_PROCID=1 SLURM_LOCALID=1 "$@" & other=$!\n'
        'SLURM_PROCID=0 SLURM_LOCALID=0 "$@" && wait $other\n'
    )
    srun.chmod(0o755)
    places = f"{Path(sys.executable).parent}:{tmp_path}:{os.environ['PATH']}"
    work_dir = tmp_path / "run"
    arguments = [
        ROOT / "tools" / script, *(["2"] if script == "dist_train.sh" else []),
        ROOT / "configs" / CONFIGS["classification"], "--data", mini / "classification",
        "--work-dir", work_dir, "--dry-run", *words(options_of("classification")),
    ]  # fmt: skip
    done = subprocess.run(
        ["bash", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PATH": places, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("dry run done") == 1
    assert "2 processes" in done.stdout + done.stderr
