"""The exported last step gives the classifier's best classes."""

import pytest
import torch

from classification.export_head import TopClasses

LOGITS = torch.tensor([[0.0, 2.0, 1.0, -1.0], [3.0, 0.0, 0.0, 4.0]])
SIZE = (8, 8)


def test_best_classes_and_their_softmax() -> None:
    """exp(2) over exp(0) + exp(2) + exp(1) + exp(-1)."""
    scores, labels = TopClasses(4, 2)(LOGITS, SIZE, SIZE)
    assert labels.tolist() == [[1, 2], [3, 0]]
    assert float(scores[0, 0]) == pytest.approx(7.389 / (1 + 7.389 + 2.718 + 0.368), abs=1e-3)


def test_results_have_a_score_a_class() -> None:
    scores, labels = TopClasses(4, 2)(LOGITS, SIZE, SIZE)
    one, other = TopClasses(4, 2).results(
        {"scores": scores, "labels": labels}, SIZE, [{"image_id": "x"}, {}]
    )
    assert (one["label"], one["image_id"], other["label"]) == (1, "x", 3)
    assert (one["scores"] > 0).tolist() == [False, True, True, False]
    assert float(one["scores"][1]) == pytest.approx(float(scores[0, 0]))


def test_fewer_classes_than_come_out() -> None:
    assert TopClasses(4, 5)(LOGITS, SIZE, SIZE)[0].shape == (2, 4)


def test_gap_in_percent_whatever_the_order_of_equals() -> None:
    head = TopClasses(3, 2)
    one = [torch.tensor([[0.4, 0.4]]), torch.tensor([[0, 1]])]
    other = [torch.tensor([[0.41, 0.4]]), torch.tensor([[1, 0]])]
    gap = head.apart(one, other)
    assert gap.value == pytest.approx(1 / 40)  # one percent, over the largest
    assert gap.share == 0
