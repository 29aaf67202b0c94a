"""Fixtures shared by all tests."""

import io
import json
import logging
import multiprocessing
import os
import pickle
import runpy
import signal
import socket
import sys
import traceback
import zlib
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: tiny tensors gain nothing from more


@pytest.fixture(scope="session", autouse=True)
def autograd_without_threads() -> None:
    """The first backward pass decides how many threads autograd has, in this process for good.

    After torch.export it would start some, and no child forked from here could take a gradient.
    """
    import torch

    torch.ones(1, requires_grad=True).sum().backward()


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder of reference material beside the repository; tests that need it skip without it."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"no reference material at {folder}")
    return folder


@pytest.fixture(scope="session")
def golden_dir(shared_dir: Path) -> Path:
    """Arrays that the official implementations computed."""
    return shared_dir / "golden"


def _drawn(name: str, shape: list[int], seed: int, is_norm: bool) -> np.ndarray:
    """The array that the README of the golden files prescribes for a weight called `name`."""
    random = np.random.RandomState(zlib.crc32(f"{seed}:{name}".encode()))
    if is_norm and name.endswith(".weight"):
        return 0.5 + random.random_sample(shape)
    if len(shape) == 4:
        return random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    if len(shape) == 2:
        return random.standard_normal(shape) / np.sqrt(shape[0])
    return 0.3 * random.standard_normal(shape)


@pytest.fixture(scope="session")
def golden_arrays(golden_dir: Path) -> Callable[[str], dict[str, np.ndarray]]:
    """Weights of a golden file without .pdparams by Paddle's names: stored, else drawn."""

    def load(name: str) -> dict[str, np.ndarray]:
        info = json.loads((golden_dir / f"{name}.json").read_text())
        stored = np.load(golden_dir / f"{name}.npz")
        shapes = info["state_dict"]
        return {
            key: stored[f"state/{key}"]
            if f"state/{key}" in stored
            else _drawn(
                key, shape, info["seed"], f"{key.rpartition('.')[0]}._mean" in shapes
            ).astype(np.float32)
            for key, shape in shapes.items()
        }

    return load


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the files of ours")


@pytest.fixture
def assert_golden_text(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compares a text with the file of that name in tests/golden, or writes it."""

    def check(name: str, text: str) -> None:
        path = Path(__file__).parent / "golden" / name
        if request.config.getoption("--update-golden"):
            path.write_text(text)
        assert text == path.read_text(), f"{path} differs; --update-golden if that is meant"

    return check


@pytest.fixture(scope="session")
def mini_coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn COCO data set: 12 training and 6 validation scenes of 128 pixels, 8 classes."""
    from engine.demo_data.writer import MiniData, make_mini_data

    folder = tmp_path_factory.mktemp("mini")
    make_mini_data(folder, MiniData(seed=3, train=12, val=6, side=128))
    return folder / "detection"


@pytest.fixture(scope="session")
def paddle_file() -> Callable[..., dict[str, np.ndarray]]:
    """Writes a PP-LCNet x0.25 classifier with random weights as Paddle would: (path, classes).

    Gives its arrays by Paddle's names.
    """
    import torch

    from backbone.pplcnet import PPLCNet
    from classification.classifier import Classifier

    def write(path: Path, num_classes: int = 3, seed: int = 0) -> dict[str, np.ndarray]:
        torch.manual_seed(seed)
        model = Classifier(backbone=PPLCNet(0.25), num_classes=num_classes)
        arrays = {
            name.removeprefix("backbone.")
            .replace("hidden.", "last_conv.")
            .replace("classify.", "fc."): tensor.numpy()
            for name, tensor in model.state_dict().items()
            if not name.endswith("num_batches_tracked")
        }
        arrays["fc.weight"] = arrays["fc.weight"].T.copy()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(arrays, protocol=4))
        return arrays

    return write


OWN = Path(__file__).parents[1] / "configs/picodet_lcnet_own.py"


