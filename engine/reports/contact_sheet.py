"""Draws examples of a check's findings as one picture.

Shapes: (H, W) the size of a picture.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from engine.data.images import encode_image, read_image
from engine.fileio import write_binary
from engine.findings import Finding, by_rule
from engine.types import Picture

TILE = (240, 280)  # height, width
CAPTION = 44  # pixels of a tile's height below its picture
RED, INK, PAPER = (220, 30, 30), (30, 30, 30), 245


def write_sheet(path: Path, findings: Sequence[Finding], each: int = 4, columns: int = 4) -> int:
    """Write a PNG with up to `each` examples of every rule whose findings have pictures.

    Returns:
        Number of examples; without any, no file is written.
    """
    chosen = [
        finding
        for found in by_rule(findings).values()
        for finding in [one for one in found if one.picture is not None][:each]
    ]
    if not chosen:
        return 0
    sheet = arrange([_tile(finding) for finding in chosen], columns)
    write_binary(path, encode_image(sheet, ".png"))
    return len(chosen)


def arrange(tiles: Sequence[Picture], columns: int) -> Picture:
    """One or more tiles of one size in rows of `columns`."""
    tiles = [*tiles, *[np.full_like(tiles[0], PAPER)] * (-len(tiles) % columns)]
    rows = [np.hstack(tiles[at : at + columns]) for at in range(0, len(tiles), columns)]
    return np.vstack(rows)


def _tile(finding: Finding) -> Picture:
    """Picture with its box and a caption below, of size TILE."""
    height, width = TILE
    tile = np.full((height, width, 3), PAPER, np.uint8)
    picture = _picture(finding)
    room = (height - CAPTION, width - 8)
    scale = min(room[0] / picture.shape[0], room[1] / picture.shape[1])
    size = (max(1, int(picture.shape[1] * scale)), max(1, int(picture.shape[0] * scale)))  # W, H
    tile[: size[1], 4 : 4 + size[0]] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    if finding.box is not None and np.isfinite(finding.box).all():
        limits = np.array([0, 0, size[0] - 1, size[1] - 1])  # a box outside is drawn at the edge
        corners = np.array(finding.box) * scale
        left, top, right, bottom = np.clip(corners, limits[[0, 1, 0, 1]], limits[[2, 3, 2, 3]])
        start, end = (int(left) + 4, int(top)), (int(right) + 4, int(bottom))
        cv2.rectangle(tile, start, end, RED, 2)
    assert finding.picture is not None
    tile[height - CAPTION :] = PAPER
    for line, text in enumerate((finding.rule.name, f"{finding.picture.name} {finding.id}")):
        where = (4, height - CAPTION + 18 + 18 * line)
        cv2.putText(tile, text[-40:], where, cv2.FONT_HERSHEY_SIMPLEX, 0.4, INK, 1, cv2.LINE_AA)
    return tile


def _picture(finding: Finding) -> Picture:
    """The picture as stored in the file; grey if it cannot be read."""
    assert finding.picture is not None
    try:
        return read_image(finding.picture, apply_exif=False)
    except (ValueError, OSError):
        return np.full((*TILE, 3), 128, np.uint8)
