"""mIoU of PNG files: python tools/eval_miou.py GT_DIR PRED_DIR [--classes F] [--out F]."""

import argparse
from pathlib import Path

from engine import cli
from engine.fileio import write_json
from segmentation.classes import CLASSES
from segmentation.data.masks import CLASSES_FILE, match_predictions, read_classes, read_names
from segmentation.evaluation.metric import by_class, evaluate_files, score, table


def main(arguments: argparse.Namespace) -> None:
    """Pair the files, evaluate, print, write the requested file."""
    classes = classes_of(arguments)
    pairs = list(match_predictions(arguments.truth, arguments.predictions))
    matrix = evaluate_files(pairs, classes, arguments.ignore_index)
    if not matrix.any():
        raise ValueError(f"{arguments.truth}: no pixel of {len(pairs)} masks has a class")
    scores = score(matrix)
    print(table(scores, classes), end="")
    print(f"{len(pairs)} images")
    for name, value in scores.numbers.items():
        print(f"{name:6} {value!r}")
    if arguments.out:
        write_json(arguments.out, {**scores.numbers, **by_class(scores, classes)})


def classes_of(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Names from --classes or --num-classes, else those of the data that GT_DIR belongs to."""
    if arguments.num_classes is not None:
        if not 2 <= arguments.num_classes <= 255:
            raise ValueError(f"--num-classes {arguments.num_classes}: expected 2 to 255")
        names = tuple(map(str, range(arguments.num_classes)))
        return CLASSES if len(names) == len(CLASSES) else names
    if arguments.classes is not None:
        return read_names(arguments.classes)
    truth = arguments.truth.resolve()
    roots = [folder for folder in (truth, *truth.parents[:3]) if (folder / CLASSES_FILE).is_file()]
    return read_classes(roots[0] if roots else truth)


if __name__ == "__main__":
    options = cli.parser(__doc__)
    add = options.add_argument
    add("truth", type=Path, metavar="GT_DIR", help="masks, such as gtFine/val")
    add("predictions", type=Path, metavar="PRED_DIR", help="PNGs of train ids")
    named = options.add_mutually_exclusive_group()
    named.add_argument("--num-classes", type=int, metavar="N")
    named.add_argument("--classes", type=Path, metavar="F", help="file, one class name per line")
    add("--ignore-index", type=int, default=255, help="mask value to ignore (default: 255)")
    add("--out", type=Path, help="metrics as JSON, also by class")
    cli.run(main, options)
