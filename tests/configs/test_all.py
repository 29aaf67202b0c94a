"""Every file of configs/ loads, builds and runs one step, and reloads from its dump."""

import ast
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, MODELS
from torch import nn

from engine import config
from engine.data.preprocess import collate
from engine.training import config_checks

FOLDER = Path(__file__).parents[2] / "configs"
ALL = [*sorted(FOLDER.glob("*.py")), *sorted((FOLDER / "paper").glob("*.py"))]
FILES = {path.stem: path for path in ALL}
DETECTORS = [path for path in ALL if path.name.startswith("picodet")]
# Of both generations and trunks; the others' step is a slow test.
QUICK = ("picodet_lcnet_own", "picodet_legacy_lcnet_x0_5", "picodet_mobilenetv3")
NAMES = {
    "picodet_lcnet", "picodet_xs_lcnet", "picodet_m_lcnet", "picodet_l_lcnet",
    "picodet_lcnet_416", "picodet_xs_lcnet_416", "picodet_m_lcnet_416", "picodet_l_lcnet_416",
    "picodet_l_lcnet_640", "picodet_mobilenetv3", "picodet_lcnet_own", "picodet_lcnet_mini",
    "classifier_lcnet", "classifier_mobilenetv3", "classifier_lcnet_own", "classifier_lcnet_mini",
    "picodet_legacy_lcnet", "picodet_legacy_mobilenetv3", "picodet_layout_lcnet",
}  # fmt: skip
# Published: scale, neck, tower, size, training sizes, rate, images a step, epochs (docs, ppdet).
PUBLISHED = {
    "picodet_xs_lcnet": (0.35, 96, 2, 320, (256, 384), 0.32, 256, 300),
    "picodet_xs_lcnet_416": (0.35, 96, 2, 416, (352, 480), 0.28, 224, 300),
    "picodet_lcnet": (0.75, 96, 2, 320, (256, 384), 0.32, 256, 300),
    "picodet_lcnet_416": (0.75, 96, 2, 416, (352, 480), 0.24, 192, 300),
    "picodet_m_lcnet": (1.5, 128, 4, 320, (256, 384), 0.24, 192, 300),
    "picodet_m_lcnet_416": (1.5, 128, 4, 416, (352, 480), 0.24, 192, 250),
    "picodet_l_lcnet": (2.0, 160, 4, 320, (256, 384), 0.12, 96, 250),
    "picodet_l_lcnet_416": (2.0, 160, 4, 416, (352, 480), 0.12, 96, 250),
    "picodet_l_lcnet_640": (2.0, 160, 4, 640, (576, 704), 0.06, 48, 200),
    "picodet_legacy_lcnet": (1.5, 128, 4, 416, (352, 480), 0.4, 320, 300),
    "picodet_legacy_mobilenetv3": (1.0, 128, 4, 416, (352, 480), 0.3, 224, 180),
}
# The PP-LCNet paper's rows: scale of the trunk.
PAPER = {
    "picodet_legacy_lcnet_x0_5": 0.5,
    "picodet_legacy_lcnet_x1_0": 1.0,
    "picodet_legacy_mobilenetv3_x0_35": 0.35,
    "picodet_legacy_mobilenetv3_x0_75": 0.75,
}


@cache
def loaded(path: Path) -> Config:
    cfg = config.load(path)
    config.check_keys(cfg)
    return cfg


