"""Tar shards: what is written is what is read, once, in a seeded order; no hostile ones."""

import io
import json
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS
from torch.utils.data import DataLoader

pytest.importorskip("webdataset")

from classification.data.dataset import ImageFolder
from classification.data.shard_writer import write_shards
from classification.data.shards import MAX_MEMBER, ImageShards, read_index
from engine.data.preprocess import collate

IMAGES = 20  # 10 of each class, in shards of 4


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders: pictures of one colour each, whose red is their number."""
    root = tmp_path_factory.mktemp("plain")
    for number in range(IMAGES):
        path = root / "train" / ("even", "odd")[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((3, 4, 3), (0, 0, 10 * number), np.uint8))
    return root


@pytest.fixture(scope="module")
def shards(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shards")
    write_shards(plain, "train", out, per_shard=4, seed=0)
    return out


def reds(samples: Iterable[dict[str, Any]]) -> list[int]:
    """Numbers of the images."""
    return [int(sample["images"][0, 0, 0]) // 10 for sample in samples]


def passes(data: ImageShards, count: int) -> list[list[int]]:
    stream = iter(data)
    return [reds(next(stream) for _ in range(len(data))) for _ in range(count)]


def test_shards_hold_every_image_once_with_its_class(plain: Path, shards: Path) -> None:
    data = ImageShards(shards)
    assert (len(data), data.metainfo) == (IMAGES, {"classes": ("even", "odd")})
    samples = list(data)
    assert sorted(reds(samples)) == list(range(IMAGES))
    assert reds(samples) != sorted(reds(samples))  # mixed by the writer
    assert all(s["targets"]["label"] == n % 2 for s, n in zip(samples, reds(samples), strict=True))
    assert len({s["targets"]["image_id"] for s in samples}) == IMAGES
    files = dict(zip(reds(ImageFolder(plain)), ImageFolder(plain), strict=True))
    for red, sample in zip(reds(samples), samples, strict=True):
        assert torch.equal(sample["images"], files[red]["images"])


def test_the_same_seed_gives_the_same_bytes(plain: Path, shards: Path, tmp_path: Path) -> None:
    write_shards(plain, "train", tmp_path, per_shard=4, seed=0)
    for path in sorted((shards / "train").iterdir()):
        assert path.read_bytes() == (tmp_path / "train" / path.name).read_bytes()
    with pytest.raises(ValueError, match=r"shards\.json: shards exist already"):
        write_shards(plain, "train", tmp_path, per_shard=4, seed=0)


def test_training_passes_are_whole_shuffled_and_follow_from_the_seed(shards: Path) -> None:
    first, second = passes(ImageShards(shards, training=True, seed=1), 2)
    assert sorted(first) == sorted(second) == list(range(IMAGES))
    assert first != second
    assert passes(ImageShards(shards, training=True, seed=1), 2) == [first, second]
    assert passes(ImageShards(shards, training=True, seed=2), 1) != [first]
    later = ImageShards(shards, training=True, seed=1)
    later.set_epoch(1)
    assert passes(later, 1) == [second]


def test_augmentation_does_not_hang_on_the_reader(shards: Path) -> None:
    """The same image in the same pass gets the same crop, alone or with another worker."""
    from classification.data.transforms import RandomResizedCrop

    def seen(workers: int) -> dict[str, Any]:
        data = ImageShards(
            shards, training=True, transforms=[RandomResizedCrop((2, 2))], seed=3, buffer=2
        )
        loader = DataLoader(data, batch_size=1, num_workers=workers, collate_fn=collate)
        stream, found = iter(loader), {}
        for _ in range(12 if workers else IMAGES):
            batch = next(stream)
            found.setdefault(batch["targets"][0]["image_id"], batch["images"][0])
        return found

    alone, two = seen(0), seen(2)
    assert len(two) >= 8
    assert all(torch.equal(alone[key], two[key]) for key in two)


def test_workers_share_the_shards_out(shards: Path) -> None:
    loader = DataLoader(ImageShards(shards), batch_size=3, num_workers=2, collate_fn=collate)
    found = [int(image[0, 0, 0]) // 10 for batch in loader for image in batch["images"]]
    assert sorted(found) == list(range(IMAGES))


@pytest.mark.parametrize("training", [False, True])
def test_processes_share_the_shards_out(
    shards: Path, monkeypatch: pytest.MonkeyPatch, training: bool
) -> None:
    """Five shards: three for the first of two processes, two for the other."""
    parts = []
    for rank in range(2):
        monkeypatch.setattr("classification.data.shards.get_dist_info", lambda rank=rank: (rank, 2))
        stream = iter(ImageShards(shards, training=training, seed=1))
        parts.append(reds(next(stream) for _ in range((12, 8)[rank])))
    assert sorted(parts[0] + parts[1]) == list(range(IMAGES))


def test_more_readers_than_shards(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("classification.data.shards.get_dist_info", lambda: (0, 6))
    with pytest.raises(ValueError, match=r"5 shards are too few for 6 readers \(6 processes of 1"):
        next(iter(ImageShards(shards, training=True)))


def tar(path: Path, *members: tuple[str | tarfile.TarInfo, bytes], classes: int = 2) -> Path:
    """A data set of one shard with these members, all of one image by the index."""
    folder = path / "train"
    folder.mkdir(parents=True)
    with tarfile.open(folder / "a.tar", "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name) if isinstance(name, str) else name
            member.size = member.size or len(content)
            archive.addfile(member, io.BytesIO(content))
    index = {"format": "lcnet-vision-shards/1", "classes": list("ab"), "shards": {"a.tar": 1}}
    (folder / "shards.json").write_text(json.dumps(index))
    return path


def png() -> bytes:
    return cv2.imencode(".png", np.zeros((2, 2, 3), np.uint8))[1].tobytes()


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def test_names_inside_never_reach_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths up, absolute ones, links and devices: read or passed over, nothing is made."""
    monkeypatch.chdir(tmp_path)
    root = tar(
        tmp_path / "data",
        (link("evil.jpg", "/etc/passwd", tarfile.SYMTYPE), b""),
        (link("hard.cls", "/etc/passwd", tarfile.LNKTYPE), b""),
        (link("pipe.jpg", "", tarfile.FIFOTYPE), b""),
        ("../../up.png", png()),
        ("../../up.cls", b"1\n"),
    )
    before = sorted(tmp_path.rglob("*"))
    (sample,) = ImageShards(root)
    assert sample["targets"] == {"label": 1, "image_id": "a.tar/../../up"}
    assert sorted(tmp_path.rglob("*")) == before
    assert not (tmp_path.parent / "up.png").exists()


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ([("x.png", b"no picture"), ("x.cls", b"0")], "x: not an image that can be read"),
        ([("x.png", png()), ("x.cls", b"2")], "x: class 2 is not one of the 2 classes"),
        ([("x.png", png()), ("x.cls", b"-1")], "must be one image and a .cls file"),
        ([("x.png", png()), ("x.cls", b"9" * 5000)], "must be one image and a .cls file"),
        ([("x.png", png())], "x: must be one image and a .cls file.*has png"),
        ([("x.png", png()), ("x.jpg", png()), ("x.cls", b"0")], "has png, jpg, cls"),
        ([("x.pyd", b"cos\nsystem\n."), ("x.cls", b"0")], "has pyd, cls"),
        ([], "holds 0 images or more, shards.json says 1"),
        ([("x.png", png()), ("x.cls", b"0"), ("y.png", png()), ("y.cls", b"0")], "holds 2 images"),
    ],
)
def test_wrong_content_in_one_line(tmp_path: Path, members: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says) as error:
        list(ImageShards(tar(tmp_path, *members)))
    assert "\n" not in str(error.value)


