"""engine/reports/training_curves.py: panels and smoothing."""

import numpy as np
import pytest

from engine.reports.run_log import RunLog
from engine.reports.training_curves import draw, panels, smoothed

TRAINING = {
    key: [(5.0, 1.0), (10.0, 0.5)]
    for key in ("lr", "loss", "loss_a", "loss_b", "time", "data_time", "images/s")
}
VALIDATION = {key: [(10.0, 0.5)] for key in ("m1", "m2", "m3", "m4", "m5", "val_loss", "time")}
RUN = RunLog("run", TRAINING, VALIDATION, 10)


def test_smoothing_by_hand() -> None:
    """Weight 0.5 over 1, 3: 0.5 / 0.5, then (0.25 + 1.5) / 0.75; NaN is skipped."""
    values = np.array([1.0, np.nan, 3.0])
    assert smoothed(values, 0.5).tolist() == pytest.approx([1, np.nan, 7 / 3], nan_ok=True)
    assert smoothed(values[[0, 2]], 0).tolist() == [1, 3]
    assert smoothed(np.full(9, 4.0), 0.9) == pytest.approx(np.full(9, 4))


def test_panels_are_losses_metrics_rate_and_speed() -> None:
    names = [panel.training or panel.validation for panel in panels([RUN], ())]
    assert names == ["loss", "loss_a", "loss_b", "m1", "m2", "m3", "m4", "lr", "images/s"]
    chosen = [panel.validation for panel in panels([RUN], ("m5",)) if not panel.training]
    assert chosen == ["m5"]


def test_runs_of_other_metrics_show_theirs_too() -> None:
    other = RUN._replace(validation={"n1": [(10.0, 0.5)], "m5": [(10.0, 0.5)]})
    names = [panel.validation for panel in panels([RUN, other], ()) if not panel.training]
    assert names == ["m1", "m2", "m3", "m4", "n1", "m5"]


def test_one_term_is_not_drawn_beside_the_sum() -> None:
    run = RUN._replace(training={"loss": [(1, 2)], "loss_ce": [(1, 2)]}, validation={})
    assert [panel.training for panel in panels([run], ())] == ["loss"]


def test_unknown_metrics_and_empty_logs_are_errors() -> None:
    with pytest.raises(
        ValueError, match=r"--metrics m6: not logged; logged are: m1, m2, m3, m4, m5"
    ):
        panels([RUN], ("m6",))
    with pytest.raises(ValueError, match="none of the runs has logged a loss yet"):
        draw([RunLog("new", {}, {}, None)], (), 0.6)
