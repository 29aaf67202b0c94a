"""engine/inference/evaluate.py: annotated pictures stay in their folder."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from detection.picodet import PicoDet
from engine.inference.evaluate import ShowPredictions

NOTHING = {"boxes": torch.empty(0, 4), "scores": torch.empty(0), "labels": torch.empty(0)}


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
    network = torch.nn.Module()
    network.classes = ("a",)
    runner = SimpleNamespace(model=network, cfg={"model": {"type": PicoDet}})
    ShowPredictions(str(folder)).after_test_iter(runner, 0, batch, [NOTHING])
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [folder / written]
