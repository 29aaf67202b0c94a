"""Writes the report of a comparison: tables, a chart and conclusions, as Markdown and HTML."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from engine.benchmark import statistics
from engine.benchmark.paper import PAPERS_MACHINE
from engine.fileio import write_binary
from engine.reports import html
from engine.reports.charts import new_figure, plain, png

FAVOURITES = (
    "openvino",
    "onnxruntime",
    "torch-compile",
    "torch",
)  # for the chart's axis, the first one measured
PALE = "#b8b8b8"

Rows = Mapping[str, statistics.Row]
Table = list[list[str]]  # the first row is the head


def write(folder: Path, state: Mapping[str, Any], pairs: Sequence[tuple[str, str]]) -> None:
    """Write pareto.png, report.md and report.html into `folder`.

    Args:
        folder: Report folder.
        state: State from `engine.benchmark.compare`.
        pairs: Labels of the rows to compare with each other.
    """
    rows: Rows = state["rows"]
    picture = pareto(rows, state)
    tables, words = [table(rows), *run_tables(rows)], sentences(state, pairs)
    write_binary(folder / "pareto.png", picture)
    write_binary(folder / "report.md", markdown(tables, words).encode())
    write_binary(folder / "report.html", as_html(tables, words, picture))


def table(rows: Rows) -> Table:
    """Costs, latencies, accuracy and published numbers of every row."""
    engines = engines_of(rows)
    head = ["model", "parameters, M", "MACs, M", "MB"]
    head += [f"{engine}: p50 / p90, ms" for engine in engines]
    head += ["accuracy, %", "runs", "published, %", "published, ms"]
    return [head, *(_cells(label, row, engines) for label, row in rows.items())]


def _cells(label: str, row: statistics.Row, engines: Sequence[str]) -> list[str]:
    found, published = statistics.accuracy(row), row["published"] or {}
    times = row.get("latency", {})
    return [
        label,
        f"{row['parameters'] / 1e6:.2f}",
        f"{row['macs'] / 1e6:.1f}",
        f"{row['bytes'] / 1e6:.1f}",
        *(_percentiles(times.get(engine)) for engine in engines),
        str(found or ""),
        str(found.runs if found else ""),
        _or_blank(published.get("accuracy")),
        _or_blank(published.get("ms")),
    ]


def _percentiles(times: Sequence[float] | None) -> str:
    if not times:
        return ""
    return f"{median(times):.2f} / {float(np.quantile(times, 0.9)):.2f}"


def _or_blank(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def run_tables(rows: Rows) -> list[Table]:
    """One table with the metric of every run; empty if nothing was trained."""
    names = sorted({name for row in rows.values() for name in row["runs"]})
    if not names:
        return []
    head = ["model", *(name if not name.isdigit() else f"seed {name}" for name in names)]
    body = [
        [label, *(_run(row["runs"].get(name)) for name in names)] for label, row in rows.items()
    ]
    return [[head, *body]]


def _run(run: Mapping[str, Any] | None) -> str:
    if not run:
        return ""
    return f"{run['metric']:.2f}" if "metric" in run else "failed"


def engines_of(rows: Rows) -> list[str]:
    """The engines, with their threads, in which the rows were measured."""
    return list(next(iter(rows.values())).get("latency", {}))


def favourite(rows: Rows) -> str | None:
    """The engine of the chart."""
    found = engines_of(rows)
    return min(found, key=lambda name: FAVOURITES.index(name.split(",")[0]), default=None)


def sentences(state: Mapping[str, Any], pairs: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Conclusions and limits as paragraphs; the first line of each is its subject."""
    rows: Rows = state["rows"]
    found = [statistics.pair_lines((a, rows[a]), (b, rows[b])) for a, b in pairs]
    engine = favourite(rows)
    if engine and (front := statistics.front(rows, engine)):
        lines = ["No other row is both faster and more accurate than these:", ", ".join(front)]
        found.append([*lines, f"by latency in {engine}"])
    failed = [
        f"{label}, {name}: {run['error']}"
        for label, row in rows.items()
        for name, run in row["runs"].items()
        if "error" in run
    ]
    if failed:
        found.append(["Failed runs; the same command repeats them:", *failed])
    return [*found, ["Limits of these numbers:", *cautions(state)]]


def cautions(state: Mapping[str, Any]) -> list[str]:
    """The limits of the numbers."""
    rows: Rows = state["rows"]
    machine = state["machine"]["processor"]
    lines = []
    if any(row.get("latency") for row in rows.values()):
        lines.append(
            f"latencies: one image, network only, rows in turns, {machine}; the order may differ "
            "on another processor"
        )
    if any(row["published"] for row in rows.values()):
        lines.append(f"published latencies are of another processor ({PAPERS_MACHINE})")
    outcomes = [run for row in rows.values() for run in row["runs"].values()]
    if any("metric" in run for run in outcomes):
        lines += [f"accuracies: {state['data']}", *_training(state)]
    elif not outcomes:
        lines.append("nothing was trained or evaluated here: any accuracies are published ones")
    return lines


