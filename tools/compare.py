"""Compare models: python tools/compare.py CONFIG CONFIG ... --out DIR [--data DIR].

Or a table of the PP-LCNet paper: --preset paper-classification. Without --data nothing is trained:
costs and latencies only.
"""

import argparse
import logging
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.config import DictAction

from engine import command_line, compare, comparison, verify
from engine.benchmark import BACKENDS
from engine.files import near
from engine.machine import fingerprint
from engine.presets import PRESETS, Preset, Row
from engine.progress import live_line

TRAIN = Path(__file__).with_name("train.py")


def main(arguments: argparse.Namespace) -> int:
    """Measure, train or evaluate, report; 1 where a run failed."""
    logging.disable(logging.INFO)  # of the many models and data sets that are built
    preset = preset_of(arguments)
    out: Path = arguments.out
    shape = tuple(arguments.shape) if arguments.shape else preset.shape
    items = compare.entries(
        preset.rows,
        recipe=Path(preset.recipe) if preset.recipe and arguments.data else None,
        data=arguments.data,
        options=arguments.cfg_options,
    )
    if arguments.checkpoints and len(arguments.checkpoints) != len(items):
        raise ValueError(f"--checkpoints: give {len(items)}, one for each config, in their order")
    state = compare.load_state(out)
    state.update(machine=fingerprint(), data=str(arguments.data or ""))
    compare.add_costs(state, items, shape)
    backends = arguments.backend or installed()
    with live_line() as bar:
        task = bar.add_task("latency", total=arguments.runs, note=" ".join(backends))
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
    comparison.write(out, state, preset.pairs)
    if arguments.data:
        take_metrics(arguments, state, items, preset)
    print((out / "report.md").read_text())
    return int(
        any("error" in run for row in state["rows"].values() for run in row["runs"].values())
    )


def preset_of(arguments: argparse.Namespace) -> Preset:
    """The rows to compare: of --preset, or of the configs, each against the first."""
    if bool(arguments.preset) == bool(arguments.configs):
        raise ValueError("give configs, or one --preset")
    if arguments.preset:
        preset = PRESETS[arguments.preset]
        if arguments.recipe:
            return Preset(preset.rows, preset.pairs, str(arguments.recipe), preset.shape)
        return preset
    for path in arguments.configs:
        if not path.is_file():
            known = [str(known) for known in path.parent.glob("*.py")]
            raise FileNotFoundError(f"{path}: no such config; {near(str(path), known)}")
    rows = tuple(Row(path.stem, str(path)) for path in arguments.configs)
    pairs = tuple((row.label, rows[0].label) for row in rows[1:])
    return Preset(rows, pairs, str(arguments.recipe or ""))


def installed() -> list[str]:
    """PyTorch, and the engines that are there."""
    return ["torch", *(name for name in ("onnxruntime", "openvino") if find_spec(name))]


def take_metrics(
    arguments: argparse.Namespace, state: compare.State, items: list[Any], preset: Preset
) -> None:
    """Evaluate the checkpoints, or train all rows; the report is written anew after each."""
    given = dict(zip((item.row.label for item in items), arguments.checkpoints, strict=False))

    def evaluate(entry: compare.Entry, _name: str, _place: Path) -> float:
        found = verify.metric(entry.cfg, given[entry.row.label])
        return compare.percent(verify.metric_name(entry.cfg), found)

    def train(entry: compare.Entry, name: str, place: Path) -> float:
        path = place.with_suffix(".py")
        compare.dump(entry.cfg, path)
        run_training(path, place, ["--data", str(arguments.data), "--seed", name])
        return compare.trained_metric(place, verify.metric_name(entry.cfg))

    def finished(label: str, name: str, outcome: dict[str, Any]) -> None:
        result = outcome.get("error") or f"{outcome['metric']:.2f} %"
        print(f"{label}, {name}: {result}, {outcome['minutes']:.1f} minutes", flush=True)
        comparison.write(arguments.out, state, preset.pairs)

    names = ["checkpoint"] if given else arguments.seeds.split(",")
    if not given:
        steps = arguments.steps or compare.plan_steps(state, items, arguments.budget_minutes)
        state["steps"] = steps
        for item in items:
            compare.shorten(item.cfg, steps)
        print(f"{steps} steps each", flush=True)
    compare.measure_all(
        state,
        items,
        names,
        data=arguments.data,
        folder=arguments.out,
        measure=evaluate if given else train,
        finished=finished,
    )


def run_training(path: Path, work_dir: Path, options: list[str]) -> None:
    """Train in a process of its own, which goes on where an interrupted one stopped.

    Raises:
        RuntimeError: it failed; with its last line.
    """
    command = [sys.executable, str(TRAIN), str(path), "--work-dir", str(work_dir)]
    command += ["--resume", "auto", *options]
    log = work_dir.with_suffix(".log")
    with log.open("a") as stream:
        code = subprocess.run(command, stdout=stream, stderr=stream, check=False).returncode
    if code:
        last = (log.read_text().splitlines() or ["no output"])[-1]
        raise RuntimeError(f"training ended with code {code}: {last}; its log is {log}")


if __name__ == "__main__":
    options = command_line.parser(__doc__ or "")
    options.add_argument("configs", type=Path, nargs="*", help="config files of one task")
    options.add_argument("--preset", choices=tuple(PRESETS), help="a table of the paper")
    options.add_argument("--out", type=Path, required=True, help="folder for the report")
    options.add_argument("--data", type=Path, help="folder in the task's standard layout")
    options.add_argument(
        "--checkpoints", type=Path, nargs="+", default=[], help="one each: evaluate, do not train"
    )
    options.add_argument(
        "--budget-minutes", type=float, default=10.0, help="of training for the slowest row"
    )
    options.add_argument("--steps", type=int, help="of training for each row, instead of minutes")
    options.add_argument("--seeds", default="0", help="e.g. 0,1,2: each row is trained with each")
    options.add_argument("--recipe", type=Path, help="config whose training all rows get")
    options.add_argument("--backend", nargs="+", choices=BACKENDS, help="default: what is there")
    options.add_argument("--threads", nargs="+", type=int, default=[1])
    options.add_argument("--runs", type=int, default=100, help="of each row in each engine")
    options.add_argument("--shape", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"))
    options.add_argument(
        "--cfg-options", nargs="+", action=DictAction, default={}, metavar="KEY=VALUE"
    )
    command_line.run(main, options)
