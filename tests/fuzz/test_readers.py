"""Every reader of foreign files, given files that are not what they should be.

A reader takes a file or refuses it with one line that names it; nothing else may come out.
FUZZ_EXAMPLES=300 pytest -m slow tests/fuzz tries 300 jsons, 3000 files of each kind that takes long
to read, 30,000 of each other, new ones every time; without it there are few, and always the same.
"""

import io
import json
import os
import pickle
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, currently_in_test_context, given, note, settings
from hypothesis import strategies as st
from PIL import Image

from backbone.weights import read_arrays, read_classes
from classification.data.image_lists import read_list
from classification.evaluation.predictions import read_predictions
from detection.data import voc, yolo
from detection.data.checks import check_entries
from detection.data.coco_json import read_coco
from engine.checkpoint import checkpoint
from engine.checks.image_checks import inspect
from engine.data.class_list import find_label_file
from engine.data.image_files import find_sources
from engine.data.image_size import header_size
from engine.data.images import pixels_of
from segmentation.data.masks import read_mask, read_names

WANTED = os.environ.get("FUZZ_EXAMPLES")
RUN = settings(
    max_examples=int(WANTED or 5),
    derandomize=WANTED is None,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
FEW, MANY = 10, 100  # files by one example, of those that take long to read and of others
SEEDS = st.integers(0, 2**32)
pytestmark = pytest.mark.slow
Reader = Callable[[Path], object]


class Outcome(NamedTuple):
    """What a reader made of a file."""

    file: str
    value: object  # None where the file was refused
    line: str  # why; "" where it was read

    @property
    def is_clean(self) -> bool:
        """Whether the file was read, or refused with one line that names it."""
        return not self.line or ("\n" not in self.line and self.file in self.line)


def tried(read: Reader, path: Path, content: bytes) -> Outcome:
    """What a reader makes of a file of this content; any other error comes through."""
    if currently_in_test_context():
        note(repr(content))  # the last one printed is what to write a test of
    path.write_bytes(content)
    try:
        return Outcome(path.name, read(path), "")
    except (ValueError, FileNotFoundError) as error:
        return Outcome(path.name, None, str(error) or "no reason\n")


def damaged(honest: list[bytes], seed: int, count: int) -> Iterator[bytes]:
    """Honest files, cut short, or with pieces replaced, put in or taken out."""
    drawn = random.Random(seed)
    for _ in range(count):
        content = drawn.choice(honest)
        for _ in range(drawn.randint(1, 4)):
            at = drawn.randint(0, len(content))
            gone, new = drawn.choice([0, 1, 2, 4, 8, 64]), drawn.choice([0, 1, 1, 2, 4, 8])
            content = content[:at] + drawn.randbytes(new) + content[at + gone :]
        yield content[: drawn.randint(0, len(content))] if drawn.random() < 0.2 else content


def soup(words: list[bytes], seed: int, count: int) -> Iterator[bytes]:
    """Files made of the words of a format, and here and there other bytes."""
    drawn = random.Random(seed)
    for _ in range(count):
        pieces = drawn.choices(words, k=drawn.randint(0, 40))
        if drawn.random() < 0.5:
            pieces.insert(drawn.randint(0, len(pieces)), drawn.randbytes(3))
        yield b"".join(pieces)


def encoded(words: list[str]) -> list[bytes]:
    return [word.encode() for word in words]


# Annotations.

NUMBERS = st.one_of(st.integers(-2, 3), st.integers(), st.floats(), st.just(10**400))
SCALARS = st.one_of(NUMBERS, st.none(), st.booleans(), st.text(max_size=5), st.just("../../x"))
VALUES = st.one_of(
    SCALARS, st.lists(NUMBERS, min_size=4, max_size=4), st.lists(SCALARS, max_size=3)
)
KEYS = st.sampled_from(
    ["id", "image_id", "category_id", "bbox", "file_name", "width", "height", "name", "iscrowd"]
)
IMAGE = {"id": 1, "file_name": "a.jpg", "width": 8, "height": 8}
ANNOTATION = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4], "iscrowd": 0}
CATEGORY = {"id": 1, "name": "a"}


def records(honest: dict[str, Any]) -> st.SearchStrategy[Any]:
    """A list of entries that are honest but for some values, or something else."""
    changed = st.dictionaries(KEYS, VALUES, max_size=2).map(lambda other: {**honest, **other})
    return st.one_of(st.lists(st.one_of(changed, VALUES), max_size=4), VALUES)


