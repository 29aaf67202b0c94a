"""Writes the files of this folder from the full arrays: python tests/golden/compact.py FOLDER.

README.md says what the full arrays are and how they were computed. Inputs and weights that a rule
draws are drawn here and must come out equal. Large outputs are kept at sampled positions.
"""

import argparse
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from golden_files import FOLDER, Arrays, Golden, draw_images, draw_weight, parts, positions

from backbone.weights import read_arrays

SAMPLES = 500  # of an array with more than twice as many values
FEWER = {"PPLCNet_x0_25_train_traj": 100}
IMAGES = re.compile(r"(input/(x|x_odd|image)|train/(x|image))$")
SHIFTS = (2, 3, 5, 6, 10)  # of the seed, one an image array

# Float arrays that are kept in full: inputs of what is compared, or rows that are compared as sets.
FULL = re.compile(r"\w+/assigned_|simota/bbox|nms/|train/(pred_bboxes|gt)")
ELEMENTARY = re.compile(
    r"(giou|dfl|vfl|grid|b2d|atss|tal|simota|segce|nms)/|assign/(gt|pad|pred_boxes)"
)
START = re.compile(r"init_stats/")  # of the trajectory: also stored in its .pdparams


def compact(name: str, source: Path) -> None:
    """Writes FOLDER/NAME.0.npz, ... and checks what is read from them.

    Raises:
        ValueError: a weight or an image is not the one that the rule draws.
    """
    info = json.loads((source / f"{name}.json").read_text())
    with np.load(source / f"{name}.npz") as archive:
        full = dict(archive)
    info |= {"images": {}, "sampled": {}, "same": {}, "starts": {}}
    del info["arrays"]
    kept = derived(name, full)
    outputs = {key: value for key, value in full.items() if not key.startswith("state/")}
    count = FEWER.get(name, SAMPLES)
    for key, value in outputs.items():
        if IMAGES.match(key):
            seed = image_seed(key, value, info["seed"])
            info["images"][key] = {"seed": seed, "shape": value.shape}
        elif START.match(key) or (name == "elementary" and not ELEMENTARY.match(key)):
            continue
        elif value.size <= 2 * count or value.dtype.kind != "f" or is_full(name, key):
            kept[key] = value
        else:
            info["sampled"][key] = value.shape
            kept[key] = value.ravel()[positions(key, value.size, count)]
            norm = np.linalg.norm(value.astype(np.float64))
            kept[f"whole/{key}"] = np.array([np.abs(value).max(), norm])
    kept |= weights(full, info)
    if info["pdparams"]:
        kept |= skeleton(source / f"{name}.pdparams", info)
    write(name, {"info": np.frombuffer(json.dumps(info).encode(), np.uint8)} | kept)
    original = source / f"{name}.pdparams"
    if info["pdparams"] and Golden(name).pdparams() != original.read_bytes():
        raise ValueError(f"{original}: not restored byte for byte")


def is_full(name: str, key: str) -> bool:
    return name == "elementary" or bool(FULL.match(key))


def image_seed(key: str, images: np.ndarray, seed: int) -> int:
    for shift in SHIFTS:
        if np.array_equal(draw_images(seed + shift, images.shape), images):
            return seed + shift
    raise ValueError(f"{key}: drawn with no seed of {seed} + {SHIFTS}")


def weights(full: Arrays, info: dict[str, Any]) -> Arrays:
    """What has to be stored of the weights: statistics of norms, and factors of drawn arrays."""
    shapes, kept, seen = info.get("state_dict", {}), {}, {}
    for key, value in full.items():
        name = key.removeprefix("state/")
        if not key.startswith("state/"):
            continue
        if value.tobytes() in seen and not name.endswith(("_mean", "_variance")):
            info["same"][name] = seen[value.tobytes()]
            continue
        seen[value.tobytes()] = name
        if value.ndim < 4 or value.size <= SAMPLES:
            kept[key] = value
            continue
        drawn = draw_weight(name, shapes[name], info["seed"], is_norm=False)
        factors = (value * drawn).sum((1, 2, 3)) / (drawn**2).sum((1, 2, 3))
        error = np.abs(drawn * factors.reshape(-1, 1, 1, 1) / value - 1).max()
        if error > 2e-7:  # more than one step of float32
            raise ValueError(f"{name}: not a multiple of what the rule draws, {error:.1e} off")
        kept[f"factor/{name}"] = factors
    return kept


