"""mixup and cutmix: pictures and labels move together."""

import pytest
import torch

from backbone.pplcnet import PPLCNet
from classification.classifier import Classifier
from classification.mixup import BatchMix, cut_and_paste
from engine.data.preprocess import Preprocess

LABELS = torch.tensor([0, 1, 2, 3])


def flat(count: int = 4, side: int = 32) -> torch.Tensor:
    """Image i is i everywhere."""
    return torch.arange(count).float().view(-1, 1, 1, 1).expand(count, 3, side, side).contiguous()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("options", [{"mixup": 0.2}, {"cutmix": 1.0}, {"mixup": 1, "cutmix": 1}])
def test_labels_say_how_much_of_whom_is_in_a_picture(seed: int, options: dict) -> None:
    """With image i worth i, the mean of a mixed one is that of its label probabilities."""
    torch.manual_seed(seed)
    images, targets = BatchMix(**options)(flat(), LABELS, 5)
    assert targets.shape == (4, 5)
    torch.testing.assert_close(targets.sum(1), torch.ones(4))
    expected = targets @ torch.arange(5.0)
    torch.testing.assert_close(images.mean((1, 2, 3)), expected, rtol=1e-5, atol=1e-5)


def test_mixup_is_one_number_a_picture_and_cutmix_two() -> None:
    torch.manual_seed(1)
    faded, _ = BatchMix(mixup=1.0)(flat(), LABELS, 4)
    assert all(len(picture.unique()) == 1 for picture in faded)
    pasted, _ = BatchMix(cutmix=1.0)(flat(), LABELS, 4)
    assert {value.item() for value in pasted.unique()} <= {0.0, 1.0, 2.0, 3.0}
    assert max(len(picture.unique()) for picture in pasted) == 2


def test_one_rectangle_of_the_asked_area(monkeypatch: pytest.MonkeyPatch) -> None:
    """share 0.75 of 32 x 32: sides 16; centred at (16, 16) it is rows and columns 8..23."""
    monkeypatch.setattr(torch, "randint", lambda *_: torch.tensor(16))
    images, share = cut_and_paste(torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 32, 32), 0.75)
    assert share == 0.75
    assert images[0, 0].nonzero().min(0).values.tolist() == [8, 8]
    assert images[0, 0].nonzero().max(0).values.tolist() == [23, 23]


def test_what_the_edge_cuts_off_stays_with_the_label(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same at (0, 0): rows and columns 0..7 are left, 64 of 1024 pixels."""
    monkeypatch.setattr(torch, "randint", lambda *_: torch.tensor(0))
    images, share = cut_and_paste(torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 32, 32), 0.75)
    assert images[0, 0].sum().item() == 64
    assert share == 1 - 64 / 1024


def test_the_whole_and_nothing() -> None:
    for share in (0.0, 1.0):
        images, kept = cut_and_paste(torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4), share)
        assert images.mean().item() == pytest.approx(1 - kept)
    assert kept == 1.0


def test_some_batches_are_left_alone() -> None:
    torch.manual_seed(0)
    mix = BatchMix(mixup=1.0, p=0.5)
    alone = [torch.equal(mix(flat(), LABELS, 4)[0], flat()) for _ in range(40)]
    assert 10 < sum(alone) < 30
    for never in (BatchMix(mixup=1.0, p=0.0), BatchMix()):
        images, labels = never(flat(), LABELS, 4)
        assert torch.equal(images, flat())
        assert torch.equal(labels, LABELS)


def test_equal_seeds_mix_equally_and_others_otherwise() -> None:
    def mixed(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return BatchMix(mixup=0.2, cutmix=1.0)(flat(), LABELS, 4)[1]

    assert torch.equal(mixed(3), mixed(3))
    assert not torch.equal(mixed(3), mixed(4))


def test_the_classifier_mixes_in_training_only() -> None:
    torch.manual_seed(0)
    model = Classifier(
        backbone=PPLCNet(0.25),
        num_classes=4,
        batch_mix={"type": "BatchMix", "mixup": 1.0},
        data_preprocessor=Preprocess(size=(32, 32)),
    )
    given = []
    model.loss.register_forward_pre_hook(lambda _, inputs: given.append(inputs[1]))
    targets = [{"label": int(label)} for label in LABELS]
    model.train()(flat(), targets, mode="loss")
    model.eval()(flat(), targets, mode="loss")
    assert given[0].shape == (4, 4)
    assert torch.equal(given[1], LABELS)


@pytest.mark.parametrize("options", [{"mixup": -0.1, "cutmix": 1.0}, {"mixup": 0.2, "p": 1.5}])
def test_wrong_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="batch_mix: mixup"):
        BatchMix(**options)
