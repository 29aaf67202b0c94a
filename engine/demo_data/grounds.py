"""Backgrounds of the mini data set: random procedural textures.

A texture is a float32 map (side, side) of about 0..1, coloured afterwards between two colours.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Tone = NDArray[np.float32]  # (side, side), about 0..1


def noise(rng: np.random.Generator, side: int, cell_x: float, cell_y: float | None = None) -> Tone:
    """Smooth random values 0..1 with features of about `cell_x` by `cell_y` pixels."""
    columns = max(int(side / cell_x), 1) + 2
    rows = max(int(side / (cell_y or cell_x)), 1) + 2
    grid = rng.random((rows, columns), dtype=np.float32)
    return np.clip(cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC), 0, 1)


def fractal(rng: np.random.Generator, side: int, cell: float) -> Tone:
    """Sum of four octaves of noise, 0..1, the coarsest with features of `cell` pixels."""
    octaves = [noise(rng, side, max(cell / 2**i, 1.0)) / 2**i for i in range(4)]
    return sum(octaves[1:], octaves[0]) / 1.875


def turned(tone: Tone, side: int, rng: np.random.Generator) -> Tone:
    """The centre (side, side) of a larger square texture, rotated at random."""
    centre = tone.shape[0] / 2
    matrix = np.array(cv2.getRotationMatrix2D((centre, centre), rng.uniform(0, 360), 1.0))
    matrix[:, 2] += side / 2 - centre
    middle = cv2.warpAffine(tone, matrix, (side, side), borderMode=cv2.BORDER_REFLECT)
    return middle.astype(np.float32)


def wide(side: int) -> int:
    """Side of a square that covers (side, side) at any rotation."""
    return int(1.45 * side)


def cloth(rng: np.random.Generator, side: int) -> Tone:
    """Weave with bands in both directions."""
    across = np.arange(wide(side), dtype=np.float32)
    weave = np.sin(across * rng.uniform(1.2, 2.2))
    period = rng.uniform(side / 8, side / 2)
    bands = (np.sin(across * 2 * np.pi / period) > rng.uniform(-0.3, 0.7)).astype(np.float32)
    plaid = bands[:, None] + bands[None, :] * rng.choice([0.0, 1.0])
    tone = 0.35 + 0.18 * plaid + 0.08 * weave[:, None] * weave[None, :]
    return turned(tone + 0.12 * fractal(rng, wide(side), side / 4), side, rng)


def concrete(rng: np.random.Generator, side: int) -> Tone:
    """Blotches, fine grain and pores."""
    pores = (noise(rng, side, rng.uniform(3, 5)) > 0.93).astype(np.float32)
    grain = rng.random((side, side), dtype=np.float32)
    return 0.75 * fractal(rng, side, side / rng.uniform(2, 5)) + 0.2 * grain - 0.2 * pores


def gravel(rng: np.random.Generator, side: int) -> Tone:
    """Stones of random tone with dark joints."""
    pitch = rng.uniform(9, 26)
    seeds = np.full((side, side), 255, np.uint8)
    spots = rng.integers(0, side, size=(int((side / pitch) ** 2), 2))
    seeds[spots[:, 0], spots[:, 1]] = 0
    distance, stone = cv2.distanceTransformWithLabels(
        seeds, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    tones = rng.uniform(0.3, 1.0, size=int(stone.max()) + 1).astype(np.float32)
    dome = 1 - 0.75 * np.clip(distance / (0.9 * pitch), 0, 1) ** 2
    return tones[stone] * dome * (0.85 + 0.3 * noise(rng, side, 2))


def paper(rng: np.random.Generator, side: int) -> Tone:
    """Sheet in uneven light, sometimes ruled or squared."""
    tone = 0.65 + 0.3 * noise(rng, wide(side), side) + 0.06 * noise(rng, wide(side), 1.5)
    pitch, width = rng.integers(14, 40), rng.integers(1, 3)
    lines = (np.arange(wide(side)) % pitch < width).astype(np.float32) * rng.choice([0, 0.3, 0.45])
    return turned(tone - np.maximum(lines[:, None], lines * rng.choice([0, 1])), side, rng)


def sand(rng: np.random.Generator, side: int) -> Tone:
    """Wavy ripples with grains."""
    rows = np.arange(wide(side), dtype=np.float32)[:, None]
    warp = fractal(rng, wide(side), side / 3) * rng.uniform(4, 12)
    ripples = np.sin(rows * 2 * np.pi / rng.uniform(14, 45) + warp)
    grain = rng.random((wide(side), wide(side)), dtype=np.float32)
    return turned(0.4 + 0.16 * ripples + 0.35 * grain, side, rng)


def tiles(rng: np.random.Generator, side: int) -> Tone:
    """Square or oblong tiles of random tone, with joints."""
    height, width = rng.uniform(side / 7, side / 2.5, size=2)
    joint = rng.uniform(2, 5)
    y, x = np.mgrid[: wide(side), : wide(side)].astype(np.float32)
    row = (y // height).astype(int)
    x += row % 2 * rng.choice([0, 0.5]) * width  # running bond
    column = (x // width).astype(int)
    tones = rng.uniform(0.45, 0.8, size=(row.max() + 1, column.max() + 1)).astype(np.float32)
    tone = tones[row, column] + 0.25 * fractal(rng, wide(side), side / 6) - 0.12
    tone[(y % height < joint) | (x % width < joint)] = rng.uniform(0.05, 0.25)
    return turned(tone, side, rng)


def wood(rng: np.random.Generator, side: int) -> Tone:
    """Planks with grain along them."""
    area, height = wide(side), rng.uniform(side / 5, side)
    rows = np.arange(area, dtype=np.float32)[:, None]
    plank = (rows // height).astype(int)
    tones = rng.uniform(-0.12, 0.12, size=plank.max() + 1).astype(np.float32)
    warp = noise(rng, area, side / 1.5, side / 6) * rng.uniform(3, 8)
    rings = np.sin(rows * rng.uniform(0.12, 0.35) + warp + 9 * tones[plank] * plank)
    streaks = noise(rng, area, side / 4, 1.5)
    tone = 0.42 + tones[plank] + 0.13 * rings + 0.32 * streaks
    seam = np.broadcast_to(rows % height < 1.8, tone.shape)
    return turned(np.where(seam, np.float32(0.05), tone), side, rng)


GROUNDS: dict[str, Callable[[np.random.Generator, int], Tone]] = {
    "cloth": cloth,
    "concrete": concrete,
    "gravel": gravel,
    "paper": paper,
    "sand": sand,
    "tiles": tiles,
    "wood": wood,
}
# Range of hue in degrees, largest saturation.
TINTS: dict[str, tuple[float, float, float]] = {
    "cloth": (0, 360, 0.55),
    "concrete": (0, 360, 0.15),
    "gravel": (15, 60, 0.3),
    "paper": (0, 360, 0.35),
    "sand": (25, 50, 0.5),
    "tiles": (0, 360, 0.45),
    "wood": (15, 38, 0.6),
}


def rgb(hue: float, saturation: float, value: float) -> NDArray[np.float32]:
    """Colour (3,) RGB 0..1 of a hue in degrees and saturation, value in 0..1."""
    pixel = np.array([[[hue % 360, saturation, value]]], dtype=np.float32)
    return cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0]


def draw_ground(kind: str, rng: np.random.Generator, side: int) -> NDArray[np.float32]:
    """Background of one kind in random colours, RGB 0..1, (side, side, 3)."""
    low, high, most = TINTS[kind]
    hue, saturation = rng.uniform(low, high), most * rng.uniform(0.2, 1)
    light = rng.uniform(0.6, 0.95)
    dark = rgb(
        hue + rng.uniform(-12, 12), min(1.2 * saturation, 1), light * rng.uniform(0.25, 0.45)
    )
    tone = np.clip(GROUNDS[kind](rng, side), 0, 1)[..., None]
    return (dark + tone * (rgb(hue, saturation, light) - dark)).astype(np.float32)
