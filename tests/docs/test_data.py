"""docs/data.md names every rule, and only rules, in the tables of its check."""

import re
from collections.abc import Iterator
from pathlib import Path

import classification.data.checks
import detection.data.box_checks
import detection.data.checks
import engine.checks.class_balance
import engine.checks.duplicates
import engine.checks.image_checks
import segmentation.data.checks
from engine.findings import Rule

MODULES = (
    classification.data.checks, detection.data.checks, detection.data.box_checks,
    engine.checks.image_checks, engine.checks.class_balance, engine.checks.duplicates,
    segmentation.data.checks,
)  # fmt: skip
PAGE = Path(__file__).parents[2] / "docs/data.md"


def rules(node: object) -> Iterator[Rule]:
    """The rules in a module's tables, however nested."""
    if isinstance(node, Rule):
        yield node
    elif isinstance(node, dict | tuple):
        for part in node.values() if isinstance(node, dict) else node:
            yield from rules(part)


def test_the_tables_of_rules_are_complete_and_true() -> None:
    known = {r.name: r for m in MODULES for value in vars(m).values() for r in rules(value)}
    assert len(known) >= 30
    section = PAGE.read_text().split("## Checking a data set")[1].split("\n## ")[0]
    listed = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        names = re.findall(r"`([a-z0-9-]+)`", cells[0]) if line.startswith("| `") else []
        severities = cells[1].split(", ") if names else []
        severities *= len(names) if len(severities) == 1 else 1
        listed |= dict(zip(names, severities, strict=True))
    assert listed.keys() == known.keys()
    twice = {"image-listed-twice"}  # an error in a json, a warning in a list
    assert {n: s for n, s in listed.items() if n not in twice} == {
        n: rule.severity for n, rule in known.items() if n not in twice
    }
