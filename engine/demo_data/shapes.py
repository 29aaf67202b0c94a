"""Outlines of the objects in the mini data set.

Every function draws one class with random proportions, along the x axis (y points down); `posed`
converts it to pixels. Before that, coordinates have no unit: only proportions count.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Polygon = NDArray[np.float64]  # (N, 2) x, y


class Shape(NamedTuple):
    """Painting steps of an object: first the silhouette, then marks on it."""

    solids: list[tuple[Polygon, bool]]  # polygons in painting order; False cuts a hole
    # Polygons with the factor of the colour below them: under 1 darker, over 1 lighter.
    marks: list[tuple[Polygon, float]]
    # Width of the round edge as a share of the long side: 0.02 flat sheet, 0.2 cylinder.
    bevel: float


def ellipse(centre: tuple[float, float], radius_x: float, radius_y: float) -> Polygon:
    """Ellipse as a polygon of 48 corners."""
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return np.stack([radius_x * np.cos(angles), radius_y * np.sin(angles)], axis=1) + centre


def corners(radii: list[float]) -> Polygon:
    """Polygon around the origin, with corners at the given radii and equal angles."""
    angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.array(radii)[:, None]


def rectangle(left: float, top: float, right: float, bottom: float) -> Polygon:
    """Upright rectangle."""
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def mirrored(profile: list[tuple[float, float]]) -> Polygon:
    """Outline symmetric about the x axis, from points (x, half the width)."""
    upper = np.array(profile, dtype=np.float64)
    return np.concatenate([upper, upper[::-1] * (1, -1)])


def bottle(rng: np.random.Generator) -> Shape:
    """Body, shoulder, neck and cap, with a label."""
    body, neck = rng.uniform(0.27, 0.36), rng.uniform(0.10, 0.13)
    shoulder = rng.uniform(0.0, 0.25)
    profile = [(-1, 0.8 * body), (-0.95, 0.97 * body), (-0.9, body), (shoulder, body)]
    profile += [(shoulder + 0.14, 0.88 * body), (shoulder + 0.26, 0.55 * body)]
    profile += [(shoulder + 0.36, neck), (0.8, neck), (0.8, 1.35 * neck), (1, 1.35 * neck)]
    label = rectangle(rng.uniform(-0.8, -0.7), -body, rng.uniform(-0.3, -0.1), body)
    cap = rectangle(0.8, -1.4 * neck, 1.0, 1.4 * neck)
    marks = [(label, rng.choice([0.55, 1.6])), (cap, rng.choice([0.5, 1.5]))]
    return Shape([(mirrored(profile), True)], marks, bevel=0.5 * body)


def cup(rng: np.random.Generator) -> Shape:
    """Conical body with a handle, seen from the side and slightly from above."""
    rim, foot, length = rng.uniform(0.56, 0.66), rng.uniform(0.38, 0.5), rng.uniform(0.55, 0.75)
    loop = rng.uniform(0.36, 0.44)
    body = mirrored([(-length, 0.8 * foot), (-length + 0.08, foot), (length, rim)])
    at_handle = (0.1, 0.9 * (foot + rim) / 2)
    solids = [
        (ellipse(at_handle, loop, loop), True),
        (ellipse(at_handle, 0.6 * loop, 0.6 * loop), False),
        (body, True),
        (ellipse((length, 0), 0.2, rim), True),
    ]
    stripe = mirrored([(-0.3, rim), (rng.uniform(-0.15, 0.1), rim)])
    marks = [(stripe, rng.choice([0.65, 1.0, 1.5])), (ellipse((length, 0), 0.14, 0.88 * rim), 0.4)]
    return Shape(solids, marks, bevel=0.16)


def key(rng: np.random.Generator) -> Shape:
    """Bow with a hole, shaft, and teeth on one side."""
    bow, shaft = rng.uniform(0.34, 0.42), rng.uniform(0.09, 0.12)
    bow_outline = rng.choice(["round", "oval", "six-sided"])
    outlines = {
        "round": ellipse((0, 0), bow, bow),
        "oval": ellipse((0, 0), 0.8 * bow, 1.2 * bow),
        "six-sided": corners([1.08 * bow] * 6),
    }
    centre = np.array([-1 + bow, 0.0])
    solids = [(outlines[bow_outline] + centre, True), (rectangle(-0.5, -shaft, 1, shaft), True)]
    for left in np.linspace(0.4, 0.86, rng.integers(2, 5)):
        solids.append((rectangle(left, 0, left + 0.13, shaft + rng.uniform(0.12, 0.26)), True))
    solids.append((ellipse((-1 + 0.8 * bow, 0), 0.42 * bow, 0.42 * bow), False))
    groove = rectangle(-0.2, -0.25 * shaft, 0.92, 0.25 * shaft)
    return Shape(solids, [(groove, 0.65)], bevel=0.03)


def leaf(rng: np.random.Generator) -> Shape:
    """Pointed blade, smooth or toothed, with stem, midrib and veins."""
    width, fullness = rng.uniform(0.34, 0.5), rng.uniform(0.7, 1.0)
    along = np.linspace(0, 1, 61)
    half = width * np.sin(np.pi * along**fullness) ** 0.9
    half *= 1 - rng.choice([0.0, 0.16]) * (np.arange(61) % 6) / 5  # teeth
    blade = mirrored(list(zip(-0.65 + 1.65 * along, np.maximum(half, 0.004), strict=True)))
    veins: list[tuple[Polygon, float]] = [(mirrored([(-0.65, 0.035), (0.9, 0.01)]), 0.6)]
    for x in np.linspace(-0.4, 0.55, 5):
        reach = 0.75 * np.interp(x + 0.22, -0.65 + 1.65 * along, half)
        for side in (-1, 1):
            vein = np.array([[x, 0], [x + 0.22, side * reach], [x + 0.05, 0]])
            veins.append((vein, 0.72))
    return Shape([(blade, True), (rectangle(-1, -0.045, -0.55, 0.045), True)], veins, bevel=0.05)


def nut(rng: np.random.Generator) -> Shape:
    """Hexagon with a round hole and a bright round face."""
    hole = rng.uniform(0.42, 0.56)
    face = ellipse((0, 0), 0.84, 0.84)
    thread = ellipse((0, 0), hole + 0.08, hole + 0.08)
    solids = [(corners([1.0] * 6), True), (ellipse((0, 0), hole, hole), False)]
    return Shape(solids, [(face, 1.2), (thread, 0.55)], bevel=0.035)


def screw(rng: np.random.Generator) -> Shape:
    """Head, threaded shaft and tip, from the side."""
    head, shaft, start = rng.uniform(0.27, 0.36), rng.uniform(0.12, 0.15), rng.uniform(-0.5, -0.2)
    flat = rng.choice([True, False])  # countersunk, or a dome
    profile = [(-1, head), (-0.95, head), (-0.68, shaft)] if flat else []
    profile = profile or [(-1, 0.4 * head), (-0.95, 0.75 * head), (-0.86, head), (-0.76, head)]
    turns = np.linspace(start, 0.72, 8)
    profile += [(-0.74, shaft), (start, shaft)]
    profile += [(x, shaft * (0.85 if i % 2 else 1.3)) for i, x in enumerate(turns)]
    threads = [rectangle(x, -shaft, x + 0.06, shaft) for x in turns[1::2]]
    slanted = [polygon + np.array([[0.05, 0], [0.05, 0], [0, 0], [0, 0]]) for polygon in threads]
    solids = [(mirrored([*profile, (1, 0.015)]), True)]
    return Shape(solids, [(polygon, 0.5) for polygon in slanted], bevel=0.6 * shaft)


def star(rng: np.random.Generator) -> Shape:
    """Five-pointed star with ridges from the centre to the points."""
    inner = rng.uniform(0.42, 0.54)
    outline = corners([1.0, inner] * 5)
    ridges = [(np.array([[0, 0], outline[i], outline[i + 1]]), 0.78) for i in range(0, 10, 2)]
    return Shape([(outline, True)], ridges, bevel=0.04)


def washer(rng: np.random.Generator) -> Shape:
    """Flat ring."""
    hole = rng.uniform(0.4, 0.66)
    solids = [(ellipse((0, 0), 1, 1), True), (ellipse((0, 0), hole, hole), False)]
    groove = [(ellipse((0, 0), 0.9, 0.9), 1.15), (ellipse((0, 0), hole + 0.06, hole + 0.06), 0.8)]
    return Shape(solids, groove, bevel=0.03)


SHAPES: dict[str, Callable[[np.random.Generator], Shape]] = {
    "bottle": bottle,
    "cup": cup,
    "key": key,
    "leaf": leaf,
    "nut": nut,
    "screw": screw,
    "star": star,
    "washer": washer,
}


def posed(shape: Shape, long_side: float, rng: np.random.Generator) -> Shape:
    """The shape in pixels in a random view; its long side is `long_side` before that.

    The view rotates it, mirrors half of the shapes and shortens it by up to a fifth, like a
    camera that is not exactly above a table. The smallest x and y become 0.
    """
    points = np.concatenate([polygon for polygon, _ in shape.solids])
    scale = long_side / np.ptp(points, axis=0).max()
    view = turn(rng.uniform(0, 2 * np.pi)) @ np.diag([1, rng.uniform(0.8, 1)])
    view = view @ turn(rng.uniform(0, 2 * np.pi)) @ np.diag([1, rng.choice([-1, 1])]) * scale
    origin = (points @ view.T).min(axis=0)
    solids = [(polygon @ view.T - origin, filled) for polygon, filled in shape.solids]
    marks = [(polygon @ view.T - origin, tone) for polygon, tone in shape.marks]
    return Shape(solids, marks, shape.bevel * long_side)


def turn(angle: float) -> NDArray[np.float64]:
    """Rotation matrix (2, 2) of an angle in radians."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