def huge() -> tarfile.TarInfo:
    """A member of 2 GB of which nothing is there."""
    member = tarfile.TarInfo("x.png")
    member.size = 2**31
    return member


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            huge().tobuf() + b"\0" * 10240,
            f"claims {2**31} bytes, more than .* {MAX_MEMBER}",
        ),
        (b"\x1f\x8b" + b"compressed" * 100, "not a tar that can be read"),
        (b"", "not a tar that can be read"),
    ],
)
def test_wrong_tars_in_one_line(tmp_path: Path, content: bytes, says: str) -> None:
    root = tar(tmp_path)
    (root / "train/a.tar").write_bytes(content)
    with pytest.raises(ValueError, match=rf"train/a\.tar: .*{says}"):
        list(ImageShards(root))


def test_a_cut_tar(shards: Path, tmp_path: Path) -> None:
    root = tar(tmp_path)
    whole = (shards / "train/train-000000.tar").read_bytes()
    (root / "train/a.tar").write_bytes(whole[:700])
    with pytest.raises(ValueError, match=r"train/a\.tar: not a tar that can be read"):
        list(ImageShards(root))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": "x"}, "is not an index of shards"),
        ({"classes": ["a"]}, "classes must be a list of two names"),
        ({"classes": ["a", 1]}, "classes must be a list of two names"),
        ({"shards": {}}, "shards must be names"),
        ({"shards": {"../a.tar": 1}}, "plain name of a .tar"),
        ({"shards": {"/tmp/a.tar": 1}}, "plain name of a .tar"),
        ({"shards": {"pipe:touch x.tar": 1}}, "plain name of a .tar"),
        ({"shards": {"http:a.tar": 1}}, "plain name of a .tar"),
        ({"shards": {"a.tar": 0}}, "a number above 0"),
        ({"shards": {"a.tar": True}}, "a number above 0"),
    ],
)
def test_wrong_indexes_in_one_line(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    path = tar(tmp_path) / "train/shards.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ValueError, match=says):
        read_index(str(path.parent))


def test_what_is_not_there(tmp_path: Path) -> None:
    root = tar(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"val/shards\.json: no such file; write"):
        ImageShards(root, split="val")
    (root / "train/a.tar").unlink()
    with pytest.raises(FileNotFoundError, match=r"train/a\.tar: no such shard"):
        ImageShards(root)
    (root / "train/shards.json").write_text("{")
    with pytest.raises(ValueError, match="not valid JSON"):
        ImageShards(root)


def test_bad_images_are_skipped_and_counted_in_training(tmp_path: Path) -> None:
    root = tar(tmp_path, ("x.png", b"bad"), ("x.cls", b"0"), ("y.png", png()), ("y.cls", b"1"))
    index = root / "train/shards.json"
    index.write_text(index.read_text().replace('"a.tar": 1', '"a.tar": 2'))
    data = ImageShards(root, training=True, on_bad_image="skip")
    stream = iter(data)
    assert [next(stream)["targets"]["label"] for _ in range(3)] == [1, 1, 1]
    assert data.num_bad_images == 1
    with pytest.raises(ValueError, match="evaluation needs every image"):
        ImageShards(root, on_bad_image="skip")


def test_shards_over_http(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL is opened by webdataset; names and slashes as they should be."""
    import webdataset

    opened = []

    def gopen(url: str) -> Any:
        opened.append(url)
        return (shards / url.removeprefix("https://host/bucket/")).open("rb")

    monkeypatch.setattr(webdataset, "gopen", gopen)
    data = DATASETS.build({"type": "ImageShards", "data_root": "https://host/bucket/"})
    assert sorted(reds(data)) == list(range(IMAGES))
    assert opened[0] == "https://host/bucket/train/shards.json"
    assert opened[1] == "https://host/bucket/train/train-000000.tar"


def test_the_command(run_tool: Callable[..., Any], plain: Path, tmp_path: Path) -> None:
    ran = run_tool("make_shards", plain, "--out", tmp_path, "--per-shard", "7")
    assert ran.code == 0, ran.err
    assert "20 images in 3 shards" in ran.out
    assert [p.name for p in sorted((tmp_path / "train").glob("*.tar"))] == [
        f"train-{n:06}.tar" for n in range(3)
    ]
    ran = run_tool("make_shards", plain, "--out", tmp_path / "b", "--per-shard", "0")
    assert (ran.code, ran.err) == (1, "error: expected 1 or more images per shard, got 0\n")


@pytest.mark.slow
def test_training_from_shards(
    run_tool: Callable[..., Any], plain: Path, shards: Path, tmp_path: Path
) -> None:
    """The classifier's config with three overrides; evaluation from folders or shards is one."""
    write_shards(plain, "train", tmp_path / "data", per_shard=6, seed=1)
    (tmp_path / "data/train").rename(tmp_path / "data/val")
    config = Path(__file__).parents[3] / "configs/classifier_lcnet_shards.py"
    options = {
        "model.backbone.scale": 0.25,
        "model.num_classes": 2,
        "model.data_preprocessor.size": "[32,32]",
        "model.data_preprocessor.resize_shortest": 32,
        "train_dataloader.dataset.data_root": shards,
        "train_dataloader.dataset.transforms.0.size": "[32,32]",
        "train_dataloader.batch_size": 4,
        "train_dataloader.num_workers": 2,
        "val_dataloader.dataset.type": "ImageShards",
        "val_dataloader.dataset.data_root": tmp_path / "data",
        "+val_dataloader.sampler": "None",
        "val_dataloader.num_workers": 0,
        "val_dataloader.persistent_workers": False,
        "train_cfg.max_iters": 6,
        "train_cfg.val_interval": 6,
        "default_hooks.checkpoint.interval": 6,
        "param_scheduler.0.end": 2,
        "param_scheduler.1.begin": 2,
    }
    words = [f"{key}={value}" for key, value in options.items()]
    ran = run_tool("train", config, "--work-dir", tmp_path / "run", "--cfg-options", *words)
    assert ran.code == 0, ran.err
    assert (tmp_path / "run/iter_6.pth").is_file()
    assert "accuracy/top1" in ran.out + ran.err
    assert "Length of IterableDataset" not in ran.err


def test_a_link_out_of_the_data_is_not_packed(plain: Path, tmp_path: Path) -> None:
    """Shards go to object storage; a link in foreign data must not take a private file there."""
    (tmp_path / "key").write_text("secret")
    folder = next(path for path in (plain / "train").iterdir() if path.is_dir())
    link = folder / "zzz.jpg"
    link.symlink_to(tmp_path / "key")
    try:
        with pytest.raises(ValueError, match=r"zzz\.jpg: leads out of the data folder"):
            write_shards(plain, "train", tmp_path / "out", per_shard=4, seed=0)
    finally:
        link.unlink()
    assert not (tmp_path / "out").exists()
