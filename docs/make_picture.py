"""Draw the README's picture: python docs/make_picture.py DETECTOR SEGMENTER CLASSIFIER --out F.jpg.

The three are checkpoints of the *_lcnet_mini configs, trained on the mini data set in --data:
    lcnet make-mini-data --out data/mini
    lcnet train picodet_lcnet_mini
    lcnet train deeplabv3plus_lcnet_mini
    lcnet train classifier_lcnet_mini
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from engine import cli, load_model
from engine.data.images import encode_image, read_image
from engine.fileio import write_binary
from engine.types import Picture

CONFIGS = ("picodet_lcnet_mini", "deeplabv3plus_lcnet_mini", "classifier_lcnet_mini")
ROOT = Path(__file__).parents[1]
SIDE, GAP, WHITE = 240, 6, 255  # pixels of a picture, pixels between two, colour between them
COLUMNS = 4
THRESHOLD = 0.4
QUALITY = 88


def main(arguments: argparse.Namespace) -> None:
    """Predict on scenes and cut-outs of the validation split, and write one picture."""
    detector, segmenter, classifier = (
        load_model(ROOT / f"configs/{name}.py", path)
        for name, path in zip(CONFIGS, arguments.checkpoints, strict=True)
    )
    scenes = [read_image(path) for path in spread(arguments.data / "detection/val")]
    cuts = [read_image(path) for path in spread(arguments.data / "classification/val")]
    rows = []
    for model, images in ((detector, scenes), (segmenter, scenes), (classifier, cuts)):
        images = [resize(image) for image in images]
        found = model.predict(images)
        drawn = [model.draw(*pair, THRESHOLD) for pair in zip(images, found, strict=True)]
        rows.append(beside([picture[:, :SIDE] for picture in drawn]))  # without a legend
    write_binary(arguments.out, encode_image(np.vstack(rows)[:-GAP], ".jpg", QUALITY))


def spread(folder: Path) -> list[Path]:
    """COLUMNS of the images in a folder and below it, at equal distances, in order of their names.

    Raises:
        ValueError: there are fewer images.
    """
    images = sorted(folder.rglob("*.jpg"))
    if len(images) < COLUMNS:
        raise ValueError(f"{folder}: {len(images)} images; draw data by tools/make_mini_data.py")
    return images[:: len(images) // COLUMNS][:COLUMNS]


def resize(image: Picture) -> Picture:
    """The image as a square of SIDE pixels."""
    resized: Picture = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return resized


def beside(pictures: Sequence[Picture]) -> Picture:
    """Pictures of SIDE pixels beside each other, with a gap between them and below."""
    framed = [np.pad(p, ((0, GAP), (0, GAP), (0, 0)), constant_values=WHITE) for p in pictures]
    return np.hstack(framed)[:, :-GAP]


if __name__ == "__main__":
    options = cli.parser(__doc__ or "")
    options.add_argument("checkpoints", nargs=3, type=Path, metavar="CKPT")
    options.add_argument("--data", type=Path, default=Path("data/mini"), help="the mini data set")
    options.add_argument("--out", type=Path, required=True, help="picture (.jpg)")
    cli.run(main, options)
