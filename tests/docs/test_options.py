"""The options of the commands on the pages load with the config that the command names."""

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from mmengine.config import DictAction

from engine import config

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
COMMAND = re.compile(r"^ *lcnet +[a-z-]+ (.*--cfg-options.*)$", re.MULTILINE)
CONFIG = re.compile(r"(?:paper/)?\b(?:picodet|classifier|deeplabv3plus)_\w+")


def commands() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Config and options of every command that names a shipped config."""
    for page in PAGES:
        for line in COMMAND.findall(re.sub(r"\\\n\s*", "", page.read_text())):
            before, _, after = line.partition("#")[0].partition("--cfg-options")
            options = after.partition(" --")[0]
            if (named := CONFIG.search(before)) and "..." not in options:
                yield named[0], tuple(shlex.split(options))


@pytest.mark.parametrize(("name", "options"), sorted(set(commands())))
def test_options_load(name: str, options: tuple[str, ...]) -> None:
    reader = argparse.ArgumentParser()
    reader.add_argument("--cfg-options", nargs="+", action=DictAction)
    given = reader.parse_args(["--cfg-options", *options]).cfg_options
    assert given
    config.load(ROOT / f"configs/{name}.py", given)
