"""The page draws kept predictions again at other thresholds."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from torch import nn

from engine.serving.page import Viewer, open_picture, table


class StandIn:
    """Finds two objects; draws one white row per shown object."""

    scores = (0.9, 0.3)

    def __init__(self) -> None:
        self.predicted = 0
        self.network = SimpleNamespace(data_preprocessor=nn.Identity())

    def predict(self, image: NDArray[Any]) -> list[dict[str, Any]]:
        self.predicted += 1
        self.network.data_preprocessor(image)
        return [{"scores": self.scores}]

    def describe(self, found: dict[str, Any], threshold: float) -> list[dict[str, Any]]:
        return [{"class": "a", "score": s} for s in found["scores"] if s >= threshold]

    def draw(self, image: NDArray[Any], found: dict[str, Any], threshold: float) -> NDArray[Any]:
        drawn = image.copy()
        drawn[: len(self.describe(found, threshold))] = 255
        return drawn


def white_rows(picture: NDArray[Any]) -> int:
    return int((picture == 255).all(axis=(1, 2)).sum())


def test_one_prediction_for_all_thresholds() -> None:
    model = StandIn()
    viewer = Viewer("v", model)
    view = viewer.look(np.zeros((8, 6, 3), np.uint8))
    shown = {t: (white_rows(viewer.draw(view, t)), len(viewer.rows(view, t))) for t in (0, 0.5, 1)}
    assert shown == {0: (2, 2), 0.5: (1, 1), 1: (0, 0)}
    assert model.predicted == 1
    assert view.image.max() == 0
    assert set(view.taken) == {"prepare", "network"}
    assert all(ms >= 0 for ms in view.taken.values())


def test_times_are_of_the_last_image() -> None:
    viewer = Viewer("v", StandIn())
    first, second = (viewer.look(np.zeros((8, 6, 3), np.uint8)) for _ in range(2))
    assert first.taken != second.taken


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.full((4, 5, 3), (1, 2, 3), np.uint8))  # BGR
    assert open_picture(path, 20)[0, 0].tolist() == [3, 2, 1]
    with pytest.raises(ValueError, match="5 x 4 pixels exceed the limit of 19"):
        open_picture(path, 19)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"image: not an image that can be read \(40 bytes"):
        open_picture(path, 20)
    path.unlink()
    with pytest.raises(ValueError, match="was removed"):
        open_picture(path, 20)


def test_table() -> None:
    rows = [{"class": "a", "label": 3, "score": 0.98765, "box_xyxy": [1.4, 2.6, 30.0, 40.51]}]
    assert table(rows) == [["a", "3", "0.988", "1 3 30 41"]]
