"""Every number by hand, against a definition spelled out, and from a saved file."""

import json
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from classification.evaluation.confusion import confusion, draw_confusion, worst_pairs
from classification.evaluation.metric import (
    ClassificationMetric,
    Operating,
    best_operating,
    by_class,
    calibration_error,
    evaluate,
    macro_f1,
    ranks,
    report,
)
from classification.evaluation.predictions import (
    ImageScores,
    align,
    read_predictions,
    write_predictions,
)


def drawn(count: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    logits = random.normal(size=(count, classes))
    logits[np.arange(count), labels] += 1.5
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return scores.astype(np.float32), labels


def metric(classes: int = 3, **options: object) -> ClassificationMetric:
    made = ClassificationMetric(**options)
    made.dataset_meta = {"classes": tuple("abcdefghij"[:classes])}
    return made


def feed(made: ClassificationMetric, scores: np.ndarray, labels: np.ndarray) -> None:
    for number, (row, label) in enumerate(zip(scores, labels, strict=True)):
        target = {"label": int(label), "image_id": f"val/{number}.png"}
        made.process({"targets": [target]}, [{"scores": torch.from_numpy(row)}])


def paddle_tpr_at_fpr(scores: np.ndarray, labels: np.ndarray, budget: float) -> tuple[float, float]:
    """Threshold and TPR, one threshold after the other as the published description goes."""
    best, at = 0.0, -1.0
    for i in range(10_000):
        threshold = np.float32(i / 10_000)
        tpr = np.sum(scores[labels == 1] > threshold) / np.sum(labels == 1)
        fpr = np.sum(scores[labels == 0] > threshold) / np.sum(labels == 0)
        if fpr <= budget and tpr > best:
            best, at = tpr, i / 10_000
    return at, best


def test_accuracy_and_f1_by_hand() -> None:
    """Truth 0 0 1 1 2 2, found 0 1 1 1 2 0: 4 of 6 right. Hits 1, 2, 1; truth 2, 2, 2; found 2, 3,
    1; F1 2/4, 4/5, 2/3."""
    labels = np.array([0, 0, 1, 1, 2, 2])
    scores = np.eye(3, dtype=np.float32)[[0, 1, 1, 1, 2, 0]]
    summary = evaluate(scores, labels)
    assert summary.matrix.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]
    assert summary.numbers["accuracy/top1"] == pytest.approx(100 * 4 / 6)
    assert summary.numbers["accuracy/top5"] == 100
    assert summary.numbers["macro_f1"] == pytest.approx(100 * (1 / 2 + 4 / 5 + 2 / 3) / 3)
    assert summary.accuracy.tolist() == [50, 100, 50]
    assert by_class(summary, "abc") == {"Acc/a": 50, "Acc/b": 100, "Acc/c": 50}


def test_top5_counts_the_place_of_the_truth() -> None:
    """Scores fall from class 0 to 6: class 4 is in fifth place, class 5 in sixth."""
    scores = np.linspace(0.9, 0.1, 7, dtype=np.float32)[None].repeat(2, axis=0)
    assert ranks(scores, np.array([4, 5])).tolist() == [4, 5]
    assert evaluate(scores, np.array([4, 5])).numbers["accuracy/top5"] == 50


def test_of_equal_scores_the_lower_class_comes_first() -> None:
    scores = np.full((3, 3), 1 / 3, np.float32)
    assert ranks(scores, np.array([0, 1, 2])).tolist() == [0, 1, 2]
    numbers = evaluate(scores, np.array([0, 1, 2])).numbers
    assert numbers["accuracy/top1"] == pytest.approx(100 / 3)


def test_f1_leaves_out_classes_that_are_nowhere() -> None:
    """Class 2 nowhere; class 3 predicted, never true: F1 0, which counts."""
    matrix = confusion(np.array([0, 1, 1]), np.array([0, 1, 3]), 4)
    assert macro_f1(matrix) == pytest.approx(100 * (1 + 2 / 3 + 0) / 3)


