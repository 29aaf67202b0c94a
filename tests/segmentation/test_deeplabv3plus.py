"""The network against the official implementation, and what must hold for any input."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from backbone.mobilenetv3 import MobileNetV3
from backbone.pplcnet import PPLCNet
from engine.data.preprocess import Preprocess
from engine.inference.predictor import Predictor
from segmentation.deeplabv3plus import DeepLabV3Plus
from segmentation.loss import SegmentationLoss


@pytest.mark.golden
def test_logits_and_what_leads_to_them_equal_the_official_ones(
    golden_model, golden, golden_name: str, assert_agrees
) -> None:
    wanted, seen = golden(golden_name).arrays, {}
    parts = {f"head/aspp_block{i}": part for i, part in enumerate(golden_model.aspp.branches)}
    parts |= {
        "head/image_pool": golden_model.aspp.pool,
        "head/aspp_out": golden_model.aspp,
        "head/low_level_48": golden_model.decoder.low,
        "head/decoder_logits": golden_model.decoder,
    }
    for name, part in parts.items():
        part.register_forward_hook(lambda *call, name=name: seen.update({name: call[-1]}))
    logits = golden_model(torch.from_numpy(wanted["input/x"]))
    for name in parts:
        what = f"{golden_name}: head"
        assert_agrees(what, "PaddleSeg", seen[name], wanted[name], of_largest=1e-4)
    check_logits(
        logits, wanted["output/logits"], wanted["output/argmax"], golden_name, assert_agrees
    )


def check_logits(
    logits: Tensor, wanted: Any, mask: np.ndarray, name: str, assert_agrees: Any
) -> None:
    """`wanted` may be the first class alone."""
    found = logits if len(wanted.shape) == 4 else logits[:, 0]
    assert_agrees(f"{name}: logits", "PaddleSeg", found, wanted, of_largest=1e-4)
    changed = (logits.argmax(1).numpy() != mask).sum()
    assert_agrees(f"{name}: pixels that differ", "PaddleSeg", changed, 0)


@pytest.mark.golden
@pytest.mark.parametrize("golden_name", ["deeplabv3p_pplcnet_x0_5"], indirect=True)
def test_an_odd_size_gives_the_official_mask(
    golden_model, golden, golden_name, assert_agrees
) -> None:
    wanted = golden(golden_name).arrays
    logits = golden_model(torch.from_numpy(wanted["input/x_odd"]))
    masks = wanted["output/argmax_odd"]
    check_logits(logits, wanted["output/logits_odd_class0"], masks, golden_name, assert_agrees)


@pytest.mark.golden
def test_training_loss_and_gradients_equal_the_official_ones(
    golden_model, golden, golden_name: str, assert_agrees
) -> None:
    golden_model.train()
    golden_model.aspp.dropout.p = 0.0
    case = golden(golden_name)
    targets = [{"mask": mask} for mask in torch.from_numpy(case.arrays["train/y"]).long()]
    images = torch.from_numpy(case.arrays["train/x"])
    loss = golden_model(images, targets, mode="loss")["loss_ce"]
    wanted = case.arrays["train/loss"].item()
    assert_agrees(f"{golden_name}: loss", "PaddleSeg", loss.item(), wanted, rtol=1e-5)
    loss.backward()
    ours = sorted(float(p.grad.norm()) for p in golden_model.parameters())
    theirs = sorted(case.info["grad_norms"].values())
    what = f"{golden_name}: gradient norms"
    assert_agrees(what, "PaddleSeg", ours, theirs, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("output_stride", [32, 8])
@pytest.mark.parametrize(
    ("trunk", "millions"),
    [
        (partial(MobileNetV3, "large", 0.5), 1.333385),
        (partial(MobileNetV3, "large", 0.75), 2.270),
        (partial(PPLCNet, 0.5), 1.098003),
        (partial(PPLCNet, 1.0), 2.182),
    ],
)
def test_trainable_parameters_are_the_counted_ones(trunk, millions, output_stride) -> None:
    with torch.device("meta"):
        model = DeepLabV3Plus(
            backbone=trunk(out_strides=(4, 32), output_stride=output_stride), num_classes=19
        )
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert count / 1e6 == pytest.approx(millions, abs=5e-4)


@pytest.mark.parametrize("output_stride", [32, 16, 8])
@pytest.mark.parametrize("size", [(32, 32), (75, 101), (1, 1), (33, 7)])
def test_logits_have_the_size_of_any_input(size: tuple[int, int], output_stride: int) -> None:
    trunk = PPLCNet(0.25, (4, 32), output_stride=output_stride)
    model = DeepLabV3Plus(backbone=trunk, num_classes=3).eval()
    assert model(torch.rand(1, 3, *size)).shape == (1, 3, *size)


def test_batch_of_two_equals_two_singles(tiny_model: DeepLabV3Plus) -> None:
    images = torch.randn(2, 3, 64, 96)
    together = tiny_model(images)
    for row, image in enumerate(images):
        torch.testing.assert_close(tiny_model(image[None])[0], together[row], rtol=1e-4, atol=1e-5)


def test_a_batch_of_one_trains_and_leaves_the_pooled_statistics_alone(tiny_model) -> None:
    tiny_model.train()
    target = {"mask": torch.zeros(64, 64, dtype=torch.long)}
    tiny_model(torch.randn(1, 3, 64, 64), [target], mode="loss")["loss_ce"].backward()
    norm = tiny_model.aspp.pool.norm
    assert torch.equal(norm.running_mean, torch.zeros(256))
    assert torch.equal(norm.running_var, torch.ones(256))
    assert norm.weight.grad.abs().sum() > 0
    tiny_model(torch.randn(2, 3, 64, 64), [target, target], mode="loss")
    assert not torch.equal(norm.running_mean, torch.zeros(256))


def test_an_image_to_ignore_gives_no_loss_and_no_gradient(tiny_model: DeepLabV3Plus) -> None:
    target = {"mask": torch.full((64, 64), 255)}
    loss = tiny_model(torch.randn(1, 3, 64, 64), [target], mode="loss")["loss_ce"]
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is None or not p.grad.any() for p in tiny_model.parameters())


def test_masks_come_back_at_the_size_of_the_image_without_padding(tiny_model) -> None:
    images = torch.randn(2, 3, 64, 96)
    targets = [
        {"image_id": "a", "size": (60, 90), "content": (60, 90)},
        {"image_id": "b", "size": (128, 192)},
    ]
    padded, resized = tiny_model(images, targets, mode="predict")
    labels = tiny_model(images).argmax(1)
    assert torch.equal(padded["mask"], labels[0, :60, :90].to(torch.uint8))
    assert resized["mask"].shape == (128, 192)
    assert (padded["image_id"], resized["image_id"]) == ("a", "b")


def test_validation_gives_the_masks_and_the_loss_of_one_pass(tiny_model: DeepLabV3Plus) -> None:
    images = [torch.randint(0, 256, (64, 64, 3), dtype=torch.uint8) for _ in range(2)]
    targets = [{"mask": torch.randint(0, 3, (64, 64)), "image_id": str(i)} for i in range(2)]
    tiny_model.data_preprocessor = Preprocess(size=None)
    with torch.no_grad():
        *found, last = tiny_model.val_step({"images": images, "targets": targets})
        batch = tiny_model.data_preprocessor({"images": images, "targets": targets})
        expected = tiny_model(batch["images"], batch["targets"], mode="loss")
    assert [result["image_id"] for result in found] == ["0", "1"]
    assert last.loss["loss_ce"].item() == pytest.approx(expected["loss_ce"].item(), rel=1e-5)


def test_pictures_of_any_size_are_predicted_alone_and_in_lists(tiny_model) -> None:
    tiny_model.data_preprocessor = Preprocess(size=None)
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in [(40, 50), (64, 33)]]
    predictor = Predictor(tiny_model)
    together = predictor.predict(pictures)
    for picture, found in zip(pictures, together, strict=True):
        assert found["mask"].shape == picture.shape[:2]
        assert torch.equal(found["mask"], predictor.predict(picture)[0]["mask"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": PPLCNet(0.25)}, r"out_strides=\(4, 32\), got \(8, 16, 32\)"),
        ({"num_classes": 256}, "2 to 255"),
        ({"aspp_rates": (6, 12)}, "begin with 1"),
        ({"loss": SegmentationLoss(class_weights=[1.0, 2.0])}, "2 entries for 3 classes"),
    ],
)
def test_parts_that_do_not_fit_are_refused(options: dict[str, object], message: str) -> None:
    fitting = {"backbone": PPLCNet(0.25, (4, 32)), "num_classes": 3}
    with pytest.raises(ValueError, match=message):
        DeepLabV3Plus(**{**fitting, **options})


def test_parameter_names_and_shapes_are_a_contract(assert_golden_text) -> None:
    with torch.device("meta"):
        state = DeepLabV3Plus(backbone=PPLCNet(1.0, (4, 32)), num_classes=19).state_dict()
    lines = [f"{k} {tuple(v.shape)}\n" for k, v in state.items() if not k.startswith("backbone.")]
    assert_golden_text("keys_deeplabv3plus.txt", "".join(lines))
