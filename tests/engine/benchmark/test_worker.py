"""A model in an engine: times, stages, and errors in its process."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engine import config
from engine.benchmark import latency
from engine.benchmark.worker import COLD, STAGES, Inside, Job, Loaded, Survivors, timed, workers
from engine.hardware import usable_cores
from engine.inference.predictor import load_model
from engine.runtime.exported import STARTERS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
OWN = ROOT / "configs/picodet_lcnet_own.py"
SIZE = (64, 96)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """As many as before."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of noise."""
    path = tmp_path_factory.mktemp("image") / "noise.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8))
    return path


@pytest.fixture
def job(onnx_file: Callable[..., Path], image: Path) -> Job:
    """An end-to-end file that always finds one box."""
    return Job(OWN, {}, onnx_file(), "onnxruntime", 1, SIZE, 1, image)


def loaded(job: Job) -> Loaded:
    return Loaded(job, config.load(job.config))


@pytest.fixture
def in_torch(job: Job, small_detector: Path) -> Job:
    return replace(job, path=small_detector, backend="torch")


def test_the_first_runs_do_not_count() -> None:
    log: list[int] = []
    found = timed(lambda: log.append(len(log)), 3)
    assert len(log) == COLD + 3
    assert len(found) == 3
    assert all(0 <= run.wall < 1 for run in found)


@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_stages_add_up(job: Job, in_torch: Job, backend: str) -> None:
    model = loaded(in_torch if backend == "torch" else job)
    rows = model.stages(5)
    assert len(rows) == 5
    for row in rows:
        assert list(row) == [*STAGES, "total"]
        apart = sum(row[name] for name in STAGES)
        assert apart <= row["total"]
    found = latency.middle_half(rows)
    total = found.pop("total")
    assert sum(found.values()) == pytest.approx(total, rel=0.3)
    assert found["forward"] > 0
    assert found["post-process"] > 0


def test_stages_that_the_file_holds_are_not_timed(
    job: Job, onnx_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = [np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)]
    monkeypatch.setitem(STARTERS, "onnxruntime", lambda *_: lambda _: empty)
    whole = onnx_file("whole.onnx", shape=[None, None, 3], with_preprocess=True)
    model = loaded(replace(job, path=whole))
    assert list(model.stages(1)[0]) == ["read", "decode", "forward", "post-process", "total"]
    assert model.inputs.shape == (120, 160, 3)
    assert model.inputs.dtype == np.uint8


def test_boxes_are_those_of_the_command(job: Job, in_torch: Job) -> None:
    """The file's box; and in torch as many as `predict` finds."""
    assert loaded(job).survivors() == Survivors(1, "boxes")
    model = load_model(OWN, in_torch.path)
    (found,) = model.predict(str(job.image))
    assert len(found["boxes"]) > 0
    assert loaded(in_torch).survivors() == Survivors(len(found["boxes"]), "boxes")


def test_batch_and_memory_order(in_torch: Job) -> None:
    """torch gets channels last, as in `predict`."""
    model = loaded(replace(in_torch, batch=2))
    assert model.inputs.shape == (2, 3, *SIZE)
    assert model.inputs.strides[1] == 4
    boxes, scores = model.run(model.inputs)
    assert len(boxes) == len(scores) == 2
    assert model.start.load_seconds > 0


def test_processes_time_and_end_and_hand_errors_over(job: Job) -> None:
    gone = replace(job, path=job.path.with_name("none.onnx"))
    with workers([job]) as (entry,):
        assert entry.name == "onnxruntime, 1 thread"
        assert entry.start.memory_bytes > 0
        assert len(entry.burst(4)) == 4
        assert len(entry.stages(2)) == 2
        assert entry.survivors().number == 1
        with (
            pytest.raises(FileNotFoundError, match=r"none\.onnx: no such exported file"),
            workers([gone]),
        ):
            pass
        entry.process.kill()
        with pytest.raises(ValueError, match="onnxruntime, 1 thread: its process ended with code"):
            entry.burst(1)
    assert not entry.process.is_alive()


def test_a_job_in_this_process_leaves_cores_and_threads_as_they_were(in_torch: Job) -> None:
    cores, before = usable_cores(), torch.get_num_threads()
    racer = Inside(in_torch, config.load(OWN))
    torch.set_num_threads(before + 1)
    assert len(racer.burst(3)) == 3
    assert (usable_cores(), torch.get_num_threads()) == (cores, before + 1)


@pytest.mark.parametrize("threads", [0, 999])
def test_more_threads_than_cores(job: Job, threads: int) -> None:
    with (
        pytest.raises(ValueError, match=f"--threads {threads}: expected 1 to"),
        workers([replace(job, threads=threads)]),
    ):
        pass
