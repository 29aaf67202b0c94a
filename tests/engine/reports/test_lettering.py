"""engine/reports/lettering.py: position of text, and legends that wrap."""

import numpy as np
import pytest

from engine.reports.lettering import (
    MARGIN,
    LegendEntry,
    ink_on,
    legend,
    shortened,
    text_size,
    write_label,
    write_text,
)


def test_text_is_written_from_its_corner_on_and_cut_off_at_the_edge() -> None:
    picture = np.full((40, 60, 3), 255, np.uint8)
    write_text(picture, "Größe", (10, 20))
    dark = (picture < 128).all(axis=-1)
    rows, columns = np.flatnonzero(dark.any(1)), np.flatnonzero(dark.any(0))
    height, width = text_size("Größe")
    assert rows.min() >= 10
    assert rows.max() < 10 + height
    assert columns.min() >= 20
    assert columns.max() <= min(59, 20 + width)
    write_text(picture, "beyond", (35, 55))
    assert picture.shape == (40, 60, 3)


def test_letters_beyond_ascii_are_not_one_and_the_same_box() -> None:
    pictures = []
    for text in ("ä", "ж", "λ"):
        picture = np.full((20, 20, 3), 255, np.uint8)
        write_text(picture, text, (0, 0))
        pictures.append(picture)
    assert (pictures[0] != pictures[1]).any()
    assert (pictures[1] != pictures[2]).any()


def test_a_label_is_text_on_a_strip_of_its_colour_and_nothing_else() -> None:
    picture = np.full((40, 80, 3), 90, np.uint8)
    write_label(picture, "cat", (5, 10), (255, 255, 0))
    height, width = text_size("cat")
    strip = picture[5 : 5 + height, 10 : 10 + width + 2 * MARGIN]
    assert (strip == (255, 255, 0)).all(axis=-1).mean() > 0.5
    assert strip.max(axis=-1).min() < 60  # black on yellow
    strip[:] = 90
    assert (picture == 90).all()


def test_nothing_is_written_beyond_the_picture() -> None:
    picture = np.full((20, 20, 3), 9, np.uint8)
    write_label(picture, "cat", (20, 0), (255, 0, 0))
    assert (picture == 9).all()


def test_shortened_fits_and_short_text_stays() -> None:
    assert shortened("cat", 100) == "cat"
    cut = shortened("a very long name of a class", 80)
    assert cut.endswith("…")
    assert text_size(cut)[1] <= 80


@pytest.mark.parametrize(("width", "rows"), [(400, 1), (90, 3)])
def test_legend_wraps_at_its_width(width: int, rows: int) -> None:
    entries = [
        LegendEntry((255, 0, 0), "first"),
        LegendEntry((0, 255, 0), "second"),
        LegendEntry((0, 0, 255), "3rd"),
    ]
    strip = legend(entries, width)
    assert strip.shape == (20 * rows + 6, width, 3)
    for entry in entries:
        assert (strip == entry.colour).all(axis=-1).sum() == 13 * 13


def test_no_entry_takes_no_room() -> None:
    assert legend([], 50).shape == (0, 50, 3)


def test_ink_is_readable() -> None:
    assert ink_on((255, 255, 0)) == (0, 0, 0)
    assert ink_on((0, 0, 142)) == (255, 255, 255)