def skeleton(path: Path, info: dict[str, Any]) -> Arrays:
    """The weight file without the values of its arrays, and where they were cut out."""
    content, arrays, kept = path.read_bytes(), read_arrays(path), {}
    names = [name for name in info["state_dict"] if name in arrays]
    starts = sorted((content.index(arrays[name].tobytes()), name) for name in names)
    left, end = b"", 0
    for start, name in starts:
        left += content[end:start]
        info["starts"][name] = start
        end = start + arrays[name].nbytes
        if name.endswith(("_mean", "_variance")):
            kept[f"state/{name}"] = arrays[name]
    return {"skeleton": np.frombuffer(left + content[end:], np.uint8)} | kept


def derived(name: str, full: Arrays) -> Arrays:
    """The part of large arrays on which an assignment or a suppression depends."""
    if name == "elementary":
        return elementary(full)
    if name.endswith("_train"):
        return training(full)
    if name.endswith("_lcnet"):
        return candidates(full)
    return {}


def candidates(full: Arrays) -> Arrays:
    """Points with a score of at least the lowest kept one: others cannot change what is kept."""
    ends = full["nms/bbox_num"].cumsum()[:-1]
    kept = {}
    for image, rows in enumerate(np.split(full["nms/bbox"], ends)):
        scores = full["decoded/scores"][image].T  # (P, K)
        points = (scores >= rows[:, 1].min()).any(1)
        kept[f"nms/boxes_{image}"] = full["decoded/boxes"][image][points]
        kept[f"nms/scores_{image}"] = scores[points]
    return kept


def training(full: Arrays) -> Arrays:
    """Scores of the objects' classes at all points, and distances where an object is assigned."""
    labels = np.stack([full[f"{kind}/assigned_labels"] for kind in ("static_atss", "task_aligned")])
    return {
        "train/scores_of_targets": of_targets(full["train/pred_scores"], full["input/gt_class"]),
        "train/regs_of_positives": full["train/pred_regs"][(labels < 80).any(0)],
    }


def of_targets(scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Of scores (B, P, K) those of classes (B, G, 1): (B, P, G)."""
    return np.take_along_axis(scores, classes.transpose(0, 2, 1), axis=2)


def elementary(full: Arrays) -> Arrays:
    """Every fifth point of the distances, and the scores on which assignments depend."""
    points, objects = full["grid/points"], full["assign/gt_bbox"][0]
    centers = (objects[:, :2] + objects[:, 2:]) / 2
    reach = 3 * full["grid/strides"]  # (P, 1); 2.5 strides is what counts
    inside = (points[:, None] > objects[:, :2]) & (points[:, None] < objects[:, 2:])  # (P, G, 2)
    near = np.abs(points[:, None] - centers) < reach[:, None]
    chosen = np.flatnonzero((inside.all(2) | near.all(2)).any(1))
    scores = full["assign/pred_scores"]
    fifth = {key: value[:, ::5] for key, value in full.items() if key.startswith("dist/")}
    return fifth | {
        "assign/scores_of_targets": of_targets(scores, full["assign/gt_class"]),
        "assign/candidates": chosen,
        "assign/scores_of_candidates": scores[0, chosen],
    }


def write(name: str, arrays: Arrays) -> None:
    for old in FOLDER.glob(f"{name}.*.npz"):
        old.unlink()
    for number, part in enumerate(parts(arrays)):
        np.savez_compressed(FOLDER / f"{name}.{number}.npz", **part)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="folder of the full arrays")
    source = parser.parse_args().source
    for path in sorted(source.glob("*.npz")):
        compact(path.stem, path.parent)
    shutil.copyfile(source / "schedules.json", FOLDER / "schedules.json")


if __name__ == "__main__":
    main()
