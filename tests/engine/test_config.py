"""engine/config.py: what is refused, what an override does, dump and reload."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from backbone import PPLCNet
from engine import config, distributed
from engine.data.preprocess import Preprocess

CONFIGS = Path(__file__).parents[2] / "configs"
BASE = CONFIGS / "picodet_lcnet.py"


def checked(path: Path, options: dict[str, Any] | None = None) -> Config:
    """A config as a command gets it that needs more than the model."""
    cfg = config.load(path, options)
    config.require(cfg, (), "a test")
    return cfg


def load(**options: Any) -> Config:
    return config.load(BASE, {key.replace("__", "."): value for key, value in options.items()})


@pytest.fixture
def child(tmp_path: Path) -> Any:
    """Writes a config that changes the detector's by some lines, and returns its path."""

    def write(*lines: str, imports: str = "") -> Path:
        text = BASE.read_text().replace("with read_base():", f"{imports}\nwith read_base():")
        (tmp_path / "_base").symlink_to(CONFIGS / "_base")
        path = tmp_path / "child.py"
        path.write_text("\n".join([text, *lines, ""]))
        return path

    return write


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"modl.num_classes": 3}, "no key 'modl' here; nearest known: model"),
        ({"model.num_clases": 3}, "nearest known: num_classes"),
        ({"model.backbone.scal": 0.5}, "nearest known: scale"),
        ({"model.backbone.scale.deep": 1}, "no key 'deep' here; none is known"),
        ({"train_dataloader.batchsize": 3}, "nearest known: batch_size"),
        ({"train_dataloader.dataset.transforms.7.p": 1}, "no key '7' here"),
        ({"param_scheduler.0.epoch": 3}, "nearest known: epochs"),
        ({"param_scheduler.1.epochs": 3}, "no key '1' here"),
        ({"custom_hooks.em.decay": 0.5}, "nearest known: ema"),
        ({"+custom_hooks.ema.decy": 0.5}, "config custom_hooks.4.decy: EMA does not take 'decy'"),
        ({"+model.reg_mx": 3}, "PicoDet does not take 'reg_mx'; nearest known: reg_max"),
        ({"+model.new.deeper": 3}, "no key 'new' here"),
        ({"+batch": 3}, "config key 'batch' is unknown"),
        ({"+train_dataloader.pin_memry": True}, "nearest known: pin_memory"),
        ({"+train_dataloader.dataset.spilt": "x"}, "nearest known: split"),
        ({"+default_hooks.checkpoint.max_keep": 3}, "SaveCheckpoint does not take 'max_keep'"),
        ({"default_hooks.checkpoint.best": "x"}, "default_hooks.checkpoint.best was renamed: use"),
        ({"default_hooks.checkpoint.keep": 3}, "keep was renamed: use max_keep_ckpts"),
        ({"+default_hooks.checkpoint.keep": 3}, "checkpoint.keep was renamed: use max_keep_ckpts"),
        ({"+optim_wrapper.optimizer.nestrov": True}, "nearest known: nesterov"),
        ({"model.backbone.type": "MobileNetV"}, "nearest known: MobileNetV3"),
        ({"train_dataloader.dataset.type": "ImageNet"}, "it is ImageFolder now"),
        ({"model.type": "PicoDett"}, "nearest known: PicoDet"),
        ({"optim_wrapper.optimizer.type": "SDG"}, "no class 'SDG'; nearest known: SGD"),
        ({"+load_from": "evil.pth"}, "'load_from' is not supported; use --load-from"),
        ({"+resume": True}, "'resume' is not supported; use --resume"),
        ({"train_dataloader.batch_size": "many"}, "expected a number, got 'many'"),
        ({"train_dataloader.batch_size": True}, "expected a number, got True"),
        ({"train_dataloader.drop_last": 2}, "expected true or false"),
        ({"model.data_preprocessor.size": 320}, "expected several values"),
        ({"train_dataloader.dataset.transforms": 3}, "expected several values"),
        ({"model.backbone": 3}, "expected a dict of options"),
    ],
)
def test_wrong_override(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=r"\S") as error:
        checked(BASE, options)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_overrides_reach_every_level() -> None:
    cfg = config.load(
        BASE,
        {
            "model.backbone.scale": 1,
            "param_scheduler.0.epochs": 7,
            "train_dataloader.dataset.transforms.1.p": 0.25,
            "+model.reg_max": 9,
            "default_hooks.checkpoint.save_best": None,
        },
    )
    assert cfg.model.backbone == {"type": cfg.model.backbone.type, "scale": 1}
    assert cfg.param_scheduler[0].epochs == 7
    assert cfg.train_dataloader.dataset.transforms[1].p == 0.25
    assert cfg.model.reg_max == 9
    assert cfg.default_hooks.checkpoint.save_best is None
    assert MODELS.build(cfg.model).head.cls[0].out_channels == 80