JSON = st.fixed_dictionaries(
    {
        "images": st.one_of(st.just([IMAGE]), records(IMAGE)),
        "annotations": st.one_of(st.just([ANNOTATION]), records(ANNOTATION)),
        "categories": st.one_of(st.just([CATEGORY]), records(CATEGORY)),
    }
).map(lambda content: json.dumps(content).encode())
HONEST_JSON = json.dumps(
    {"images": [IMAGE], "annotations": [ANNOTATION], "categories": [CATEGORY]}
).encode()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COCO data set whose json is written again each time."""
    root = tmp_path_factory.mktemp("fuzz")
    (root / "annotations").mkdir()
    (root / "train").mkdir()
    (root / "train/a.jpg").touch()
    return root


@RUN
@given(JSON)
def test_coco_json(folder: Path, content: bytes) -> None:
    assert _is_read_or_found(folder, content)


@RUN
@given(SEEDS)
def test_damaged_coco_json(folder: Path, seed: int) -> None:
    for content in damaged([HONEST_JSON], seed, FEW):
        assert _is_read_or_found(folder, content)


def _is_read_or_found(folder: Path, content: bytes) -> bool:
    """Training takes it, or the check of data finds an error in it."""
    path = folder / "annotations/instances_train.json"
    taken = tried(read_coco, path, content)
    refused = [f for f in check_entries(folder, ["train"]).findings if f.rule.severity == "error"]
    return taken.is_clean and (not taken.line or bool(refused))


YOLO = encoded(
    ["0 ", "1 ", "0.5 ", "-1 ", "nan ", "1e400 ", "\n", "9" * 5000 + " ", "a ", "\0", "½ "]
)


@RUN
@given(SEEDS)
def test_yolo_labels(folder: Path, seed: int) -> None:
    for content in soup(YOLO, seed, MANY):
        assert tried(lambda path: yolo.read_labels(path, 3), folder / "a.txt", content).is_clean


YAML = encoded(["names: ", "[a, b]", "{0: a, 1: b}", "\n", "- a", "&x ", "*x", "!!python/name:os "])


@RUN
@given(SEEDS)
def test_yolo_names(folder: Path, seed: int) -> None:
    for content in soup(YAML, seed, FEW):
        assert tried(yolo.read_names, folder / "names.yaml", content).is_clean
        assert tried(yolo.read_names, folder / "names.txt", content).is_clean


XML = encoded(["<annotation>", "</annotation>", "<object>", "</object>", "<name>", "</name>", "a",
       "1", "<bndbox>", "</bndbox>", "<xmin>", "</xmin>", "&a;", "&#0;", "<!DOCTYPE a [",
       "<!ENTITY a 'b'>", "]>", "<filename>../x</filename>", "<!--", "-->",
       "<?xml version='1.0' encoding='utf-7'?>",
       "<?xml version='1.0' encoding='utf-32'?>", "<![CDATA["])  # fmt: skip
SIDES = "".join(f"<{side}>{n}</{side}>" for n, side in enumerate(("xmin", "ymin", "xmax", "ymax")))
HONEST_XML = (
    "<annotation><filename>a.jpg</filename><object><name>a</name><difficult>0</difficult>"
    f"<bndbox>{SIDES}</bndbox></object></annotation>"
).encode()


@RUN
@given(SEEDS)
def test_voc_xml(folder: Path, seed: int) -> None:
    honest = [HONEST_XML, HONEST_XML.decode().encode("utf-16")]
    for content in (*soup(XML, seed, MANY), *damaged(honest, seed, MANY)):
        assert tried(voc.read_xml, folder / "a.xml", content).is_clean


# Lists.

LIST = encoded(
    ["a.jpg ", "0", "1", "\n", "\t", " ", "../x ", "9" * 5000, "²", "-1", "\r", "\ufeff"]
)
NAMES = encoded(
    ["cat", "dog", "0 ", "1 ", "n01440764 ", "\t", "\n", "9" * 5000 + " ", "²", "\ufeff"]
)
SOURCES = encoded(["a.jpg", "train", "\n", "*", "[", "../", "list.txt", "\0", "x" * 300])


@RUN
@given(SEEDS)
def test_classifier_list(folder: Path, seed: int) -> None:
    for content in soup(LIST, seed, MANY):
        assert tried(read_list, folder / "train_list.txt", content).is_clean


@RUN
@given(SEEDS)
def test_label_file(folder: Path, seed: int) -> None:
    for content in soup(NAMES, seed, MANY):
        assert tried(
            lambda path: find_label_file(path.parent), folder / "classes.txt", content
        ).is_clean
        assert tried(read_names, folder / "classes.txt", content).is_clean


@RUN
@given(SEEDS)
def test_list_of_sources(folder: Path, seed: int) -> None:
    for content in soup(SOURCES, seed, FEW):
        assert tried(
            lambda path: find_sources([str(path)]), folder / "sources.txt", content
        ).is_clean


# Weights.


def saved(save: Callable[[Any], object]) -> bytes:
    stream = io.BytesIO()
    save(stream)
    return stream.getvalue()


ARRAYS = {"conv.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([1, 2])}
PICKLES = [pickle.dumps(ARRAYS, protocol) for protocol in range(5)]
OPERATIONS = [
    bytes([code]) for code in b"()}]{[NKqhr2012\x85\x86\x87\x89\x94\x93RbsuetadQ.\x80\x95Xc"
]


@RUN
@given(SEEDS)
def test_pdparams(folder: Path, seed: int) -> None:
    for content in (*soup(OPERATIONS, seed, MANY), *damaged(PICKLES, seed, MANY)):
        assert tried(read_arrays, folder / "a.pdparams", content).is_clean


NPZ = [saved(lambda s: np.savez(s, **ARRAYS)), saved(lambda s: np.savez_compressed(s, **ARRAYS))]


@RUN
@given(SEEDS)
def test_damaged_npz(folder: Path, seed: int) -> None:
    for content in damaged(NPZ, seed, FEW):
        assert tried(read_arrays, folder / "a.npz", content).is_clean
        assert tried(read_predictions, folder / "a.npz", content).is_clean


WEIGHTS = {"w": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3)}
PTH = saved(
    lambda stream: torch.save(
        {"format": checkpoint.FORMAT, "model": {"type": "PicoDet", "num_classes": 2},
         "classes": ["a", "b"], "state_dict": WEIGHTS, "info": {"epoch": 1}}, stream,
    )
)  # fmt: skip


@RUN
@given(SEEDS)
def test_damaged_checkpoint(folder: Path, seed: int) -> None:
    for content in damaged([PTH], seed, FEW):
        found = tried(checkpoint.read, folder / "a.pth", content)
        assert found.is_clean
        if isinstance(found.value, dict):
            with suppress(ValueError):
                checkpoint.check_description(found.value["model"])


def onnx_bytes() -> bytes:
    """A graph with an initialiser and a constant."""
    from onnx import helper, numpy_helper

    weights = [numpy_helper.from_array(array, name) for name, array in ARRAYS.items()]
    node = helper.make_node("Constant", [], ["c"], value=weights[1])
    graph = helper.make_graph([node], "graph", [], [], weights)
    model = helper.make_model(graph)
    model.metadata_props.add(key="character", value="a\nb")
    return bytes(model.SerializeToString())


@RUN
@given(SEEDS)
def test_damaged_onnx(folder: Path, seed: int) -> None:
    pytest.importorskip("onnx")
    for content in damaged([onnx_bytes()], seed, FEW):
        assert tried(read_arrays, folder / "a.onnx", content).is_clean
        assert tried(read_classes, folder / "a.onnx", content).is_clean


# Images.

PIXELS = np.arange(5 * 7, dtype=np.uint8).reshape(5, 7)
PICTURES = [
    *(cv2.imencode(suffix, PIXELS)[1].tobytes() for suffix in (".png", ".jpg", ".bmp", ".webp")),
    *(saved(lambda s, k=kind: Image.fromarray(PIXELS).save(s, k)) for kind in ("GIF", "TIFF")),
    saved(lambda s: Image.fromarray(PIXELS).save(s, "TIFF", compression="tiff_lzw")),
    saved(lambda s: Image.fromarray(PIXELS).save(s, "JPEG", progressive=True)),
]


@RUN
@given(SEEDS)
def test_damaged_image(folder: Path, seed: int) -> None:
    """Where it decodes, its header told how large it would be."""
    path = folder / "a.png"
    for content in damaged(PICTURES, seed, FEW):
        image = tried(
            lambda path, data=content: pixels_of(path, data, apply_exif=False), path, content
        )
        assert image.is_clean
        if isinstance(image.value, np.ndarray):
            height, width = header_size(content)
            assert image.value.shape[0] <= height, content
            assert image.value.shape[1] <= width, content
        assert inspect(path).path == path
        assert tried(lambda path: read_mask(path, ("a", "b")), path, content).is_clean


def test_honest_files_are_read(folder: Path) -> None:
    """Else all the others would only try how a reader refuses."""
    pytest.importorskip("onnx")
    cases: list[tuple[Reader, str, bytes]] = [
        (read_coco, "annotations/instances_train.json", HONEST_JSON),
        (voc.read_xml, "a.xml", HONEST_XML),
        *((read_arrays, "a.pdparams", content) for content in PICKLES),
        *((read_arrays, "a.npz", content) for content in NPZ),
        (checkpoint.read, "a.pth", PTH),
        (read_arrays, "a.onnx", onnx_bytes()),
    ]
    for read, name, content in cases:
        outcome = tried(read, folder / name, content)
        assert outcome.line == ""
        assert outcome.value is not None
