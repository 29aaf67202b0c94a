"""The parts of an exported graph: resize as in cv2, norms and scale folded into convolutions."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backbone.layers import ConvBN
from engine.data.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from engine.export.graph import Reading, Span, fold_scale, folded, resized, split, taps


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


class Network(nn.Module):
    """A strided, padded convolution with norm, with the interface that export needs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBN(3, 4, 3, stride=2)
        norm = self.stem.norm
        for values in (norm.weight.data, norm.running_var):
            values.uniform_(0.5, 2.0)
        norm.running_mean.normal_()
        norm.bias.data.normal_()

    def forward(self, images: Tensor, mode: str) -> Tensor:  # noqa: ARG002
        return self.stem(images)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return Network().eval()


class TestTaps:
    def test_linear_by_hand(self) -> None:
        """4 pixels to 2: positions 0.5 and 2.5, each half of two neighbours."""
        indices, weights = taps(Span.whole(4, 2), "linear")
        assert indices.tolist() == [0, 1, 2, 3]
        assert weights.flatten().tolist() == [0.5, 0.5, 0.5, 0.5]

    def test_cubic_by_hand(self) -> None:
        """Halfway, Keys's kernel with a = -0.75: -0.09375 and 0.59375 (1.5 and 0.5 away)."""
        _, weights = taps(Span.whole(8, 4), "cubic")
        assert weights[1, 0].tolist() == pytest.approx([-0.09375, 0.59375, 0.59375, -0.09375])

    @pytest.mark.parametrize("interpolation", ["linear", "cubic"])
    def test_weights_sum_to_one(self, interpolation: str) -> None:
        _, weights = taps(Span.whole(37, 101), interpolation)
        assert weights.sum(-1).flatten().numpy() == pytest.approx(np.ones(101), abs=1e-6)

    def test_the_same_size_is_the_image(self) -> None:
        image = torch.from_numpy(noise(9, 7))
        same = resized(image, Span.whole(9, 9), Span.whole(7, 7), "cubic")
        assert torch.equal(same[0].permute(1, 2, 0), image.float())


class TestResized:
    """Compared with cv2, whose fixed-point arithmetic rounds some values differently."""

    @pytest.mark.parametrize("size", [(64, 64), (200, 50), (31, 333)])
    @pytest.mark.parametrize(
        ("interpolation", "flag", "share"),
        [
            ("cubic", cv2.INTER_CUBIC, 0.002),
            ("linear", cv2.INTER_LINEAR, 0.2),
        ],
    )
    def test_at_most_one_level_and_rarely(
        self, size: tuple[int, int], interpolation: str, flag: int, share: float
    ) -> None:
        image = noise(97, 130)
        wanted = cv2.resize(image, size[::-1], interpolation=flag).transpose(2, 0, 1)
        spans = Span.whole(97, size[0]), Span.whole(130, size[1])
        found = resized(torch.from_numpy(image), *spans, interpolation)[0].numpy()
        gap = np.abs(found - wanted.astype(np.float32))
        assert gap.max() <= 1
        assert (gap > 0).mean() <= share


