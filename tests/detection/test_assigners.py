from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from detection.assigners import (
    Assignment,
    Truths,
    _anchors,
    assign_atss,
    assign_task_aligned,
    gather_truths,
)
from detection.boxes import iou
from detection.head import Predictions
from detection.points import make_grid
from detection.simota import assign_simota

CPU = torch.device("cpu")
SIZES = ((24, 24), (12, 12), (6, 6), (3, 3))  # of a 192 x 192 input
NUM_POINTS = 765
ALL = pytest.mark.parametrize("assign", [assign_atss, assign_task_aligned, assign_simota])
SECOND = pytest.mark.parametrize("assign", [assign_atss, assign_task_aligned])


def predict(boxes: Tensor, scores: Tensor, sizes: tuple = SIZES) -> tuple[Predictions, Tensor]:
    grid = make_grid(sizes, (8, 16, 32, 64)[: len(sizes)], CPU)
    return Predictions(scores, torch.zeros(len(boxes), len(grid.points), 32), grid), boxes


def random_predictions(num_images: int) -> tuple[Predictions, Tensor]:
    """Boxes of 40 px around every point, shaken by up to 20 px, and scores, of 5 classes."""
    random = torch.Generator().manual_seed(0)
    points = make_grid(SIZES, (8, 16, 32, 64), CPU).points
    shake = torch.rand(num_images, NUM_POINTS, 4, generator=random) * 20
    boxes = torch.cat([points - 20, points + 20], dim=1) + shake
    return predict(boxes, torch.rand(num_images, NUM_POINTS, 5, generator=random))


def random_targets(*counts: int) -> list[dict[str, Tensor]]:
    random = torch.Generator().manual_seed(1)
    targets = []
    for count in counts:
        corners = torch.rand(count, 2, generator=random) * 120
        sides = torch.rand(count, 2, generator=random) * 60 + 8
        labels = torch.randint(0, 5, (count,), generator=random)
        targets.append({"boxes": torch.cat([corners, corners + sides], 1), "labels": labels})
    return targets


def one_object(box: list[float], label: int = 0) -> list[dict[str, Tensor]]:
    return [{"boxes": torch.tensor([box]), "labels": torch.tensor([label])}]


def dense(found: Assignment, shape: tuple[int, int], num_classes: int) -> tuple[Tensor, ...]:
    """labels (B, P) with background `num_classes`, boxes (B, P, 4), score targets (B, P)."""
    labels = torch.full((shape[0] * shape[1],), num_classes)
    boxes, scores = torch.zeros(len(labels), 4), torch.zeros(len(labels))
    labels[found.places], boxes[found.places] = found.labels, found.boxes
    scores[found.places] = found.scores
    return labels.view(shape), boxes.view(*shape, 4), scores.view(shape)


def test_atss_takes_the_only_anchor_that_stands_out() -> None:
    """One 2 x 2 level of stride 8: anchors of side 40 around (4, 4), (12, 4), (4, 12), (12, 12).

    The object (0, 0, 8, 8) lies within all four, each overlap is 64 / 1600 = 0.04, so the
    deviation is 0 and nothing exceeds the mean. The object (-16, -16, 24, 24) equals the first
    anchor: overlaps 1, 1280/1920 = 2/3, 2/3 and 1024/2176 = 0.4706; mean 0.7010, deviation (over
    3) 0.2207, threshold 0.9217. Its target is the overlap 0.5 of the predicted (-16, -16, 4, 24).
    """
    boxes = torch.tensor([[-16.0, -16.0, 4.0, 24.0]]).expand(1, 4, 4)
    made = predict(boxes, torch.ones(1, 4, 1), sizes=((2, 2),))
    assert len(assign_atss(gather_truths(one_object([0, 0, 8, 8])), *made).places) == 0
    found = assign_atss(gather_truths(one_object([-16, -16, 24, 24])), *made)
    assert found.places.tolist() == [0]
    assert found.scores.tolist() == pytest.approx([0.5])


