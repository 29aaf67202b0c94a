"""Draws pictures with their ground truth, each into a file, and a contact sheet of all.

Shapes: (H, W) the size of a picture.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.checks.fix import fresh_folder
from engine.data.images import encode_image
from engine.inference.files import save_picture
from engine.reports.browse import Browser, DataTruth, Pair, View
from engine.reports.contact_sheet import arrange
from engine.reports.lettering import PAPER, ROW, LegendEntry, legend, shortened, write_text
from engine.reports.object_counts import Tally, classes_chart, sizes_chart
from engine.types import IGNORE, Picture, Target

Mode = Literal["original", "pipeline", "pairs"]
Entries = dict[int, LegendEntry]
STORED, SEEN = "as stored", "as the model gets them"
LONG_SIDE = (640, 1280)  # range for the long side of a written picture, pixels
SHEET_WIDTH = 1680
TILE = (230, 310)  # largest height and width of a picture on the sheet
MIN_TILE = 150  # width that a caption needs
GAP = 6


def write_album(
    out: Path,
    browser: Browser,
    *,
    mode: Mode,
    number: int,
    sample: int,
    advance: Callable[[int], None],
) -> int:
    """Write pictures, sheet and charts of a data set to the new folder `out`, atomically.

    Args:
        out: A new or empty folder outside the data.
        browser: Source of the samples.
        mode: Views to draw.
        number: Number of pictures.
        sample: Number of images to count objects in, at least `number`.
        advance: Called after every image with the total number of images.

    Returns:
        The number of images counted.

    Raises:
        ValueError: `out` cannot be used, or an image cannot be read.
    """
    truth = browser.truth
    with fresh_folder(out, Path(browser.data_root), "--out") as folder:
        total = min(max(sample, number), len(browser.data))
        shown = set(browser.places(number, total))
        tiles: list[Picture] = []  # small, because all pictures would take too much memory
        entries: Entries = {}
        tallies = [Tally(STORED), Tally(SEEN)]
        for place, pair in enumerate(browser.pairs(total)):
            if place in shown:
                tiles.append(_tile(truth, pair, mode))
                entries |= (own := entries_of(truth, pair))
                write_picture(folder, len(tiles), truth, pair, mode, own)
            for tally, view in zip(tallies, (pair.original, pair.pipeline), strict=True):
                tally.add(truth.objects(*view))
            advance(total)
        write_sheet(folder / "contact_sheet.png", tiles, entries)
        counted = tallies[:1] if mode == "original" else tallies
        title = f"{browser.split}: {total:,} of {len(browser.data):,} images"
        classes = classes_chart(counted, browser.classes, truth.counted, title)
        (folder / "classes.png").write_bytes(classes)
        (folder / "sizes.png").write_bytes(sizes_chart(counted, truth.counted, title))
    return total


def write_picture(
    folder: Path, number: int, truth: DataTruth, pair: Pair, mode: Mode, entries: Entries
) -> None:
    """Write the sample as a JPEG, named by its number and the image."""
    side = int(np.clip(max(pair.original.picture.shape), *LONG_SIDE))
    picture = draw(truth, pair, mode, (side * 3 // 4, side))
    below = legend_of(entries, picture.shape[1])
    name = "".join(c if c.isalnum() or c in "-_." else "_" for c in Path(pair.name).stem)
    save_picture(folder / f"{number:03d}_{name[-80:]}.jpg", np.vstack([picture, below]))


def write_sheet(path: Path, given: Sequence[Picture], entries: Entries) -> None:
    """Write a PNG with all samples, their names and sizes below, and one legend above."""
    tiles = list(given)
    height, width = (max(tile.shape[axis] for tile in tiles) for axis in (0, 1))
    columns = max(1, min(len(tiles), SHEET_WIDTH // (width + GAP)))
    tiles += [tiles[0][:0]] * (-len(tiles) % columns)  # empty, shown as white
    sheet = arrange([_padded(tile, (height + GAP, width + GAP)) for tile in tiles], columns)
    above = legend_of(entries, sheet.shape[1])
    path.write_bytes(encode_image(np.vstack([above, sheet]), ".png"))


def _tile(truth: DataTruth, pair: Pair, mode: Mode) -> Picture:
    """The drawn sample, with its name and sizes below."""
    picture = draw(truth, pair, mode, TILE)
    height, width = picture.shape[:2]
    tile = _padded(picture, (height + 2 * ROW, max(width, MIN_TILE)))
    sizes = [f"{x.picture.shape[1]} x {x.picture.shape[0]}" for x in _views(pair, mode)]
    for line, text in enumerate((pair.name, " → ".join(sizes))):
        write_text(tile, shortened(text, tile.shape[1] - 4), (height + 2 + line * (ROW - 2), 2))
    return tile


def _views(pair: Pair, mode: Mode) -> list[View]:
    """The views of a sample that `mode` shows, from left to right."""
    return [
        view
        for name, view in (("original", pair.original), ("pipeline", pair.pipeline))
        if mode in (name, "pairs")
    ]


def draw(truth: DataTruth, pair: Pair, mode: Mode, room: tuple[int, int]) -> Picture:
    """The views of `mode` side by side, each scaled to fit `room` (height, width)."""
    drawn = [truth.draw(resized(view, room)) for view in _views(pair, mode)]
    height = max(len(picture) for picture in drawn)
    gap = np.full((height, GAP, 3), PAPER, np.uint8)
    parts = [part for one in drawn for part in (gap, _padded(one, (height, one.shape[1])))]
    return np.hstack(parts[1:])


def resized(view: View, room: tuple[int, int]) -> View:
    """The view and its target, scaled to fit `room` (height, width)."""
    picture, target = view
    factor = min(room[0] / picture.shape[0], room[1] / picture.shape[1])
    height, width = (max(1, round(side * factor)) for side in picture.shape[:2])
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    scaled = cv2.resize(picture, (width, height), interpolation=how).astype(np.uint8, copy=False)
    return View(scaled, _resized_target(target, picture.shape[:2], (height, width)))


def _resized_target(target: Target, old: Sequence[int], new: tuple[int, int]) -> Target:
    """The target with boxes and mask scaled from picture size `old` to `new`."""
    moved = dict(target)
    if "boxes" in moved:
        y, x = new[0] / old[0], new[1] / old[1]
        moved["boxes"] = moved["boxes"] * torch.tensor([x, y, x, y])
    if "mask" in moved:
        mask: Tensor = moved["mask"][None, None].float()
        moved["mask"] = F.interpolate(mask, new, mode="nearest-exact")[0, 0].to(torch.uint8)
    return moved


def _padded(picture: Picture, size: tuple[int, int]) -> Picture:
    """The picture at the top left of a white picture of this size."""
    paper = np.full((*size, 3), PAPER, np.uint8)
    paper[: picture.shape[0], : picture.shape[1]] = picture
    return paper


def entries_of(truth: DataTruth, pair: Pair) -> Entries:
    """Legend entries of the classes in a sample, by label; for masks also of unlabelled pixels."""
    colours, classes = truth.colours, truth.classes
    if not len(colours):
        return {}
    views = (pair.original, pair.pipeline)
    seen = {int(label) for view in views for label in truth.objects(*view).labels}
    entries = {label: LegendEntry(colours[label].tolist(), classes[label]) for label in seen}
    if any((view.target["mask"] == IGNORE).any() for view in views if "mask" in view.target):
        entries[IGNORE] = LegendEntry((0, 0, 0), "not labelled")
    return entries


def legend_of(entries: Entries, width: int) -> Picture:
    """The legend of these classes in the order of their labels, (?, width, 3)."""
    return legend([entries[label] for label in sorted(entries)], width)
