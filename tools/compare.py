"""Compare models: python tools/compare.py CONFIG CONFIG ... --out DIR [--data DIR].

Or compare a table of the PP-LCNet paper: --preset paper-classification. Without --data, only costs
and latencies are measured.
"""

import argparse
import logging
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from engine import cli
from engine.benchmark import compare, comparison_report, runs
from engine.benchmark.compare import Entry
from engine.benchmark.latency import BACKENDS
from engine.benchmark.paper import Preset, Row, read_presets
from engine.checkpoint import zoo
from engine.hardware import fingerprint
from engine.progress import live_line
from engine.shipped_configs import find_config

TRAIN = Path(__file__).with_name("train.py")


def main(arguments: argparse.Namespace) -> int:
    """Measure, train or evaluate, report; returns 1 if a run failed."""
    logging.disable(logging.INFO)  # of all models and data sets
    preset = preset_of(arguments)
    out: Path = arguments.out
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"--out {out}: is a file; give a folder")
    items = compare.entries(
        preset.rows,
        recipe=Path(preset.recipe) if preset.recipe and arguments.data else None,
        data=arguments.data,
        options=arguments.cfg_options,
    )
    given = checkpoints(arguments, items)
    state = compare.load_state(out)
    state.update(machine=fingerprint(), data=str(arguments.data or ""), steps={}, alike=False)
    shape = tuple(arguments.shape) if arguments.shape else preset.shape
    compare.add_costs(state, items, shape)
    backends = arguments.backend or installed()
    with live_line() as bar:
        total = len(items) * len(backends) * len(arguments.threads) * arguments.runs
        task = bar.add_task("latency", total=total, note=" ".join(backends))
        compare.add_latencies(
            state,
            items,
            backends=backends,
            threads=arguments.threads,
            runs=arguments.runs,
            shape=shape,
            advance=lambda runs: bar.advance(task, runs),
        )
    compare.save_state(out, state)
    comparison_report.write(out, state, preset.pairs)
    if given:
        evaluate_all(arguments, state, items, given, preset)
    elif arguments.data:
        train_all(arguments, state, items, preset)
    compare.save_state(out, state)
    comparison_report.write(out, state, preset.pairs)
    print((out / "report.md").read_text())
    return int(
        any("error" in run for row in state["rows"].values() for run in row["runs"].values())
    )


def preset_of(arguments: argparse.Namespace) -> Preset:
    """The rows to compare: those of --preset, or the configs, each with the first."""
    if bool(arguments.preset) == bool(arguments.configs):
        raise ValueError("give either configs or one --preset")
    if arguments.preset:
        preset = read_presets()[arguments.preset]
        return replace(preset, recipe=str(arguments.recipe or preset.recipe))
    for path in arguments.configs:
        find_config(path)
    stems = [path.stem for path in arguments.configs]
    rows = tuple(
        Row(path.stem if stems.count(path.stem) == 1 else str(path), str(path))
        for path in arguments.configs
    )
    pairs = tuple((row.label, rows[0].label) for row in rows[1:])
    return Preset(rows, pairs, str(arguments.recipe or ""))


def checkpoints(arguments: argparse.Namespace, items: Sequence[Entry]) -> dict[str, Path]:
    """The files of --checkpoints by label.

    Raises:
        ValueError: their number differs from the rows, one is of another network, or --data is
            missing.
    """
    if not arguments.checkpoints:
        return {}
    if len(arguments.checkpoints) != len(items):
        raise ValueError(f"--checkpoints: give {len(items)}, one for each config in the same order")
    if arguments.data is None:
        raise ValueError("--checkpoints: give --data too, to evaluate them")
    files = [zoo.local(path) for path in arguments.checkpoints]
    for entry, path in zip(items, files, strict=True):
        runs.check_belongs(entry, path)
    return {entry.row.label: path for entry, path in zip(items, files, strict=True)}


def installed() -> list[str]:
    """PyTorch and the installed engines."""
    return ["torch", *(name for name in ("onnxruntime", "openvino") if find_spec(name))]