def test_parts_of_a_list_by_name_and_by_number() -> None:
    numbers = {"custom_hooks.4.decay": 0.5, "train_dataloader.dataset.transforms.1.p": 0.25}
    names = {"custom_hooks.ema.decay": 0.5, "train_dataloader.dataset.transforms.flip.p": 0.25}
    by_number = config.load(BASE, {**numbers, "param_scheduler.0.warmup_iters": 7})
    by_name = config.load(BASE, {**names, "param_scheduler.warmup_iters": 7})
    assert by_name.to_dict() == by_number.to_dict()
    assert [hook.type.__name__ for hook in by_name.custom_hooks] == [
        "Clock", "StopOnNaN", "SyncBuffersHook", "LiveProgress", "EMA",
    ]  # fmt: skip
    assert by_name.custom_hooks[4].decay == 0.5
    transforms = by_name.train_dataloader.dataset.transforms
    assert [part.get("p") for part in transforms] == [None, 0.25, None]
    assert [part.warmup_iters for part in by_name.param_scheduler] == [7]
    assert list(by_name.default_hooks.param_scheduler) == ["type"]  # a hook of that name
    none = config.load(BASE, {"train_dataloader.dataset.transforms": [], "custom_hooks": []})
    assert (none.train_dataloader.dataset.transforms, none.custom_hooks) == ([], [])


@pytest.mark.parametrize("order", [1, -1])
def test_another_backbone_drops_foreign_options(order: int) -> None:
    """MobileNetV3 does not take PPLCNet's `act`; both take the width."""
    options = [("model.backbone.type", "MobileNetV3"), ("model.backbone.scale", 0.5)]
    cfg = config.load(BASE, {"+model.backbone.act": "relu", **dict(options[::order])})
    assert cfg.model.backbone == {"type": "MobileNetV3", "scale": 0.5}
    small = config.load(BASE, {**dict(options), "+model.backbone.arch": "small"})
    weights = sum(value.numel() for value in MODELS.build(small.model.backbone).parameters())
    large = sum(value.numel() for value in MODELS.build(cfg.model.backbone).parameters())
    assert 100_000 < weights < large


def test_the_same_type_keeps_its_options() -> None:
    assert config.load(BASE, {"model.backbone.type": "PPLCNet"}).model.backbone.scale == 0.75


def test_another_optimizer_drops_momentum() -> None:
    cfg = config.load(BASE, {"optim_wrapper.optimizer.type": "AdamW"})
    assert set(cfg.optim_wrapper.optimizer) == {"type", "lr", "weight_decay"}


