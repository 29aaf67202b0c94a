"""The built wheel in an environment and a folder that know nothing of the checkout.

It is installed without its dependencies; those of the environment that runs the tests are seen
through a .pth file, and whatever else that one has installed comes after the wheel.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
TOOLS = sorted(path.stem for path in ROOT.glob("tools/*.py"))
CLEAN = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
pytestmark = [pytest.mark.slow, pytest.mark.long]  # a wheel is built, and an environment made

# Every command's --help in one process, for each alone takes seconds to import torch.
ALL_HELP = """
import sys
from lcnet_vision.__main__ import main
for name in sys.argv[1:]:
    sys.argv = ["lcnet", name, "--help"]
    try:
        main()
    except SystemExit as done:
        assert not done.code, name
import detection
print(detection.__file__)
"""
OWN = """from mmengine.config import read_base

with read_base():
    from lcnet_vision.configs.picodet_lcnet_mini import *

model["backbone"].update(scale=0.25)
model["data_preprocessor"].update(size=(64, 64), train_sizes=(64,))
train_dataloader.update(batch_size=4, num_workers=0, persistent_workers=False)
val_dataloader.update(num_workers=0, persistent_workers=False)
test_dataloader.update(num_workers=0, persistent_workers=False)
train_cfg.update(max_epochs=1, val_interval=1)
"""


class Installed(NamedTuple):
    """An environment with the wheel."""

    wheel: Path
    bin: Path

    def run(self, folder: Path, *command: str | Path, code: int = 0) -> str:
        """Output of a program of the environment, started in a folder; both of its streams."""
        program, *arguments = map(str, command)
        ran = subprocess.run(
            [str(self.bin / program), *arguments],
            cwd=folder, env=CLEAN, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert ran.returncode == code, ran.stdout + ran.stderr
        return ran.stdout + ran.stderr


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Build from a copy, for a build leaves files in its folder, and install."""
    source, place = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name in (*PACKAGES, "tools", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    python, target = sys.executable, place / "environment"
    build = [python, "-m", "build", "--no-isolation", "--outdir", str(place), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = place.glob("*.whl")
    subprocess.run([python, "-m", "venv", "--without-pip", str(target)], check=True)
    there = [python, "-m", "pip", "--python", str(target / "bin/python")]
    subprocess.run([*there, "install", "--quiet", "--no-deps", str(wheel)], check=True, env=CLEAN)
    (site,) = target.glob("lib/python*/site-packages")
    seen = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (site / "zz_seen.pth").write_text("\n".join(seen))
    return Installed(wheel, target / "bin")


@pytest.fixture(scope="session")
def data(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the mini data set in data/mini, drawn by the installed command."""
    folder = tmp_path_factory.mktemp("data")
    size = ("--train", "8", "--val", "4", "--side", "128")
    installed.run(folder, "lcnet", "make-mini-data", "--out", "data/mini", *size)
    return folder


def test_what_is_in_it(installed: Installed) -> None:
    """All files of the packages except caches, tools/*.py, configs/; no other top-level name."""

    def files(folder: Path) -> set[str]:
        found = (path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix() for path in found if path.suffix != ".pyc"}

    wanted = {f"{name}/{file}" for name in PACKAGES for file in files(ROOT / name)}
    wanted |= {f"lcnet_vision/tools/{name}.py" for name in TOOLS}
    wanted |= {f"lcnet_vision/configs/{file}" for file in files(ROOT / "configs")}
    with zipfile.ZipFile(installed.wheel) as archive:
        there = set(archive.namelist())
    assert {name for name in there if ".dist-info/" not in name} == wanted
    assert installed.wheel.name == "lcnet_vision-0.2.0-py3-none-any.whl"


def test_lists(installed: Installed, tmp_path: Path) -> None:
    assert installed.run(tmp_path, "lcnet", "--version") == "0.2.0\n"
    assert installed.run(tmp_path, "lcnet", "--help").startswith("usage: lcnet COMMAND")
    assert "picodet_lcnet_mini  " in installed.run(tmp_path, "lcnet", "list-configs")
    line = installed.run(tmp_path, "lcnet", "download-weights", "picodet_s_coc", code=1)
    assert line.startswith("error: no published model is called 'picodet_s_coc'; nearest known: ")


def test_every_commands_help(installed: Installed, tmp_path: Path) -> None:
    names = [name.replace("_", "-") for name in TOOLS]
    printed = installed.run(tmp_path, "python", "-c", ALL_HELP, *names)
    for name in names:
        assert f"usage: lcnet {name} " in printed
    assert "tools/" not in printed
    assert Path(printed.splitlines()[-1]).is_relative_to(installed.bin.parent)
    assert "usage: lcnet train " in installed.run(tmp_path, "lcnet", "train", "--help")


def test_a_shipped_config_trains(installed: Installed, data: Path) -> None:
    printed = installed.run(data, "lcnet", "train", "picodet_lcnet_mini", "--dry-run")
    assert "dry run done: data, model, loss, validation and checkpoint work" in printed


def test_a_printed_config_prints_as_itself(installed: Installed, tmp_path: Path) -> None:
    printed = installed.run(tmp_path, "lcnet", "print-config", "deeplabv3plus_lcnet")
    assert "<class" not in printed
    assert "type='segmentation.deeplabv3plus.DeepLabV3Plus'" in printed
    (tmp_path / "printed.py").write_text(printed)
    assert installed.run(tmp_path, "lcnet", "print-config", "printed.py") == printed


def test_a_config_of_ones_own(installed: Installed, data: Path, tmp_path: Path) -> None:
    """Trained by two processes, gone on from a checkpoint with the config that the run left."""
    (tmp_path / "own.py").write_text(OWN)
    detection = ("--data", data / "data/mini/detection")
    torchrun = ("python", "-m", "torch.distributed.run", "--nproc-per-node", "2")
    script = ("-m", "lcnet_vision", "train", "own.py", "--launcher", "pytorch", *detection)
    installed.run(tmp_path, *torchrun, *script)
    run = tmp_path / "work_dirs/own"
    going_on = ("--load-from", run / "epoch_1.pth", "--dry-run", *detection)
    assert "dry run done" in installed.run(tmp_path, "lcnet", "train", run / "own.py", *going_on)


def test_compare_starts_trainings(installed: Installed, data: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    few = ("--steps", "2", "--backend", "torch", "--runs", "2", "--data")
    command = ("lcnet", "compare", "own.py", "--out", "report", *few, data / "data/mini/detection")
    assert "own, 0: 0.00 %" in installed.run(tmp_path, *command)


def test_another_distribution_with_a_package_of_ours(installed: Installed, tmp_path: Path) -> None:
    (site,) = installed.bin.parent.glob("lib/python*/site-packages")
    rival = site / "rival-1.0.dist-info"
    rival.mkdir()
    try:
        (rival / "METADATA").write_text("Metadata-Version: 2.1\nName: rival\nVersion: 1.0\n")
        (rival / "RECORD").write_text("segmentation/__init__.py,,\n")
        (rival / "top_level.txt").write_text("segmentation\n")
        line = installed.run(tmp_path, "lcnet", "print-config", "picodet_lcnet", code=1)
    finally:
        shutil.rmtree(rival)
    assert line.startswith(
        "error: segmentation: this package is also in rival, which overwrites it"
    )