class Ran(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def run_tool() -> Callable[..., Ran]:
    """Runs tools/<name>.py with these arguments inside this process."""

    def run(name: str, *arguments: str | Path) -> Ran:
        forget_runs()
        path = Path(__file__).parents[1] / "tools" / f"{name}.py"
        out, err, argv = io.StringIO(), io.StringIO(), sys.argv
        sys.argv = [str(path), *map(str, arguments)]
        try:
            with (
                redirect_stdout(out),
                redirect_stderr(err),
                patch("yapf.yapflib.yapf_api.FormatCode", _as_it_is),
                pytest.raises(SystemExit) as done,
            ):
                runpy.run_path(str(path), run_name="__main__")
        finally:
            sys.argv = argv
            logging.disable(logging.NOTSET)  # as a process's end would
        return Ran(int(done.value.code or 0), out.getvalue(), err.getvalue())

    return run


def _as_it_is(text: str, **_: object) -> tuple[str, bool]:
    """Instead of yapf, which takes most of a short run's time to lay out configs it prints."""
    return text, True


def forget_runs() -> None:
    """Drop mmengine's loggers and hubs of runs before, which are named by the second."""
    from mmengine.logging import MessageHub, MMLogger
    from mmengine.registry import DefaultScope
    from mmengine.visualization import Visualizer

    for kind in (MMLogger, MessageHub, Visualizer, DefaultScope):
        kind._instance_dict.clear()


TINY = {
    "model.backbone.scale": 0.25,
    "model.neck_channels": 16,
    "model.tower_convs": 1,
    "model.static_epochs": 1,
    "model.data_preprocessor.size": "64,64",
    "model.data_preprocessor.train_sizes": "[64,96]",
    "train_dataloader.batch_size": 4,
    "train_dataloader.num_workers": 0,
    "train_dataloader.persistent_workers": False,
    "val_dataloader.num_workers": 0,
    "val_dataloader.persistent_workers": False,
    "test_dataloader.num_workers": 0,
    "auto_scale_lr.base_batch_size": 4,
    "param_scheduler.0.warmup_iters": 2,
    "param_scheduler.0.epochs": 4,
    "train_cfg.max_epochs": 2,
    "train_cfg.val_interval": 1,
    "custom_hooks.ema.decay": 0.9,
}


@pytest.fixture(scope="session")
def tiny() -> dict[str, object]:
    """Overrides of picodet_lcnet_own.py that make a run of seconds."""
    return dict(TINY)


@pytest.fixture(scope="session")
def tiny_train(run_tool: Callable[..., Ran], mini_coco: Path) -> Callable[..., Ran]:
    """Trains a detector for 2 epochs of 3 iterations: (work dir, arguments, options)."""

    def train(work_dir: Path, *arguments: str | Path, **changes: object) -> Ran:
        options = TINY | {key.replace("__", "."): value for key, value in changes.items()}
        return run_tool(
            "train", OWN, "--data", mini_coco, "--work-dir", work_dir, *arguments,
            "--cfg-options", *(f"{key}={value}" for key, value in options.items()),
        )  # fmt: skip

    return train


@pytest.fixture(scope="session")
def trained(tiny_train: Callable[..., Ran], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work dir of such a run: epoch_1.pth, epoch_2.pth, best_coco_bbox_mAP_epoch_1.pth."""
    work_dir = tmp_path_factory.mktemp("trained")
    ran = tiny_train(work_dir)
    assert ran.code == 0, ran.err
    return work_dir


def _be_rank(
    rank: int, count: int, port: int, work: Callable[[int], object], pipe: Connection
) -> None:
    """Body of a forked process: `work`, and what it gives or raises, through the pipe."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    try:
        pipe.send((work(rank), None))
    except BaseException:
        pipe.send((None, traceback.format_exc()))
    signal.pause()  # till `run` kills all: another rank may still be asking the store of this one


@pytest.fixture(scope="session")
def ranks() -> Callable[..., list[Any]]:
    """Calls a function of the rank in forked processes as torchrun would; gives what each returns.

    Forked ones need not import anything, which takes torchrun's ten seconds.
    """
    import cv2
    import torch

    if torch.cuda.is_available():
        pytest.skip("forked processes cannot use CUDA")

    def run(work: Callable[[int], object], count: int = 2, timeout: float = 90) -> list[Any]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        cv2.setNumThreads(1)  # its threads do not come along, and would be waited for
        forget_runs()
        fork = multiprocessing.get_context("fork")
        pipes = [fork.Pipe(duplex=False) for _ in range(count)]
        processes = [
            fork.Process(target=_be_rank, args=(rank, count, port, work, pipe), daemon=False)
            for rank, (_, pipe) in enumerate(pipes)
        ]
        try:
            for process, (_, sender) in zip(processes, pipes, strict=True):
                process.start()
                sender.close()
            ready = [receiver.poll(timeout) for receiver, _ in pipes]
            assert all(ready), f"no answer from ranks after {timeout} s: {ready}"
            answers = [receiver.recv() for receiver, _ in pipes]
        finally:
            for process in processes:
                process.kill()
        for rank, (_, error) in enumerate(answers):
            assert error is None, f"rank {rank}: {error}"
        return [value for value, _ in answers]

    return run
