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
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from itertools import chain
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
from golden_files import Golden, difference, parity_table

TEST_DATA = "LCNET_TEST_DATA"  # in the environment: the folder of the fixture `real_dir`
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: tiny tensors gain nothing from more


@pytest.fixture(scope="session", autouse=True)
def autograd_without_threads() -> None:
    """The first backward pass decides how many threads autograd has, in this process for good.

    After torch.export it would start some, and no child forked from here could take a gradient.
    """
    import torch

    torch.ones(1, requires_grad=True).sum().backward()


@pytest.fixture(scope="session")
def real_dir() -> Path:
    """Folder with published weights (weights/) and real data sets (data/), else a skip."""
    folder = os.environ.get(TEST_DATA)
    if not folder:
        pytest.skip(f"needs {TEST_DATA}, a folder of published weights and real data sets")
    for part in ("data", "weights"):
        if not (Path(folder) / part).is_dir():
            pytest.fail(f"{TEST_DATA}={folder}: no folder {part}/ there")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Golden]:
    """What an official implementation computed in the case of that name (tests/golden)."""
    return cache(Golden)


@pytest.fixture(scope="session")
def schedules() -> dict[str, Any]:
    """Sequences of learning rates and averages that the official implementations computed."""
    return json.loads((Path(__file__).parent / "golden/schedules.json").read_text())


@pytest.fixture
def pdparams_file(golden: Callable[[str], Golden], tmp_path: Path) -> Callable[[str], Path]:
    """Writes the weight file of a case as the official implementation did, byte for byte."""

    def write(name: str) -> Path:
        path = tmp_path / f"{name}.pdparams"
        path.write_bytes(golden(name).pdparams())
        return path

    return write


@pytest.fixture
def assert_agrees(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Asserts that a value is the official one, and records the comparison for `make parity`.

    (what, reference, found, wanted, atol=0, rtol=0, of_largest=0): the allowed difference is
    atol + rtol |wanted| + of_largest times the largest |wanted|.
    """

    def check(what: str, reference: str, found: Any, wanted: Any, **allowances: float) -> None:
        if hasattr(found, "detach"):
            found = found.detach().numpy()
        found_difference, allowed = difference(found, wanted, **allowances)
        record_property("parity", (what, reference, found_difference, allowed))
        assert found_difference <= allowed, f"{what}: {found_difference:.3g}, not <= {allowed:.3g}"

    return check


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the files of ours")
    parser.addoption("--parity", action="store_true", help="table of the golden comparisons")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Counts what was skipped by reason; with --parity, tells what was compared and how it fits."""
    skipped = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
    )
    if skipped:
        terminalreporter.section(f"{skipped.total()} skipped")
        for reason, count in skipped.most_common():
            terminalreporter.line(f"{count:5}  {reason}")
    if config.getoption("--parity"):
        reports = chain.from_iterable(terminalreporter.stats.values())
        ran = (report for report in reports if getattr(report, "when", "") == "call")
        properties = chain.from_iterable(report.user_properties for report in ran)
        rows = [row for key, row in properties if key == "parity"]
        terminalreporter.write("\n" + parity_table(rows))


@pytest.fixture
def assert_golden_text(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compares a text with the file of that name in tests/golden, or writes it."""

    def check(name: str, text: str) -> None:
        path = Path(__file__).parent / "golden" / name
        if request.config.getoption("--update-golden"):
            path.write_text(text)
        assert text == path.read_text(), f"{path} differs; --update-golden if that is meant"

    return check


@pytest.fixture
def write_lines(tmp_path: Path) -> Callable[..., Path]:
    """Writes a text file of these lines below the same folder, and gives the file."""

    def write(name: str, *lines: str) -> Path:
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


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
