"""engine/shipped_configs.py: a CONFIG is a path or a name; a misspelled one names the nearest."""

from pathlib import Path

import pytest

from engine import config
from engine.shipped_configs import config_folder, config_names, find_config

FOLDER = Path(__file__).parents[2] / "configs"


def test_all_files_but_parts_have_names() -> None:
    assert config_folder() == FOLDER
    files = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.py")}
    assert {f"{name}.py" for name in config_names()} == {f for f in files if f[:5] != "_base"}
    assert "picodet_lcnet" in config_names()


def test_by_name_with_and_without_suffix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("picodet_lcnet", "picodet_lcnet.py", Path("picodet_lcnet")):
        assert find_config(name) == FOLDER / "picodet_lcnet.py"
    assert config.load("picodet_lcnet").filename == str(FOLDER / "picodet_lcnet.py")


def test_a_file_goes_before_a_shipped_one_and_a_folder_does_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("picodet_lcnet").mkdir()
    assert find_config("picodet_lcnet") == FOLDER / "picodet_lcnet.py"
    Path("picodet_lcnet.py").touch()
    assert find_config("picodet_lcnet.py") == Path("picodet_lcnet.py")


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("picodet_lcnet_owm", "picodet_lcnet_own, "),
        ("configs/clasifier_lcnet.py", "classifier_lcnet, "),
        (str(FOLDER / "picodet_lcnet_owm.py"), f"{FOLDER / 'picodet_lcnet_own.py'}, "),
        ("../configs/picodet_lcnet_owm.py", "../configs/picodet_lcnet_own.py, "),
    ],
    ids=["name", "folder that is not there", "path", "relative path"],
)
def test_a_misspelled_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wrong: str, nearest: str
) -> None:
    monkeypatch.chdir(FOLDER if wrong.startswith("..") else tmp_path)
    with pytest.raises(FileNotFoundError) as raised:
        config.load(wrong)
    assert str(raised.value).startswith(f"{wrong}: no such config; nearest known: {nearest}")
