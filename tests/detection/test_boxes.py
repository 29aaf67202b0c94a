import pytest
import torch
from torch import Tensor

from detection.boxes import (
    decode,
    distances_to_xyxy,
    expected_distances,
    giou,
    iou,
    xyxy_to_distances,
)
from detection.points import make_grid

CPU = torch.device("cpu")


def test_distances_to_xyxy_and_back() -> None:
    points = torch.tensor([[10.0, 20.0]])
    boxes = distances_to_xyxy(points, torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    assert boxes.tolist() == [[9, 18, 13, 24]]
    assert xyxy_to_distances(points, boxes).tolist() == [[1, 2, 3, 4]]


def test_a_point_left_of_its_box_has_a_negative_left_distance() -> None:
    distances = xyxy_to_distances(torch.tensor([0.0, 5.0]), torch.tensor([2.0, 1.0, 8.0, 9.0]))
    assert distances.tolist() == [-2, 4, 8, 4]


def test_even_distribution_has_the_middle_as_its_mean() -> None:
    """Bins 0..7, equally likely: 28 / 8 = 3.5; one certain bin: its number."""
    logits = torch.zeros(4, 8)
    logits[1, 6] = 100.0
    assert expected_distances(logits.flatten()).tolist() == pytest.approx([3.5, 6, 3.5, 3.5])


def test_iou_of_two_overlapping_squares() -> None:
    """Squares of 4 moved by 2 both ways share 2 x 2 of 16 + 16 - 4 = 28."""
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0]]), torch.tensor([[2.0, 2.0, 6.0, 6.0]])
    assert iou(*boxes).item() == pytest.approx(4 / 28)


def test_giou_subtracts_what_the_hull_wastes() -> None:
    """The same squares: hull 36, of which 28 are covered: 4/28 - 8/36. Apart by 2: 0 - 8/40."""
    square = torch.tensor([0.0, 0.0, 4.0, 4.0])
    others = torch.tensor([[2.0, 2.0, 6.0, 6.0], [6.0, 0.0, 10.0, 4.0], [0.0, 0.0, 4.0, 4.0]])
    assert giou(square, others).tolist() == pytest.approx([4 / 28 - 8 / 36, -8 / 40, 1.0])


def test_boxes_without_area_overlap_nothing_and_stay_finite() -> None:
    flat = torch.tensor([3.0, 3.0, 3.0, 3.0], requires_grad=True)
    assert iou(flat, flat).item() == 0
    giou(flat, flat).backward()
    assert flat.grad is not None
    assert torch.isfinite(flat.grad).all()


def test_decoding_a_mirrored_map_mirrors_the_boxes() -> None:
    """Mirror the 6 x 6 map and swap left with right: x becomes 48 - x."""
    grid = make_grid([(6, 6)], (8,), CPU)
    logits = torch.randn(36, 4, 8, generator=torch.Generator().manual_seed(0))
    mirrored = logits[:, [2, 1, 0, 3]].unflatten(0, (6, 6)).flip(1).flatten(0, 1)
    boxes = decode(logits.flatten(1), grid.points, grid.strides).unflatten(0, (6, 6))
    found = decode(mirrored.flatten(1), grid.points, grid.strides).unflatten(0, (6, 6)).flip(1)
    wanted = torch.stack([48 - boxes[..., 2], boxes[..., 1], 48 - boxes[..., 0], boxes[..., 3]], -1)
    torch.testing.assert_close(found, wanted)


def test_decoding_under_autocast_is_not_rounded() -> None:
    logits = torch.linspace(-3, 3, 32)[None]
    with torch.autocast("cpu", torch.bfloat16):
        rounded = expected_distances(logits)
    torch.testing.assert_close(rounded, expected_distances(logits), rtol=0, atol=0)


@pytest.mark.golden
def test_giou_loss_and_slope_equal_the_originals(
    elementary: dict[str, Tensor], assert_agrees
) -> None:
    boxes = elementary["giou/pred"].requires_grad_()
    loss = 2.5 * (1 - giou(boxes, elementary["giou/target"]))
    wanted = elementary["giou/loss_w2.5"][:, 0]
    assert_agrees("GIoU loss", "PaddleDetection", loss, wanted, rtol=1e-5, atol=1e-5)
    (slope,) = torch.autograd.grad(loss.sum(), boxes)
    wanted = elementary["giou/grad_of_sum"]
    assert_agrees("GIoU loss: gradient", "PaddleDetection", slope, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.golden
def test_distances_equal_the_originals(elementary: dict[str, Tensor], assert_agrees) -> None:
    """The first three at every fifth point."""
    distances = expected_distances(elementary["dist/reg_logits"])
    wanted = elementary["dist/distances"]
    assert_agrees("expected distances", "PaddleDetection", distances, wanted, rtol=1e-5, atol=1e-5)
    points = (elementary["grid/points"] / elementary["grid/strides"])[::5]
    boxes = distances_to_xyxy(points, distances)
    wanted = elementary["dist/boxes_over_stride"]
    assert_agrees("boxes from distances", "PaddleDetection", boxes, wanted, rtol=1e-5, atol=1e-4)
    targets = xyxy_to_distances(elementary["b2d/points"], elementary["b2d/boxes"]).clamp(0, 6.9)
    wanted = elementary["b2d/dist_max7"]
    assert_agrees("distances from boxes", "PaddleDetection", targets, wanted, rtol=1e-6, atol=1e-5)