class TestReading:
    def test_with_its_scale_it_is_the_preprocessing(self) -> None:
        image = noise(50, 70)
        wanted = Preprocess(size=(32, 64))({"images": [torch.from_numpy(image)]})["images"]
        reading = Reading(size=(32, 64))
        found = reading(torch.from_numpy(image)) * reading.scale
        assert (found - wanted).abs().max() <= 1 / 255 / min(IMAGENET_STD) + 1e-5
        assert ((found - wanted).abs() > 1e-4).float().mean() < 0.002

    def test_no_size_keeps_the_image(self) -> None:
        reading = Reading(size=None, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        found = reading(torch.full((4, 6, 3), 255, dtype=torch.uint8)) * reading.scale
        assert found.shape == (1, 3, 4, 6)
        assert found.unique().tolist() == pytest.approx([1.0])

    def test_what_no_graph_holds(self) -> None:
        with pytest.raises(ValueError, match="'area' cannot be put in the graph; use one of lin"):
            Reading(size=(32, 32), interpolation="area")

    @pytest.mark.parametrize("size", [(50, 70), (70, 50), (40, 400), (33, 34), (64, 64)])
    def test_the_middle_of_a_picture(self, size: tuple[int, int]) -> None:
        """Short side to 40, then the middle 32; 400 is cut to eight short sides first."""
        given = {"size": (32, 32), "resize_shortest": 40}
        image = torch.from_numpy(noise(*size))
        wanted = Preprocess(**given)({"images": [image]})["images"]
        reading = Reading(**given)
        gap = (reading(image) * reading.scale - wanted).abs()
        assert gap.max() <= 1 / 255 / min(IMAGENET_STD) + 1e-5
        assert (gap > 1e-4).float().mean() < 0.002

    @pytest.mark.parametrize(("side", "short"), [(513, 512), (515, 512), (3, 2), (7, 7), (51, 17)])
    def test_sizes_round_as_python_does(self, side: int, short: int) -> None:
        """Ties at 256.5 and 257.5 go to the even number."""
        span = Span.middle(side, 32, 256, short)
        assert span.resized == round(side * (256 / short))
        assert span.start == (span.resized - 32) // 2


class TestFolding:
    def test_norms_go_into_convolutions(self, network: nn.Module) -> None:
        images = torch.randn(2, 3, 16, 16)
        result = folded(network)
        assert isinstance(result.stem.norm, nn.Identity)
        assert isinstance(network.stem.norm, nn.BatchNorm2d)  # a copy
        assert (result(images, "tensor") - network(images, "tensor")).abs().max() < 1e-5

    def test_the_scale_is_exact_at_the_border_too(self, network: nn.Module) -> None:
        model, reading = folded(network), Reading(size=None)
        image = torch.from_numpy(noise(16, 16))
        wanted = network(Preprocess(size=None)({"images": [image]})["images"], "tensor")
        fold_scale(model, reading.scale, torch.zeros(1, 3, 16, 16))
        assert (model(reading(image), "tensor") - wanted).abs().max() < 1e-4

    def test_the_mean_would_not_be(self, network: nn.Module) -> None:
        """Folding mean and scale together is wrong where zeros are padded."""
        model = folded(network)
        conv = model.stem.conv
        image = torch.from_numpy(noise(16, 16))
        wanted = network(Preprocess(size=None)({"images": [image]})["images"], "tensor")
        offset = -torch.tensor(IMAGENET_MEAN) / torch.tensor(IMAGENET_STD)
        bias = conv.bias + (conv.weight.sum((2, 3)) * offset).sum(1)
        weight = conv.weight / (255 * torch.tensor(IMAGENET_STD)).view(1, 3, 1, 1)
        raw = image.float().permute(2, 0, 1)[None]
        found = F.hardswish(F.conv2d(raw, weight, bias, stride=2, padding=1))
        gap = (found - wanted).abs()
        assert gap[:, :, 1:, 1:].max() < 1e-4
        assert gap[:, :, 0].max() > 0.1

    def test_first_layer_must_be_a_convolution(self) -> None:
        class Plain(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.pool = nn.AvgPool2d(2)

            def forward(self, images: Tensor, mode: str) -> Tensor:  # noqa: ARG002
                return self.pool(images)

        with pytest.raises(
            ValueError, match="Plain: its first layer is not an ungrouped convolution"
        ):
            fold_scale(Plain(), torch.ones(1, 3, 1, 1), torch.zeros(1, 3, 4, 4))


class TestSplit:
    def test_a_window_by_hand(self) -> None:
        """2 x 3 weights 1..6 at the corner of a picture of ones: only its last 1 x 2 are inside."""
        conv = nn.Conv2d(1, 1, (2, 3), padding=(1, 1), bias=False)
        conv.weight.data = torch.arange(1.0, 7.0).view(1, 1, 2, 3)
        found = split(conv)(torch.ones(1, 1, 4, 4))
        assert found[0, 0, 0, 0].item() == 5 + 6
        assert found[0, 0, 1, 1].item() == 21
        assert found.shape == conv(torch.ones(1, 1, 4, 4)).shape

    def test_many_channels_and_a_bias(self) -> None:
        torch.manual_seed(0)
        conv, images = nn.Conv2d(24, 1, 5, padding=2), torch.randn(2, 24, 9, 6)
        torch.testing.assert_close(split(conv)(images), conv(images), rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize(
        ("options", "parts"),
        [
            ({"out_channels": 1, "kernel_size": 5}, 2),
            ({"out_channels": 2, "kernel_size": 5}, 0),  # enough channels for engines to be fast
            ({"out_channels": 1, "kernel_size": 1}, 0),
            ({"out_channels": 1, "kernel_size": 3, "stride": 2}, 0),
            ({"out_channels": 1, "kernel_size": 3, "dilation": 2}, 0),
        ],
    )
    def test_only_windows_to_one_channel_are_split(self, options: dict, parts: int) -> None:
        model = nn.Sequential()
        model.conv = nn.Conv2d(4, bias=False, **options)
        model.norm = nn.BatchNorm2d(options["out_channels"])
        assert len(list(folded(model).conv.children())) == parts
