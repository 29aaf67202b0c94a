"""The command `lcnet`: `lcnet make-mini-data` is tools/make_mini_data.py, in any folder."""

import ast
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

from lcnet_vision import __version__

DISTRIBUTION = "lcnet-vision"
HERE = Path(__file__).parent
# tools/ is in this package in a wheel, and beside it in a checkout.
TOOLS = HERE / "tools" if (HERE / "tools").is_dir() else HERE.parent / "tools"
USAGE = """usage: lcnet COMMAND [options]; lcnet COMMAND --help says more

commands:
{commands}

CONFIG is a config file, or the name of one that list-configs shows.
"""


def main() -> int:
    """Run the command; returns or exits with 0 done, 1 failed, 2 wrong usage."""
    name, *arguments = sys.argv[1:] or [""]
    tools = {path.stem.replace("_", "-"): path for path in sorted(TOOLS.glob("*.py"))}
    if name in ("--help", "-h", ""):
        (sys.stdout if name else sys.stderr).write(usage(tools))
        return 0 if name else 2
    if name == "--version":
        print(__version__)
        return 0
    if clash := foreign_owner():
        sys.stderr.write(f"error: {clash}\n")
        return 1
    if name not in tools:
        return list_or_refuse(name, tools)
    run(name, tools[name], arguments)
    return 0


def usage(tools: dict[str, Path]) -> str:
    """Help text with a line for each command."""
    lines = {name: first_line(path).partition(": python ")[0] for name, path in tools.items()}
    lines["list-configs"] = "The configs that come with this package"
    width = max(map(len, lines))
    return USAGE.format(commands="\n".join(f"  {n:{width}}  {lines[n]}" for n in sorted(lines)))


def first_line(path: Path) -> str:
    """First line of the docstring of a Python file, which is not run."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].rstrip(".")


def list_or_refuse(name: str, tools: dict[str, Path]) -> int:
    """List the shipped configs, or name the commands nearest to a wrong one; exit code."""
    from engine.fileio import near  # after the check that `engine` is of this distribution
    from engine.shipped_configs import config_folder, config_names

    if name != "list-configs":
        known = near(name, [*tools, "list-configs"])
        sys.stderr.write(f"error: no command {name!r}; {known}; lcnet --help lists all\n")
        return 2
    names = config_names()
    width = max(map(len, names))
    for config in names:
        print(f"{config:{width}}  {first_line(config_folder() / f'{config}.py')}")
    return 0


def run(name: str, path: Path, arguments: list[str]) -> None:
    """Run a script like `python path`, but with the name `lcnet NAME` in usage lines."""
    sys.argv = [f"lcnet {name}", *arguments]
    script = ModuleType("__main__")
    script.__file__ = str(path)
    sys.modules["__main__"] = script  # multiprocessing starts children from it
    exec(compile(path.read_bytes(), path, "exec"), vars(script))


def foreign_owner() -> str:
    """Error message if another distribution has a package of the same name, else ""."""
    for package, owners in packages_distributions().items():
        others = sorted(set(owners) - {DISTRIBUTION})
        if DISTRIBUTION in owners and others:
            return (
                f"{package}: this package is also in {' and '.join(others)}, which overwrites it; "
                f"run: pip uninstall {' '.join(others)}, then install {DISTRIBUTION} again"
            )
    return ""


if __name__ == "__main__":
    sys.exit(main())
