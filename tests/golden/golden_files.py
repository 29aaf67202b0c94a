"""Reference arrays in files below 100 kB: inputs are drawn again, large outputs are sampled."""

import io
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

COMMITS = {"PaddleClas": "d178931", "PaddleDetection": "666f597", "PaddleSeg": "d7975e7"}
TITLES = {
    "picodet_s_320_coco_lcnet": "PicoDet-S",
    "picodet_xs_320_coco_lcnet": "PicoDet-XS",
    "picodet_legacy_lcnet_x0_5": "PicoDet 1 PP-LCNet x0.5",
    "picodet_legacy_mbv3_large_x0_35": "PicoDet 1 MobileNetV3 x0.35",
    "deeplabv3p_pplcnet_x0_5": "DeepLabV3+ PP-LCNet x0.5",
    "deeplabv3p_mbv3_large_x0_5": "DeepLabV3+ MobileNetV3 x0.5",
    "static_atss": "ATSS",
    "task_aligned": "TAL",
}
Arrays = dict[str, np.ndarray]
FOLDER = Path(__file__).parent
MOST_BYTES = 95_000  # a file, compressed


@dataclass(frozen=True)
class Sampled:
    """A large array whose values are stored at some positions alone."""

    shape: tuple[int, ...]
    positions: np.ndarray  # (n,), ascending, into the flattened array
    values: np.ndarray  # (n,)
    largest: float  # of all absolute values
    norm: float  # Euclidean, of all values


def positions(name: str, size: int, count: int) -> np.ndarray:
    """`count` of the positions 0 .. size - 1, ascending; equal names give equal positions."""
    random = np.random.RandomState(zlib.crc32(name.encode()))
    return np.sort(random.permutation(size)[:count])


def draw_weight(name: str, shape: list[int], seed: int, is_norm: bool) -> np.ndarray:
    """The float64 array of a weight called `name`, by the rule of README.md."""
    random = np.random.RandomState(zlib.crc32(f"{seed}:{name}".encode()))
    if is_norm and name.endswith(".weight"):
        return 0.5 + random.random_sample(shape)
    if len(shape) == 4:
        return random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    if len(shape) == 2:
        return random.standard_normal(shape) / np.sqrt(shape[0])
    return 0.3 * random.standard_normal(shape)


def draw_images(seed: int, shape: list[int]) -> np.ndarray:
    """Images (..., H, W) of six waves per channel and noise, of deviation 1 (see README.md)."""
    random = np.random.RandomState(seed)
    channels = np.zeros((int(np.prod(shape[:-2])), *shape[-2:]))
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    y, x = y / shape[-2], x / shape[-1]
    for channel in channels:
        for across, down, phase, height in random.random_sample((6, 4)):
            wave = np.sin(2 * np.pi * (9 * across * x + 9 * down * y) + 6.28 * phase)
            channel += (0.2 + 0.8 * height) * wave
    channels += 0.3 * random.standard_normal(channels.shape)
    return (channels / channels.std()).astype(np.float32).reshape(shape)


class Golden:
    """Arrays that an official implementation computed in one case, read from their files."""

    def __init__(self, name: str, folder: Path = FOLDER) -> None:
        """Reads FOLDER/NAME.0.npz, NAME.1.npz, ...

        Raises:
            FileNotFoundError: no such file.
        """
        self._stored: Arrays = {}
        for path in sorted(folder.glob(f"{name}.*.npz")):
            with np.load(path) as archive:
                self._stored |= dict(archive)
        if not self._stored:
            raise FileNotFoundError(f"{folder}: no {name}.0.npz there")
        self.info: dict[str, Any] = json.loads(self._stored.pop("info").tobytes())

    @cached_property
    def arrays(self) -> dict[str, Any]:
        """Inputs and outputs by their names: arrays, or `Sampled` if they are large."""
        arrays: dict[str, Any] = {
            name: value
            for name, value in self._stored.items()
            if not name.startswith(("state/", "factor/", "whole/", "skeleton"))
        }
        for name, shape in self.info["sampled"].items():
            values = arrays[name]
            at = positions(name, int(np.prod(shape)), len(values))
            largest, norm = self._stored[f"whole/{name}"].tolist()
            arrays[name] = Sampled(tuple(shape), at, values, largest, norm)
        for name, drawn in self.info["images"].items():
            arrays[name] = draw_images(drawn["seed"], drawn["shape"])
        return arrays

    def weights(self) -> Arrays:
        """All weights by the names of the original, float32: stored, or drawn by the rule."""
        same = self.info["same"]
        return {name: self._weight(same.get(name, name)) for name in self.info["state_dict"]}

    def _weight(self, name: str) -> np.ndarray:
        if f"state/{name}" in self._stored:
            return self._stored[f"state/{name}"]
        shapes = self.info["state_dict"]
        is_norm = f"{name.rpartition('.')[0]}._mean" in shapes
        drawn = draw_weight(name, shapes[name], self.info["seed"], is_norm)
        factors = self._stored.get(f"factor/{name}")  # one an output channel
        if factors is not None:
            drawn = drawn * factors.reshape(-1, *[1] * (drawn.ndim - 1))
        return drawn.astype(np.float32)

    def pdparams(self) -> bytes:
        """The original's weight file: its stored bytes with the arrays inserted."""
        content = bytearray(self._stored["skeleton"].tobytes())
        weights = self.weights()
        for name, start in self.info["starts"].items():  # ascending
            content[start:start] = weights[name].tobytes()
        return bytes(content)


