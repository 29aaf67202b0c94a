"""Rules and findings of data set checks, and how they are shown.

An error is data that training cannot use or that would train it wrongly: it stops a run. A warning
is damage that the readers can handle. A note is a fact worth knowing.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.table import Table

from engine.fileio import write_json

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Rule:
    """A rule that data may break."""

    name: str
    severity: Severity
    remedy: str  # what to do about it
    fix: str = ""  # what --fix does; empty: nothing


@dataclass(frozen=True)
class Finding:
    """One place where a rule is broken."""

    rule: Rule
    file: Path
    text: str  # what was found, and what was expected
    id: str = ""  # the part of the file: "annotation 7", "line 3"
    record: int | None = None  # index of that part in its list, for repairs
    picture: Path | None = None  # image that shows it
    box: tuple[float, ...] | None = None  # xyxy in pixels of the picture

    def __str__(self) -> str:
        where = f"{self.file}: {self.id}: " if self.id else f"{self.file}: "
        return f"{where}{self.text}"

    def as_json(self) -> dict[str, str]:
        """The finding as plain data."""
        return {
            "rule": self.rule.name,
            "severity": self.rule.severity,
            "file": str(self.file),
            "id": self.id,
            "text": self.text,
            "remedy": self.rule.remedy,
            "fix": self.rule.fix,
        }


def by_rule(findings: Iterable[Finding]) -> dict[Rule, list[Finding]]:
    """Findings of each rule, errors first, then in the order found."""
    groups: dict[Rule, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.rule, []).append(finding)
    ordered = sorted(groups, key=lambda rule: SEVERITIES.index(rule.severity))
    return {rule: groups[rule] for rule in ordered}


def count(findings: Iterable[Finding]) -> dict[Severity, int]:
    """Number of findings of each severity."""
    counts = Counter(finding.rule.severity for finding in findings)
    return {severity: counts[severity] for severity in SEVERITIES}


def exit_code(findings: Iterable[Finding], *, strict: bool = False) -> int:
    """1 if there is an error or a warning, with `strict` also for a note; else 0."""
    counts = count(findings)
    return int(bool(counts["error"] or counts["warning"] or (strict and counts["note"])))


def errors(findings: Iterable[Finding]) -> Iterator[Finding]:
    """The findings that stop a run."""
    return (finding for finding in findings if finding.rule.severity == "error")


def summary(findings: Sequence[Finding]) -> Table:
    """A table with a row for each broken rule."""
    table = Table("", "rule", "found", "what to do")
    for rule, found in by_rule(findings).items():
        table.add_row(rule.severity, rule.name, str(len(found)), rule.remedy)
    return table


def examples(findings: Sequence[Finding], most: int) -> Iterator[str]:
    """Lines with the first `most` findings of each rule, and the number of further ones."""
    for rule, found in by_rule(findings).items():
        for finding in found[:most]:
            yield f"{rule.severity} {rule.name}: {finding}"
        if len(found) > most:
            yield f"{rule.severity} {rule.name}: {len(found) - most} more"


def write_findings(path: Path, findings: Sequence[Finding], **about: str) -> None:
    """Write a JSON file with the entries `about`, the counts and all findings."""
    content: dict[str, Any] = {**about, "counts": count(findings)}
    write_json(path, content | {"findings": [finding.as_json() for finding in findings]})