def _training(state: Mapping[str, Any]) -> list[str]:
    """How equal the trainings were; empty if checkpoints were evaluated."""
    if not (steps := state.get("steps")):
        return []
    lines = ["short trainings from scratch: the order of the published models may differ"]
    if state["alike"] and len(set(steps.values())) == 1:
        lines.append(
            f"{next(iter(steps.values()))} steps each, on the same images in the same order with "
            "the same augmentation"
        )
    else:
        each = ", ".join(f"{label} {count}" for label, count in steps.items())
        lines.append(
            "batches, images or augmentation of the rows differ, because their configs do; use "
            f"--recipe for equal trainings; steps: {each}"
        )
    return lines


def pareto(rows: Rows, state: Mapping[str, Any]) -> bytes:
    """PNG of accuracy over latency: rows, their Pareto front and, in grey, the paper's points."""
    figure = new_figure(8, 5.5)
    axes = figure.subplots()
    engine = favourite(rows)
    trained = any(statistics.accuracy(row) for row in rows.values())
    if engine:
        _draw_rows(axes, rows, engine)
        axes.set_xlabel(f"milliseconds, {engine}, {state['machine']['processor']}")
    axes.set_ylabel("accuracy here, %" if trained else "published accuracy, %")
    if trained and any(row["published"] and row["published"]["ms"] for row in rows.values()):
        _draw_published(axes, rows)
    return png(figure)


def _draw_rows(axes: Any, rows: Rows, engine: str) -> None:
    known = statistics.places(rows, engine)
    for label, (ms, value) in known.items():
        found = statistics.accuracy(rows[label])
        axes.errorbar(ms, value, yerr=found.deviation if found else None, fmt="o", capsize=3)
    _name(axes, known, 5, fontsize=9)
    front = [known[label] for label in statistics.front(rows, engine)]
    if front:
        axes.plot(*zip(*front, strict=True), "-", color="#444444", lw=1, zorder=0)
    axes.margins(0.15)


def _draw_published(axes: Any, rows: Rows) -> None:
    """Draw the paper's points on separate axes: another processor, other data."""
    over = axes.twinx().twiny()
    over.set_xlabel(f"published milliseconds, {PAPERS_MACHINE}", color=PALE)
    over.figure.axes[1].set_ylabel("published accuracy, %", color=PALE)
    known = {
        label: (row["published"]["ms"], row["published"]["accuracy"])
        for label, row in rows.items()
        if row["published"] and row["published"]["ms"]
    }
    over.plot(*zip(*known.values(), strict=True), "D", color=PALE, ms=4)
    _name(over, known, -9, fontsize=7, color=PALE)
    over.margins(0.15)


def _name(
    axes: Any,
    points: Mapping[str, tuple[float, float]],
    rise: int,
    fontsize: int,
    color: str = "black",
) -> None:
    """Write labels beside points, towards the middle and `rise` typographic points up."""
    if not points:
        return
    middle = sum(x for x, _ in points.values()) / len(points)
    for label, point in points.items():
        side, offset = ("right", -6) if point[0] > middle else ("left", 6)
        axes.annotate(
            plain(label),
            point,
            (offset, rise),
            textcoords="offset points",
            ha=side,
            fontsize=fontsize,
            color=color,
        )


def markdown(tables: Sequence[Table], words: Sequence[Sequence[str]]) -> str:
    """The report as Markdown."""
    parts = ["# Comparison"]
    for head, *body in tables:
        rule = ["---", *["---:"] * (len(head) - 1)]
        lines = ([_markdown_text(cell) for cell in cells] for cells in (head, rule, *body))
        parts.append("\n".join(f"| {' | '.join(cells)} |" for cells in lines))
    parts.append("![Accuracy over latency](pareto.png)")
    for paragraph in words:
        first, *rest = map(_markdown_text, paragraph)
        parts.append("\n".join([first, "", *(f"- {line}" for line in rest)]))
    return "\n\n".join(parts) + "\n"


def _markdown_text(text: str) -> str:
    """The text with escaped table and HTML characters."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def as_html(tables: Sequence[Table], words: Sequence[Sequence[str]], picture: bytes) -> bytes:
    """The report as one self-contained HTML file."""
    parts: list[html.Block] = [html.Table(cells) for cells in tables]
    parts.append(html.Raster(picture, "Accuracy over latency"))
    for first, *rest in words:
        parts += [html.Paragraph(first), html.Points(rest)]
    return html.document("Comparison", [html.Section("", parts)])