def parts(arrays: Mapping[str, np.ndarray]) -> Iterator[Arrays]:
    """`arrays` in their order, split so that each part makes a file of at most MOST_BYTES."""
    part: Arrays = {}
    size = 0
    for name, array in arrays.items():
        added = _packed_size({name: array})
        if part and size + added > MOST_BYTES:
            yield part
            part, size = {}, 0
        part[name] = array
        size += added
    yield part


def _packed_size(arrays: Arrays) -> int:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return len(file.getvalue())


def difference(
    found: Any, wanted: Any, *, atol: float = 0.0, rtol: float = 0.0, of_largest: float = 0.0
) -> tuple[float, float]:
    """The largest difference, and the allowed one: atol + rtol |wanted| + of_largest max.

    The largest is the one with the highest ratio to the allowed difference. Of a `Sampled` array
    the stored positions are compared, then the norm of all values, whose allowed difference follows
    from those of the values.

    Raises:
        ValueError: the shapes differ.
    """
    found = np.asarray(found)
    shape = wanted.shape if isinstance(wanted, Sampled) else np.shape(wanted)
    if found.shape != shape:
        raise ValueError(f"found an array {found.shape}, wanted {shape}")
    if not isinstance(wanted, Sampled):
        wanted = np.asarray(wanted)
        largest = np.abs(wanted).max(initial=0)
        return _worst(found, wanted, atol + rtol * np.abs(wanted) + of_largest * largest)
    edge = atol + of_largest * wanted.largest
    at_samples = _worst(
        found.flatten()[wanted.positions], wanted.values, edge + rtol * np.abs(wanted.values)
    )
    norm = float(np.linalg.norm(found.astype(np.float64)))
    of_norm = _worst(
        np.array(norm), np.array(wanted.norm), np.array(edge * found.size**0.5 + rtol * wanted.norm)
    )
    return max(at_samples, of_norm, key=_share)


def _worst(found: np.ndarray, wanted: np.ndarray, allowed: np.ndarray) -> tuple[float, float]:
    """The difference with the highest ratio to the allowed one, and the allowed one."""
    if not found.size:
        return 0.0, float(np.max(allowed, initial=0))
    differences = np.abs(found.astype(np.float64) - wanted.astype(np.float64)).ravel()
    differences[np.isnan(differences)] = np.inf
    allowed = np.broadcast_to(allowed, wanted.shape).ravel()
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.nan_to_num(differences / allowed, nan=0, posinf=np.inf)  # 0 / 0 is fine
    at = shares.argmax()
    return float(differences[at]), float(allowed[at])


def _share(pair: tuple[float, float]) -> float:
    difference, allowed = pair
    return difference / allowed if allowed else (np.inf if difference else 0.0)


def parity_table(rows: list[tuple[str, str, float, float]]) -> str:
    """Table of comparisons (what, reference, difference, allowed); one row per name, its worst."""
    worst: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for what, reference, found, allowed in rows:
        for name, title in TITLES.items():
            what = what.replace(name, title)
        worst.setdefault((reference, what), []).append((found, allowed))
    table = Table("what", "reference", "times", "largest difference", "allowed", box=SIMPLE_HEAD)
    for column in table.columns[2:]:
        column.justify = "right"
    for (reference, what), pairs in sorted(worst.items()):
        found, allowed = max(pairs, key=_share)
        style = "" if found <= allowed else "red"
        numbers = (f"{number:.2g}" for number in (found, allowed))
        commit = f"{reference} {COMMITS[reference]}"
        table.add_row(what, commit, str(len(pairs)), *numbers, style=style)
    console = Console(file=io.StringIO(), width=132)
    console.print(table)
    console.print(f"{len(rows)} comparisons with paddlepaddle 3.3.1, float32, on a CPU")
    return console.file.getvalue()
