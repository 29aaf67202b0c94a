"""Find errors in a data set: python tools/check_dataset.py DIR --task det|seg|cls.

Every finding names the file, the problem and the solution. The exit code is 1 if there are errors
or warnings, else 0. Notes are for information; with --strict they count as errors.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from engine import cli
from engine.checks.parallel import spread
from engine.findings import Finding, count, examples, exit_code, summary, write_findings
from engine.progress import live_line
from engine.reports.contact_sheet import write_sheet
from engine.task import known_tasks, task_named

Item = TypeVar("Item")
Result = TypeVar("Result")
SIZE = (320, 320)  # input size of most detector configs


def main(arguments: argparse.Namespace) -> int:
    """Check, print, write the requested files; returns the exit code."""
    folder: Path = arguments.folder
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; give the same folder as for --data")
    task = task_named(arguments.task)
    checked = task.use("check")(folder, watched, tuple(arguments.size))
    if arguments.fix is not None:
        task.use("fix")(folder, arguments.fix, checked)
    findings: list[Finding] = checked.findings
    console = Console()
    if findings:
        console.print(summary(findings))
        for line in examples(findings, arguments.show):
            print(line)
    counts = ", ".join(f"{n} {name}{'s' * (n != 1)}" for name, n in count(findings).items())
    print(f"{folder}: {counts}")
    if arguments.json is not None:
        write_findings(arguments.json, findings, folder=str(folder), task=arguments.task)
    if arguments.sheet is not None and not write_sheet(arguments.sheet, findings):
        print(f"{arguments.sheet}: not written, no finding has a picture")
    if arguments.fix is not None:
        print(
            f"{arguments.fix}: repaired copy; check it too, because not everything can be repaired"
        )
    return exit_code(findings, strict=arguments.strict)


def watched(function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]:
    """`spread` with a progress bar."""
    everything = list(items)
    with live_line() as progress:
        task = progress.add_task("checking files", total=len(everything), note="")
        for result in spread(function, everything):
            progress.advance(task)
            yield result


if __name__ == "__main__":
    options = cli.parser(__doc__ or "")
    add = options.add_argument
    add("folder", type=Path, metavar="DIR", help="the folder for --data in training")
    names = ", ".join(task.name for task in known_tasks())
    add("--task", required=True, help=f"{names}, or the package of a task")
    add("--fix", type=Path, metavar="OUT", help="new folder for a repaired copy")
    add("--json", type=Path, metavar="F", help="write all findings to a file")
    add("--sheet", type=Path, metavar="PNG", help="picture of examples")
    add("--show", type=int, default=3, metavar="N", help="examples per rule (default: %(default)s)")
    add(
        "--size", type=int, nargs=2, default=SIZE, metavar=("H", "W"),
        help="det: training size, for tiny objects (default: 320 320)",
    )  # fmt: skip
    add("--strict", action="store_true", help="exit code 1 for notes too")
    cli.run(main, options)
