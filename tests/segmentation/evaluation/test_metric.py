"""IoU by hand, by brute force, by Cityscapes' own code, and from files."""

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from segmentation.classes import CLASSES
from segmentation.data.masks import to_label_ids
from segmentation.evaluation.metric import (
    MeanIoU,
    by_class,
    confusion,
    evaluate_files,
    score,
    table,
)


def brute_force(truths: list[np.ndarray], found: list[np.ndarray], num_classes: int) -> list[float]:
    """IoU of each class in percent, counted pixel by pixel from the definition."""
    values = []
    for label in range(num_classes):
        both = either = 0
        for truth, mask in zip(truths, found, strict=True):
            for t, p in zip(truth.ravel().tolist(), mask.ravel().tolist(), strict=True):
                both += t == label and p == label
                either += t != 255 and (t == label or p == label)
        values.append(100 * (both / either) if either else math.nan)
    return values


def drawn(seed: int, num_classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.integers(0, num_classes, (12, 17), dtype=np.uint8)
    truth[random.random(truth.shape) < 0.2] = 255
    return truth, random.integers(0, num_classes, truth.shape, dtype=np.uint8)


def metric(**options: object) -> MeanIoU:
    made = MeanIoU(**options)
    made.dataset_meta = {"classes": ("a", "b", "c", "d", "e")}
    return made


def feed(made: MeanIoU, pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for index, (truth, mask) in enumerate(pairs):
        target = {"mask": torch.from_numpy(truth), "image_id": f"image_{index}"}
        made.process({"targets": [target]}, [{"mask": torch.from_numpy(mask)}])


def test_three_by_three_by_hand() -> None:
    """Class 0: 2 hits of 4 in the union; class 1: 3 of 5; class 2 nowhere; one pixel ignored.

    Of 8 pixels 5 are right; truth has 4 of class 0 (2 hit), 4 of class 1 (3 hit).
    """
    truth = np.array([[0, 0, 0], [1, 1, 1], [1, 0, 255]], np.uint8)
    found = np.array([[0, 0, 1], [1, 1, 1], [0, 1, 2]], np.uint8)
    matrix = confusion(truth, found, 3)
    assert matrix.tolist() == [[2, 2, 0], [1, 3, 0], [0, 0, 0]]
    scores = score(matrix)
    assert scores.iou[:2] == pytest.approx([100 * 2 / 5, 100 * 3 / 6])
    assert np.isnan(scores.iou[2])
    assert scores.numbers == pytest.approx({"mIoU": 45.0, "aAcc": 62.5, "mAcc": 62.5})


def test_equals_a_brute_force_count_to_the_last_digit() -> None:
    pairs = [drawn(seed) for seed in range(4)]
    made = metric(classwise=True)
    feed(made, pairs)
    numbers = made.evaluate(4)
    expected = brute_force(*map(list, zip(*pairs, strict=True)), 5)
    assert [numbers[f"IoU/{name}"] for name in "abcde"] == expected
    assert numbers["mIoU"] == np.mean(expected)


def test_equals_cityscapesscripts_on_the_same_files(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("CITYSCAPES_RESULTS", str(tmp_path))
    official = pytest.importorskip("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
    pairs, files = [], []
    for seed in range(3):
        truth, mask = drawn(seed, 15)  # so that four classes occur nowhere
        pairs.append((tmp_path / f"{seed}_gtFine_labelTrainIds.png", tmp_path / f"{seed}.png"))
        files.append((tmp_path / f"{seed}_gtFine_labelIds.png", tmp_path / f"{seed}_ids.png"))
        for path, array in zip(
            (*pairs[-1], *files[-1]),
            (truth, mask, to_label_ids(truth), to_label_ids(mask)),
            strict=True,
        ):
            cv2.imwrite(str(path), array)
    official.args.quiet = True
    official.args.evalInstLevelScore = False
    official.args.JSONOutput = False
    result = official.evaluateImgLists(
        [str(p) for _, p in files], [str(t) for t, _ in files], official.args
    )
    scores = score(evaluate_files(pairs, CLASSES))
    assert scores.numbers["mIoU"] / 100 == pytest.approx(result["averageScoreClasses"], rel=1e-15)
    theirs = [result["classScores"][name] for name in CLASSES]
    np.testing.assert_allclose(scores.iou / 100, theirs, rtol=1e-15)


def test_absent_classes_are_left_out_and_named() -> None:
    """Class c is predicted but not in the truth: IoU 0, no accuracy; d and e are nowhere."""
    truth, found = np.array([[0, 0, 1, 1]], np.uint8), np.array([[0, 0, 1, 2]], np.uint8)
    scores = score(confusion(truth, found, 5))
    assert scores.numbers == pytest.approx({"mIoU": 50.0, "aAcc": 75.0, "mAcc": 75.0})
    named = by_class(scores, "abcde")
    assert named == {"IoU/a": 100, "IoU/b": 50, "IoU/c": 0, "Acc/a": 100, "Acc/b": 50}
    assert "prediction has them: d, e\n" in table(scores, "abcde")


def test_memory_does_not_grow_and_a_second_evaluation_starts_anew() -> None:
    made = metric()
    feed(made, [drawn(0)] * 3)
    assert made.results == []
    first = made.evaluate(3)
    feed(made, [drawn(0)])
    assert made.evaluate(1) == first


def test_an_image_counted_twice_is_an_error() -> None:
    made = metric()
    feed(made, [drawn(0)] * 3)
    with pytest.raises(ValueError, match=r"3 images were evaluated instead of 2.*round_up=False"):
        made.evaluate(2)


def test_nothing_but_ignored_pixels_gives_no_numbers() -> None:
    made = metric(classwise=True)
    feed(made, [(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8))])
    assert made.evaluate(1) == {}


@pytest.mark.parametrize(("kind", "value"), [("train_ids", 3), ("label_ids", 12)])
def test_predictions_are_written_by_image(tmp_path: Path, kind: str, value: int) -> None:
    made = metric(results_path=tmp_path, results_as=kind)
    feed(made, [(np.zeros((2, 3), np.uint8), np.full((2, 3), 3, np.uint8))])
    written = cv2.imread(str(tmp_path / "image_0.png"), cv2.IMREAD_UNCHANGED)
    assert written.tolist() == [[value] * 3] * 2


def test_another_value_to_ignore(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "t.png"), np.array([[0, 1, 2, 2]], np.uint8))
    cv2.imwrite(str(tmp_path / "p.png"), np.array([[1, 1, 2, 1]], np.uint8))
    pairs = [(tmp_path / "t.png", tmp_path / "p.png")]
    assert evaluate_files(pairs, "abc", ignore=0).tolist() == [[0, 0, 0], [0, 1, 0], [0, 1, 1]]
    with pytest.raises(ValueError, match="value 2 is neither a class nor 7"):
        evaluate_files(pairs, "ab", ignore=7)


def test_predictions_that_cannot_be_are_named(tmp_path: Path) -> None:
    pairs = [(tmp_path / "t.png", tmp_path / "p.png")]
    cv2.imwrite(str(tmp_path / "t.png"), np.zeros((2, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "p.png"), np.zeros((3, 2), np.uint8))
    with pytest.raises(ValueError, match=r"p\.png: 2 x 3 pixels, but .*t\.png has 3 x 2"):
        evaluate_files(pairs, "ab")
    cv2.imwrite(str(tmp_path / "p.png"), np.full((2, 3), 5, np.uint8))
    with pytest.raises(ValueError, match=r"p\.png: value 5 is not a class \(0\.\.1\)"):
        evaluate_files(pairs, "ab")


def test_numbers_survive_json() -> None:
    scores = score(confusion(*drawn(0), 5))
    assert json.loads(json.dumps(scores.numbers)) == scores.numbers