def test_the_fixed_names_exist() -> None:
    assert FILES.keys() >= NAMES
    assert len(FILES) == len(ALL)


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_docstring_and_spelled_out_keys(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert "Reproduced here:" in text
    assert "Command: python tools/" in text
    assert f"configs/{path.relative_to(FOLDER)}" in text
    model = loaded(path).model
    assert isinstance(model.num_classes, int)
    assert {"type", "scale"} <= set(model.backbone)
    assert ("arch" in model.backbone) == ("mobilenetv3" in path.stem)


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_what_it_changes_has_a_name(path: Path) -> None:
    """No part of a list by its place, which another config may change."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Subscript):
            assert isinstance(node.slice, ast.Constant)
            assert isinstance(node.slice.value, str)
        assert not isinstance(node, ast.Attribute) or node.attr in {"update", "pop"}


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_dump_reloads(path: Path, tmp_path: Path) -> None:
    cfg = loaded(path)
    dumped = tmp_path / path.name
    dumped.write_text("\n".join(f"{key} = {value!r}" for key, value in cfg.to_dict().items()))
    again = config.load(dumped)
    assert again.to_dict() == cfg.to_dict()
    assert config.plain(again.model) == config.plain(cfg.model)
    config.check_sizes(again)
    config_checks.check(again, [str(label) for label in range(again.model.num_classes)])


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_numbers(name: str) -> None:
    cfg = loaded(FILES[name])
    scale, neck, tower, size, train_sizes, rate, batch, epochs = PUBLISHED[name]
    assert cfg.model.backbone.scale == scale
    assert (cfg.model.neck_channels, cfg.model.tower_convs) == (neck, tower)
    preprocess = cfg.model.data_preprocessor
    assert tuple(preprocess.size) == (size, size)
    assert (preprocess.train_sizes[0], preprocess.train_sizes[-1]) == train_sizes
    assert len(preprocess.train_sizes) == 5
    assert cfg.optim_wrapper.optimizer.lr == rate
    assert cfg.auto_scale_lr.base_batch_size == 4 * cfg.train_dataloader.batch_size == batch
    assert cfg.train_cfg.max_epochs == epochs
    assert (cfg.param_scheduler[0].epochs or epochs) == 300
    assert cfg.optim_wrapper.optimizer.momentum == 0.9
    assert cfg.optim_wrapper.optimizer.weight_decay == 4e-5


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_rows_share_one_recipe(name: str) -> None:
    cfg = loaded(FILES[name])
    assert (cfg.model.backbone.scale, cfg.model.generation) == (PAPER[name], 1)
    assert (cfg.model.neck_channels, cfg.model.tower_convs) == (96, 2)
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (0.3, 0.9, 1e-4)
    assert cfg.auto_scale_lr.base_batch_size == 4 * cfg.train_dataloader.batch_size == 224
    assert (cfg.param_scheduler[0].epochs, cfg.train_cfg.max_epochs) == (None, 280)


@pytest.mark.parametrize(
    ("name", "published"),
    [("picodet_legacy_lcnet", 3.10), ("picodet_legacy_mobilenetv3", 3.55)],
)
def test_published_parameter_counts(name: str, published: float) -> None:
    """In millions, as the list of models has them."""
    with torch.device("meta"):
        model = MODELS.build({**loaded(FILES[name]).model})
    counted = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert counted == pytest.approx(published, abs=0.01)


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=() if p.stem in QUICK else pytest.mark.slow) for p in DETECTORS],
    ids=lambda path: path.stem,
)
def test_one_step(path: Path, mini_coco: Path) -> None:
    """Data set with its transforms, preprocessing, loss, optimiser step, prediction."""
    cfg = loaded(path).copy()
    torch.manual_seed(0)
    preprocess = {**cfg.model.data_preprocessor, "size": (128, 128), "train_sizes": (128,)}
    model = MODELS.build({**cfg.model, "data_preprocessor": preprocess})
    dataset = DATASETS.build({**cfg.train_dataloader.dataset, "data_root": str(mini_coco)})
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    batch = collate([dataset[0], dataset[1]])
    losses = model.train().train_step(batch, wrapper)
    assert set(losses) == {"loss", "loss_vfl", "loss_dfl", "loss_giou"}
    total = sum(float(losses[name].detach()) for name in ("loss_vfl", "loss_dfl", "loss_giou"))
    assert 0.5 < float(losses["loss"].detach()) < 20
    assert float(losses["loss"].detach()) == pytest.approx(total, rel=1e-5)
    with torch.no_grad():
        results = model.eval().test_step(batch)
    assert [found["image_id"] for found in results] == [t["image_id"] for t in batch["targets"]]
    assert all(torch.isfinite(found["boxes"]).all() for found in results)


def decays(path: Path) -> dict[str, float]:
    """Weight decay by parameter name, as the optimiser has it."""
    cfg = loaded(path)
    model = MODELS.build({**cfg.model})
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    names = {id(value): name for name, value in model.named_parameters()}
    return {
        names[id(value)]: group["weight_decay"]
        for group in wrapper.optimizer.param_groups
        for value in group["params"]
    }


def test_which_parameters_decay() -> None:
    """All but the batch-norms of trunk, head towers and fusion blocks, which are trunk units.

    The batch-norms of the neck's other parts and of the alignment branch decay: the original
    declares them without an exemption.
    """
    model = MODELS.build({**loaded(FOLDER / "picodet_lcnet.py").model})
    norms = {
        f"{name}.{part}"
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for part in ("weight", "bias")
    }
    decaying = ("neck.laterals", "neck.downsamples", "neck.extra_lateral", "neck.extra_output")
    decaying += ("head.align",)
    exempt = {name for name in norms if not name.startswith(decaying)}
    found = decays(FOLDER / "picodet_lcnet.py")
    assert found.keys() == dict(model.named_parameters()).keys()
    assert {name for name, decay in found.items() if decay == 0} == exempt
    assert {decay for name, decay in found.items() if name not in exempt} == {4e-5}
    assert (len(norms), len(exempt)) == (164, 126)


def test_which_parameters_of_the_first_generation_decay() -> None:
    """All but the batch-norms of trunk and towers, and of MobileNetV3's trunk none at all."""
    for name in ("picodet_legacy_lcnet_x0_5", "picodet_legacy_mobilenetv3_x0_35"):
        found = decays(FILES[name])
        for key, decay in found.items():
            is_norm = key.endswith(("norm.weight", "norm.bias"))
            exempt = is_norm and key.startswith(("backbone.", "head."))
            exempt = exempt or ("mobilenetv3" in name and key.startswith("backbone."))
            assert decay == (0 if exempt else 1e-4), key


def test_a_mobilenetv3_trunk_does_not_decay() -> None:
    found = decays(FOLDER / "picodet_mobilenetv3.py")
    trunk = {decay for name, decay in found.items() if name.startswith("backbone.")}
    assert trunk == {0}
    assert found["neck.laterals.0.conv.weight"] == found["neck.laterals.0.norm.weight"] == 4e-5
    assert found["neck.top_down.0.0.depthwise.norm.weight"] == 0


@pytest.mark.parametrize("name", ["picodet_lcnet_own", "picodet_xs_lcnet_own"])
def test_another_trunk_by_one_line(name: str) -> None:
    options: dict[str, Any] = {"model.backbone.type": "MobileNetV3", "model.backbone.scale": 0.75}
    swapped = config.load(FOLDER / f"{name}.py", options)
    named = loaded(FOLDER / "picodet_mobilenetv3.py")
    first, second = (MODELS.build({**cfg.model}).state_dict() for cfg in (swapped, named))
    assert {key: value.shape for key, value in first.items()} == {
        key: value.shape for key, value in second.items()
    }
    small = config.load(FOLDER / f"{name}.py", {**options, "+model.backbone.arch": "small"})
    assert len(MODELS.build({**small.model}).state_dict()) < len(first)


def test_scale_and_classes_by_one_line() -> None:
    for path in ALL:
        cfg = config.load(path, {"model.backbone.scale": 0.5, "model.num_classes": 11})
        assert (cfg.model.backbone.scale, cfg.model.num_classes) == (0.5, 11)
