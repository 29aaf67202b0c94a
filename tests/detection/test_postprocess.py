import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from detection import postprocess
from detection.postprocess import detect, suppress, to_image_size

SQUARE = [0.0, 0.0, 10.0, 10.0]


def rows(found: dict[str, Tensor]) -> set[tuple[float, ...]]:
    """Detections as rows (label, score, x1, y1, x2, y2), whatever their order."""
    columns = [found["labels"][:, None].float(), found["scores"][:, None], found["boxes"]]
    return set(map(tuple, torch.cat(columns, dim=1).tolist()))


def test_threshold_is_strict_and_a_point_counts_for_each_class() -> None:
    found = detect(torch.tensor([SQUARE]), torch.tensor([[0.5, 0.025, 0.026]]))
    assert found["labels"].tolist() == [0, 2]
    assert found["scores"].tolist() == pytest.approx([0.5, 0.026])


def test_only_the_same_class_suppresses_and_only_above_the_iou() -> None:
    """Moved by 2 of 10: IoU 80 / 120 = 0.67 goes; moved by 3: 70 / 130 = 0.54 stays."""
    boxes = torch.tensor([SQUARE, [2.0, 0.0, 12.0, 10.0], [3.0, 0.0, 13.0, 10.0], SQUARE])
    scores = torch.tensor([[0.9, 0.0], [0.8, 0.0], [0.7, 0.0], [0.0, 0.6]])
    found = detect(boxes, scores)
    assert found["scores"].tolist() == pytest.approx([0.9, 0.7, 0.6])
    assert found["labels"].tolist() == [0, 0, 1]


def test_a_box_left_of_the_image_does_not_meet_another_class() -> None:
    """Class 1 moved by the largest coordinate + 1 = 101 would land on the box of class 0."""
    boxes = torch.tensor([[0.0, 0.0, 100.0, 100.0], [-101.0, -101.0, -1.0, -1.0]])
    found = detect(boxes, torch.tensor([[0.9, 0.0], [0.0, 0.8]]))
    assert found["boxes"].tolist() == boxes.tolist()


def test_no_more_than_the_best_hundred() -> None:
    left = torch.arange(130.0) * 20
    boxes = torch.stack([left, left * 0, left + 10, left * 0 + 10], dim=1)
    scores = torch.linspace(0.1, 0.9, 130)[:, None]
    found = detect(boxes, scores)
    assert found["scores"].tolist() == scores[30:, 0].flip(0).tolist()


def test_candidates_are_limited_class_by_class() -> None:
    boxes = torch.tensor([[20.0 * i, 0.0, 20.0 * i + 10, 10.0] for i in range(4)])
    scores = torch.tensor([[0.3, 0.1], [0.9, 0.2], [0.5, 0.0], [0.7, 0.4]])
    found = detect(boxes, scores, max_per_class=2)
    assert found["scores"].tolist() == pytest.approx([0.9, 0.7, 0.4, 0.2])
    assert found["labels"].tolist() == [0, 0, 1, 1]


def test_nothing_above_the_threshold() -> None:
    found = detect(torch.tensor([SQUARE]), torch.tensor([[0.01, 0.02]]))
    assert found["boxes"].shape == (0, 4)
    assert found["scores"].tolist() == found["labels"].tolist() == []


def test_suppression_inside_groups_in_the_order_given() -> None:
    """Box 2 is box 0 moved by 2 of 10 (IoU 0.67) and scores higher; box 3 is of another group."""
    boxes = torch.tensor([SQUARE, [50.0, 0.0, 60.0, 10.0], [2.0, 0.0, 12.0, 10.0], SQUARE])
    scores, groups = torch.tensor([0.8, 0.1, 0.9, 0.5]), torch.tensor([7, 7, 7, 3])
    assert suppress(boxes.double(), scores, groups, 0.6).tolist() == [1, 2, 3]
    assert suppress(boxes.double(), scores, groups, 0.7).tolist() == [0, 1, 2, 3]
    assert suppress(boxes[:0], scores[:0], groups[:0], 0.6).tolist() == []


def test_the_first_of_equal_scores_stays_in_small_and_large_sets() -> None:
    """Above 1000 boxes torchvision goes class by class."""
    for repeats in (3, 1200):
        boxes = torch.tensor([SQUARE]).double().repeat(repeats, 1)
        found = suppress(boxes, torch.ones(repeats), torch.zeros(repeats).long(), 0.6)
        assert found.tolist() == [0]


