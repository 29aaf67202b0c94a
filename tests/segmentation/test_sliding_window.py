"""Views of an image: windows, mirror, scales."""

import pytest
import torch
from torch import Tensor

from segmentation.sliding_window import Inference, resize


def pixelwise(images: Tensor) -> Tensor:
    """A network that looks at one pixel only: its logits are the channels."""
    return images * 2


def test_one_view_gives_the_logits_themselves() -> None:
    images = torch.randn(2, 3, 8, 10)
    assert torch.equal(Inference()(pixelwise, images), pixelwise(images))


@pytest.mark.parametrize("step", [None, (1, 3), (4, 4)])
@pytest.mark.parametrize("size", [(9, 11), (4, 4), (3, 20)])
def test_windows_cover_every_pixel(size: tuple[int, int], step: tuple[int, int] | None) -> None:
    images = torch.randn(1, 3, *size)
    windowed = Inference(window=(4, 4), step=step)(pixelwise, images)
    torch.testing.assert_close(windowed, pixelwise(images))


def test_overlapping_windows_are_averaged() -> None:
    """Windows of 2 x 2 that each give their mean: [1 3 5 9], step 1 -> means 2, 4, 7."""
    images = torch.tensor([[1.0, 3, 5, 9]]).expand(1, 1, 2, 4)
    found = Inference(window=(2, 2), step=(1, 1))(
        lambda window: window.mean().expand_as(window), images
    )
    assert found[0, 0, 0].tolist() == [2.0, 3.0, 5.5, 7.0]


def test_flip_averages_probabilities_of_the_mirrored_view_turned_back() -> None:
    images = torch.randn(1, 3, 4, 6)
    columns = torch.arange(6.0)

    def sided(views: Tensor) -> Tensor:  # a network that treats left and right differently
        return views * columns

    found = Inference(flip=True)(sided, images).exp()
    straight = (images * columns).softmax(1)
    mirrored = (images * columns.flip(0)).softmax(1)
    torch.testing.assert_close(found, (straight + mirrored) / 2)


def test_scales_average_probabilities_at_the_size_of_the_image() -> None:
    images = torch.randn(1, 3, 8, 12)
    sizes = []

    def network(views: Tensor) -> Tensor:
        sizes.append(tuple(views.shape[-2:]))
        return views

    found = Inference(scales=(0.5, 1.0), flip=False)(network, images).exp()
    half = resize(resize(images, (4, 6)), (8, 12)).softmax(1)
    torch.testing.assert_close(found, (half + images.softmax(1)) / 2)
    assert sizes == [(4, 6), (8, 12)]


def test_a_scale_may_shrink_an_image_to_a_pixel() -> None:
    assert Inference(scales=(0.01,))(pixelwise, torch.randn(1, 3, 8, 8)).shape == (1, 3, 8, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": ()}, "one or more numbers above 0"),
        ({"scales": (1.0, 0.0)}, "one or more numbers above 0"),
        ({"window": (4,)}, r"window \[4\] must be \(height, width\)"),
        ({"step": (4, 4)}, "needs a window"),
        ({"window": (4, 4), "step": (4, 5)}, "be left out"),
    ],
)
def test_impossible_views_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Inference(**options)
