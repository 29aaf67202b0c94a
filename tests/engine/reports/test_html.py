"""Pages: every text escaped, nothing loaded from elsewhere, bars and pictures as given."""

import base64
import re

import cv2
import numpy as np

from engine.reports import html
from engine.reports.html import Section, Shown

HOSTILE = "<script>alert('x')</script> & \"y\" > z"


def png() -> bytes:
    return cv2.imencode(".png", np.full((2, 3, 3), 7, np.uint8))[1].tobytes()


def whole() -> str:
    """A page with the hostile text in every place that takes one."""
    parts = [
        html.paragraph(HOSTILE),
        html.points([HOSTILE]),
        html.tiles({HOSTILE: HOSTILE}),
        html.table([[HOSTILE], [HOSTILE]]),
        html.bars([(HOSTILE, 0.5, HOSTILE)]),
        html.gallery([Shown([png()], HOSTILE, [HOSTILE])], "half"),
        html.figures({HOSTILE: html.Html("<svg></svg>")}),
        html.key({HOSTILE: (255, 0, 16)}),
    ]
    return html.document(HOSTILE, [Section(HOSTILE, parts)], {HOSTILE: HOSTILE}).decode()


def test_no_text_becomes_markup() -> None:
    text = whole()
    assert "<script" not in text
    assert text.count("&lt;script&gt;") == 17
    assert 'alt="&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt; &amp; &quot;y&quot;' in text


def test_nothing_is_loaded() -> None:
    text = whole()
    assert re.findall(r"(?:src|href)=[\"'](?!data:)", text) == []
    assert re.findall(r"https?:|@import|url\(", text) == []
    assert "default-src 'none'; img-src data:" in text


def test_bars_stay_within_their_width() -> None:
    widths = re.findall(
        r"width:([\d.]+)%\"", html.bars([("a", -1, ""), ("b", 0.25, ""), ("c", 7, "")])
    )
    assert widths == ["0.0", "25.0", "100.0"]


def test_a_picture_is_in_the_page_byte_by_byte() -> None:
    (kind, data) = re.findall(r"data:image/(\w+);base64,([^\"]+)", html.picture(png(), ""))[0]
    assert (kind, base64.b64decode(data)) == ("png", png())
    assert "image/jpeg" in html.picture(b"\xff\xd8", "")


def test_several_pictures_stand_beside_each_other() -> None:
    text = html.gallery([Shown([png()] * 4, "", ["a", "b"]), Shown([png()], "", ["c"])], "wide")
    assert text.count("<img") == 5
    assert text.count('class="panels"') == 1
    assert "a<br>b" in text


def test_columns_of_words_and_of_numbers() -> None:
    text = html.table([["a", "b", "c"], ["d", "e", "1"]], 2)
    assert re.findall(r'class="word">(\w)', text) == ["a", "b", "d", "e"]


def test_colours_of_the_key() -> None:
    assert "background:#ff0010" in html.key({"a": (255, 0, 16)})