def test_calibration_error_by_hand() -> None:
    """Bins of 1/15. 0.9 and 0.92 share (0.867, 0.933]: one right, accuracy 0.5 against 0.91; 0.35
    is alone and right. (2 * 0.41 + 0.65) / 3."""
    confidence = np.array([0.9, 0.92, 0.35])
    right = np.array([True, False, True])
    assert calibration_error(confidence, right) == pytest.approx(100 * (2 * 0.41 + 0.65) / 3)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    """0.2 = 3/15 closes (2/15, 3/15]; with 0.15, wrong, it makes one bin: |1 - 0.35| / 2."""
    both = calibration_error(np.array([3 / 15, 0.15]), np.array([True, False]))
    assert both == pytest.approx(100 * abs(1 - 0.35) / 2)
    assert calibration_error(np.array([1.0, 1.0]), np.array([True, True])) == 0


@pytest.mark.parametrize("seed", range(3))
def test_calibration_error_follows_its_definition(seed: int) -> None:
    scores, labels = drawn(200, 4, seed)
    confidence, right = scores.max(axis=1).astype(float), scores.argmax(axis=1) == labels
    expected = 0.0
    for i in range(15):
        inside = (confidence > i / 15) & (confidence <= (i + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert calibration_error(scores.max(axis=1), right) == pytest.approx(100 * expected)


# --- two classes


def test_the_threshold_lies_just_where_the_budget_of_false_alarms_allows() -> None:
    """1000 of nobody, of which one may pass: the second highest, 0.7, must not. Above 0.7 are three
    of the four persons; 0.7 itself is the lowest threshold that does it, for `above` is strict."""
    nobody = np.r_[np.full(998, 0.1), 0.7, 0.95]
    persons = np.array([0.65, 0.75, 0.8, 0.99])
    scores = np.r_[nobody, persons].astype(np.float32)
    labels = np.r_[np.zeros(1000, int), np.ones(4, int)]
    assert best_operating(scores, labels) == Operating(0.7, 0.75, 0.001)


def test_of_equally_good_thresholds_the_lowest_counts() -> None:
    """Nobody at 0.2, a person at 0.9: everything from 0.2 on finds the person."""
    scores, labels = np.array([0.2, 0.9], np.float32), np.array([0, 1])
    assert best_operating(scores, labels) == Operating(0.2, 1.0, 0.0)


def test_a_score_above_every_threshold_cannot_be_kept_out() -> None:
    scores, labels = np.array([1.0, 1.0], np.float32), np.array([0, 1])
    assert best_operating(scores, labels) is None
    both = np.stack([1 - scores, scores], axis=1)
    numbers = evaluate(both, labels).numbers
    assert numbers["tpr_at_fpr"] == 0
    assert "threshold" not in numbers


def test_a_larger_budget_finds_more() -> None:
    scores = np.array([0.3, 0.6, 0.5, 0.9], np.float32)
    labels = np.array([0, 0, 1, 1])
    assert best_operating(scores, labels, 0.0) == Operating(0.6, 0.5, 0.0)
    assert best_operating(scores, labels, 0.5) == Operating(0.3, 1.0, 0.5)
    assert best_operating(scores, labels, 1.0) == Operating(0.0, 1.0, 1.0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("budget", [1e-3, 0.05])
def test_equals_a_walk_over_all_thresholds(seed: int, budget: float) -> None:
    scores, labels = drawn(300, 2, seed)
    scores[::7, 1] = np.round(scores[::7, 1], 4)  # some on a threshold
    found = best_operating(scores[:, 1], labels, budget)
    assert (found.threshold, found.tpr) == paddle_tpr_at_fpr(scores[:, 1], labels, budget)


def test_rates_need_images_of_both_classes() -> None:
    with pytest.raises(ValueError, match="no image of class 0; rates need both"):
        best_operating(np.ones(2, np.float32), np.ones(2, int))
    with pytest.raises(ValueError, match="no image of class 1; rates need both"):
        best_operating(np.ones(2, np.float32), np.zeros(2, int))
    assert (
        "tpr_at_fpr" not in evaluate(np.eye(2, dtype=np.float32)[[0, 1]], np.zeros(2, int)).numbers
    )


# --- as the runner uses it


def test_the_metric_gives_what_evaluate_gives_and_starts_anew() -> None:
    scores, labels = drawn(50, 3)
    made = metric(classwise=True)
    feed(made, scores, labels)
    first = made.evaluate(50)
    expected = evaluate(scores, labels)
    assert first == expected.numbers | by_class(expected, "abc")
    feed(made, scores[:9], labels[:9])
    assert (
        made.evaluate(9)["accuracy/top1"]
        == evaluate(scores[:9], labels[:9]).numbers["accuracy/top1"]
    )


def test_its_keys_are_given_and_higher_is_better() -> None:
    made = metric(2)
    feed(made, *drawn(60, 2))
    numbers = made.evaluate(60)
    assert set(ClassificationMetric.keys) <= set(numbers)
    assert not any("loss" in key for key in numbers)
    assert json.loads(json.dumps(numbers)) == numbers


def test_a_class_without_images_has_no_accuracy() -> None:
    made = metric(classwise=True)
    feed(made, np.eye(3, dtype=np.float32)[[0, 1]], np.array([0, 1]))
    assert "Acc/c" not in made.evaluate(2)


def test_scores_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    made = metric()
    scores, labels = drawn(3, 3)
    scores[1, 2] = np.nan
    feed(made, scores, labels)
    with pytest.raises(ValueError, match=r"scores of image val/1\.png are not finite"):
        made.evaluate(3)
    made = metric(4)
    feed(made, *drawn(3, 3))
    with pytest.raises(ValueError, match=r"scores of shape \(3, 3\) for 3 images and 4 classes"):
        made.evaluate(3)


def test_a_budget_that_is_no_share_is_refused() -> None:
    with pytest.raises(ValueError, match=r"false positive rate, 10, must be in 0\.\.1"):
        ClassificationMetric(max_fpr=10)


# --- files


def test_saved_predictions_come_back_to_the_last_bit(tmp_path: Path) -> None:
    scores, labels = drawn(20, 3)
    made = metric(results_path=tmp_path / "a/p.npz")
    feed(made, scores, labels)
    numbers = made.evaluate(20)
    read = read_predictions(tmp_path / "a/p.npz")
    assert np.array_equal(read.scores, scores)
    assert read.classes == ("a", "b", "c")
    again = align(read, [f"val/{i}.png" for i in range(20)], tmp_path)
    assert evaluate(again, labels).numbers == numbers


def test_predictions_are_brought_into_the_order_of_the_list(tmp_path: Path) -> None:
    scores, _ = drawn(3, 2)
    found = ImageScores(scores, ["x", "y", "z"], ("a", "b"))
    assert np.array_equal(align(found, ["z", "x", "y"], tmp_path), scores[[2, 0, 1]])
    with pytest.raises(ValueError, match=r"no prediction for w \(1 of 3 images\)"):
        align(found, ["x", "y", "w"], tmp_path)
    with pytest.raises(ValueError, match="predictions for z, which is not listed"):
        align(found, ["x", "y"], tmp_path)
    twice = ImageScores(scores, ["x", "y", "y"], ("a", "b"))
    with pytest.raises(ValueError, match="predictions for an image twice"):
        align(twice, ["x", "y"], tmp_path)


@pytest.mark.parametrize("content", [b"", b"scores", b"PK\x03\x04 broken", b"\x80\x04N."])
def test_files_of_something_else(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "p.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"p\.npz: not a file of predictions") as error:
        read_predictions(path)
    assert "\n" not in str(error.value)


def test_a_pickle_in_the_file_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    np.savez(path, scores=np.array([{}], object), image_ids=["a"], classes=["a"])
    with pytest.raises(ValueError, match="not a file of predictions"):
        read_predictions(path)
    np.save(tmp_path / "p.npy", np.zeros(3))
    with pytest.raises(ValueError, match="not a file of predictions"):
        read_predictions(tmp_path / "p.npy")


def test_shapes_in_a_file_must_fit(tmp_path: Path) -> None:
    write_predictions(
        tmp_path / "p", ImageScores(np.zeros((2, 3), np.float32), ["a"], ("x", "y", "z"))
    )
    with pytest.raises(ValueError, match=r"p: scores of shape \(2, 3\) for 1 images and 3 classes"):
        read_predictions(tmp_path / "p")


# --- tables and pictures


def test_the_table_shows_the_matrix_of_few_classes() -> None:
    summary = evaluate(np.eye(3, dtype=np.float32)[[0, 1, 1]], np.array([0, 0, 1]))
    text = report(summary, ("cat", "dog", "cow"))
    assert [cell.strip() for cell in text.splitlines()[3].strip("│").split("│")] == [
        "0 cat", "2", "50.00", "1", "1", ".",
    ]  # fmt: skip
    assert "│ 2 cow" in text


def test_of_many_classes_the_table_lists_the_largest_errors() -> None:
    found = np.r_[np.arange(30), 4, 4, 5]
    labels = np.r_[np.arange(30), 3, 3, 3]
    names = [f"class {i}" for i in range(30)]
    text = report(evaluate(np.eye(30, dtype=np.float32)[found], labels), names)
    assert text.splitlines()[-2:] == [
        "2 of class 3 taken for class 4",
        "1 of class 3 taken for class 5",
    ]
    assert worst_pairs(confusion(labels, found, 30)) == [(3, 4, 2), (3, 5, 1)]


def test_worst_pairs_in_the_order_of_their_images() -> None:
    """The diagonal is not an error; of equals the first row, then the first column."""
    matrix = np.array([[90, 0, 2], [5, 0, 2], [2, 7, 80]])
    pairs = [(2, 1, 7), (1, 0, 5), (0, 2, 2), (1, 2, 2), (2, 0, 2)]
    assert worst_pairs(matrix) == pairs
    assert worst_pairs(matrix, 3) == pairs[:3]
    assert worst_pairs(np.diag([3, 4])) == []


def test_worst_pairs_of_thousands_of_classes_copy_no_matrix() -> None:
    matrix = np.diag(np.full(1500, 9))
    matrix[3, 1400] = 4
    tracemalloc.start()
    assert worst_pairs(matrix) == [(3, 1400, 4)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < matrix.nbytes / 4


def test_the_picture_is_dark_on_the_diagonal_of_a_good_classifier(tmp_path: Path) -> None:
    path = tmp_path / "c.png"
    made = metric(confusion_path=path)
    feed(made, np.eye(3, dtype=np.float32), np.arange(3))
    made.evaluate(3)
    image = cv2.imread(str(path))
    cells = image[-3 * 44 :, -3 * 44 :].reshape(3, 44, 3, 44, 3)[:, 2, :, 2, 0]  # corners of cells
    assert np.array_equal(cells < 128, np.eye(3, dtype=bool))
    large = cv2.imdecode(
        np.frombuffer(draw_confusion(np.eye(1000, dtype=int), ["x"] * 1000), np.uint8), 1
    )
    assert large.shape == (1000, 1000, 3)


def test_names_stand_at_their_row_and_column_and_read_from_below() -> None:
    """Names of very different lengths: ink of the first to the left of its row, upright above its
    column, starting at the bottom."""
    picture = draw_confusion(np.eye(2, dtype=int), ["a long name of a class", "i"])
    image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_GRAYSCALE)
    edge = len(image) - 2 * 44
    side, head = image[edge:, :edge] < 128, image[:edge, edge:] < 128
    rows = [side[:44], side[44:]]
    columns = [head[:, :44], head[:, 44:]]
    assert rows[0].sum() > 5 * rows[1].sum() > 0
    for row, column in zip(rows, columns, strict=True):
        assert np.array_equal(np.rot90(row), column)
