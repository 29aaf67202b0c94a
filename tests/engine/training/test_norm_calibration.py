"""Rebuilt batch-norm statistics: the same function, with the statistics of the images."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from engine.training.norm_calibration import ChannelMoments, calibrate_norms, even_out_convolutions


@pytest.fixture
def model() -> nn.Sequential:
    """conv, norm, ReLU, conv, norm with norms that are far from neutral."""
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 1),
        nn.BatchNorm2d(5),
    )  # fmt: skip
    for part in layers:
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, -2, 2)
            nn.init.normal_(part.bias)
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2)
    return layers.eval()


def test_moments_by_hand() -> None:
    """Channel 0: 1, 3, 5, 7 has mean 4 and variance 5; channel 1: four times 2."""
    moments = ChannelMoments(2)
    moments.add(torch.tensor([[[[1.0, 3.0]], [[2.0, 2.0]]]]))
    moments.add(torch.tensor([[[[5.0]], [[2.0]]], [[[7.0]], [[2.0]]]]))
    assert moments.count == 4
    assert moments.mean.tolist() == [4.0, 2.0]
    assert moments.variance.tolist() == [5.0, 0.0]


def test_moments_in_parts_equal_moments_at_once_far_from_zero() -> None:
    """A mean of 1e4 with deviation 1e-2 cancels everything in float32 sums of squares."""
    values = 1e4 + 0.01 * np.random.default_rng(0).standard_normal((40, 3, 5, 5))
    moments = ChannelMoments(3)
    for part in np.split(values, [1, 7, 8, 30]):
        moments.add(torch.from_numpy(part))
    np.testing.assert_allclose(moments.mean, values.mean((0, 2, 3)), rtol=1e-14)
    np.testing.assert_allclose(moments.variance, values.var((0, 2, 3)), rtol=1e-8)


def test_function_stays_and_statistics_are_those_of_the_inputs(model: nn.Sequential) -> None:
    images = torch.randn(10, 3, 8, 8) * 3 + 1
    before, inner = model(images), model[:1](images)
    assert calibrate_norms(model, images.split(4)) == 10
    torch.testing.assert_close(model(images), before, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model[1].running_mean, inner.mean((0, 2, 3)))
    torch.testing.assert_close(model[1].running_var, inner.var((0, 2, 3), unbiased=False))


def test_training_mode_on_all_images_becomes_the_function(model: nn.Sequential) -> None:
    images = torch.randn(10, 3, 8, 8) * 3 + 1
    before = model(images).detach()
    assert (model.train()(images) - before).abs().max() > 1
    model.eval()
    for part in model:
        if isinstance(part, nn.BatchNorm2d):
            part.reset_running_stats()
    before = model(images).detach()
    calibrate_norms(model, images.split(3))
    torch.testing.assert_close(model.train()(images), before, rtol=1e-4, atol=1e-4)


def test_constant_channel_keeps_its_value() -> None:
    """A dead channel has variance 0: weight sqrt(eps), and the output stays what it was."""
    norm = nn.BatchNorm2d(1).eval()
    nn.init.constant_(norm.bias, 0.25)
    images = torch.full((2, 1, 3, 3), 5.0)
    before = norm(images)
    calibrate_norms(norm, [images])
    assert norm.weight.item() == pytest.approx(norm.eps**0.5, rel=1e-4)
    torch.testing.assert_close(norm(images), before)
    torch.testing.assert_close(norm.train()(images), before)


def test_nothing_to_calibrate_is_an_error(model: nn.Sequential) -> None:
    with pytest.raises(ValueError, match="0 images and 2 batch-norms"):
        calibrate_norms(model, [])
    with pytest.raises(ValueError, match="2 images and 0 batch-norms"):
        calibrate_norms(nn.Conv2d(3, 3, 1), [torch.zeros(2, 3, 4, 4)])


def test_failure_leaves_the_model_as_it_was(model: nn.Sequential) -> None:
    state = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(RuntimeError):
        calibrate_norms(model, [torch.randn(1, 3, 8, 8), torch.randn(1, 4, 8, 8)])
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not any(part._forward_pre_hooks for part in model.modules())


def test_even_convolutions_compute_the_same_with_unit_variance() -> None:
    """Channels scaled 0.001 and 100 by folding: the same outputs in both modes, of variance 1."""
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(3, 2, 3, bias=False), nn.BatchNorm2d(2)
    with torch.no_grad():
        conv.weight[0].mul_(1e-3)
        conv.weight[1].mul_(100)
    model = nn.Sequential(conv, norm)
    images = torch.randn(6, 3, 8, 8)
    calibrate_norms(model, [images])
    before, before_training = model(images), copy.deepcopy(model).train()(images)
    assert even_out_convolutions(model) == 1
    torch.testing.assert_close(model(images), before, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model.train()(images), before_training, rtol=1e-4, atol=1e-4)
    assert conv(images).var((0, 2, 3), correction=0)[1].item() == pytest.approx(1, abs=1e-4)
    ratio = conv.weight[0].norm() / conv.weight[1].norm()
    assert 0.05 < ratio < 1  # was 1e-5; channel 0 keeps the share of eps that its variance had
