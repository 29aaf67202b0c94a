"""Published weights by name: what is downloaded, pinned, refused and cached."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from engine import config
from engine.checkpoint import checkpoint
from engine.checkpoint.download import Manners
from engine.checkpoint.zoo import (
    CONFIGS,
    PublishedWeights,
    Zoo,
    cache_folder,
    is_offline,
    local,
    read_table,
)
from engine.fileio import write_json

QUICK = Manners(timeout=5, attempts=1, pause=0, loopback_http=True)
FILE = "tiny_pretrained.pdparams"
SLOW = [pytest.param(what, marks=pytest.mark.slow) for what in ("page", "other")]


class Server(ThreadingHTTPServer):
    """Serves `content` under any path."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = b""
        self.count = 0
        self.url = f"http://127.0.0.1:{self.server_port}/{FILE}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.count += 1
        self.send_response(200 if self.server.content else 404)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def weights(
    paddle_file: Callable[..., dict[str, np.ndarray]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[bytes, dict[str, np.ndarray]]:
    """A weight file and its content."""
    path = tmp_path_factory.mktemp("paddle") / FILE
    arrays = paddle_file(path)
    return path.read_bytes(), arrays


@pytest.fixture
def server(weights, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as server:
        server.content = weights[0]
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def zoo(server: Server, folder: Path, *, offline: bool = False, **changes: object) -> Zoo:
    """A zoo of one model, a classifier with three classes."""
    entry = {
        "name": "tiny",
        "url": server.url,
        "source": "here",
        "licence": "Apache-2.0",
        "config": "classifier_lcnet_x0_25.py",
        "verified": False,
        "options": {"model.num_classes": 3},
        **changes,
    }
    return Zoo({"tiny": PublishedWeights(**entry)}, folder / "cache", offline, QUICK)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def names(folder: Path) -> list[str]:
    """Files in the cache, without locks."""
    return sorted(p.name for p in (folder / "cache").glob("*") if p.suffix != ".lock")


def test_a_file_with_a_published_hash_is_fetched_once(server, weights, tmp_path: Path) -> None:
    content, arrays = weights
    tiny = zoo(server, tmp_path, sha256=sha256(content), classes=("cat", "dog", "cow"))
    path = tiny.checkpoint("tiny")
    assert path == tiny.checkpoint("tiny") == tmp_path / "cache/tiny.pth"
    assert server.count == 1
    assert names(tmp_path) == ["tiny.pth", FILE]
    found = checkpoint.read(path)
    assert found["info"] == {
        "source": server.url, "licence": "Apache-2.0", "sha256": sha256(content),
    }  # fmt: skip
    stem = found["state_dict"]["backbone.stem.conv.weight"]
    np.testing.assert_array_equal(stem, arrays["stem.conv.weight"])
    last = found["state_dict"]["classify.weight"]  # Paddle scales by 0.8 in evaluation
    np.testing.assert_allclose(last, 0.8 * arrays["fc.weight"].T, rtol=1e-6)
    assert found["classes"] == ["cat", "dog", "cow"]


def test_without_a_hash_the_first_file_is_pinned(server, weights, tmp_path: Path) -> None:
    content, _ = weights
    tiny = zoo(server, tmp_path)
    with pytest.raises(ValueError, match=r"download_weights.py tiny --accept-unverified$"):
        tiny.checkpoint("tiny")
    assert server.count == 0
    assert not (tmp_path / "cache").exists()
    path = tiny.checkpoint("tiny", accept_unverified=True)
    assert checkpoint.read(path)["classes"] == ["0", "1", "2"]
    pin = {"url": server.url, "sha256": sha256(content)}
    assert json.loads(tiny.lock_file.read_text()) == {"tiny": pin}
    path.unlink()
    (tmp_path / "cache" / FILE).unlink()
    server.content = content[:-1] + b"x"
    with pytest.raises(ValueError, match=r"refused, SHA256 hash .* does not match .* expected"):
        tiny.checkpoint("tiny", accept_unverified=True)  # which does not unpin
    assert names(tmp_path) == ["zoo.lock.json"]
    server.content = content
    assert tiny.checkpoint("tiny") == path


def test_another_address_needs_another_pin(server, tmp_path: Path) -> None:
    tiny = zoo(server, tmp_path)
    pin = {"url": f"{server.url}?old", "sha256": "0" * 64, "size": 3}  # size: of older versions
    write_json(tiny.lock_file, {"tiny": pin})
    with pytest.raises(ValueError, match="--accept-unverified"):
        tiny.checkpoint("tiny")
    write_json(tiny.lock_file, {"tiny": {**pin, "url": server.url}})
    with pytest.raises(ValueError, match=f"expected {'0' * 64} but got"):
        tiny.checkpoint("tiny")


def hostile() -> bytes:
    """A pickle that would run code."""

    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (os.mkdir, ("exploded",))

    return pickle.dumps({"stem.conv.weight": Bomb()})


@pytest.mark.parametrize("what", ["hostile", "truncated", "half", *SLOW])
def test_what_does_not_convert_is_neither_pinned_nor_kept(
    server, weights, paddle_file, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content, arrays = weights
    paddle_file(tmp_path / "other.pdparams", num_classes=5)
    server.content = {
        "hostile": hostile(),
        "truncated": content[:-1000],
        "page": b"<html>please log in</html>",
        "other": (tmp_path / "other.pdparams").read_bytes(),
        "half": pickle.dumps({n: a for n, a in arrays.items() if not n.startswith("fc")}),
    }[what]
    tiny = zoo(server, tmp_path)
    with pytest.raises(ValueError, match=FILE) as error:
        tiny.checkpoint("tiny", accept_unverified=True)
    assert "\n" not in str(error.value)
    assert names(tmp_path) == []
    assert not (tmp_path / "exploded").exists()


def test_a_cached_file_is_used_if_it_is_right(server, weights, tmp_path: Path) -> None:
    tiny = zoo(server, tmp_path, sha256=sha256(weights[0]), offline=True)
    with pytest.raises(FileNotFoundError, match=rf"LCNET_OFFLINE is set; put {FILE} there"):
        tiny.checkpoint("tiny")
    raw = tmp_path / "cache" / FILE
    raw.parent.mkdir()
    raw.write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"refused, its sha256 is not .*unset LCNET_OFFLINE"):
        tiny.checkpoint("tiny")
    raw.write_bytes(weights[0])
    path = tiny.checkpoint("tiny")
    raw.unlink()
    assert tiny.checkpoint("tiny") == path
    assert server.count == 0


@pytest.mark.slow
def test_a_damaged_cache_heals(server, weights, tmp_path: Path) -> None:
    tiny = zoo(server, tmp_path, sha256=sha256(weights[0]))
    path = tiny.checkpoint("tiny")
    whole = checkpoint.read(path)["state_dict"]
    path.write_bytes(path.read_bytes()[:1000])
    (tmp_path / "cache" / FILE).write_bytes(b"")
    again = checkpoint.read(tiny.checkpoint("tiny"))["state_dict"]
    assert server.count == 2
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_a_damaged_lock_file_is_no_licence(server, tmp_path: Path) -> None:
    tiny = zoo(server, tmp_path)
    tiny.folder.mkdir()
    for text in ("{", "[1]", '{"tiny": {}}', "null"):
        tiny.lock_file.write_text(text)
        with pytest.raises(ValueError, match=r"zoo.lock.json: damaged; restore it, or remove it"):
            tiny.checkpoint("tiny", accept_unverified=True)
    assert server.count == 0


def test_two_at_once_fetch_once(server, weights, tmp_path: Path) -> None:
    tiny = zoo(server, tmp_path, sha256=sha256(weights[0]))
    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(tiny.checkpoint, ["tiny", "tiny"]))
    assert paths == [tmp_path / "cache/tiny.pth"] * 2
    assert server.count == 1


PROGRAM = """
import sys
from pathlib import Path
from engine.checkpoint.download import Manners
from engine.checkpoint.zoo import PublishedWeights, Zoo
url, folder = sys.argv[1:]
entry = PublishedWeights(
    "tiny", url, "here", "Apache-2.0", "classifier_lcnet_x0_25.py", False,
    {"model.num_classes": 3},
)
zoo = Zoo({"tiny": entry}, Path(folder), False, Manners(loopback_http=True))
print(zoo.checkpoint("tiny", accept_unverified=True))
"""


@pytest.mark.slow
def test_two_processes_at_once_fetch_once(server, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, server.url, str(tmp_path / "cache")]
    root = CONFIGS.parent
    runs = [
        subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    results = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], results
    assert server.count == 1
    assert names(tmp_path) == ["tiny.pth", FILE, "zoo.lock.json"]


def test_the_table_says_what_is_known_of_each() -> None:
    table = read_table()
    assert len(table) == 40
    assert table["pplcnet_x0_5"].published == {"top1": 63.14, "top5": 84.66}
    assert table["mobilenetv3_small_x0_75"].published == {"top1": 66.02, "top5": 86.33}
    assert table["pplcnet_x2_5_ssld"].published == {"top1": 80.82, "top5": 95.33}
    assert table["picodet_l_640"].published == {"AP": 42.6, "AP50": 59.2}
    assert len({entry.url for entry in table.values()}) == len(table)
    assert len({entry.file for entry in table.values()}) == len(table)
    for entry in table.values():
        assert entry.url.startswith("https://")
        assert entry.file.endswith(".pdparams")
        assert (CONFIGS / entry.config).is_file()
        assert entry.licence == "Apache-2.0"
        assert all(0 < value < 100 for value in entry.published.values())
        assert not entry.verified  # until somebody who has a network says so
        assert entry.sha256 is None


@pytest.mark.slow
def test_each_config_describes_the_published_model() -> None:
    for entry in read_table().values():
        model = config.plain(config.load(CONFIGS / entry.config, entry.options).model)
        trunk = model["backbone"]
        if entry.name.startswith(("pplcnet", "mobilenetv3")):
            arch = "" if trunk["type"] == "PPLCNet" else f"_{trunk['arch']}"
            scale = f"{trunk['type'].lower()}{arch}_x{trunk['scale']}".replace(".", "_")
            assert entry.name.removesuffix("_ssld") == scale
            assert model["num_classes"] == 1000
        elif entry.classes:
            assert model["num_classes"] == len(entry.classes)
            assert model["data_preprocessor"]["size"] == [800, 608]
        else:
            side = int(entry.name.rpartition("_")[2])
            assert model["data_preprocessor"]["size"] == [side, side]
            assert model["num_classes"] == 80
            assert f"_{side}_coco" in entry.file


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a]\nurl = 1\nurll = 2", "a has an unknown key 'urll'; nearest known: url"),
        ("[a]\nurl = 'https://h/a'", "a: .*missing 4 required"),
        ("[a", "not readable as TOML"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "zoo.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_table(path)
    with pytest.raises(FileNotFoundError, match=r"none\.toml"):
        read_table(tmp_path / "none.toml")


def test_the_environment_says_where_and_whether(monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path.home() / ".cache/lcnet-vision"
    for value, folder in (("/a/b", Path("/a/b/lcnet-vision")), ("", home), ("relative", home)):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache_folder() == folder
    for value, offline in (("1", True), ("yes", True), ("0", False), ("", False)):
        monkeypatch.setenv("LCNET_OFFLINE", value)
        assert is_offline() is offline


def test_only_names_of_the_zoo_are_looked_up() -> None:
    assert local("runs/zoo:a.pth") == Path("runs/zoo:a.pth")
    with pytest.raises(ValueError, match="called 'picodet_s_32'; nearest known: picodet_s_320"):
        local(Path("zoo:picodet_s_32"))
