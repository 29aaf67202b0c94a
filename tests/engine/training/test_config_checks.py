"""engine/training/config_checks.py: classes, metric and schedule against data and training."""

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from engine import config
from engine.training import config_checks

DETECTOR = Path(__file__).parents[3] / "configs/picodet_lcnet.py"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is logged."""
    found: list[str] = []
    monkeypatch.setattr(config_checks, "warn", lambda line: found.append(line))
    return found


def test_class_count() -> None:
    names = [f"thing {number}" for number in range(7)]
    with pytest.raises(
        ValueError, match=r"is 80, but the data has 7 classes \(thing 0, .*, \.\.\."
    ) as e:
        config_checks.check(config.load(DETECTOR), names)
    assert "model.num_classes=7" in str(e.value)
    config_checks.check(config.load(DETECTOR, {"model.num_classes": 7}), names)


def test_key_of_the_best_checkpoint() -> None:
    options = {"model.num_classes": 1, "default_hooks.checkpoint.save_best": "coco/bbox_map"}
    with pytest.raises(
        ValueError, match=r"'coco/bbox_map', which no evaluator computes; .*bbox_mAP"
    ):
        config_checks.check(config.load(DETECTOR, options), ["thing"])


@pytest.mark.parametrize(
    ("last", "said"), [(50, "ends at about 50 %;"), (110, "0 % and is 0 for the last 10 epochs;")]
)
def test_a_schedule_that_does_not_end_with_the_training(
    lines: list[str], last: int, said: str
) -> None:
    cfg = Config({"train_cfg": {"max_epochs": last}, "param_scheduler": [{"epochs": 100}]})
    config_checks.check_ends(cfg)
    assert len(lines) == 1
    assert f"max_epochs is {last}, param_scheduler.0.epochs 100: the learning rate" in lines[0]
    assert said in lines[0]
    for epochs in (last, None):
        cfg.param_scheduler[0].epochs = epochs
        config_checks.check_ends(cfg)
    config_checks.check_ends(Config({"train_cfg": {"max_iters": 9}, "param_scheduler": [{}]}))
    assert len(lines) == 1


def test_epochs_of_a_training_without_any() -> None:
    schedule: dict[str, Any] = {"convert_to_iter_based": True, "epochs": None}
    cfg = Config({"train_cfg": {"max_iters": 9}, "param_scheduler": [schedule]})
    with pytest.raises(ValueError, match=r"param_scheduler\.0: convert.*; give by_epoch=False"):
        config_checks.check_ends(cfg)
    cfg.param_scheduler[0].epochs = 2
    config_checks.check_ends(cfg)


@pytest.mark.parametrize("epochs", [5, None])
def test_a_warmup_of_too_many_epochs_is_shortened(lines: list[str], epochs: int | None) -> None:
    schedule = {"warmup_epochs": 5, "epochs": epochs}
    cfg = Config({"train_cfg": {"max_epochs": 5}, "param_scheduler": [schedule]})
    config_checks.fit_warmups(cfg, 10)
    assert cfg.param_scheduler[0].warmup_epochs == 0.5
    assert lines == [
        "param_scheduler.0.warmup_epochs 5 is too long for the 5 epochs of the schedule; using 0.5"
    ]
    config_checks.fit_warmups(cfg, 10)
    assert len(lines) == 1


def test_a_warmup_of_too_many_iterations_is_shortened(lines: list[str]) -> None:
    """3 epochs of 10 iterations, or 30 iterations: a tenth is 3."""
    for loop in ({"max_epochs": 3}, {"max_iters": 30}):
        cfg = Config({"train_cfg": loop, "param_scheduler": [{"warmup_iters": 30}]})
        config_checks.fit_warmups(cfg, 10)
        assert cfg.param_scheduler[0].warmup_iters == 3
    assert len(lines) == 2
