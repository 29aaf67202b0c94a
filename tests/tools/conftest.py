"""Small checkpoints for commands that show or serve models."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def small_pair(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, Path]]:
    """Config and a checkpoint of it with random weights: (config, classes, options with __)."""
    import torch

    from engine import config
    from engine.checkpoint import checkpoint

    def write(name: str, classes: Sequence[str], **options: Any) -> tuple[Path, Path]:
        torch.manual_seed(0)
        dotted = {key.replace("__", "."): value for key, value in options.items()}
        plain = config.plain(config.load(ROOT / "configs" / name, dotted).model)
        model = checkpoint.build_model(plain)
        model.train()(
            torch.randn(4, 3, 64, 96), mode="tensor"
        )  # so that images differ after the norms
        path = tmp_path_factory.mktemp("small") / "model.pth"
        checkpoint.save(path, checkpoint.describe(model, plain, list(classes), {"epoch": 1}))
        return ROOT / "configs" / name, path

    return write


@pytest.fixture(scope="session")
def small_detector_pair(small_pair: Callable[..., tuple[Path, Path]]) -> tuple[Path, Path]:
    """A detector of three classes at 64 x 96."""
    return small_pair(
        "picodet_lcnet_own.py", "abc", model__backbone__scale=0.25, model__num_classes=3,
        model__data_preprocessor__size=[64, 96],
    )  # fmt: skip


@pytest.fixture(scope="session")
def small_classifier_pair(small_pair: Callable[..., tuple[Path, Path]]) -> tuple[Path, Path]:
    """A classifier of seven classes at 224."""
    return small_pair("classifier_lcnet_x0_25.py", "abcdefg", model__num_classes=7)


@pytest.fixture(scope="session")
def small_segmenter_pair(small_pair: Callable[..., tuple[Path, Path]]) -> tuple[Path, Path]:
    """A segmenter of nine classes without fixed input size."""
    return small_pair("deeplabv3plus_lcnet_mini.py", "abcdefghi", model__backbone__scale=0.25)
