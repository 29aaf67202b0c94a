"""Draws scenes of the mini data set: a background, overlapping objects, light, shadows, a camera.

Pictures are float32 RGB 0..1 (side, side, 3) until the camera model converts them to uint8.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.demo_data.grounds import GROUNDS, draw_ground, fractal, noise, rgb
from engine.demo_data.shapes import SHAPES, Polygon, Shape, posed

Picture = NDArray[np.float32]  # (H, W, 3) RGB 0..1
CLASSES: tuple[str, ...] = tuple(sorted(SHAPES))

# Range of hue of each class, degrees. Both colour and shape identify the class, so that minutes of
# training from scratch are enough; backgrounds and light use all hues.
HUES = {
    "bottle": (165, 195),
    "cup": (215, 245),
    "key": (42, 58),
    "leaf": (90, 135),
    "nut": (262, 285),
    "screw": (18, 34),
    "star": (345, 365),
    "washer": (302, 328),
}
LEAST_VISIBLE = 0.5  # smallest visible share of an object's silhouette
LEAST_SIDE = 8  # smallest height and width of the visible part, pixels
SUPERSAMPLING = 2


@dataclass(frozen=True)
class Scene:
    """One drawn picture and its ground truth."""

    ground: str
    image: NDArray[np.uint8]  # (side, side, 3) RGB
    # (side, side); what each pixel shows: 0 the background, i + 1 object i.
    owners: NDArray[np.uint8]
    labels: tuple[int, ...]  # class of each object, an index into CLASSES
    visible: tuple[float, ...]  # visible share of each object's silhouette, LEAST_VISIBLE..1


class Light(NamedTuple):
    """A light source."""

    # (3,) unit vector x, y, z towards the light; z points to the camera.
    direction: NDArray[np.float64]
    ambient: float  # share 0..1 that also reaches shadows and slopes turned away


class Sprite(NamedTuple):
    """The picture of one object."""

    colour: Picture  # (h, w, 3)
    alpha: NDArray[np.float32]  # (h, w) 0..1; above 0.5 belongs to the object
    label: int


class Placed(NamedTuple):
    """A sprite and its top left pixel in the scene, which may be outside."""

    sprite: Sprite
    left: int
    top: int


def draw_scene(rng: np.random.Generator, side: int, first_label: int) -> Scene:
    """Draw a scene of 3 to 8 objects (fewer if the space is full).

    At least 0.8 of the first object, of class `first_label`, is visible; of the others at least
    LEAST_VISIBLE. `labels` has every object in the picture.
    """
    ground = str(rng.choice(sorted(GROUNDS)))
    canvas = draw_ground(ground, rng, side)
    light = draw_light(rng)
    labels = [first_label, *rng.integers(0, len(CLASSES), size=rng.integers(2, 8)).tolist()]
    mean = canvas.mean(axis=(0, 1))
    sprites = [draw_sprite(label, draw_size(rng, side), mean, light, rng) for label in labels]
    placed, owners, visible = lay_out(sprites, side, rng)
    for item in placed:
        cast_shadow(canvas, item, light)
        paste(canvas, item)
    image = photograph(canvas * lighting(rng, side, light), rng)
    return Scene(ground, image, owners, tuple(item.sprite.label for item in placed), visible)


def draw_light(rng: np.random.Generator) -> Light:
    """Light from a random side, 35 to 65 degrees above the plane."""
    around, height = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(35, 65))
    flat = np.cos(height)
    direction = np.array([flat * np.cos(around), flat * np.sin(around), np.sin(height)])
    return Light(direction, ambient=rng.uniform(0.35, 0.6))


def draw_size(rng: np.random.Generator, side: int) -> float:
    """Long side of an object, pixels: 0.2 to 0.46 of the scene, small values more often."""
    return side * float(np.exp(rng.uniform(np.log(0.2), np.log(0.46))))


# --- one object ---------------------------------------------------------------------------------


def draw_sprite(
    label: int,
    long_side: float,
    ground: NDArray[np.float32],
    light: Light,
    rng: np.random.Generator,
) -> Sprite:
    """Draw an object of a class with random pose, colour and proportions, lit by `light`.

    `ground` is the mean colour (3,) of the background; the object gets a different one.
    """
    shape = SHAPES[CLASSES[label]](rng)
    shape = posed(shape, long_side * SUPERSAMPLING, rng)
    solid = silhouette(shape)  # (h, w) 0 or 1
    colour = draw_colour(label, ground, rng) * surface(solid.shape, rng)  # (h, w, 3)
    shade, shine = relief(solid, shape.bevel, light)
    colour *= (shade * marked(shape.marks, solid.shape))[..., None]
    colour += np.float32(rng.uniform(0.05, 0.6)) * shine[..., None]
    small = (solid.shape[1] // SUPERSAMPLING, solid.shape[0] // SUPERSAMPLING)
    alpha = cv2.resize(solid.astype(np.float32), small, interpolation=cv2.INTER_AREA)
    seen = cv2.resize(colour, small, interpolation=cv2.INTER_AREA)
    return Sprite(np.clip(seen, 0, 1).astype("f4"), alpha.astype("f4"), label)


def fill(canvas: NDArray[np.uint8] | NDArray[np.float32], polygon: Polygon, value: float) -> None:
    """Fill a polygon (in pixels) with a value, on a canvas (h, w) with a margin."""
    sixteenths = np.round((polygon + 2 * SUPERSAMPLING) * 16).astype(np.int32)
    cv2.fillPoly(canvas, [sixteenths], value, shift=4)


def silhouette(shape: Shape) -> NDArray[np.uint8]:
    """Mask (h, w) of a shape, with a margin: 1 on the object."""
    points = np.concatenate([polygon for polygon, _ in shape.solids])
    width, height = np.ceil(points.max(axis=0) / SUPERSAMPLING).astype(int) + 4
    solid = np.zeros((height * SUPERSAMPLING, width * SUPERSAMPLING), np.uint8)
    for polygon, keep in shape.solids:
        fill(solid, polygon, int(keep))
    return solid


def marked(marks: list[tuple[Polygon, float]], size: tuple[int, ...]) -> NDArray[np.float32]:
    """Factor (h, w) of the colour: that of the topmost mark, 1 outside of marks."""
    tones = np.ones(size, np.float32)
    for polygon, tone in marks:
        fill(tones, polygon, float(tone))
    return tones


def draw_colour(
    label: int, ground: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Colour (3,) with a hue of the class; up to six tries to differ from the background."""
    low, high = HUES[CLASSES[label]]
    for _ in range(6):
        colour = rgb(rng.uniform(low, high), rng.uniform(0.5, 0.95), rng.uniform(0.4, 0.95))
        if np.linalg.norm(colour - ground) > 0.3:
            break
    return colour


