"""Images of one batch that keep their sizes, and masks."""

import torch

from engine.data.preprocess import Preprocess


def image(height: int, width: int, value: int) -> torch.Tensor:
    return torch.full((height, width, 3), value, dtype=torch.uint8)


def test_small_images_are_padded_with_the_mean_colour_and_their_masks_with_255() -> None:
    preprocess = Preprocess(size=None, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    batch = {
        "images": [image(2, 3, 255), image(4, 2, 0)],
        "targets": [
            {"mask": torch.ones(2, 3, dtype=torch.uint8)},
            {"mask": torch.zeros(4, 2, dtype=torch.uint8)},
        ],
    }
    out = preprocess(batch, True)
    assert out["images"].shape == (2, 3, 4, 3)
    assert out["images"][0, 0].tolist() == [[1, 1, 1], [1, 1, 1], [0, 0, 0], [0, 0, 0]]
    assert out["images"][1, 0].tolist() == [[-1, -1, 0]] * 4
    first, second = out["targets"]
    assert first["mask"].tolist() == [[1, 1, 1], [1, 1, 1], [255] * 3, [255] * 3]
    assert second["mask"].tolist() == [[0, 0, 255]] * 4
    assert first["content"] == first["size"] == (2, 3)
    evaluated = preprocess(batch)["targets"][0]
    assert evaluated["mask"].tolist() == [[1, 1, 1], [1, 1, 1]]


def test_equal_sizes_are_left_alone() -> None:
    out = Preprocess(size=None)({"images": [image(2, 3, 9), image(2, 3, 9)]}, True)
    assert out["images"].shape == (2, 3, 2, 3)
    assert out["targets"] == [{"size": (2, 3)}, {"size": (2, 3)}]


def test_a_mask_follows_the_resize_in_training_only() -> None:
    preprocess = Preprocess(size=(4, 4))
    mask = torch.tensor([[0, 255], [2, 1]], dtype=torch.uint8)
    batch = {"images": [image(2, 2, 9)], "targets": [{"mask": mask}]}
    trained = preprocess(batch, True)["targets"][0]["mask"]
    assert trained.tolist() == [[0, 0, 255, 255]] * 2 + [[2, 2, 1, 1]] * 2
    assert preprocess(batch)["targets"][0]["mask"].tolist() == mask.tolist()


def test_boxes_of_a_padded_image_stay() -> None:
    target = {"boxes": torch.tensor([[0.0, 1, 2, 2]]), "labels": torch.tensor([0])}
    batch = {"images": [image(2, 3, 9), image(4, 6, 9)], "targets": [target, dict(target)]}
    out = Preprocess(size=None)(batch)["targets"]
    assert out[0]["boxes"].tolist() == [[0.0, 1.0, 2.0, 2.0]]
