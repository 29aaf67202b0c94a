"""engine/reports/browse.py: it shows what training gets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine import config
from engine.reports.browse import Browser, Pair
from engine.training import runner

ROOT = Path(__file__).parents[3]
OWN = ROOT / "configs/picodet_lcnet_own.py"
CLASSIFIER = ROOT / "configs/classifier_lcnet_own.py"


@pytest.fixture
def browse(mini_coco: Path) -> Callable[..., list[Pair]]:
    """The first samples of a split of the drawn scenes: (number, options of the config)."""

    def pairs(number: int, split: str = "train", seed: int = 0, **options: Any) -> list[Pair]:
        wanted = {key.replace("__", "."): value for key, value in options.items()}
        cfg = config.load(OWN, wanted)
        config.use_data(cfg, mini_coco)
        return list(Browser(cfg, split, seed).pairs(number))

    return pairs


MIRROR = {
    "train_dataloader__dataset__transforms": [{"type": "HorizontalFlip", "p": 1.0}],
    "model__data_preprocessor__train_sizes": [],
    "model__data_preprocessor__size": [128, 128],
}


def test_a_mirrored_pipeline_shows_the_mirrored_original_at_its_place(
    browse: Callable[..., list[Pair]],
) -> None:
    """Scenes are 128 pixels wide, so x becomes 128 - x and nothing is resized."""
    for pair in browse(3, **MIRROR):
        assert (pair.pipeline.picture == pair.original.picture[:, ::-1]).all()
        before, after = pair.original.target["boxes"], pair.pipeline.target["boxes"]
        expected = torch.stack([128 - before[:, 2], before[:, 1], 128 - before[:, 0], before[:, 3]])
        assert torch.allclose(after, expected.T, atol=1e-3)


def test_equal_seeds_give_equal_pictures_and_others_do_not(
    browse: Callable[..., list[Pair]],
) -> None:
    first, again, other = browse(4), browse(4), browse(4, seed=1)
    assert [pair.name for pair in first] == [pair.name for pair in again]
    for one, two in zip(first, again, strict=True):
        assert (one.pipeline.picture == two.pipeline.picture).all()
    assert [pair.name for pair in first] != [pair.name for pair in other]


def test_evaluation_is_spread_over_the_split_without_augmentation(
    browse: Callable[..., list[Pair]],
) -> None:
    """Images 0, 2 and 4 of six; the network's input is 320 wide: boxes grow by 2.5."""
    shown, everything = browse(3, "val"), browse(100, "val")
    assert [pair.name for pair in shown] == [pair.name for pair in everything][::2]
    for pair in shown:
        assert pair.pipeline.picture.shape == (320, 320, 3)
        grown = pair.original.target["boxes"] * 2.5
        assert torch.allclose(pair.pipeline.target["boxes"], grown, atol=1e-3)


def test_pictures_are_the_first_of_training_and_spread_over_validation(mini_coco: Path) -> None:
    cfg = config.load(OWN)
    config.use_data(cfg, mini_coco)
    assert Browser(cfg, "train", 0).places(3, 12) == [0, 1, 2]
    assert Browser(cfg, "val", 0).places(3, 12) == [0, 4, 8]
    assert Browser(cfg, "val", 0).places(3, 2) == [0, 1]


def batch_of_three(data: Path, mixup: float, seed: int) -> list[Pair]:
    """The first batch of a training of drawn images at 64 x 64."""
    options = {
        "model.batch_mix.mixup": mixup,
        "train_dataloader.batch_size": 3,
        "train_dataloader.dataset.transforms": [],
        "model.data_preprocessor.resize_shortest": None,
        "model.data_preprocessor.size": [64, 64],
    }
    cfg = config.load(CLASSIFIER, options)
    config.use_data(cfg, data)
    return list(Browser(cfg, "train", seed).pairs(3))


@pytest.mark.parametrize("seed", [0, 2, 3])
def test_mixed_images_carry_the_shares_of_their_classes(mini_coco: Path, seed: int) -> None:
    """With alpha 10,000 shares are within 0.03 of a half; with these seeds every image is mixed.

    So each is the mean of itself and the one before or after it.
    """
    data = mini_coco.parent / "classification"
    whole = [pair.pipeline for pair in batch_of_three(data, 0.0, seed)]
    mixed = [pair.pipeline for pair in batch_of_three(data, 10_000.0, seed)]
    pictures = np.stack([view.picture for view in whole]).astype(float)
    for shift in (1, 2):
        means = (pictures + np.roll(pictures, shift, 0)) / 2
        if np.abs(np.stack([view.picture for view in mixed]) - means).max() < 8:
            break
    else:
        pytest.fail("no two pictures were mixed")
    others = whole[-shift:] + whole[:-shift]
    for view, one, other in zip(mixed, whole, others, strict=True):
        shares = view.target["probabilities"]
        expected = torch.zeros(len(shares))
        for label in (one.target["label"], other.target["label"]):
            expected[label] += 0.5
        assert shares.tolist() == pytest.approx(expected.tolist(), abs=0.03)


def test_a_stream_is_refused(mini_coco: Path, tmp_path: Path) -> None:
    pytest.importorskip("webdataset")
    from classification.data.shard_writer import write_shards

    write_shards(mini_coco.parent / "classification", "train", tmp_path, per_shard=50, seed=0)
    cfg = config.load(ROOT / "configs/classifier_lcnet_shards.py")
    config.use_data(cfg, tmp_path)
    with pytest.raises(ValueError, match=r"^train_dataloader\.dataset: ImageShards is a stream"):
        Browser(cfg, "train", 0)


@pytest.mark.slow
def test_it_is_what_the_network_of_a_real_training_gets(
    mini_coco: Path, tmp_path: Path, tiny: dict[str, object]
) -> None:
    """All 12 images of the first epoch, bit for bit, before normalising."""
    sizes = {
        "model.data_preprocessor.size": [64, 64],
        "model.data_preprocessor.train_sizes": [64, 96],
        "train_cfg.max_epochs": 1,
    }
    cfg = config.load(OWN, tiny | sizes)
    config.use_data(cfg, mini_coco)
    shown = list(Browser(cfg, "train", 0).pairs(12))
    runner.prepare_training(
        cfg, data=mini_coco, work_dir=tmp_path, seed=0, amp=False, scale_lr=False
    )
    run = runner.start(cfg, "none")
    inputs: list[torch.Tensor] = []
    model: Any = run.model
    model.backbone.register_forward_pre_hook(
        lambda module, given: inputs.extend(given[0].detach()) if module.training else None
    )
    runner.train(run, resume=None, load_from=None)
    assert len(inputs) == 12
    for image, pair in zip(inputs, shown, strict=True):
        picture = model.data_preprocessor.restored(image[None])[0].numpy()
        assert (picture == pair.pipeline.picture).all()
