"""Equal trainings of compared rows: schedules, budgets, and repeated runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine import config
from engine.benchmark import compare, runs
from engine.benchmark.paper import Row, read_presets
from engine.checkpoint import checkpoint

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
PRESETS = read_presets()
ROWS = (
    Row("quarter", str(ROOT / "configs/classifier_lcnet_x0_25.py")),
    Row("half", str(ROOT / "configs/classifier_lcnet_x0_5.py")),
)
MACHINE = {"id": "a machine"}


def loaded(*rows: Row, **options: Any) -> list[compare.Entry]:
    return compare.entries(rows, recipe=None, data=None, options=options)


def fresh(items: list[compare.Entry]) -> compare.State:
    state: compare.State = {"rows": {}, "done": {}, "machine": MACHINE}
    compare.add_costs(state, items, None)
    return state


def go(state: compare.State, items: list[compare.Entry], folder: Path, *names: str) -> list[str]:
    """What `measure_all` measured: every row 50 %, but for "half" where `folder` holds "broken"."""
    asked = []

    def measure(entry: compare.Entry, name: str, _: Path) -> float:
        asked.append(f"{entry.row.label} {name}")
        if entry.row.label == "half" and (folder / "broken").exists():
            raise KeyError("no\nspace")
        return 50.0

    runs.measure_all(
        state, items, names, key_of=runs.run_key, folder=folder, measure=measure,
        finished=lambda *_: None,
    )  # fmt: skip
    return asked


def test_finished_is_not_done_again_and_failed_is(tmp_path: Path) -> None:
    items = loaded(*ROWS)
    (tmp_path / "broken").touch()
    state = fresh(items)
    assert go(state, items, tmp_path, "0", "1") == ["quarter 0", "half 0", "quarter 1", "half 1"]
    kept = compare.load_state(tmp_path)
    assert kept == json.loads(json.dumps(state))
    assert kept["rows"]["half"]["runs"]["0"]["error"] == "'no\\nspace'"
    (tmp_path / "broken").unlink()
    compare.add_costs(kept, items, None)
    assert go(kept, items, tmp_path, "0", "1") == ["half 0", "half 1"]


@pytest.mark.parametrize(
    "option",
    ["optim_wrapper.optimizer.lr", "train_dataloader.batch_size", "model.dropout"],
)
def test_whatever_decides_a_run_makes_it_another(tmp_path: Path, option: str) -> None:
    """The first metric is reused when requested again; only requested runs are reported."""
    items, changed = loaded(*ROWS), loaded(*ROWS, **{option: 1})
    state = fresh(items)
    go(state, items, tmp_path, "0", "1")
    assert go(fresh(changed) | {"done": state["done"]}, changed, tmp_path, "0") == [
        "quarter 0", "half 0",
    ]  # fmt: skip
    compare.add_costs(state, items, None)
    assert go(state, items, tmp_path, "1") == []
    assert state["rows"]["half"]["runs"].keys() == {"1"}


def test_a_metric_that_is_no_number_is_a_failure(tmp_path: Path) -> None:
    items = loaded(ROWS[0])
    state = fresh(items)
    runs.measure_all(
        state, items, ["0"], key_of=runs.run_key, folder=tmp_path,
        measure=lambda *_: float("nan"), finished=lambda *_: None,
    )  # fmt: skip
    assert state["rows"]["quarter"]["runs"]["0"]["error"] == "the metric is nan"


def test_rows_are_alike_where_they_see_the_same() -> None:
    assert runs.are_alike(loaded(*ROWS))
    mobilenet = Row("other", str(ROOT / "configs/classifier_mobilenetv3.py"))
    assert not runs.are_alike(loaded(ROWS[0], mobilenet))  # it has AutoAugment


def test_a_checkpoint_of_another_row(tmp_path: Path) -> None:
    quarter, half = loaded(*ROWS)
    plain = config.plain(quarter.cfg.model)
    names = [str(label) for label in range(1000)]
    path = tmp_path / "a.pth"
    checkpoint.save(path, checkpoint.describe(checkpoint.build_model(plain), plain, names, {}))
    runs.check_belongs(quarter, path)
    with pytest.raises(ValueError, match=r"not a checkpoint of half: model.backbone.scale"):
        runs.check_belongs(half, path)


def test_budget_is_of_the_slowest_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds a step: 3 minutes are 90 steps, whatever the machine does the next time."""
    items = loaded(*ROWS)
    state = fresh(items)
    monkeypatch.setattr(runs, "step_seconds", lambda _: [0.5, 2.0])
    assert runs.plan_steps(state, items, 3) == 90
    monkeypatch.setattr(runs, "step_seconds", lambda _: [9.0, 9.0])
    assert runs.plan_steps(state, items, 3) == 90
    assert runs.plan_steps(state, items, 6) == 40
    items[0].cfg.train_dataloader.batch_size = 8
    assert runs.plan_steps(state, items, 3) == 20


def test_a_validation_that_begins_late_is_done_at_the_end() -> None:
    cfg = config.load(ROOT / "configs/deeplabv3plus_lcnet_own.py", {"+train_cfg.val_begin": 1000})
    assert runs.shorten(cfg, 30) == 30
    assert cfg.train_cfg.val_begin == 1


def test_shorten_epochs_keeps_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 epochs, 5 of them warm-up, 12 of 120 static: 20 epochs have 1 and 2."""
    monkeypatch.setattr(runs.DATASETS, "build", lambda _: range(650))
    cfg = config.load(ROOT / "configs/classifier_lcnet_own.py")
    assert runs.shorten(cfg, 207) == 200  # of ten steps an epoch
    assert (cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval) == (20, 20)
    assert cfg.param_scheduler[0].epochs is None  # as long as the loop
    assert cfg.param_scheduler[0].warmup_epochs == pytest.approx(1)
    assert cfg.default_hooks.checkpoint.interval == 2
    detector = config.load(ROOT / "configs/picodet_lcnet_own.py")
    runs.shorten(detector, 20 * (650 // 8))
    assert (detector.model.static_epochs, detector.param_scheduler[0].warmup_iters) == (2, 17)
    with pytest.raises(ValueError, match="the steps are fewer than an epoch of 10; raise --steps"):
        runs.shorten(cfg, 9)


def test_shorten_iterations() -> None:
    cfg = config.load(ROOT / "configs/deeplabv3plus_lcnet_own.py")
    runs.shorten(cfg, 300)
    assert (cfg.train_cfg.max_iters, cfg.train_cfg.val_interval) == (300, 300)
    assert cfg.param_scheduler[0].warmup_iters == 20
    assert cfg.default_hooks.checkpoint.interval == 30


@pytest.mark.parametrize("name", PRESETS)
def test_rows_of_a_preset_are_dumped_as_configs_that_load(name: str, tmp_path: Path) -> None:
    preset = PRESETS[name]
    row = preset.rows[-1]
    (item,) = compare.entries(
        [Row(row.label, row.config)],
        recipe=Path(preset.recipe),
        data=None,
        options={},
    )
    assert "." not in item.name
    runs.dump(item.cfg, tmp_path / f"{item.name}.py")
    again = config.load(tmp_path / f"{item.name}.py")
    assert again.to_dict() == item.cfg.to_dict()
    assert config.plain(again.model) == config.plain(item.cfg.model)
