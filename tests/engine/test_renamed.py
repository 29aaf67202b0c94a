"""Names of version 0.1 in a user's config: one line says what they are called now."""

from pathlib import Path
from typing import Any

import pytest

from engine import config, renamed

ROOT = Path(__file__).parents[2]
DUMPED = """\
default_hooks = dict(
    checkpoint=dict(best='accuracy/top1', every_steps=1000, type='engine.saving.SaveCheckpoint'),
    timer=dict(type='mmengine.hooks.IterTimerHook'))
model = dict(
    backbone=dict(scale=0.25, type='backbone.pplcnet.PPLCNet'),
    data_preprocessor=dict(size=[32, 32], type='engine.preprocess.Preprocess'),
    loss=dict(type='classification.loss.ClassificationLoss'),
    num_classes=3,
    type='classification.classifier.Classifier')
train_dataloader = dict(dataset=dict(data_root='data', type='classification.dataset.ImageNet'))
"""


def refusal(path: Path, text: str, options: dict[str, Any] | None = None) -> str:
    """The one line that a config of this text gets."""
    path.write_text(text)
    with pytest.raises(ValueError, match=r"\S") as error:
        config.require(config.load(path, options), (), "a test")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_dumped_config_gets_all_its_new_names(tmp_path: Path) -> None:
    assert refusal(tmp_path / "dumped.py", DUMPED) == (
        f"{tmp_path / 'dumped.py'}: has names of version 0.1; "
        "engine.saving.SaveCheckpoint is engine.hooks.checkpoint_hook.SaveCheckpoint now, "
        "engine.preprocess.Preprocess is engine.data.preprocess.Preprocess now, "
        "classification.dataset.ImageNet is classification.data.dataset.ImageFolder now"
    )


def test_a_dumped_config_with_new_names_loads(tmp_path: Path) -> None:
    text = DUMPED
    for old in ("saving.SaveCheckpoint", "preprocess.Preprocess"):
        text = text.replace(f"engine.{old}", str(renamed.new_name(f"engine.{old}")))
    text = text.replace(
        "classification.dataset.ImageNet", "classification.data.dataset.ImageFolder"
    )
    line = refusal(tmp_path / "keys.py", text)
    assert line == "default_hooks.checkpoint.best was renamed: use save_best"
    new = tmp_path / "new.py"
    new.write_text(text.replace("best=", "save_best="))
    assert config.load(new).default_hooks.checkpoint.save_best == "accuracy/top1"


def test_an_import_of_an_old_module(tmp_path: Path) -> None:
    lines = ["from engine.ema import EMA", "from engine.clock import Clock"]
    assert refusal(tmp_path / "own.py", "\n".join([*lines, "custom_hooks = [dict(type=EMA)]"])) == (
        f"{tmp_path / 'own.py'}: has names of version 0.1; engine.ema.EMA is "
        "engine.hooks.ema.EMA now, engine.clock.Clock is engine.hooks.seeds.Clock now"
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("from engine.ema import EMA", "engine.ema is engine.hooks.ema now"),
        ("from engine.data import EMA", "engine.data is engine.data.dataset now"),
    ],
)
def test_an_old_module_in_a_file_that_the_config_reads(
    tmp_path: Path, line: str, said: str
) -> None:
    (tmp_path / "base.py").write_text(f"{line}\ncustom_hooks = [dict(type=EMA)]\n")
    child = "from mmengine.config import read_base\nwith read_base():\n    from .base import *\n"
    assert refusal(tmp_path / "child.py", child).endswith(f"; {said}")


def test_names_that_stand_are_not_named() -> None:
    for text in ("from engine.hooks.ema import EMA", "x = 'a.b'", "x = dict(", "import engine"):
        assert not renamed.old_names(text)
    assert not renamed.old_names("from engine.export import exporter")  # a package now
    assert not renamed.old_module("No module named 'engine.nothing'")


def test_every_new_module_is_there() -> None:
    paths = [ROOT / name.replace(".", "/") for name in renamed._MODULES.values()]
    assert len(paths) == 152
    assert [path for path in paths if not path.with_suffix(".py").is_file()] == []
