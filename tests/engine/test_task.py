"""engine/task.py: names in tasks can be imported, and finding a task imports little."""

import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from torch import nn

from classification.classifier import Classifier
from detection.picodet import PicoDet
from engine import config
from engine.task import (
    Task,
    find_task,
    known_tasks,
    task_named,
    task_of,
    task_of_config,
    tasks_of_layout,
)
from segmentation.deeplabv3plus import DeepLabV3Plus

ROOT = Path(__file__).parents[2]
HEAVY = ("matplotlib", "albumentations", "pycocotools")
TASKS = {"cls": Classifier, "det": PicoDet, "seg": DeepLabV3Plus}


def imported(code: str) -> list[str]:
    """Modules that the code has imported at the end of a new process."""
    lines = f"{code}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return [name for name in done.stdout.splitlines()[-1].split() if name.split(".")[0] in HEAVY]


def test_every_dotted_name_resolves() -> None:
    assert [task.name for task in known_tasks()] == sorted(TASKS)
    for task in known_tasks():
        values = asdict(task).items()
        named = [key for key, value in values if re.fullmatch(r"[\w.]+:\w+", str(value))]
        assert len(named) > 12
        for part in named:
            assert task.use(part) is not None, part


@pytest.mark.parametrize(("name", "network"), TASKS.items())
def test_found_by_the_network_or_its_base(name: str, network: type) -> None:
    derived = type("Mine", (network,), {"__module__": "mine"})
    assert {task_of(network).name, task_of(derived).name, task_named(name).name} == {name}


def test_found_by_the_config() -> None:
    assert task_of_config(config.load(ROOT / "configs/picodet_lcnet.py")).name == "det"


def test_other_classes_have_none() -> None:
    assert find_task(nn.Linear) is None
    with pytest.raises(ValueError, match=r"torch\.nn\..*Linear: its package has no module 'task'"):
        task_of(nn.Linear)


def test_unknown_names_are_a_line() -> None:
    with pytest.raises(ValueError, match="--task dett: no such task; nearest known: det"):
        task_named("dett")
    for package in ("os", "json"):  # modules without a task
        with pytest.raises(ValueError, match=f"--task {package}: no such task"):
            task_named(package)


def test_a_part_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="the task 'seg' has no split"):
        task_named("seg").use("split")


def test_data_tell_their_task_by_their_layout(tmp_path: Path) -> None:
    (tmp_path / "gtFine").mkdir()
    assert [task.name for task in tasks_of_layout(tmp_path)] == ["seg"]
    assert tasks_of_layout(tmp_path / "gtFine") == []


def test_percent() -> None:
    det, seg = task_named("det"), task_named("seg")
    assert (det.percent(0.25), seg.percent(25.0)) == (25.0, 25.0)


def test_entries_are_one_of_a_kind() -> None:
    tasks = known_tasks()
    for part in ("name", "noun", "layout", "metric"):
        assert len({getattr(task, part) for task in tasks}) == len(tasks)
    assert all(isinstance(task, Task) for task in tasks)


@pytest.mark.slow
def test_finding_a_task_imports_no_tooling() -> None:
    assert imported("from engine.task import known_tasks\nassert len(known_tasks()) == 3") == []
