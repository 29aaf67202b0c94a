"""The recipe of the configs: what is published, and which weights decay."""

from pathlib import Path

import pytest
from mmengine.optim import build_optim_wrapper

from engine import config
from engine.checkpoint import checkpoint

FOLDER = Path(__file__).parents[2] / "configs"
PUBLISHED = {
    "deeplabv3plus_lcnet": ("PPLCNet", 1.0),
    "deeplabv3plus_lcnet_x0_5": ("PPLCNet", 0.5),
    "deeplabv3plus_mobilenetv3": ("MobileNetV3", 0.75),
    "deeplabv3plus_mobilenetv3_x0_5": ("MobileNetV3", 0.5),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_recipe(name: str) -> None:
    cfg = config.load(FOLDER / f"{name}.py")
    plain = config.plain(cfg.model)
    assert (plain["backbone"]["type"], plain["backbone"]["scale"]) == PUBLISHED[name]
    assert plain["backbone"]["output_stride"] == 32
    assert plain["data_preprocessor"]["mean"] == plain["data_preprocessor"]["std"] == [0.5] * 3
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (0.01, 0.9, 4e-5)
    assert (cfg.train_cfg.max_iters, 4 * cfg.train_dataloader.batch_size) == (80_000, 32)
    assert cfg.param_scheduler[0].power == 0.9
    crop = cfg.train_dataloader.dataset.transforms[1]
    assert (crop.height, crop.width) == (512, 1024)


@pytest.mark.parametrize("name", ["deeplabv3plus_lcnet", "deeplabv3plus_mobilenetv3"])
def test_all_decays_but_the_batch_norms_of_the_trunk(name: str) -> None:
    cfg = config.load(FOLDER / f"{name}.py")
    model = checkpoint.build_model(config.plain(cfg.model))
    groups = build_optim_wrapper(model, cfg.optim_wrapper).param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    for parameter_name, parameter in model.named_parameters():
        exempt = parameter_name.startswith("backbone.") and ".norm." in parameter_name
        assert decay[id(parameter)] == (0 if exempt else 4e-5), parameter_name