def test_boxes_return_to_the_size_of_their_image() -> None:
    """Input 320 x 320 of an image 640 high and 160 wide: y doubles, x halves."""
    boxes = to_image_size(torch.tensor([[10.0, 20.0, 30.0, 40.0]]), (320, 320), (640, 160))
    assert boxes.tolist() == [[5, 40, 15, 80]]


def greedy(boxes: Tensor, scores: Tensor, limits: tuple[int, int]) -> list[tuple[int, int]]:
    """(point, label) of what survives, taking the best left and dropping what overlaps it."""
    order = sorted(
        ((-float(scores[p, k]), p, k) for p, k in (scores > 0.025).nonzero().tolist()),
        key=lambda item: item[0],
    )
    entered, kept = [0] * scores.shape[1], []
    iou = box_iou(boxes, boxes).tolist()
    for _, point, label in order:
        entered[label] += 1
        free = all(label != other or iou[point][p] <= 0.6 for p, other in kept)
        if entered[label] <= limits[0] and free:
            kept.append((point, label))
    return kept[: limits[1]]


@pytest.mark.parametrize("spread", [300.0, 10.0])  # pixels; close together few survive
@pytest.mark.parametrize("limits", [(1000, 100), (1000, 5000), (40, 100), (3, 100)])
@pytest.mark.parametrize(
    ("first", "most", "levels"),  # few levels: many scores are one number
    [(512, 4096, 500), (30, 4096, 500), (30, 100, 500), (30, 100, 3)],
)
def test_the_best_first_find_what_all_at_once_find(
    spread: float,
    limits: tuple[int, int],
    first: int,
    most: int,
    levels: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """About 1100 candidates, more than are looked at first; scores of one number tie."""
    monkeypatch.setattr(postprocess, "FIRST", first)
    monkeypatch.setattr(postprocess, "MOST", most)
    random = torch.Generator().manual_seed(0)
    corner = torch.rand(300, 2, generator=random) * spread
    boxes = torch.cat([corner, corner + 20 + torch.rand(300, 2, generator=random) * 40], dim=1)
    scores = (torch.rand(300, 4, generator=random) * levels).round() / levels
    found = detect(boxes, scores, max_per_class=limits[0], max_per_image=limits[1])
    wanted = greedy(boxes, scores, limits)
    assert found["labels"].tolist() == [label for _, label in wanted]
    assert found["boxes"].tolist() == [boxes[point].tolist() for point, _ in wanted]


@pytest.mark.golden
@pytest.mark.parametrize("kind", ["std", "small"])
def test_nms_equals_the_originals(elementary: dict[str, Tensor], kind: str, assert_agrees) -> None:
    counts = elementary[f"nms/{kind}/num"].tolist()
    wanted = elementary[f"nms/{kind}/out"].split(counts)
    for image, count in enumerate(counts):
        boxes, scores = elementary["nms/boxes"][image], elementary["nms/scores"][image].T
        found = detect(boxes, scores, max_per_image=count)
        changed = rows(found) ^ set(map(tuple, wanted[image].tolist()))
        assert_agrees("NMS: rows that differ", "PaddleDetection", len(changed), 0)


@pytest.mark.golden
@pytest.mark.parametrize("name", ["picodet_s_320_coco_lcnet", "picodet_xs_320_coco_lcnet"])
def test_nms_of_a_detector_equals_the_originals(golden_detector, name: str, assert_agrees) -> None:
    """Of the points with a score of at least the lowest kept one; others can change nothing."""
    arrays = golden_detector(name).arrays
    wanted = arrays["nms/bbox"].split(arrays["nms/bbox_num"].tolist())
    for image, (scale_y, scale_x) in enumerate(arrays["input/scale_factor"].tolist()):
        scale = torch.tensor([scale_x, scale_y, scale_x, scale_y])
        boxes, scores = arrays[f"nms/boxes_{image}"] / scale, arrays[f"nms/scores_{image}"]
        changed = rows(detect(boxes, scores)) ^ set(map(tuple, wanted[image].tolist()))
        what = f"{name}: rows of NMS that differ"
        assert_agrees(what, "PaddleDetection", len(changed), 0)
