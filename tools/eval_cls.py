"""Metrics of saved predictions: python tools/eval_cls.py GT_LIST PREDICTIONS [--out F]."""

import argparse
from pathlib import Path

from classification.evaluation.confusion import draw_confusion
from classification.evaluation.metric import MAX_FPR, by_class, check_budget, evaluate, report
from classification.evaluation.predictions import align, read_predictions, read_truth
from engine import cli
from engine.fileio import write_binary, write_json


def main(arguments: argparse.Namespace) -> None:
    """Bring truth and predictions together, evaluate, print, write what was asked for."""
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
    options.add_argument(
        "truth", type=Path, metavar="GT_LIST", help="list file, or the folder of a split"
    )
    options.add_argument(
        "predictions", type=Path, metavar="PREDICTIONS", help=".npz of test.py --dump-predictions"
    )
    options.add_argument(
        "--fpr",
        type=float,
        default=MAX_FPR,
        help="two classes: share of class 0 that may be taken for class 1 (default: %(default)s)",
    )
    options.add_argument("--out", type=Path, help="the numbers as JSON, with those by class")
    options.add_argument("--confusion", type=Path, metavar="PNG", help="the confusion matrix drawn")
    cli.run(main, options)
