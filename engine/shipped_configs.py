"""The configs of this project: their folder, and the file that a CONFIG means."""

from pathlib import Path

from engine.fileio import near


def config_folder() -> Path:
    """`configs/` of a checkout, or its copy in an installed wheel."""
    root = Path(__file__).parents[1]
    installed = root / "lcnet_vision" / "configs"
    return installed if installed.is_dir() else root / "configs"


def config_names() -> list[str]:
    """Names of the configs, e.g. `picodet_lcnet`, without the parts in `_base`."""
    folder = config_folder()
    files = (path.relative_to(folder) for path in folder.rglob("*.py"))
    return sorted(file.with_suffix("").as_posix() for file in files if file.parts[0] != "_base")


def find_config(config: Path | str) -> Path:
    """The config file of a path or of the name of a shipped config.

    Raises:
        FileNotFoundError: no such config; names the nearest.
    """
    path = Path(config)
    if path.is_file():
        return path
    name = path.as_posix().removesuffix(".py")
    names = config_names()
    if name in names:
        return config_folder() / f"{name}.py"
    beside = [str(file) for file in path.parent.glob("*.py")]
    nearest = near(str(path), beside) if beside and len(path.parts) > 1 else near(path.stem, names)
    raise FileNotFoundError(f"{path}: no such config; {nearest}")
