"""engine/reports/run_log.py: rows of one or several starts, in the order of their steps."""

import json
from pathlib import Path

import pytest

from engine.reports.run_log import read_runs

CONFIG = "train_dataloader = dict(batch_size=8, dataset=dict(batch_size=3))\nopen('run', 'w')\n"


def train(epoch: int, step: int, loss: float) -> dict[str, float]:
    return {"lr": 0.1, "loss": loss, "time": 0.5, "epoch": epoch, "iter": step, "step": step}


def write(work_dir: Path, stamp: str, *rows: dict[str, float], tail: str = "") -> Path:
    """A start of a run with these rows, and an incomplete row after them."""
    folder = work_dir / stamp / "vis_data"
    folder.mkdir(parents=True)
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    (folder / "scalars.json").write_text(text + tail)
    return folder


def test_a_resumed_run_is_one_and_what_it_did_again_replaces_what_was_lost(tmp_path: Path) -> None:
    """Epochs of 10 iterations. The first start dies after 28; the second continues from 20."""
    first = [train(1, 8, 5.0), {"mAP": 0.1, "val_loss": 3, "step": 1}, train(2, 18, 4.0)]
    first += [{"mAP": 0.2, "val_loss": 2, "step": 2}, train(3, 28, 3.0)]
    write(tmp_path, "20260101_000000", *first)
    write(tmp_path, "20260102_000000", train(3, 28, 2.9), {"mAP": 0.3, "step": 3}, train(4, 38, 2))
    (run,) = read_runs([tmp_path])
    assert run.epoch_length == 10
    assert run.training["loss"] == [(8, 5.0), (18, 4.0), (28, 2.9), (38, 2.0)]
    assert run.validation == {
        "mAP": [(10, 0.1), (20, 0.2), (30, 0.3)],
        "val_loss": [(10, 3), (20, 2)],
    }


def test_a_run_begun_anew_replaces_all_of_the_one_before(tmp_path: Path) -> None:
    write(tmp_path, "20260101_000000", train(1, 8, 5.0), {"mAP": 0.1, "step": 1}, train(2, 18, 4))
    write(tmp_path, "20260102_000000", train(1, 8, 6.0))
    (run,) = read_runs([tmp_path])
    assert run.training["loss"] == [(8, 6.0)]
    assert not run.validation


@pytest.mark.parametrize("tail", ['{"loss": 0.', '{"loss"', "{", '{"lr": 0.1, "loss": 3.0'])
def test_a_line_half_written_is_passed(tmp_path: Path, tail: str) -> None:
    write(tmp_path, "20260101_000000", train(1, 8, 5.0), tail=tail)
    assert read_runs([tmp_path])[0].training["loss"] == [(8, 5.0)]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    write(
        tmp_path,
        "20260101_000000",
        train(1, 8, 5.0),
        tail=f"{{oops\n{json.dumps(train(1, 9, 1))}\n",
    )
    with pytest.raises(
        ValueError, match=r"scalars\.json: line 2 is not a JSON object; the log is damaged"
    ):
        read_runs([tmp_path])


def test_speed_is_of_all_processes_and_no_config_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """8 images in 0.5 s by each of 2 processes."""
    monkeypatch.chdir(tmp_path)
    folder = write(tmp_path / "run_a", "20260101_000000", train(1, 8, 5.0))
    assert "images/s" not in read_runs([tmp_path / "run_a"])[0].training
    (folder / "config.py").write_text(CONFIG)
    assert read_runs([tmp_path / "run_a"])[0].training["images/s"] == [(8, 16)]
    log = "torch 2 on cpu, 1 threads, 2 processes, seed 0, work dir x\n"
    (folder.parent / "20260101_000000.log").write_text(log)
    assert read_runs([tmp_path / "run_a"])[0].training["images/s"] == [(8, 32)]
    assert not (tmp_path / "run").exists()
    (folder / "config.py").write_text(CONFIG[:30])  # incomplete
    assert "images/s" not in read_runs([tmp_path / "run_a"])[0].training


def test_validation_of_a_run_that_counts_iterations(tmp_path: Path) -> None:
    """Old logs say step 0; the last training row gives the step."""
    rows = [{"loss": 1.0, "iter": 20, "step": 20}, {"mIoU": 5, "step": 0}]
    rows += [{"loss": 1.0, "iter": 40, "step": 40}, {"mIoU": 6, "step": 45}]
    write(tmp_path, "20260101_000000", *rows)
    (run,) = read_runs([tmp_path])
    assert run.validation["mIoU"] == [(20, 5), (45, 6)]
    assert run.epoch_length is None


def test_names_are_those_of_the_folders_or_their_paths(tmp_path: Path) -> None:
    for name in ("a/run", "b/run", "b/other"):
        write(tmp_path / name, "20260101_000000", train(1, 8, 5.0))
    runs = read_runs([tmp_path / "a/run", tmp_path / "b/run", tmp_path / "b/other"])
    assert [run.name for run in runs] == [f"{tmp_path}/a/run", f"{tmp_path}/b/run", "other"]
    with pytest.raises(FileNotFoundError, match=r"no \*/vis_data/scalars\.json found"):
        read_runs([tmp_path / "a"])


def test_a_test_in_the_same_folder_is_no_part_of_the_training(tmp_path: Path) -> None:
    write(tmp_path, "20260101_000000", train(1, 8, 5.0), {"mAP": 0.1, "step": 1})
    write(tmp_path, "20260102_000000", {"mAP": 0.9, "step": 0})
    write(tmp_path, "20260103_000000")
    (run,) = read_runs([tmp_path])
    assert run.training["loss"] == [(8, 5.0)]
    assert run.validation["mAP"] == [(8, 0.1)]