def test_task_aligned_target_is_scaled_to_the_best_overlap() -> None:
    """Four points in a 16 x 16 object. Boxes that cover all, 3/4, 1/2 of it and another place.

    Metrics with scores 0.5, 1, 1, 1: 0.5, 0.75^6 = 0.177979, 0.5^6 = 0.015625 and 0, which does
    not count. The best metric 0.5 becomes the best overlap 1: the targets are the doubles.
    """
    boxes = torch.tensor(
        [[[0.0, 0.0, 16.0, 16.0], [0.0, 0.0, 16.0, 12.0], [0.0, 0.0, 8.0, 16.0], [50, 50, 60, 60]]]
    )
    scores = torch.tensor([[[0.5], [1.0], [1.0], [1.0]]])
    found = assign_task_aligned(
        gather_truths(one_object([0, 0, 16, 16])), *predict(boxes, scores, sizes=((2, 2),))
    )
    assert found.places.tolist() == [0, 1, 2]
    assert found.scores.tolist() == pytest.approx([1.0, 0.355957, 0.03125], rel=1e-5)


def test_a_disputed_point_goes_to_the_larger_overlap() -> None:
    """Both objects hold all four points; every box fits the second one better."""
    boxes = torch.tensor([[0.0, 0.0, 16.0, 16.0]]).expand(1, 4, 4)
    targets = [
        {
            "boxes": torch.tensor([[-8.0, 0.0, 24.0, 16.0], [0.0, 0.0, 16.0, 18.0]]),
            "labels": torch.tensor([0, 1]),
        }
    ]
    made = predict(boxes, torch.ones(1, 4, 2), sizes=((2, 2),))
    found = assign_task_aligned(gather_truths(targets), *made)
    assert found.labels.tolist() == [1, 1, 1, 1]


def test_task_aligned_takes_thirteen_points_at_most() -> None:
    made = random_predictions(1)
    targets = one_object([16.0, 16.0, 176.0, 176.0])
    assert len(assign_task_aligned(gather_truths(targets), *made).places) == 13


def four_points(*boxes: list[float], scores: list[float]) -> tuple[Predictions, Tensor]:
    """Points (4, 4), (12, 4), (4, 12), (12, 12) of stride 8 with one class."""
    return predict(torch.tensor([boxes]), torch.tensor(scores).reshape(1, 4, 1), sizes=((2, 2),))


def test_simota_takes_as_many_points_as_the_overlaps_sum_to() -> None:
    """Boxes that cover all, 3/4, 1/2 and nothing of the object (0, 0, 16, 16): sum 2.25, so two.

    The costs at score 0.5 are 0 + IoU ln 2 and 6 times the uncovered: the first two are least.
    A box counts by the score of its point, its target is its overlap.
    """
    made = four_points(
        [0, 0, 16, 16], [0, 0, 16, 12], [0, 0, 8, 16], [50, 50, 60, 60], scores=[0.5] * 4
    )
    found = assign_simota(gather_truths(one_object([0.0, 0.0, 16.0, 16.0])), *made)
    assert found.places.tolist() == [0, 1]
    assert found.scores.tolist() == pytest.approx([1.0, 0.75])
    assert found.weights.tolist() == [0.5, 0.5]


def test_simota_prefers_what_costs_the_class_loss_less() -> None:
    """Four equal boxes of overlap 1/4: one point, the one whose score is nearest to 0.25."""
    made = four_points(*[[0, 0, 8, 8]] * 4, scores=[0.9, 0.6, 0.3, 0.05])
    found = assign_simota(gather_truths(one_object([0.0, 0.0, 16.0, 16.0])), *made)
    assert found.places.tolist() == [2]


def test_simota_takes_far_points_last_but_an_object_never_goes_without() -> None:
    """The object (5, 5, 11, 11) holds no point, and every point is within 20 pixels of (8, 8).

    The cheapest of these then answers: the one with the box nearest to the object.
    """
    made = four_points(
        [0, 0, 3, 3], [12, 0, 16, 4], [0, 12, 4, 16], [5, 5, 12, 12], scores=[0.5] * 4
    )
    found = assign_simota(gather_truths(one_object([5.0, 5.0, 11.0, 11.0])), *made)
    assert found.places.tolist() == [3]
    assert found.scores.tolist() == pytest.approx([36 / 49])


def test_simota_gives_a_disputed_point_to_the_cheaper_object() -> None:
    """Every point predicts the second object; its cost there is less than for the first."""
    made = four_points(*[[0, 0, 16, 18]] * 4, scores=[0.5] * 4)
    targets = [
        {
            "boxes": torch.tensor([[-8.0, 0.0, 24.0, 16.0], [0.0, 0.0, 16.0, 18.0]]),
            "labels": torch.tensor([0, 0]),
        }
    ]
    found = assign_simota(gather_truths(targets), *made)
    assert found.places.tolist() == [0, 1, 2, 3]
    assert found.boxes[:, 3].tolist() == [18.0] * 4


