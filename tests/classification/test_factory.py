"""Models by name: their costs, and what a checkpoint may be."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from classification import create_model
from classification.factory import ENTRIES, published_cost
from engine.checkpoint import checkpoint
from engine.checkpoint.zoo import read_table

CONFIG = {
    "type": "Classifier",
    "num_classes": 3,
    "backbone": {"type": "PPLCNet", "scale": 0.25},
    "data_preprocessor": {"type": "Preprocess", "size": [48, 64], "interpolation": "linear"},
}


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """Writes a checkpoint of a random model of CONFIG with these changes."""

    def save(*classes: str, **changes: object) -> Path:
        config = {**CONFIG, "num_classes": len(classes), **changes}
        torch.manual_seed(3)
        model = checkpoint.build_model(config)
        path = tmp_path / "a.pth"
        checkpoint.save(path, checkpoint.describe(model, config, classes, {}))
        return path

    return save


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parameters", "mmacs"),
    [
        ("pplcnet_x0_25", 1_521_184, 16.773),
        ("pplcnet_x1_0", 2_952_520, 155.700),
        ("pplcnet_x2_5", 9_017_560, 893.720),
        ("mobilenetv3_large_x1_0", 5_480_206, 219.80),
        ("mobilenetv3_large_x0_35", 2_104_328, 37.19),
        ("mobilenetv3_small_x1_25", 3_627_370, 95.36),
        ("mobilenetv3_small_x0_35", 1_665_954, 13.16),
    ],
)
def test_costs_are_the_counted_ones(name: str, parameters: int, mmacs: float) -> None:
    found = published_cost(name)
    assert found.parameters == parameters
    assert found.macs / 1e6 == pytest.approx(mmacs, abs=0.006)


def test_every_published_scale_has_a_name() -> None:
    assert len(ENTRIES) == 8 + 5 + 5
    assert ENTRIES["mobilenetv3_small_x0_75"] == ("mobilenetv3_small", 0.75)
    assert set(ENTRIES) < set(read_table())


def test_a_new_model_and_its_trunk() -> None:
    model = create_model("mobilenetv3_small_x0_35", num_classes=10)
    assert not model.training
    assert model(torch.rand(1, 3, 64, 64)).shape == (1, 10)
    trunk = create_model("pplcnet_x0_25", features_only=True)
    assert (trunk.strides, trunk.channels) == ((8, 16, 32), (32, 64, 128))
    assert [m.shape[-1] for m in trunk(torch.rand(1, 3, 64, 64))] == [8, 4, 2]
    assert create_model("pplcnet_x0_25").num_classes == 1000


@torch.no_grad()
def test_a_checkpoint_comes_back_as_it_was_trained(saved) -> None:
    path = saved("cat", "dog", "cow")
    model = create_model("pplcnet_x0_25", checkpoint=path)
    assert model.classes == ("cat", "dog", "cow")
    assert model.data_preprocessor.size == (48, 64)
    again = create_model("pplcnet_x0_25", num_classes=3, checkpoint=path)
    images = torch.rand(1, 3, 48, 64)
    assert torch.equal(model(images), again(images))
    trunk = create_model("pplcnet_x0_25", checkpoint=path, features_only=True)
    assert torch.equal(trunk(images)[-1], model.backbone(images)[-1])


def test_other_classes_keep_all_but_the_last_layer(saved) -> None:
    path = saved("cat", "dog", "cow")
    weights = checkpoint.read(path)["state_dict"]
    model = create_model("pplcnet_x0_25", num_classes=7, checkpoint=path)
    assert model.classify.weight.shape == (7, 1280)
    assert torch.equal(model.hidden.weight, weights["hidden.weight"])
    assert not model.classify.bias.any()


def test_numbers_are_no_names(saved) -> None:
    """Unnamed classes, as converted ImageNet weights have them, give no row to other ones."""
    path = saved(*map(str, range(5)), num_classes=5)
    weight = checkpoint.read(path)["state_dict"]["classify.weight"]
    model = create_model("pplcnet_x0_25", num_classes=3, checkpoint=path)
    assert not (model.classify.weight[:, None] == weight).all(dim=2).any()
    same = create_model("pplcnet_x0_25", num_classes=5, checkpoint=path)
    assert torch.equal(same.classify.weight, weight)


def test_no_classes_are_too_few(saved) -> None:
    for path in (None, saved("cat", "dog")):
        with pytest.raises(ValueError, match="num_classes is 0; a classifier needs at least 2"):
            create_model("pplcnet_x0_25", num_classes=0, checkpoint=path)


def test_columns_that_were_kept_are_kept(saved) -> None:
    trunk = {**CONFIG["backbone"], "out_strides": [32], "downsampling": [2, [2, 1], 2, 2, 2]}
    model = create_model("pplcnet_x0_25", checkpoint=saved("a", "b", backbone=trunk))
    assert model.backbone(torch.rand(1, 3, 64, 64))[-1].shape[-2:] == (2, 4)


def test_what_does_not_fit_is_refused(saved, tmp_path: Path) -> None:
    path = saved("cat", "dog")
    cases = [
        ({"name": "pplcnet_x0_52"}, r"'pplcnet_x0_52' is unknown; nearest known: pplcnet_x0_5,"),
        ({"name": "pplcnet_x0_5", "checkpoint": path}, r"its trunk is pplcnet_x0_25, not pplcnet"),
    ]
    for options, message in cases:
        with pytest.raises(ValueError, match=message):
            create_model(**options)
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        create_model("pplcnet_x0_25", checkpoint=tmp_path / "none.pth")


def test_a_detector_gives_its_trunk_alone(tmp_path: Path) -> None:
    from detection.picodet import PicoDet

    config = {"type": "PicoDet", "num_classes": 2, "backbone": {"type": "PPLCNet", "scale": 0.25}}
    model = PicoDet(**{key: value for key, value in config.items() if key != "type"})
    path = tmp_path / "d.pth"
    checkpoint.save(path, checkpoint.describe(model, config, ["a", "b"], {}))
    with pytest.raises(ValueError, match="is a PicoDet; use features_only"):
        create_model("pplcnet_x0_25", checkpoint=path)
    trunk = create_model("pplcnet_x0_25", checkpoint=path, features_only=True)
    images = torch.rand(1, 3, 64, 64)
    for ours, theirs in zip(trunk(images), model.eval().backbone(images), strict=True):
        assert torch.equal(ours, theirs)