def evaluate_all(
    arguments: argparse.Namespace,
    state: compare.State,
    items: Sequence[Entry],
    given: Mapping[str, Path],
    preset: Preset,
) -> None:
    """Evaluate the checkpoints."""
    runs.measure_all(
        state,
        items,
        ["checkpoint"],
        key_of=lambda entry, _: runs.file_key(given[entry.row.label], entry),
        folder=arguments.out,
        measure=lambda entry, *_: runs.evaluated_metric(
            entry.cfg, given[entry.row.label], arguments.cfg_options
        ),
        finished=reporter(arguments.out, state, preset),
    )


def train_all(
    arguments: argparse.Namespace,
    state: compare.State,
    items: Sequence[Entry],
    preset: Preset,
) -> None:
    """Train all rows with every seed."""
    steps = arguments.steps
    if steps is None:
        steps = runs.plan_steps(state, items, arguments.budget_minutes)
    state["alike"] = runs.are_alike(items)
    state["steps"] = {item.row.label: runs.shorten(item.cfg, steps) for item in items}
    compare.save_state(arguments.out, state)
    print(f"steps: {state['steps']}", flush=True)

    def train(entry: Entry, name: str, place: Path) -> float:
        path = place.with_suffix(".py")
        runs.dump(entry.cfg, path)
        run_training(path, place, ["--data", str(arguments.data), "--seed", name])
        return runs.trained_metric(entry.cfg, place)

    runs.measure_all(
        state,
        items,
        arguments.seeds,
        key_of=runs.run_key,
        folder=arguments.out,
        measure=train,
        finished=reporter(arguments.out, state, preset),
    )


def reporter(
    out: Path, state: compare.State, preset: Preset
) -> Callable[[str, str, dict[str, Any]], None]:
    """A function that prints the result of a run and writes the report again."""

    def finished(label: str, name: str, outcome: dict[str, Any]) -> None:
        result = outcome.get("error") or f"{outcome['metric']:.2f} %"
        print(f"{label}, {name}: {result}, {outcome['minutes']:.1f} minutes", flush=True)
        comparison_report.write(out, state, preset.pairs)

    return finished


def run_training(path: Path, work_dir: Path, options: list[str]) -> None:
    """Train in a separate process, which resumes an interrupted training.

    Raises:
        RuntimeError: the training failed; the message has its last line.
        KeyboardInterrupt: this process was interrupted; the training has saved its state.
    """
    command = [sys.executable, str(TRAIN), str(path), "--work-dir", str(work_dir)]
    command += ["--resume", "auto", *options]
    log = work_dir.with_suffix(".log")
    before = log.stat().st_size if log.is_file() else 0
    with (
        log.open("a") as stream,
        # A new session, so that it gets only the signal sent below.
        subprocess.Popen(command, stdout=stream, stderr=stream, start_new_session=True) as process,
    ):
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise KeyboardInterrupt("interrupted; run the same command again to continue") from None
    if code:
        said = log.read_bytes()[before:].decode(errors="replace").splitlines()
        last = said[-1] if said else "no output"
        raise RuntimeError(f"training failed with exit code {code}: {last}; see {log}")


def seeds(text: str) -> list[str]:
    """Different whole numbers of 0 or more, for argparse."""
    numbers = [int(part) for part in text.split(",")]
    if min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(f"{text}: give different numbers of 0 or more")
    return [str(number) for number in numbers]


def minutes(text: str) -> float:
    """A number above 0, for argparse."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: expected a number above 0")
    return number


if __name__ == "__main__":
    options = cli.parser(__doc__ or "")
    add = options.add_argument
    add("configs", type=Path, nargs="*", help="config files of one task")
    add("--preset", choices=tuple(read_presets()), help="a table of the paper")
    add("--out", type=Path, required=True, help="folder for the report")
    add("--data", type=Path, help="folder in the task's standard layout")
    add("--checkpoints", type=Path, nargs="+", default=[], help="evaluate these, one per config")
    add("--budget-minutes", type=minutes, default=10.0, help="training time of the slowest row")
    add("--steps", type=cli.positive, help="training steps of each row, instead of minutes")
    add("--seeds", type=seeds, default=["0"], help="e.g. 0,1,2: train each row with each of them")
    add("--recipe", type=Path, help="config with the training settings of all rows")
    add("--backend", nargs="+", choices=BACKENDS, help="default: all installed")
    add("--threads", nargs="+", type=cli.positive, default=[1])
    add("--runs", type=cli.positive, default=100, help="runs of each row in each engine")
    add("--shape", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"))
    cli.add_overrides(options)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cli.run(main, options)