def surface(size: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Factor (h, w, 1) of the colour, around 1: blotched, brushed or grainy texture."""
    side = max(size)
    kind = rng.integers(3)
    if kind == 0:
        texture = fractal(rng, side, side / 4)
    else:
        texture = noise(rng, side, side / 2 if kind == 1 else 2, 2)
    strength = np.float32(rng.uniform(0.1, 0.6))
    return 1 + strength * (texture[: size[0], : size[1], None] - np.float32(0.5))


def relief(
    solid: NDArray[np.uint8], bevel: float, light: Light
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Shade (1 = as a flat surface) and highlight 0..1, (h, w) each, of an object with round edges.

    The edge is a quarter circle of radius `bevel` pixels; formulas of Lambert and Blinn.
    """
    inside = cv2.distanceTransform(solid, cv2.DIST_L2, cv2.DIST_MASK_5)
    slope = 1 - np.clip(inside / max(bevel, 2.0), 0, 1)
    height = cv2.GaussianBlur(max(bevel, 2.0) * np.sqrt(1 - slope**2), (0, 0), 1.5)
    down, right = np.gradient(height)
    length = np.sqrt(right**2 + down**2 + 1)
    x, y, z = light.direction
    lit = (-right * x - down * y + z) / length
    shade = light.ambient + (1 - light.ambient) * np.clip(lit, 0, None) / z
    half = light.direction + np.array([0, 0, 1])
    half /= np.linalg.norm(half)
    shine = np.clip((-right * half[0] - down * half[1] + half[2]) / length, 0, 1) ** 40
    return shade.astype(np.float32), shine.astype(np.float32)


# --- many objects -------------------------------------------------------------------------------


def lay_out(
    sprites: list[Sprite], side: int, rng: np.random.Generator
) -> tuple[list[Placed], NDArray[np.uint8], tuple[float, ...]]:
    """Place sprites on top of each other; a sprite without a place after 40 tries is left out.

    Returns the placed sprites from bottom to top, the owners map and the visible shares.
    """
    owners = np.zeros((side, side), np.uint8)
    placed: list[Placed] = []
    for sprite in sprites:
        for _ in range(40):
            x, y = rng.uniform(0.03, 0.97, size=2) * side
            height, width = sprite.alpha.shape
            item = Placed(sprite, int(x - width / 2), int(y - height / 2))
            result = covered(owners, item, len(placed) + 1)
            if all_visible(result, [*placed, item]):
                owners, placed = result, [*placed, item]
                break
    return placed, owners, tuple(visible_shares(owners, placed))


def window(item: Placed, side: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of the scene that a sprite covers, and the same part of the sprite."""
    height, width = item.sprite.alpha.shape
    top, bottom = max(item.top, 0), min(item.top + height, side)
    left, right = max(item.left, 0), min(item.left + width, side)
    scene = (slice(top, bottom), slice(left, right))
    sprite = (slice(top - item.top, bottom - item.top), slice(left - item.left, right - item.left))
    return scene, sprite


def covered(owners: NDArray[np.uint8], item: Placed, number: int) -> NDArray[np.uint8]:
    """The owners map (side, side) after a sprite is placed on top as object `number`."""
    there, here = window(item, len(owners))
    result = owners.copy()
    result[there][item.sprite.alpha[here] > 0.5] = number
    return result


def visible_shares(owners: NDArray[np.uint8], placed: list[Placed]) -> list[float]:
    """Visible share of each sprite's silhouette in the owners map."""
    shown = np.bincount(owners.ravel(), minlength=len(placed) + 1)[1:]
    return [
        float(shown[i] / np.count_nonzero(item.sprite.alpha > 0.5)) for i, item in enumerate(placed)
    ]


def all_visible(owners: NDArray[np.uint8], placed: list[Placed]) -> bool:
    """Whether enough of every sprite is visible (see `draw_scene`)."""
    shares = visible_shares(owners, placed)
    if shares[0] < 0.8 or min(shares) < LEAST_VISIBLE:
        return False
    boxes = [cv2.boundingRect((owners == i + 1).astype(np.uint8)) for i in range(len(placed))]
    return min(min(width, height) for _, _, width, height in boxes) >= LEAST_SIDE


def cast_shadow(canvas: Picture, item: Placed, light: Light) -> None:
    """Darken the canvas in the shadow of the sprite."""
    side = len(canvas)
    rise = 0.05 * max(item.sprite.alpha.shape)
    shift = np.round(-light.direction[:2] / light.direction[2] * rise).astype(int)
    soft = int(2 + rise)
    alpha = cv2.copyMakeBorder(item.sprite.alpha, soft, soft, soft, soft, cv2.BORDER_CONSTANT)
    shadow = cv2.GaussianBlur(alpha, (0, 0), 0.35 * soft).astype(np.float32)
    moved = Sprite(item.sprite.colour, shadow, item.sprite.label)
    left, top = item.left - soft + int(shift[0]), item.top - soft + int(shift[1])
    there, here = window(Placed(moved, left, top), side)
    canvas[there] *= 1 - 0.9 * (1 - light.ambient) * shadow[here][..., None]


def paste(canvas: Picture, item: Placed) -> None:
    """Draw the sprite on the canvas."""
    there, here = window(item, len(canvas))
    alpha = item.sprite.alpha[here][..., None]
    canvas[there] += alpha * (item.sprite.colour[here] - canvas[there])


# --- light and camera ---------------------------------------------------------------------------


def lighting(rng: np.random.Generator, side: int, light: Light) -> Picture:
    """Light at each pixel: brighter towards the lamp, tinted, sometimes with soft shadows."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j].astype(np.float32)
    towards = x * light.direction[0] + y * light.direction[1]
    level = rng.uniform(0.9, 1.2) + rng.uniform(0, 0.3) * towards
    if rng.random() < 0.4:  # shadow of an object outside, or of window bars
        wave = rng.uniform(0.5, 3) * (x * np.cos(turn := rng.uniform(0, 6.3)) + y * np.sin(turn))
        edge = 1 / (1 + np.exp(-rng.uniform(8, 40) * np.sin(wave + rng.uniform(0, 6.3))))
        level *= 1 - rng.uniform(0.2, 0.5) * edge
    warmth = rng.uniform(-0.1, 0.1)
    tint = np.array([1 + warmth, 1 + rng.uniform(-0.03, 0.03), 1 - warmth])
    return (level[..., None] * tint).astype(np.float32)


def photograph(picture: Picture, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Simulate a camera: vignette, blur, noise, contrast curve; (side, side, 3) uint8."""
    side = len(picture)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j].astype(np.float32)
    picture = picture * (1 - np.float32(rng.uniform(0, 0.25)) * (x**2 + y**2))[..., None]
    picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 1.0)).astype(np.float32)
    grain = rng.standard_normal(picture.shape, dtype=np.float32)
    picture += np.float32(rng.uniform(0.004, 0.03)) * grain
    curved = cv2.pow(np.clip(picture, 0, 1), rng.uniform(0.8, 1.1))
    return np.round(curved * 255).astype(np.uint8)
