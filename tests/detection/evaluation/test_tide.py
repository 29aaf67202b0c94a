"""The kinds of mistakes by hand, what each costs, and agreement with COCO's AP and TIDE's split."""

from typing import Any

import numpy as np
import pytest

from detection.evaluation.metric import _evaluator, evaluate_boxes
from detection.evaluation.report import truths
from detection.evaluation.tide import MISTAKES, REMOVED, Judged, Kind, Truth, judge, split

Row = tuple[list[float], float, int]  # box, score, label
BOX, FAR = [0, 0, 10, 10], [100, 100, 120, 120]


def truth(*rows: tuple[list[float], int], crowd: tuple[int, ...] = ()) -> Truth:
    return Truth(
        np.array([box for box, _ in rows], float).reshape(-1, 4),
        np.array([label for _, label in rows], int),
        np.array([place in crowd for place in range(len(rows))], bool),
    )


def judged(detections: list[Row], of: Truth) -> Judged:
    return judge(
        np.array([box for box, _, _ in detections], float).reshape(-1, 4),
        np.array([score for _, score, _ in detections], float),
        np.array([label for *_, label in detections], int),
        of,
    )


@pytest.mark.parametrize(
    ("box", "label", "kind"),
    [
        (BOX, 0, Kind.RIGHT),
        ([0, 0, 10, 5], 0, Kind.RIGHT),  # IoU 0.5 is enough
        (BOX, 1, Kind.CLASS),
        ([0, 0, 10, 5], 1, Kind.CLASS),
        ([0, 0, 10, 4], 0, Kind.LOCATION),  # IoU 0.4
        ([0, 0, 10, 1], 0, Kind.LOCATION),  # 0.1
        ([0, 0, 10, 4], 1, Kind.BOTH),
        ([0, 0, 10, 1], 1, Kind.BACKGROUND),  # 0.1 of another class
        ([0, 0, 1, 5], 0, Kind.BACKGROUND),  # 0.05
        ([5, 5, 5, 5], 0, Kind.BACKGROUND),  # no area
        (FAR, 0, Kind.BACKGROUND),
    ],
)
def test_one_detection_of_one_box(box: list[float], label: int, kind: Kind) -> None:
    found = judged([(box, 0.5, label)], truth((BOX, 0)))
    assert [Kind(k) for k in found.kinds] == [kind]
    assert found.taken.tolist() == [kind == Kind.RIGHT]
    noticed = kind in (Kind.RIGHT, Kind.CLASS, Kind.LOCATION)
    assert found.noticed.tolist() == [0.5 if noticed else 0]
    pointing = kind in (Kind.CLASS, Kind.LOCATION)
    assert found.repaired.tolist() == [0 if pointing else REMOVED]


def test_the_better_score_takes_the_box_and_the_other_is_a_duplicate() -> None:
    found = judged([(BOX, 0.6, 0), ([0, 0, 10, 6], 0.9, 0)], truth((BOX, 0)))
    assert found.order.tolist() == [1, 0]
    assert found.kinds.tolist() == [Kind.RIGHT, Kind.DUPLICATE]


def test_location_comes_before_class_and_class_before_duplicate() -> None:
    """A box of another class below counts only where none of the own class is near."""
    of = truth((BOX, 0), ([0, 0, 10, 4], 1))
    assert judged([(BOX, 0.9, 1)], of).kinds.tolist() == [Kind.LOCATION]
    of = truth((BOX, 0), ([0, 0, 10, 9], 1))
    both = [([0, 0, 10, 9], 0.9, 1), ([0, 0, 10, 10], 0.8, 1)]
    assert judged(both, of).kinds.tolist() == [Kind.RIGHT, Kind.CLASS]


def test_a_box_in_a_crowd_of_its_class_counts_as_nothing() -> None:
    of = truth((BOX, 0), ([50, 0, 90, 40], 0), crowd=(1,))
    half_inside, outside = [40, 0, 60, 10], [39, 0, 59, 10]
    found = judged([(half_inside, 0.9, 0), (outside, 0.8, 0), (half_inside, 0.7, 1)], of)
    assert found.kinds.tolist() == [Kind.IGNORED, Kind.BACKGROUND, Kind.BACKGROUND]
    assert len(found.truth) == 1


def test_only_the_best_that_points_to_a_box_is_repaired() -> None:
    of = truth((BOX, 0))
    found = judged([([0, 0, 10, 4], 0.8, 0), (BOX, 0.9, 1), ([0, 0, 10, 3], 0.7, 0)], of)
    assert found.kinds.tolist() == [Kind.CLASS, Kind.LOCATION, Kind.LOCATION]
    assert found.repaired.tolist() == [0, REMOVED, REMOVED]


def costs(images: list[Judged], num_classes: int) -> tuple[float, dict[str, float]]:
    found = split(images, num_classes)
    assert set(found.cost) == set(MISTAKES)
    return found.ap, {kind.name: value for kind, value in found.cost.items() if value}


TWO = truth((BOX, 0), (FAR, 0))


def test_cost_of_location_by_hand() -> None:
    """One of two boxes found: precision 1 at 51 of 101 recalls; both once it is put right."""
    found = [judged([(BOX, 0.9, 0), ([100, 100, 120, 108], 0.8, 0)], TWO)]
    assert costs(found, 1) == (pytest.approx(51 / 101), {"LOCATION": pytest.approx(50 / 101)})


