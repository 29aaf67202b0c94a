"""Options that the commands of tools/ share, and errors printed as one line."""

import argparse
import io
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from mmengine.config import DictAction

USER_ERRORS = (ValueError, OSError, FloatingPointError, KeyError, ImportError, MemoryError)
# Torch's error messages about data loaders.
_SHARED_MEMORY = re.compile(
    r"Bus error|out of shared memory|shared memory\(shm\)|file </?torch_|unable to mmap|/dev/shm"
)
_DEAD_WORKER = re.compile(r"DataLoader worker \(pid\(?s?\)? [\d, ]+\) ([^.]*)")


def parser(description: str) -> argparse.ArgumentParser:
    """An argument parser with the options that all commands have."""
    result = argparse.ArgumentParser(description=as_typed(description))
    result.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return result


def as_typed(text: str) -> str:
    """Replace `python tools/train.py` in the text by `lcnet train` if `lcnet` runs the command."""
    if not sys.argv[0].startswith("lcnet "):
        return text
    scripts = re.compile(r"(?<![\w/])(?:python )?tools/(\w+)\.py")
    return scripts.sub(lambda found: f"lcnet {found[1].replace('_', '-')}", text)


def positive(text: str) -> int:
    """Parse a whole number of at least 1 (an argparse type)."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def port(text: str) -> int:
    """Parse a TCP port; 0 means any free port (an argparse type)."""
    number = int(text)
    if not 0 <= number < 2**16:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 65535")
    return number


def share(text: str) -> float:
    """Parse a number from 0 to below 1 (an argparse type)."""
    number = float(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to below 1")
    return number


def percent(text: str) -> float:
    """Parse a number from 0 to 100 (an argparse type)."""
    number = float(text)
    if not 0 <= number <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 100")
    return number


def png(text: str) -> Path:
    """Parse the path of a PNG file (an argparse type)."""
    if Path(text).suffix.lower() != ".png":
        raise argparse.ArgumentTypeError(f"{text} does not end in .png")
    return Path(text)


def add_quiet(result: argparse.ArgumentParser) -> None:
    """Add --quiet."""
    words = "print results, warnings and errors only"
    result.add_argument("--quiet", action="store_true", help=words)


def add_config(result: argparse.ArgumentParser, *, checkpoint: bool) -> None:
    """Add CONFIG, --cfg-options and, if `checkpoint`, CHECKPOINT."""
    result.add_argument("config", type=Path, help="config file, or name of a shipped config")
    if checkpoint:
        result.add_argument("checkpoint", type=Path, help="checkpoint, exported file or zoo:NAME")
    add_overrides(result)


def add_overrides(result: argparse.ArgumentParser) -> None:
    """Add --cfg-options."""
    result.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        default={},
        metavar="KEY=VALUE",
        help="override config entries; a key that the config does not have needs a leading +",
    )


class ModelSource(NamedTuple):
    """Name, config and checkpoint of a model."""

    name: str
    config: str
    checkpoint: str


def add_sources(result: argparse.ArgumentParser) -> None:
    """Add CONFIG CKPT for one or more models, and --names."""
    result.add_argument(
        "models", nargs="+", metavar="CONFIG CKPT", help="config and its checkpoint"
    )
    result.add_argument("--names", nargs="+", help="names of the models (default: their configs')")


def sources_of(models: Sequence[str], names: Sequence[str] | None) -> list[ModelSource]:
    """The models given by the options of `add_sources`.

    Raises:
        ValueError: a model has no checkpoint, there is not one name for each model, or two models
            have the same name.
    """
    if len(models) % 2:
        raise ValueError(f"{models[-1]}: has no checkpoint; give CONFIG CKPT for every model")
    configs, checkpoints = models[::2], models[1::2]
    if names is not None and len(names) != len(configs):
        raise ValueError(
            f"--names: give {len(configs)} names, one for each model, in the same order"
        )
    called = names or [Path(config).stem for config in configs]
    twice = sorted({name for name in called if called.count(name) > 1})
    if twice:
        raise ValueError(
            f"{', '.join(twice)}: several models have this name; rename them with --names"
        )
    return [ModelSource(*row) for row in zip(called, configs, checkpoints, strict=True)]


def run(main: Callable[[argparse.Namespace], int | None], result: argparse.ArgumentParser) -> None:
    """Parse the options, call `main`, exit: 0 done, 1 failed (one line says why), 2 wrong usage."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # file names need not be UTF-8
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        arguments = result.parse_args()
    except ValueError:  # mmengine's DictAction does not check for a =
        result.error("--cfg-options takes KEY=VALUE pairs")
    try:
        sys.exit(main(arguments) or 0)
    except USER_ERRORS as error:
        if arguments.debug:
            raise
        sys.exit(_fail(_one_line(error)))
    except KeyboardInterrupt as interrupt:
        sys.exit(_fail(str(interrupt) or "interrupted"))


def _fail(line: str) -> int:
    sys.stderr.write(f"error: {as_typed(line)}\n")
    return 1


def _one_line(error: Exception) -> str:
    """The error message in one line; for an OSError, the file and the reason.

    The message of an error in a loader worker is a traceback: only its last line is used.
    """
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    message = str(error).strip()
    if message.startswith("Caught ") and "Original Traceback" in message:
        message = message.splitlines()[-1].split(": ", 1)[-1]
    return " ".join(message.split()) or type(error).__name__


def explain_loader(error: RuntimeError) -> str | None:
    """One line that explains the failure of a data loader; None for other errors."""
    text = str(error)
    if _SHARED_MEMORY.search(text):
        return (
            "/dev/shm is full; loader workers pass images through it: make it larger "
            "(docker run --shm-size=2g), or train with --cfg-options "
            "train_dataloader.num_workers=0 train_dataloader.persistent_workers=False"
        )
    if dead := _DEAD_WORKER.search(text):
        return (
            f"a loader worker {dead[1]}, most often because memory ran out: continue with --resume "
            "and fewer workers (--cfg-options train_dataloader.num_workers=1)"
        )
    return None
