"""Pages: escaped texts, no external resources, bars and pictures as given."""

import base64
import re

import cv2
import numpy as np

from engine.reports import html
from engine.reports.html import Section, Shown

HOSTILE = "<script>alert('x')</script> & \"y\" > z"


def png() -> bytes:
    return cv2.imencode(".png", np.full((2, 3, 3), 7, np.uint8))[1].tobytes()


def written(*parts: html.Block) -> str:
    """A page with these parts only."""
    return html.document("", [Section("", parts)]).decode()


def whole() -> str:
    """A page with hostile text in every place."""
    parts = [
        html.Paragraph(HOSTILE),
        html.Points([HOSTILE]),
        html.Tiles({HOSTILE: HOSTILE}),
        html.Table([[HOSTILE], [HOSTILE]]),
        html.Bars([(HOSTILE, 0.5, HOSTILE)]),
        html.Raster(png(), HOSTILE),
        html.Gallery([Shown([png()], HOSTILE, [HOSTILE])], "half"),
        html.Drawings({HOSTILE: html.Html("<svg></svg>")}),
        html.Key({HOSTILE: (255, 0, 16)}),
    ]
    return html.document(HOSTILE, [Section(HOSTILE, parts)], {HOSTILE: HOSTILE}).decode()


def test_no_text_becomes_markup() -> None:
    text = whole()
    assert "<script" not in text
    assert text.count("&lt;script&gt;") == 18
    alt = 'alt="&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &#34;y&#34;'
    assert text.count(alt) == 2
    assert "<svg></svg>" in text


def test_nothing_is_loaded() -> None:
    text = whole()
    assert re.findall(r"(?:src|href)=[\"'](?!data:)", text) == []
    assert re.findall(r"https?:|@import|url\(", text) == []
    assert "default-src 'none'; img-src data:" in text


def test_bars_stay_within_their_width() -> None:
    text = written(html.Bars([("a", -1, ""), ("b", 0.25, ""), ("c", 7, "")]))
    widths = re.findall(r"width:([\d.]+)%\"", text)
    assert widths == ["0.0", "25.0", "100.0"]


def test_a_picture_is_in_the_page_byte_by_byte() -> None:
    text = written(html.Raster(png(), ""))
    ((kind, data),) = re.findall(r"data:image/(\w+);base64,([^\"]+)", text)
    assert (kind, base64.b64decode(data)) == ("png", png())
    assert "image/jpeg" in written(html.Raster(b"\xff\xd8", ""))


def test_several_pictures_stand_beside_each_other() -> None:
    shown = [Shown([png()] * 4, "", ["a", "b"]), Shown([png()], "", ["c"])]
    text = written(html.Gallery(shown, "wide"))
    assert text.count("<img") == 5
    assert text.count('class="panels"') == 1
    assert "a<br>b" in text


def test_columns_of_words_and_of_numbers() -> None:
    text = written(html.Table([["a", "b", "c"], ["d", "e", "1"]], 2))
    assert re.findall(r'class="word">(\w)', text) == ["a", "b", "d", "e"]


def test_colours_of_the_key() -> None:
    assert "background:#ff0010" in written(html.Key({"a": (255, 0, 16)}))
