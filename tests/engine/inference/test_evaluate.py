"""engine/inference/evaluate.py: annotated pictures stay in their folder."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from engine.inference.evaluate import ShowPredictions


class Painter(torch.nn.Module):
    """A model that draws nothing."""

    def draw(self, image: np.ndarray, *_: Any) -> np.ndarray:
        return image


@pytest.mark.parametrize(
    ("image_id", "written"),
    [
        (7, "7.jpg"),
        ("val/cat/1.jpg", "val/cat/1.jpg.jpg"),
        ("../../pictures/1.jpg", "pictures/1.jpg.jpg"),
        ("/pictures/1.jpg", "pictures/1.jpg.jpg"),
    ],
)
def test_pictures_of_images_from_elsewhere(tmp_path: Path, image_id: object, written: str) -> None:
    folder = tmp_path / "deep/shown"
    batch = {
        "images": [torch.zeros(4, 4, 3, dtype=torch.uint8)],
        "targets": [{"image_id": image_id}],
    }
    runner = SimpleNamespace(model=Painter())
    ShowPredictions(str(folder)).after_test_iter(runner, 0, batch, [{}])
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [folder / written]
