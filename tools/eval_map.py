"""COCO AP of a results file: python tools/eval_map.py GT.json RESULTS.json [--out F]."""

import argparse
from pathlib import Path

from detection.data.coco_json import load_records, read_coco
from detection.evaluation.metric import class_table, evaluate_boxes, read_results
from engine import cli
from engine.fileio import write_json


def main(arguments: argparse.Namespace) -> None:
    """Check both files, evaluate, print the twelve numbers."""
    read_coco(arguments.truth)  # its checks name what is wrong
    truth = load_records(arguments.truth)
    scores = evaluate_boxes(
        truth, read_results(arguments.results, truth), library=arguments.library
    )
    for name, value in scores.numbers.items():
        print(f"{name:12} {value!r}")
    if arguments.classwise:
        print(class_table(scores.class_ap), end="")
    if arguments.out:
        by_class = {"class_AP": scores.class_ap} if arguments.classwise else {}
        write_json(arguments.out, {**scores.numbers, **by_class})


if __name__ == "__main__":
    options = cli.parser(__doc__)
    options.add_argument("truth", type=Path, metavar="GT.json", help="annotations, COCO format")
    options.add_argument("results", type=Path, metavar="RESULTS.json", help="COCO results")
    options.add_argument("--out", type=Path, help="the numbers as JSON")
    options.add_argument("--classwise", action="store_true", help="AP of each class too")
    options.add_argument("--library", choices=("hotcoco", "pycocotools"), help="what computes")
    cli.run(main, options)
