"""Generated pictures to check and time models on when the user gives none."""

import cv2
import numpy as np

from engine.types import Picture

SHAPES = 30
GRAIN = 10  # grey levels
COLOURS = (40, 216)  # away from both ends, which would cut the grain off


def picture(height: int, width: int) -> Picture:
    """Coloured rectangles and ellipses on a gradient with noise; depends on the size only."""
    random = np.random.default_rng(0)
    side = max(height, width)
    y, x = np.mgrid[0:height, 0:width] / side  # (H, W) each, 0 to below 1
    canvas = np.stack([70 + 110 * x, 90 + 80 * y, 170 - 90 * x * y], axis=-1).astype(np.uint8)
    for number in range(SHAPES):
        centre = random.uniform(0, side, 2)
        sides = random.uniform(0.05, 0.4, 2) * side
        turned = (tuple(centre), tuple(sides), random.uniform(0, 180))
        fill, edge = random.integers(*COLOURS, (2, 3)).tolist()
        corners = cv2.boxPoints(turned).round().astype(np.int32)
        if number % 2:
            cv2.fillPoly(canvas, [corners], fill, cv2.LINE_AA)
            cv2.polylines(canvas, [corners], True, edge, 2, cv2.LINE_AA)
        else:
            cv2.ellipse(canvas, turned, fill, cv2.FILLED, cv2.LINE_AA)
            cv2.ellipse(canvas, turned, edge, 2, cv2.LINE_AA)
    grain = random.integers(-GRAIN, GRAIN + 1, canvas.shape)
    return (canvas + grain).clip(0, 255).astype(np.uint8)