@pytest.mark.parametrize(
    ("line", "imports", "said"),
    [
        ("mdel = dict()", "", "config key 'mdel' is unknown; nearest known: model"),
        ("model.update(neck_chanels=4)", "", "nearest known: neck_channels"),
        ("model['backbone'].update(depth=4)", "", "PPLCNet does not take 'depth'"),
        ("test_dataloader.update(batchsize=4)", "", "nearest known: batch_size"),
        ("train_cfg.update(epochs=4)", "", "nearest known: max_epochs"),
        ("default_hooks['checkpoint'].update(best=None)", "", "best was renamed: use save_best"),
        (
            "model.update(type=PicoDot)",
            "from detection.picodet import PicoDot",
            "nearest known: PicoDet",
        ),
        (
            "train_dataloader['dataset'].update(type=ImageNet)",
            "from classification.data.dataset import ImageNet",
            "ImageNet is classification.data.dataset.ImageFolder now",
        ),
        ("model.update(type=X)", "from detection.picodot import X", "detection.picodot"),
        (
            "custom_hooks[-1].update(decay=0.5)",
            "",
            "'custom_hooks[-1].update(decay=0.5)': the parts",
        ),
        ("param_scheduler[0].update(epochs=9)", "", "single param_scheduler is one dict"),
        (
            "custom_hooks.append(dict(type=EMA, decay=0.5))",
            "",
            "parts have names now, e.g. custom_",
        ),
        ("model = dict()['x']", "", "not a valid config"),
        ("model = dict(", "", "not a valid config"),
        ("model = undefined", "", "not a valid config"),
    ],
)
def test_wrong_config_file(child: Any, line: str, imports: str, said: str) -> None:
    path = child(line, imports=imports)
    with pytest.raises(ValueError, match=r"\S") as error:
        checked(path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_loading_checks_the_model_and_imports_nothing_else(child: Any) -> None:
    """A prediction needs no hook: a missing one is an error only in training."""
    path = child("custom_hooks['own'] = dict(type=Own)", imports="from own_hooks import Own")
    cfg = config.load(path)
    config.require(cfg, ("model",), "a test")
    with pytest.raises(ValueError, match=r"child\.py: not a valid config: .* import own_hooks"):
        config.require(cfg, ("model", "default_hooks"), "a test")


def test_missing_config_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.py: no such config; nearest known"):
        config.load(tmp_path / "none.py")


def test_a_text_file_is_no_config(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ValueError, match=r"notes\.txt"):
        config.load(tmp_path / "notes.txt")


def test_dump_reloads_to_the_same(tmp_path: Path) -> None:
    cfg = config.load(BASE, {"model.backbone.type": "MobileNetV3", "model.num_classes": 3})
    cfg.dump(tmp_path / "dumped.py")
    again = config.load(tmp_path / "dumped.py")
    assert again.to_dict() == cfg.to_dict()
    assert config.plain(again.model) == config.plain(cfg.model)
    assert type(MODELS.build(again.model)) is type(MODELS.build(cfg.model))
    again.dump(tmp_path / "twice.py")
    assert (tmp_path / "twice.py").read_text() == (tmp_path / "dumped.py").read_text()


def test_dump_of_several_processes_reloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names what wraps the model."""
    monkeypatch.setattr(distributed, "is_distributed", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    cfg = config.load(BASE)
    distributed.wrap_on_cpu(cfg)
    cfg.dump(tmp_path / "dumped.py")
    wrapper = config.load(tmp_path / "dumped.py").model_wrapper_cfg
    assert wrapper.type == "MMDistributedDataParallel"
    wrapper.broadcast_bufers = False
    with pytest.raises(ValueError, match="nearest known: broadcast_buffers"):
        config.check_keys(Config({"model_wrapper_cfg": wrapper}))


@pytest.mark.parametrize(
    ("size", "fits"), [(320, True), (416, True), (32, True), (321, False), (336, False), (0, False)]
)
def test_input_size(size: int, fits: bool) -> None:
    cfg = load(model__data_preprocessor__size=(size, 320))
    if fits:
        config.check_sizes(cfg)
        return
    below = max(size // 32, 1) * 32
    with pytest.raises(
        ValueError, match=f"size {size} is not a .* 32; use {below} or {below + 32}"
    ):
        config.check_sizes(cfg)


def test_training_sizes_are_checked_too() -> None:
    with pytest.raises(ValueError, match="input size 300 is not a multiple"):
        config.check_sizes(load(model__data_preprocessor__train_sizes=[256, 300]))


def test_parts_a_command_needs() -> None:
    cfg = checked(CONFIGS / "_base/runtime.py")
    with pytest.raises(ValueError, match=r"has no model, train_cfg, which training needs"):
        config.require(cfg, ("model", "train_cfg", "default_hooks"), "training")


def test_plain_data_of_a_model() -> None:
    assert config.plain({"type": PPLCNet, "a": (1, 2.5), "b": [{"type": "X"}], "c": None}) == {
        "type": "PPLCNet",
        "a": [1, 2.5],
        "b": [{"type": "X"}],
        "c": None,
    }
    with pytest.raises(ValueError, match="not plain data"):
        config.plain({"a": object()})


def test_parameters_follow_what_is_passed_on() -> None:
    assert config.parameters(Preprocess) == {
        "size", "resize_shortest", "train_sizes", "interpolation", "mean", "std", "seed",
    }  # fmt: skip
    assert config.parameters(lambda *, a, b=2: a + b) == {"a", "b"}
    assert config.parameters(dict) is None


def test_use_data_and_split() -> None:
    cfg = load()
    config.use_data(cfg, Path("some/where"), "train2017")
    roots = {cfg[f"{name}_dataloader"].dataset.data_root for name in ("train", "val", "test")}
    assert roots == {str(Path("some/where"))}
    assert cfg.test_dataloader.dataset.split == "train2017"
    assert cfg.val_dataloader.dataset.split == "val"
