"""Drawings: in the page's colour, with plain text, without shared ids."""

import re
import warnings
from xml.etree import ElementTree

import numpy as np
import pytest

from engine.reports import charts
from engine.reports.charts import count_axis, drawing, heat_map

NAMES = ["<script>alert(1)</script>", "$x^2$", "a&b"]


@pytest.fixture(scope="module")
def svg() -> str:
    shares = np.array([[0.9, 0.1, 0.004], [0.25, np.nan, 0.75], [0, 0, 1]])
    return heat_map("what is taken for <what>", shares, (NAMES, NAMES))


def test_names_stay_texts(svg: str) -> None:
    """Markup in a class name stays text, and a dollar does not start a formula."""
    texts = [node.text for node in ElementTree.fromstring(svg).iter() if node.tag.endswith("text")]
    for name in ("$x^2$", "a&b"):
        assert texts.count(name) == 2
    assert "<script" not in svg


def test_numbers_of_the_cells(svg: str) -> None:
    texts = [node.text for node in ElementTree.fromstring(svg).iter() if node.tag.endswith("text")]
    assert [text for text in texts if text and text.isdecimal()] == ["90", "10", "25", "75", "100"]


def test_ink_is_the_pages(svg: str) -> None:
    assert "#010203" not in svg
    assert "currentColor" in svg
    assert not svg.startswith("<?xml")
    assert "<metadata" not in svg
    assert 'aria-label="what is taken for what"' in svg


@pytest.mark.filterwarnings("error")
def test_letters_that_matplotlib_has_no_font_for_stay_texts() -> None:
    with drawing("a") as (result, axes):
        axes.set_title("\u732b \U0001f600")
    assert ">\u732b \U0001f600<" in result.svg


@pytest.mark.filterwarnings("error")
def test_other_warnings_are_heard() -> None:
    with pytest.raises(UserWarning, match="else"), drawing("a") as (result, _):
        result.figure.savefig = lambda *_, **__: warnings.warn("else", stacklevel=1)


def test_two_drawings_share_no_names() -> None:
    def drawn(name: str) -> str:
        with drawing(name) as (result, axes):
            axes.plot([1, 10], [1, 1000], "o")
            count_axis(axes)
        return result.svg

    first, second = drawn("a"), drawn("b")
    ids = [set(re.findall(r' id="([^"]+)"', text)) for text in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert ">1000<" in first


def test_confusion_of_many_classes_shows_the_worst(monkeypatch: pytest.MonkeyPatch) -> None:
    """Class 0 does not occur; of the others 2 and 3 have the most errors; rows are shares."""
    matrix = np.array([[0, 0, 0, 0], [0, 8, 0, 0], [0, 1, 3, 4], [0, 0, 1, 9]])
    drawn: list[tuple[object, object]] = []
    monkeypatch.setattr(charts, "heat_map", lambda _, shares, names: drawn.append((shares, names)))
    _, note = charts.confusion_map(matrix, "abcd", 2)
    shares, names = drawn[0]
    assert np.array_equal(shares, [[3 / 8, 4 / 8], [1 / 10, 9 / 10]])
    assert names == (["c", "d"], ["c", "d"])
    assert note == " The 2 classes with the most errors, out of 3."
    assert charts.confusion_map(matrix, "abcd", 3)[1] == ""