@ALL
def test_a_batch_is_assigned_as_its_images_are(assign) -> None:
    """Also with an image without objects in the middle."""
    targets = random_targets(7, 0, 3)
    predictions, boxes = random_predictions(3)
    together = assign(gather_truths(targets), predictions, boxes)
    labels, matched, scores = dense(together, (3, NUM_POINTS), 5)
    assert (labels < 5).sum(1).bool().tolist() == [True, False, True]
    for image in range(3):
        single = predictions._replace(scores=predictions.scores[image : image + 1])
        alone = assign(gather_truths(targets[image : image + 1]), single, boxes[image : image + 1])
        wanted = dense(alone, (1, NUM_POINTS), 5)
        for found, want in zip((labels, matched, scores), wanted, strict=True):
            torch.testing.assert_close(found[image : image + 1], want)


@ALL
def test_a_batch_without_objects(assign) -> None:
    found = assign(gather_truths(random_targets(0, 0)), *random_predictions(2))
    assert [len(part) for part in found] == [0, 0, 0, 0, 0]


@SECOND
def test_boxes_of_zero_size_are_nobodys_target(assign) -> None:
    """SimOTA gives each object a point, this one too, as the original; its target is 0."""
    targets = random_targets(2)
    made = random_predictions(1)
    wanted = assign(gather_truths(targets), *made)
    targets[0]["boxes"] = torch.cat(
        [torch.tensor([[20.0, 20.0, 20.0, 20.0], [44, 44, 90, 44]]), targets[0]["boxes"]]
    )
    targets[0]["labels"] = torch.cat([torch.tensor([4, 4]), targets[0]["labels"]])
    for found, want in zip(assign(gather_truths(targets), *made), wanted, strict=True):
        assert torch.equal(found, want)


@ALL
def test_four_hundred_objects_share_the_points(assign) -> None:
    targets = random_targets(400, 1)
    found = assign(gather_truths(targets), *random_predictions(2))
    assert len(found.places.unique()) == len(found.places) > 200
    assert found.scores.min() >= 0
    assert found.scores.max() <= 1


@ALL
def test_maps_too_small_for_nine_candidates_use_what_they_have(assign) -> None:
    """A 64 x 64 input has levels of 64, 16, 4 and 1 points; the original stops with an error."""
    sizes = ((8, 8), (4, 4), (2, 2), (1, 1))
    points = make_grid(sizes, (8, 16, 32, 64), CPU).points
    boxes = torch.cat([points - 10, points + 10], dim=1)[None]
    made = predict(boxes, torch.full((1, 85, 1), 0.5), sizes)
    found = assign(gather_truths(one_object([10.0, 10.0, 34.0, 34.0])), *made)
    assert len(found.places) > 0
    assert 0 < found.scores.max() <= 1


def check_golden(
    found: Assignment,
    labels: Tensor,
    boxes: Tensor,
    scores: Tensor,
    what: str,
    assert_agrees: Callable,
) -> None:
    shape = (labels.shape[0], labels.shape[1])
    found_labels, found_boxes, found_scores = dense(found, shape, 80)
    taken = labels < 80
    check_labels(found_labels, labels, what, assert_agrees)
    assert_agrees(f"{what}, scores", "PaddleDetection", found_scores, scores, rtol=1e-4, atol=1e-4)
    wanted = boxes[taken]
    assert_agrees(
        f"{what}, boxes", "PaddleDetection", found_boxes[taken], wanted, rtol=1e-5, atol=1e-4
    )


def check_labels(found: Tensor, wanted: Tensor, what: str, assert_agrees: Callable) -> None:
    assert found.shape == wanted.shape
    assert_agrees(f"{what}, labels that differ", "PaddleDetection", (found != wanted).sum(), 0)


@pytest.mark.golden
def test_anchors_equal_the_originals(elementary: dict[str, Tensor], assert_agrees) -> None:
    anchors = _anchors(make_grid(SIZES, (8, 16, 32, 64), CPU))
    assert_agrees("anchors of ATSS", "PaddleDetection", anchors, elementary["grid/anchors"])


def elementary_truths(elementary: dict[str, Tensor], keep: Tensor) -> Truths:
    """The objects of the golden case that `keep` (B, G) keeps."""
    return Truths(
        elementary["assign/gt_bbox"][keep],
        elementary["assign/gt_class"][..., 0][keep],
        keep.nonzero()[:, 0],
    )


