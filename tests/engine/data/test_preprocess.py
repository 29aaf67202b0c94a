"""engine/data/preprocess.py: numbers of the network input, boxes, and the random size."""

from typing import Any

import cv2
import numpy as np
import pytest
import torch

from engine.data.preprocess import IMAGENET_MEAN, IMAGENET_STD, INTERPOLATIONS, Preprocess, collate


def image(height: int, width: int, seed: int = 0) -> torch.Tensor:
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.integers(0, 256, (height, width, 3), dtype=np.uint8))


def batch(*images: torch.Tensor, **target: Any) -> dict[str, Any]:
    return {"images": list(images), "targets": [dict(target) for _ in images]}


def test_normalisation() -> None:
    """All 256 values in all channels against (x / 255 - mean) / std in double precision."""
    values = torch.arange(256, dtype=torch.uint8).view(16, 16, 1).expand(16, 16, 3).contiguous()
    out = Preprocess(size=(16, 16))(batch(values))["images"]
    expected = (values.double() / 255 - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
    assert out.dtype == torch.float32
    assert torch.allclose(out[0].permute(1, 2, 0).double(), expected, rtol=0, atol=1e-6)


def test_own_mean_and_deviation() -> None:
    out = Preprocess(size=None, mean=(0, 0, 0), std=(1, 0.5, 0.1))(batch(image(4, 4)))["images"]
    raw = image(4, 4).permute(2, 0, 1) / 255
    assert torch.allclose(out[0], raw * torch.tensor([1, 2, 10]).view(3, 1, 1), atol=1e-6)


def test_normalisation_of_rows_is_that_of_pixels() -> None:
    """To the last bit, whatever the memory order that comes in, even repeated images."""
    images = torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8)
    prepare = Preprocess(size=None, mean=(0.5, 0.25, 0.125), std=(0.1, 0.2, 0.3))
    for batch in (
        images,
        images.to(memory_format=torch.channels_last),
        images[:1].expand(3, 3, 5, 7),
    ):
        found = prepare.normalise(batch)
        assert torch.equal(found, batch.float() * prepare.scale + prepare.offset)
        assert found.is_contiguous(memory_format=torch.channels_last)
        prepare.planes = True
        assert torch.equal(prepare.normalise(batch), found)
        assert prepare.normalise(batch).is_contiguous()
        prepare.planes = False


def test_images_of_the_right_size_pass_unchanged() -> None:
    sample = image(32, 48)
    out = Preprocess(size=(32, 48), mean=(0, 0, 0), std=(1, 1, 1))(batch(sample))["images"]
    assert torch.equal((out[0] * 255).round().permute(1, 2, 0).byte(), sample)


def test_memory_is_channels_last() -> None:
    out = Preprocess(size=(32, 32))(batch(image(8, 8), image(50, 40)))["images"]
    assert out.shape == (2, 3, 32, 32)
    assert out.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", INTERPOLATIONS)
def test_resize_is_opencvs(name: str) -> None:
    sample = image(40, 60)
    preprocess = Preprocess(size=(32, 96), interpolation=name, mean=(0, 0, 0), std=(1, 1, 1))
    out = preprocess(batch(sample))["images"][0]
    expected = cv2.resize(sample.numpy(), (96, 32), interpolation=INTERPOLATIONS[name])
    assert np.array_equal((out * 255).round().byte().permute(1, 2, 0).numpy(), expected)


def test_boxes_follow() -> None:
    """(h, w) 50 x 100 to 100 x 50: x halves, y doubles; the size before is kept."""
    box = torch.tensor([[10.0, 10.0, 90.0, 40.0]])
    labels = torch.tensor([3])
    data = batch(image(50, 100), boxes=box, labels=labels, image_id=7)
    target = Preprocess(size=(100, 50))(data)["targets"][0]
    assert target["boxes"].tolist() == [[5, 20, 45, 80]]
    assert target["size"] == (50, 100)
    assert target["image_id"] == 7
    assert data["targets"][0]["boxes"].tolist() == [[10, 10, 90, 40]]  # the sample's own are kept


def test_no_boxes_and_no_targets() -> None:
    data = batch(image(9, 9), boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64))
    assert Preprocess(size=(32, 32))(data)["targets"][0]["boxes"].shape == (0, 4)
    assert Preprocess(size=(32, 32))({"images": [image(9, 9)]})["targets"] == [{"size": (9, 9)}]


def test_one_pixel() -> None:
    out = Preprocess(size=(32, 32))(batch(torch.full((1, 1, 3), 255, dtype=torch.uint8)))["images"]
    white = (1 - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
    assert torch.allclose(out[0, :, 17, 3], white)


def side(preprocess: Preprocess, step: int) -> int:
    preprocess.step = step
    return preprocess(batch(image(8, 8)), training=True)["images"].shape[-1]


def test_random_size_depends_on_seed_and_step_only() -> None:
    sizes = (32, 64, 96, 128)
    first, second = (
        Preprocess(size=(64, 64), train_sizes=sizes),
        Preprocess(size=(32, 32), train_sizes=sizes),
    )
    torch.manual_seed(1)
    forward = [side(first, step) for step in range(40)]
    torch.manual_seed(2)
    backward = [side(second, step) for step in reversed(range(40))][::-1]
    assert forward == backward
    assert set(forward) == set(sizes)
    other = Preprocess(size=(64, 64), train_sizes=sizes, seed=1)
    assert [side(other, step) for step in range(40)] != forward


def test_the_whole_batch_gets_one_size_and_evaluation_the_fixed_one() -> None:
    preprocess = Preprocess(size=(64, 32), train_sizes=(96,))
    data = batch(image(5, 5), image(70, 20))
    assert preprocess(data, training=True)["images"].shape == (2, 3, 96, 96)
    assert preprocess(data, training=False)["images"].shape == (2, 3, 64, 32)


def test_unknown_interpolation() -> None:
    with pytest.raises(ValueError, match=r"'bicubic' is unknown; use one of .*cubic"):
        Preprocess(size=None, interpolation="bicubic")


def test_buffers_stay_out_of_checkpoints() -> None:
    assert Preprocess(size=(32, 32)).state_dict() == {}


def test_collate() -> None:
    samples = [{"images": index, "targets": -index} for index in range(3)]
    assert collate(samples) == {"images": [0, 1, 2], "targets": [0, -1, -2]}
