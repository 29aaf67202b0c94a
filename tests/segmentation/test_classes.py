"""The label table against Cityscapes' own, and colours."""

import numpy as np
import pytest

from segmentation.classes import CLASSES, LABELS, colours_of, label_id_table, train_id_table


def test_table_equals_that_of_cityscapesscripts() -> None:
    labels = pytest.importorskip("cityscapesscripts.helpers.labels").labels
    evaluated = {label.trainId: label for label in labels if 0 <= label.trainId < 255}
    assert [(e.name, e.id, e.color) for _, e in sorted(evaluated.items())] == list(
        map(tuple, LABELS)
    )
    table = train_id_table()
    for label in labels:
        if label.id >= 0:
            assert table[label.id] == label.trainId, label.name


def test_the_tables_undo_each_other_and_ignore_the_rest() -> None:
    there, back = train_id_table(), label_id_table()
    assert there[back[:19]].tolist() == list(range(19))
    assert (there == 255).sum() == 256 - 19
    assert back[255] == 0


def test_known_names_have_their_colour_and_others_differ() -> None:
    colours = colours_of([f"class {i}" for i in range(30)] + ["road", "car"])
    assert colours[30:].tolist() == [[128, 64, 128], [0, 0, 142]]
    assert len(np.unique(colours, axis=0)) == 32
    assert len(CLASSES) == 19
