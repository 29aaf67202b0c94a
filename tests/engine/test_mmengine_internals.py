"""engine/mmengine_internals.py: private attributes of mmengine are used only there."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from engine.mmengine_internals import (
    count_step,
    drop_imported_names,
    set_progress,
    set_step_count,
)

ROOT = Path(__file__).parents[2]
FOLDERS = ("backbone", "engine", "detection", "segmentation", "classification", "tools")
PRIVATE = {
    "_cfg_dict", "_imported_names", "_inner_count", "_instance_dict", "_is_builtin_module",
    "_test_loop", "_train_loop", "_val_loop",
}  # fmt: skip
OFTEN_OURS = {"_epoch", "_iter"}  # a data set's own `self._epoch` is not mmengine's


def touched(path: Path) -> Iterator[str]:
    """Private attributes of mmengine that a file names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            own = isinstance(node.value, ast.Name) and node.value.id == "self"
            if node.attr in PRIVATE or (node.attr in OFTEN_OURS and not own):
                yield node.attr
        elif isinstance(node, ast.Constant) and node.value in PRIVATE | OFTEN_OURS:
            yield str(node.value)  # of getattr or setattr


def test_private_attributes_are_touched_in_one_file() -> None:
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    found = {str(path.relative_to(ROOT)): set(touched(path)) for path in files}
    home = found.pop("engine/mmengine_internals.py")
    assert {"_cfg_dict", "_epoch", "_imported_names", "_inner_count", "_iter"} <= home
    assert {file: names for file, names in found.items() if names} == {}


@pytest.mark.parametrize(("steps", "due"), [(0, False), (3, False), (4, True), (8, True)])
def test_weights_are_due_at_multiples_of_the_gathered_batches(steps: int, due: bool) -> None:
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = OptimWrapper(torch.optim.SGD([weight], lr=0.1), accumulative_counts=4)
    optimizer.initialize_count_status(torch.nn.Module(), 0, 100)
    set_step_count(optimizer, steps)
    assert optimizer.should_update() is (due or steps == 0)
    count_step(optimizer)
    assert optimizer.should_update() is ((steps + 1) % 4 == 0)


@pytest.mark.parametrize("kind", [EpochBasedTrainLoop, IterBasedTrainLoop])
def test_a_loop_goes_on_from_where_it_is_set(kind: type) -> None:
    loop = object.__new__(kind)
    set_progress(loop, 3, 70)
    assert (loop.epoch, loop.iter) == (3, 70)


def test_imported_names_are_no_entries(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text("from torch.nn import Linear\nlayer = dict(type=Linear, width=3)\n")
    cfg = Config.fromfile(str(path))
    assert "Linear" in cfg
    drop_imported_names(cfg)
    assert list(cfg) == ["layer"]
    assert cfg.layer.width == 3
