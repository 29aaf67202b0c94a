"""Metrics of saved predictions: python tools/eval_cls.py GT_LIST PREDICTIONS [--out F]."""

import argparse
from pathlib import Path

from classification.evaluation.confusion import draw_confusion
from classification.evaluation.metric import MAX_FPR, by_class, check_budget, evaluate, report
from classification.evaluation.predictions import align, read_predictions, read_truth
from engine import cli
from engine.fileio import write_binary, write_json


def main(arguments: argparse.Namespace) -> None:
    """Match predictions with the ground truth, evaluate, print, write the requested files."""
    check_budget(arguments.fpr)
    found = read_predictions(arguments.predictions)
    image_ids, labels = read_truth(arguments.truth, found.classes)
    scores = align(found, image_ids, arguments.predictions)
    summary = evaluate(scores, labels, arguments.fpr)
    print(report(summary, found.classes), end="")
    for name, value in summary.numbers.items():
        print(f"{name:14} {value!r}")
    if arguments.confusion:
        write_binary(arguments.confusion, draw_confusion(summary.matrix, found.classes))
    if arguments.out:
        write_json(arguments.out, {**summary.numbers, **by_class(summary, found.classes)})


if __name__ == "__main__":
    options = cli.parser(__doc__)
    add = options.add_argument
    add("truth", type=Path, metavar="GT_LIST", help="list file, or the folder of a split")
    add("predictions", type=Path, metavar="PREDICTIONS", help=".npz of test.py --dump-predictions")
    add(
        "--fpr",
        type=float,
        default=MAX_FPR,
        help="two classes: largest false positive rate of class 1 (default: %(default)s)",
    )
    add("--out", type=Path, help="metrics as JSON, also by class")
    add("--confusion", type=Path, metavar="PNG", help="picture of the confusion matrix")
    cli.run(main, options)
