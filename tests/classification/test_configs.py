"""The recipes: what is published, which weights decay, and one step of each."""

from pathlib import Path

import pytest
import torch
from mmengine.optim import build_optim_wrapper

from engine import config
from engine.checkpoint import checkpoint
from engine.data.preprocess import collate

FOLDER = Path(__file__).parents[2] / "configs"
# Scale, decay, AutoAugment; the rest is the same for all.
PUBLISHED = {
    "classifier_lcnet_x0_25": (0.25, 3e-5, False),
    "classifier_lcnet_x0_35": (0.35, 3e-5, False),
    "classifier_lcnet_x0_5": (0.5, 3e-5, False),
    "classifier_lcnet_x0_75": (0.75, 3e-5, False),
    "classifier_lcnet": (1.0, 3e-5, False),
    "classifier_lcnet_x1_5": (1.5, 4e-5, False),
    "classifier_lcnet_x2_0": (2.0, 4e-5, False),
    "classifier_lcnet_x2_5": (2.5, 4e-5, True),
}
ALL = sorted(path.stem for path in FOLDER.glob("classifier*.py"))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_recipe(name: str) -> None:
    cfg = config.load(FOLDER / f"{name}.py")
    scale, decay, automatic = PUBLISHED[name]
    assert cfg.model.backbone.scale == scale
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (0.8, 0.9, decay)
    assert not optimizer.get("nesterov")
    assert cfg.auto_scale_lr.base_batch_size == 4 * cfg.train_dataloader.batch_size == 2048
    schedule = cfg.param_scheduler[0]
    assert (schedule.warmup_epochs, schedule.warmup_factor, schedule.epochs) == (5, 0.0, None)
    assert cfg.train_cfg.max_epochs == 360
    assert cfg.model.loss.label_smoothing == 0.1
    assert (cfg.model.batch_mix.mixup, cfg.model.batch_mix.cutmix) == (0, 0)
    names = [t.type.__name__ for t in cfg.train_dataloader.dataset.transforms]
    assert names == ["RandomResizedCrop", "HorizontalFlip"] + ["AutoAugment"] * automatic
    preprocess = cfg.model.data_preprocessor
    assert (tuple(preprocess.size), preprocess.resize_shortest) == ((224, 224), 256)
    assert preprocess.interpolation == "linear"


def test_mobilenetv3_and_ssld_recipes() -> None:
    mobile = config.load(FOLDER / "classifier_mobilenetv3.py")
    assert (mobile.optim_wrapper.optimizer.lr, mobile.auto_scale_lr.base_batch_size) == (0.65, 1024)
    assert mobile.optim_wrapper.optimizer.weight_decay == 2e-5
    ssld = config.load(FOLDER / "classifier_lcnet_ssld.py")
    assert (ssld.optim_wrapper.optimizer.lr, ssld.auto_scale_lr.base_batch_size) == (0.4, 1024)
    assert (ssld.train_cfg.max_epochs, ssld.param_scheduler[0].epochs) == (200, None)
    assert (ssld.model.dropout, ssld.model.loss.label_weight) == (0.0, 0.0)


@pytest.mark.parametrize("name", ["classifier_lcnet", "classifier_mobilenetv3"])
def test_all_decays_but_batch_norms(name: str) -> None:
    cfg = config.load(FOLDER / f"{name}.py")
    model = checkpoint.build_model(config.plain(cfg.model))
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    decay = {id(p): g["weight_decay"] for g in wrapper.optimizer.param_groups for p in g["params"]}
    full = cfg.optim_wrapper.optimizer.weight_decay
    for key, parameter in model.named_parameters():
        assert decay[id(parameter)] == (0 if ".norm." in key else full), key


@pytest.mark.parametrize("name", [n for n in ALL if "distill" not in n and "ssld" not in n])
def test_one_step(name: str) -> None:
    """Preprocessing, loss, optimiser step and prediction of crops as the data set gives them."""
    cfg = config.load(FOLDER / f"{name}.py", {"model.backbone.scale": 0.5})
    torch.manual_seed(0)
    model = checkpoint.build_model(config.plain(cfg.model))
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    wrapper.initialize_count_status(model, 0, 1)
    samples = [
        {
            "images": torch.randint(0, 256, (64, 64, 3), dtype=torch.uint8),
            "targets": {"label": label, "image_id": str(label)},
        }
        for label in (0, 1)
    ]
    last = model.hidden if hasattr(model.hidden, "weight") else model.classify
    start = last.weight.detach().clone()
    losses = model.train().train_step(collate(samples), wrapper)
    assert losses.keys() == {"loss", "loss_ce"}
    expected = torch.tensor(float(model.num_classes)).log().item()
    assert float(losses["loss"].detach()) == pytest.approx(expected, rel=0.6)
    assert not torch.equal(last.weight, start)
    with torch.no_grad():
        results = model.eval().test_step(collate(samples))
    assert [found["image_id"] for found in results] == ["0", "1"]
    assert all(found["scores"].sum().item() == pytest.approx(1, rel=1e-4) for found in results)
