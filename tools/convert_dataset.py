"""Bring a data set into the layout that training reads: python tools/convert_dataset.py KIND DIR.

cityscapes: draws gtFine/*/*/*_gtFine_labelTrainIds.png from the polygons beside them.
"""

import argparse
from pathlib import Path

from engine import command_line
from engine.progress import live_line
from segmentation.polygons import draw_masks


def main(arguments: argparse.Namespace) -> None:
    """Draw the masks, show progress, say how many there are."""
    drawn = total = 0
    with live_line() as progress:
        task = progress.add_task("drawing masks", total=None, note="")
        for _, is_new in draw_masks(arguments.folder, force=arguments.force):
            total, drawn = total + 1, drawn + is_new
            progress.advance(task)
    print(f"{arguments.folder}: {total} masks of train ids, {drawn} drawn now")


if __name__ == "__main__":
    options = command_line.parser(__doc__ or "")
    options.add_argument("kind", choices=("cityscapes",), help="what DIR holds")
    options.add_argument("folder", type=Path, metavar="DIR", help="folder that holds gtFine/")
    options.add_argument("--force", action="store_true", help="draw existing masks anew")
    command_line.run(main, options)
