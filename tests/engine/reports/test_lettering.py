"""engine/reports/lettering.py: text where it should be, legends that wrap."""

import numpy as np
import pytest

from engine.reports.lettering import Entry, ink_on, legend, shortened, text_size, write_text


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


def test_shortened_fits_and_short_text_stays() -> None:
    assert shortened("cat", 100) == "cat"
    cut = shortened("a very long name of a class", 80)
    assert cut.endswith("…")
    assert text_size(cut)[1] <= 80


@pytest.mark.parametrize(("width", "rows"), [(400, 1), (90, 3)])
def test_legend_wraps_at_its_width(width: int, rows: int) -> None:
    entries = [Entry((255, 0, 0), "first"), Entry((0, 255, 0), "second"), Entry((0, 0, 255), "3rd")]
    strip = legend(entries, width)
    assert strip.shape == (20 * rows + 6, width, 3)
    for entry in entries:
        assert (strip == entry.colour).all(axis=-1).sum() == 13 * 13


def test_no_entry_takes_no_room() -> None:
    assert legend([], 50).shape == (0, 50, 3)


def test_ink_is_readable() -> None:
    assert ink_on((255, 255, 0)) == (0, 0, 0)
    assert ink_on((0, 0, 142)) == (255, 255, 255)
