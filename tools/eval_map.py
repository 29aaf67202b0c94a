"""COCO AP of a results file: python tools/eval_map.py GT.json RESULTS.json [--out F]."""

import argparse
from pathlib import Path

from detection.data.coco_json import load_records, read_coco
from detection.evaluation.metric import class_table, evaluate_boxes, read_results
from engine import cli
from engine.fileio import write_json


def main(arguments: argparse.Namespace) -> None:
    """Check both files, evaluate, print the twelve metrics."""
    read_coco(arguments.truth)  # raises an error if the file is wrong
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
    add = options.add_argument
    add("truth", type=Path, metavar="GT.json", help="annotations, COCO format")
    add("results", type=Path, metavar="RESULTS.json", help="COCO results")
    add("--out", type=Path, help="metrics as JSON")
    add("--classwise", action="store_true", help="AP of each class too")
    add("--library", choices=("hotcoco", "pycocotools"), help="library that computes the AP")
    cli.run(main, options)
