"""No other distribution has our import names, and packages import in one direction."""

import ast
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TASKS = ("detection", "segmentation", "classification")
OURS = ("backbone", "engine", "lcnet_vision", *TASKS)
ALLOWED = {
    "backbone": {"backbone"},
    "engine": {"engine"},
    **{task: {"backbone", "engine", task} for task in TASKS},
    "lcnet_vision": {"engine", "lcnet_vision"},
}


def imports(path: Path) -> Iterator[str]:
    """Top-level packages that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").split(".")[0]


@pytest.mark.parametrize("package", OURS)
def test_imports_run_one_way(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in imports(path)
        if name in OURS and name not in ALLOWED[package]
    }
    assert wrong == set()


@pytest.mark.parametrize("package", OURS)
def test_no_relative_import_leaves_its_package(package: str) -> None:
    """`from ..other import x` would bypass the rule."""
    for path in (ROOT / package).rglob("*.py"):
        depth = len(path.relative_to(ROOT / package).parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level <= depth, path


@pytest.mark.slow
@pytest.mark.parametrize("package", OURS)
def test_the_names_belong_to_us_alone(package: str) -> None:
    owners = packages_distributions().get(package)
    if owners is None:
        pytest.skip("the project is not installed")
    assert set(owners) == {"lcnet-vision"}


def test_no_drawer_files() -> None:
    banned = {"utils", "misc", "common", "core", "helpers"}
    assert [p for name in OURS for p in (ROOT / name).rglob("*") if p.stem in banned] == []
