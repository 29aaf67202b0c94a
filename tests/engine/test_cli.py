"""engine/cli.py: exit codes and the one line of an error."""

import argparse
import sys

import pytest

from engine import cli

WORKER = """Caught ValueError in DataLoader worker process 0.
Original Traceback (most recent call last):
  File "worker.py", line 1, in loop
    fetch()
ValueError: a.jpg: not an image: damaged
"""


def ran(
    error: BaseException | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *arguments: str,
) -> tuple[int, str]:
    def main(_: argparse.Namespace) -> None:
        if error is not None:
            raise error

    parser = cli.parser("test")
    cli.add_config(parser, checkpoint=False)
    monkeypatch.setattr(sys, "argv", ["tool", *arguments])
    with pytest.raises(SystemExit) as done:
        cli.run(main, parser)
    return int(done.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("two\n  lines"), "two lines"),
        (FileNotFoundError("data: no such folder"), "data: no such folder"),
        (OSError(28, "No space left on device", "a.pth"), "a.pth: No space left on device"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (FloatingPointError("loss is nan"), "loss is nan"),
        (ValueError(), "ValueError"),
        (ValueError(WORKER), "a.jpg: not an image: damaged"),
        (KeyboardInterrupt(), "interrupted"),
        (KeyboardInterrupt("stopped in epoch 3"), "stopped in epoch 3"),
    ],
)
def test_user_errors_are_one_line(
    error: BaseException,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ran(error, monkeypatch, capsys, "c.py") == (1, f"error: {line}\n")


def test_done(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(None, monkeypatch, capsys, "c.py") == (0, "")


@pytest.mark.parametrize(
    "arguments", [[], ["c.py", "--nothing"], ["c.py", "--cfg-options", "model.num_classes"]]
)
def test_wrong_usage(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, err = ran(None, monkeypatch, capsys, *arguments)
    assert code == 2
    assert err.startswith("usage: ")
    assert "Traceback" not in err


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(_: argparse.Namespace) -> None:
        raise ValueError("bad")

    monkeypatch.setattr(sys, "argv", ["tool", "--debug"])
    with pytest.raises(ValueError, match="bad"):
        cli.run(main, cli.parser("test"))


def test_our_own_mistakes_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(_: argparse.Namespace) -> None:
        raise AttributeError("bug")

    monkeypatch.setattr(sys, "argv", ["tool"])
    with pytest.raises(AttributeError):
        cli.run(main, cli.parser("test"))


@pytest.mark.parametrize("text", ["nan", "-0.1", "100.5"])
def test_no_percentage(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not from 0 to 100"):
        cli.percent(text)
    assert [cli.percent(text) for text in ("0", "0.5", "100")] == [0, 0.5, 100]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (
            "DataLoader worker (pid 71) is killed by signal: Killed. ",
            "a loader worker is killed by",
        ),
        (
            "DataLoader worker (pid(s) 4, 71) exited unexpectedly",
            "worker exited unexpectedly, most",
        ),
        (
            "DataLoader worker (pid 71) is killed by signal: Bus error. It is possible that "
            "dataloader's workers are out of shared memory. Please try to raise your limit.",
            "/dev/shm is full",
        ),
        (
            "Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback\n"
            "RuntimeError: unable to allocate shared memory(shm) for file </torch_1_2>: No space",
            "/dev/shm is full",
        ),
    ],
)
def test_what_torch_says_of_its_workers(said: str, meant: str) -> None:
    line = cli.explain_loader(RuntimeError(said))
    assert line is not None
    assert meant in line
    assert "\n" not in line


def test_other_errors_are_not_explained() -> None:
    assert cli.explain_loader(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None
