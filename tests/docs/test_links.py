"""What README, CONTRIBUTING and the pages name is there: links, headings, files, commands."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
NAMED = re.compile(r"(?<![\w./-])((?:docs|tools|configs|tests|benchmarks)/[\w./-]*[\w/])")
COMMAND = re.compile(r"(?:^ *|`|&& |do )lcnet +([a-z][\w-]*)([^`\n]*)", re.MULTILINE)
TODAY = [page for page in PAGES if page.name != "CHANGELOG.md"]  # which names what there was
CONFIG = r"(?:paper/)?\b(?:picodet|classifier|deeplabv3plus)_\w+"


def prose(page: Path) -> str:
    """Text of a page without blocks of code that are fenced."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub makes addresses of them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in kept}


def commands(page: Path) -> Iterator[tuple[str, str]]:
    """Every command of `lcnet` on a page, lines that go on joined, with its options."""
    for name, rest in COMMAND.findall(re.sub(r"\\\n\s*", "", page.read_text())):
        yield name, rest.partition("#")[0].partition(" && ")[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(prose(page)):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if link.startswith("https://"):
            continue
        if not target.is_file() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", TODAY, ids=lambda page: page.name)
def test_files_named_are_there(page: Path) -> None:
    named = set(NAMED.findall(page.read_text()))
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_their_options_are_there(page: Path) -> None:
    shared = (ROOT / "engine/cli.py").read_text()
    wrong = []
    for name, rest in commands(page):
        tool = ROOT / f"tools/{name.replace('-', '_')}.py"
        if name == "list-configs":
            continue
        if not tool.is_file():
            wrong.append(name)
            continue
        text = tool.read_text() + shared
        wrong += [
            f"{name} {option}"
            for option in re.findall(r"(?<!\S)(--[a-z][\w-]*)", rest)
            if f'"{option}"' not in text
        ]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_configs_named_are_there(page: Path) -> None:
    """In commands, and in the first column of tables."""
    text = page.read_text()
    cells = re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE)
    words = re.findall(CONFIG, " ".join(cells))
    for _, rest in commands(page):
        words += re.findall(rf"(?<!\S){CONFIG}(?= |$)", rest)
    zoo = (ROOT / "configs/zoo.toml").read_text()
    there = {word for word in words if (ROOT / f"configs/{word}.py").is_file() or word in zoo}
    assert sorted(set(words) - there) == []


def test_the_index_lists_every_page_and_command() -> None:
    index = (ROOT / "docs/index.md").read_text()
    pages = {page.name for page in ROOT.glob("docs/*.md")} - {"index.md"}
    assert [name for name in sorted(pages) if f"]({name})" not in index] == []
    tools = [path.stem.replace("_", "-") for path in ROOT.glob("tools/*.py")]
    assert [name for name in sorted(tools) if f"`lcnet {name}" not in index] == []


def test_the_pages_have_commands() -> None:
    """Else the tests above would look at nothing."""
    assert sum(1 for page in PAGES for _ in commands(page)) > 100


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 100