@pytest.mark.golden
@pytest.mark.parametrize(("kind", "assign"), [("atss", assign_atss), ("tal", assign_task_aligned)])
def test_assignment_equals_the_originals(
    elementary: dict[str, Tensor], kind: str, assign, assert_agrees
) -> None:
    """No score counts but those of the objects' classes."""
    truths = elementary_truths(elementary, elementary["assign/pad_mask"][..., 0] > 0)
    classes = elementary["assign/gt_class"].mT.expand(-1, NUM_POINTS, -1)
    scores = torch.zeros(2, NUM_POINTS, 80)
    scores.scatter_(2, classes, elementary["assign/scores_of_targets"])
    found = assign(truths, *predict(elementary["assign/pred_boxes"], scores))
    wanted = (elementary[f"{kind}/{key}"] for key in ("labels", "bboxes", "score_max"))
    check_golden(found, *wanted, f"{kind} assignment", assert_agrees)


@pytest.mark.golden
def test_simota_equals_the_originals(elementary: dict[str, Tensor], assert_agrees) -> None:
    """The original has all four objects of the first image, the one that fills up included.

    No point counts that is neither in an object nor near its centre.
    """
    truths = elementary_truths(elementary, torch.tensor([[True] * 4, [False] * 4]))
    boxes, scores = elementary["assign/pred_boxes"][:1], torch.zeros(1, NUM_POINTS, 80)
    scores[0, elementary["assign/candidates"]] = elementary["assign/scores_of_candidates"]
    found = assign_simota(truths, *predict(boxes, scores))
    labels, matched, overlaps = dense(found, (1, NUM_POINTS), 80)
    assert len(found.places) == elementary["simota/pos_num"].item()
    check_labels(labels[0], elementary["simota/labels"], "SimOTA assignment", assert_agrees)
    taken = labels[0] < 80
    wanted, what = elementary["simota/bbox_target"][taken], "SimOTA assignment, boxes"
    assert_agrees(what, "PaddleDetection", matched[0, taken], wanted, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(overlaps[0, taken], iou(boxes[0, taken], wanted))


@pytest.mark.golden
@pytest.mark.parametrize("name", ["picodet_s_320_coco_lcnet", "picodet_xs_320_coco_lcnet"])
@pytest.mark.parametrize(
    ("kind", "assign"), [("static_atss", assign_atss), ("task_aligned", assign_task_aligned)]
)
def test_assignment_of_a_detector_equals_the_originals(
    golden_training, name: str, kind: str, assign, assert_agrees
) -> None:
    golden = golden_training(name)
    found = assign(gather_truths(golden.targets), golden.predictions, golden.boxes)
    labels, boxes, scores = (  # the boxes are in pixels, whatever the key says
        golden.arrays[f"{kind}/assigned_{key}"]
        for key in ("labels", "bboxes_over_stride", "score_max")
    )
    check_golden(found, labels, boxes, scores, f"{name}: {kind} assignment", assert_agrees)
    assert len(found.places) == golden.info["cases"][kind]["num_pos"]


@pytest.mark.golden
@pytest.mark.parametrize("name", ["picodet_legacy_lcnet_x0_5", "picodet_legacy_mbv3_large_x0_35"])
def test_simota_of_a_detector_equals_the_originals(
    golden_legacy_training, name: str, assert_agrees
) -> None:
    """With our predictions: relative noise of 1e-4, ten times theirs, moves no assignment."""
    golden = golden_legacy_training(name)
    found = assign_simota(gather_truths(golden.targets), golden.predictions, golden.boxes)
    wanted, what = golden.arrays["simota/labels"], f"{name}: SimOTA assignment"
    labels, matched, _ = dense(found, (2, NUM_POINTS), 80)
    check_labels(labels, wanted, what, assert_agrees)
    taken = wanted < 80
    wanted = golden.arrays["simota/bbox_targets"][taken]
    assert_agrees(
        f"{what}, boxes", "PaddleDetection", matched[taken], wanted, rtol=1.3e-6, atol=1e-5
    )
    assert len(found.places) == golden.info["num_pos"]


def test_overlaps_are_those_of_the_anchors_not_the_predictions() -> None:
    """ATSS with useless predictions matches the same points, with targets of zero."""
    predictions, boxes = random_predictions(1)
    truths = gather_truths(random_targets(4))
    found = assign_atss(truths, predictions, boxes)
    useless = assign_atss(truths, predictions, boxes + 1000)
    assert torch.equal(found.places, useless.places)
    assert useless.scores.max().item() == 0
    overlap = iou(found.boxes, boxes[0, found.places])
    torch.testing.assert_close(found.scores, overlap)
