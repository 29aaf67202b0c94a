"""The classifier: counts, results, and what must hold for any input."""

import numpy as np
import pytest
import torch
from torch import nn

from backbone.mobilenetv3 import MobileNetV3
from backbone.pplcnet import PPLCNet
from classification.classifier import Classifier
from engine.data.preprocess import Preprocess
from engine.inference.predictor import Predictor

# Trunk, trainable parameters with 1000 classes (facts of the official code).
COSTS = [
    (lambda: PPLCNet(0.25), 1_521_184),
    (lambda: PPLCNet(1.0), 2_952_520),
    (lambda: PPLCNet(2.5), 9_017_560),
    (lambda: MobileNetV3("large", 1.0), 5_480_206),
    (lambda: MobileNetV3("large", 0.35), 2_104_328),
    (lambda: MobileNetV3("small", 1.25), 3_627_370),
    (lambda: MobileNetV3("small", 0.35), 1_665_954),
]


def pictures(count: int) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    sizes = [(300, 400), (257, 256), (640, 300)][:count]
    return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def evaluation() -> Preprocess:
    return Preprocess(size=(64, 64), resize_shortest=72, interpolation="linear")


@pytest.mark.parametrize(("trunk", "count"), COSTS)
def test_trainable_parameters_are_the_counted_ones(trunk, count: int) -> None:
    with torch.device("meta"):
        model = Classifier(backbone=trunk(), num_classes=1000)
    assert sum(p.numel() for p in model.parameters()) == count


def test_start_values_are_those_of_paddle() -> None:
    """1x1 from 512: normal of sqrt(2 / 512); linear 1280 -> 50: uniform within sqrt(6 / 1330)."""
    torch.manual_seed(0)
    model = Classifier(backbone=PPLCNet(1.0), num_classes=50)
    assert model.hidden.weight.std().item() == pytest.approx((2 / 512) ** 0.5, rel=0.01)
    bound = (6 / 1330) ** 0.5
    assert 0.99 * bound < model.classify.weight.abs().max().item() <= bound
    assert not model.classify.bias.any()
    assert model.hidden.bias is None


def test_logits_are_the_head_by_hand(tiny_model: Classifier) -> None:
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        pooled = tiny_model.backbone(images)[-1].mean((2, 3))  # (B, C)
        hidden = nn.functional.hardswish(pooled @ tiny_model.hidden.weight[:, :, 0, 0].T)
        expected = hidden @ tiny_model.classify.weight.T + tiny_model.classify.bias
        torch.testing.assert_close(tiny_model(images), expected, rtol=1e-4, atol=1e-5)


def test_without_a_hidden_layer_the_mean_is_classified() -> None:
    """The ablation of the paper without the last 1x1 convolution; no dropout either."""
    model = Classifier(backbone=PPLCNet(0.25), num_classes=3, hidden=None)
    assert model.classify.weight.shape == (3, 128)
    assert model.dropout.p == 0
    assert not any(name.startswith("hidden") for name in model.state_dict())


@pytest.mark.parametrize("size", [(32, 32), (75, 101), (1, 1), (33, 7)])
def test_any_size_gives_logits(size: tuple[int, int], tiny_model: Classifier) -> None:
    assert tiny_model(torch.rand(1, 3, *size)).shape == (1, 3)


@pytest.mark.slow
def test_batch_of_two_equals_two_singles(tiny_model: Classifier) -> None:
    images = torch.randn(2, 3, 64, 96)
    together = tiny_model(images)
    for row, image in enumerate(images):
        torch.testing.assert_close(tiny_model(image[None])[0], together[row], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_results_are_the_softmax_of_the_logits(tiny_model: Classifier) -> None:
    images = torch.randn(2, 3, 64, 64)
    first, second = tiny_model(images, [{"image_id": "a"}, {}], mode="predict")
    expected = tiny_model(images).softmax(1)
    assert torch.equal(first["scores"], expected[0])
    assert first["label"] == expected[0].argmax().item()
    assert first["image_id"] == "a"
    assert "image_id" not in second
    assert second["scores"].sum().item() == pytest.approx(1.0)


@torch.no_grad()
def test_validation_and_prediction_see_the_same_pixels(tiny_model: Classifier) -> None:
    tiny_model.data_preprocessor = evaluation()
    arrays = pictures(3)
    batch = {
        "images": [torch.from_numpy(array) for array in arrays],
        "targets": [{"label": label, "image_id": str(label)} for label in range(3)],
    }
    *found, last = tiny_model.val_step(batch)
    assert [result["image_id"] for result in found] == ["0", "1", "2"]
    for one, other in zip(found, Predictor(tiny_model).predict(arrays), strict=True):
        torch.testing.assert_close(one["scores"], other["scores"])
    by_hand = -torch.stack([result["scores"][i].log() for i, result in enumerate(found)]).mean()
    assert last.loss["loss_ce"].item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_description_and_picture(tiny_model: Classifier) -> None:
    tiny_model.classes = ("cat", "dog", "cow")
    found = {"scores": torch.tensor([0.25, 0.7, 0.05]), "label": 1}
    predictor = Predictor(tiny_model)
    rows = predictor.describe(found, 0.9)
    assert [(row["class"], row["label"]) for row in rows] == [("dog", 1), ("cat", 0), ("cow", 2)]
    assert [row["score"] for row in rows] == pytest.approx([0.7, 0.25, 0.05])
    (image,) = pictures(1)
    best, two = (predictor.draw(image, found, threshold) for threshold in (0.9, 0.2))
    assert best.shape == image.shape
    changed = [(drawn != image).any(axis=(1, 2)).nonzero()[0].max() for drawn in (best, two)]
    assert 10 < changed[0] < changed[1] < 60  # a line of text; two of them


def test_description_names_five_at_most() -> None:
    model = Classifier(backbone=PPLCNet(0.25), num_classes=9)
    assert len(Predictor(model).describe({"scores": torch.rand(9), "label": 0}, 0.4)) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 1}, "num_classes is 1; a classifier needs at least 2"),
        ({"hidden_act": "swish"}, "hidden_act='swish' is unknown; known: hardswish, relu, relu6"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Classifier(**{"backbone": PPLCNet(0.25), "num_classes": 3, **options})


def test_a_loss_without_targets_is_refused(tiny_model: Classifier) -> None:
    with pytest.raises(ValueError, match="loss \\(needs targets\\) or predict, got 'loss'"):
        tiny_model(torch.rand(1, 3, 32, 32), mode="loss")


@pytest.mark.parametrize(
    ("name", "trunk"), [("", PPLCNet), ("_mobilenetv3", lambda: MobileNetV3("large", 1.0))]
)
def test_parameter_names_and_shapes_are_a_contract(name, trunk, assert_golden_text) -> None:
    with torch.device("meta"):
        state = Classifier(backbone=trunk(), num_classes=1000).state_dict()
    lines = [f"{k} {tuple(v.shape)}\n" for k, v in state.items() if not k.startswith("backbone.")]
    assert_golden_text(f"keys_classifier{name}.txt", "".join(lines))
