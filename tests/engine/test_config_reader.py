"""engine/mmengine_internals.py: configs are read the same way in every package folder."""

from pathlib import Path

import mmengine.config.utils
import pytest
from mmengine.config import Config

from engine import config

ROOT = Path(__file__).parents[2]
CHILD = """from mmengine.config import read_base

with read_base():
    from {base} import *

train_cfg.update(max_epochs=7)
"""


def test_packages_below_the_prefix_of_python(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in a checkout in /usr/src: the config keeps names, and its dump loads again."""
    monkeypatch.setattr(mmengine.config.utils, "PYTHON_ROOT_DIR", str(ROOT))
    cfg = config.load("picodet_lcnet_mini")
    dump = "\n".join(f"{key} = {value!r}" for key, value in cfg.to_dict().items())
    assert "<class" not in dump
    assert "'detection.picodet.PicoDet'" in dump
    (tmp_path / "dump.py").write_text(dump)
    assert config.load(tmp_path / "dump.py").to_dict() == cfg.to_dict()


def test_the_standard_library_is_imported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "config.py"
    path.write_text("from math import tau\nfrom detection.picodet import PicoDet\nrate = 2 * tau\n")
    assert Config.fromfile(path).rate == pytest.approx(12.566370614)


def test_a_config_of_ones_own_inherits_from_a_shipped_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(CHILD.format(base="lcnet_vision.configs.picodet_lcnet_own"))
    cfg, base = config.load(path), config.load("picodet_lcnet_own")
    assert (cfg.train_cfg.max_epochs, base.train_cfg.max_epochs) == (7, 120)
    assert config.plain(cfg.model) == config.plain(base.model)


def test_or_from_one_in_a_package_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_project" / "configs").mkdir(parents=True)
    (tmp_path / "my_project" / "configs" / "base.py").write_text("train_cfg = dict(max_epochs=1)\n")
    (tmp_path / "mine.py").write_text(CHILD.format(base="my_project.configs.base"))
    monkeypatch.syspath_prepend(tmp_path)
    assert Config.fromfile(tmp_path / "mine.py").train_cfg.max_epochs == 7


@pytest.mark.parametrize(
    ("base", "line"),
    [
        ("lcnet_vision.configs.picodet_lcnet_owm", r"nearest known: picodet_lcnet_own, "),
        (".mime", r"no base config .*mime\.py; nearest known: mine"),
        ("no_such_project.configs.base", "no package 'no_such_project' to take a base config from"),
    ],
    ids=["shipped", "beside", "package"],
)
def test_a_misspelled_base(tmp_path: Path, base: str, line: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(CHILD.format(base=base))
    with pytest.raises(ValueError, match=rf"mine\.py: not a valid config: .*{line}"):
        config.load(path)
