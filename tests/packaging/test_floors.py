"""The folders of the engine have floors: each imports only lower ones and itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TASKS = ("detection", "segmentation", "classification")
PACKAGES = ("backbone", "engine", *TASKS)
# From the ground up; "" are the files at the engine's root.
FLOORS = (
    ("",), ("checkpoint", "data"), ("hooks", "checks"), ("training",), ("runtime",), ("export",),
    ("inference",), ("reports",), ("benchmark", "serving"),
)  # fmt: skip
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
ALONE = {"demo_data": {"engine.types", "engine.data.images"}}  # rooms that import these alone
MOST_MODULES = 13
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}


def imports(path: Path, *, inside: bool = True) -> Iterator[str]:
    """Files of this project that a file imports, except for type checkers."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.unparse(branch.test)
        for node in ast.walk(branch)
    }
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if id(node) in skipped or (not inside and id(node) not in top):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in FILES)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield from [full] if full in FILES else [node.module] * (node.module in FILES)


GRAPH = {name: set(imports(path)) - {name} for name, path in FILES.items()}


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) == 3 or (ROOT / "engine" / parts[-1]).is_dir() else ""


ENGINE = [name for name in FILES if name.startswith("engine.")]


@pytest.mark.parametrize("module", ENGINE)
def test_no_import_points_upwards(module: str) -> None:
    room = room_of(module)
    theirs = {
        name for name in GRAPH[module] if name.startswith("engine.") and room_of(name) != room
    }
    if room in ALONE:
        assert theirs <= ALONE[room]
        return
    above = {name for name in theirs if FLOOR.get(room_of(name), 99) >= FLOOR[room]}
    assert above == set(), f"{module} imports what does not lie below it"


def test_there_are_no_circles() -> None:
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for name in GRAPH[module]:
                visit(name, (*path, module))
            done.add(module)

    for module in GRAPH:
        visit(module, ())


@pytest.mark.parametrize("module", FILES)
def test_no_import_within_a_function(module: str) -> None:
    """It would hide a circular import; tooling with dotted names is imported by `TASK.use`."""
    path = FILES[module]
    assert set(imports(path)) == set(imports(path, inside=False)), module


def test_no_folder_is_crowded() -> None:
    counts: dict[str, int] = {}
    for path in FILES.values():
        if path.name != "__init__.py":
            folder = str(path.parent.relative_to(ROOT))
            counts[folder] = counts.get(folder, 0) + 1
    assert {folder: n for folder, n in counts.items() if n > MOST_MODULES} == {}


def test_types_import_numpy_and_torch_alone() -> None:
    tree = ast.parse((ROOT / "engine/types.py").read_text())
    names = {
        node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
    }
    names |= {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    assert names <= {"collections", "pathlib", "typing", "numpy", "torch"}


def test_no_class_name_stands_twice() -> None:
    homes: dict[str, list[str]] = {}
    for module, path in FILES.items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(module)
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}