def test_cost_of_a_missed_box_by_hand() -> None:
    found = [judged([(BOX, 0.9, 0)], TWO)]
    assert costs(found, 1) == (pytest.approx(51 / 101), {"MISSED": pytest.approx(50 / 101)})
    assert split(found, 1).counts[Kind.MISSED] == 1


def test_cost_of_a_duplicate_by_hand() -> None:
    """Right, duplicate, right: precision 1 up to recall 0.5, then 2/3."""
    found = [judged([(BOX, 0.9, 0), (BOX, 0.8, 0), (FAR, 0.7, 0)], TWO)]
    ap = (51 + 50 * 2 / 3) / 101
    assert costs(found, 1) == (pytest.approx(ap), {"DUPLICATE": pytest.approx(1 - ap)})


def test_cost_of_background_by_hand() -> None:
    found = [judged([([50, 50, 60, 60], 0.9, 0), (BOX, 0.8, 0)], truth((BOX, 0)))]
    assert costs(found, 1) == (0.5, {"BACKGROUND": 0.5})


def test_cost_of_class_by_hand() -> None:
    """AP 0 and 0.5 before; the repair gives class 0 its box and frees class 1 of a mistake."""
    of = truth((BOX, 0), (FAR, 1))
    found = [judged([(BOX, 0.9, 1), (FAR, 0.8, 1)], of)]
    assert costs(found, 2) == (0.25, {"CLASS": 0.75})


def test_cost_of_both_by_hand() -> None:
    of = truth((BOX, 0), (FAR, 1))
    wrong = ([0, 0, 10, 4], 0.95, 1)
    found = [judged([wrong, (BOX, 0.9, 0), (FAR, 0.8, 1)], of)]
    assert costs(found, 2) == (0.75, {"BOTH": 0.25})


def test_a_class_that_was_missed_altogether_stays_in_the_mean() -> None:
    """As with TIDE: without its boxes a class has AP 0, not none."""
    found = [judged([(BOX, 0.9, 0)], truth((BOX, 0), (FAR, 1)))]
    assert costs(found, 2) == (0.5, {})


def test_nothing_at_all() -> None:
    found = split([judged([], truth())], 3)
    assert (found.ap, sum(found.counts.values()), sum(found.cost.values())) == (0, 0, 0)


def scenes(seed: int, crowds: bool) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Twelve random scenes of three classes as a COCO json, and detections scattered about them."""
    random = np.random.default_rng(seed)
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image_id in range(12):
        for _ in range(random.integers(0, 8)):
            box = [*random.integers(0, 60, 2).tolist(), *random.integers(5, 40, 2).tolist()]
            category = int(random.choice((3, 5, 9)))
            crowd = int(crowds and random.random() < 0.2)
            record = {"image_id": image_id, "category_id": category, "bbox": box, "iscrowd": crowd}
            annotations.append(record | {"id": len(annotations) + 1})
            for _ in range(random.integers(0, 4)):
                moved = (np.array(box) + random.integers(-6, 7, 4)).clip(1).tolist()
                if random.random() < 0.3:
                    category = int(random.choice((3, 5, 9)))
                score = float(np.float32(random.random()))
                results.append(
                    {"image_id": image_id, "category_id": category, "bbox": moved, "score": score}
                )
    images = [{"id": i, "width": 100, "height": 100, "file_name": f"{i}.jpg"} for i in range(12)]
    categories = [{"id": i, "name": str(i)} for i in (3, 5, 9)]
    return {"images": images, "annotations": annotations, "categories": categories}, results


def judge_all(records: dict[str, Any], results: list[dict[str, Any]]) -> list[Judged]:
    ids = (3, 5, 9)
    found = truths(records, ids)
    return [
        judged(
            [
                (
                    [*r["bbox"][:2], r["bbox"][0] + r["bbox"][2], r["bbox"][1] + r["bbox"][3]],
                    r["score"],
                    ids.index(r["category_id"]),
                )
                for r in results
                if r["image_id"] == image_id
            ],
            of,
        )
        for image_id, of in found.items()
    ]


@pytest.mark.parametrize(("seed", "crowds"), [(0, False), (1, True)])
def test_ap_is_that_of_the_metric(seed: int, crowds: bool) -> None:
    records, results = scenes(seed, crowds)
    expected = evaluate_boxes(records, results, library="pycocotools").numbers["bbox_mAP_50"]
    found = split(judge_all(records, results), 3)
    assert found.ap == pytest.approx(expected, abs=1e-12)
    assert 0.1 < found.ap < 0.9


@pytest.mark.parametrize("seed", [0, 1])
def test_split_is_that_of_another_implementation(seed: int) -> None:
    """Counts and costs of hotcoco's TIDE."""
    pytest.importorskip("hotcoco")
    records, results = scenes(seed, crowds=False)
    evaluation = _evaluator("hotcoco", records, results)
    evaluation.evaluate()
    expected = evaluation.tide_errors()
    found = split(judge_all(records, results), 3)
    names = dict(zip(("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"), MISTAKES, strict=True))
    assert {name: found.counts[kind] for name, kind in names.items()} == expected["counts"]
    for name, kind in names.items():
        assert found.cost[kind] == pytest.approx(expected["delta_ap"][name], abs=1e-9), name
