"""The error for a missing package is one line with the command that installs it."""

import re
import sys
from pathlib import Path

import pytest

from engine.extras import EXTRAS, require

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]


def test_the_table_is_that_of_pyproject() -> None:
    """Modules are called as their packages, but for grad-cam."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    wanted = tomllib.loads(text)["project"]["optional-dependencies"]
    del wanted["dev"]
    assert set(EXTRAS) == set(wanted)
    for extra, modules in EXTRAS.items():
        packages = {line.partition(">")[0] for line in wanted[extra]}
        named = {name.replace("_", "-").removeprefix("pytorch-") for name in modules}
        assert named == packages, extra


def test_what_is_there_is_returned() -> None:
    assert require("json.decoder") is sys.modules["json.decoder"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "onnx",
            "onnx is not installed; run: pip install 'lcnet-vision[export]' "
            "(in a checkout: pip install -e '.[export]')",
        ),
        ("nobodys", "nobodys is not installed; run: pip install nobodys"),
    ],
)
def test_what_is_missing(name: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match=f"^{re.escape(line)}$"):
        require(name)


def test_what_is_there_but_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_package.py").write_text("import nobodys_module")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(
        ValueError, match=r"cannot be imported \(No module named 'nobodys_module'\)"
    ):
        require("broken_package")
