"""Every status and metric of a server, with a fake model."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx2")

from engine.serving.app import create_app  # noqa: E402
from engine.serving.batching import BatchRule  # noqa: E402
from engine.serving.service import Limits, Upload  # noqa: E402

PNG = cv2.imencode(".png", np.full((20, 30, 3), 7, np.uint8))[1].tobytes()
BYTES = {"Content-Type": "image/png"}
Check = Callable[[Any], Awaitable[Any]]


class StandIn:
    """A fake of `Served`: answers with an upload's bytes and threshold when allowed."""

    name = "m"
    model = SimpleNamespace(classes=("a", "b"), batched=True)

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self.batches: list[int] = []

    def answer(self, uploads: Sequence[Upload]) -> list[bytes]:
        self.go.wait(5)
        self.batches.append(len(uploads))
        return [json.dumps([len(upload.data), upload.threshold]).encode() for upload in uploads]

    def input_rule(self) -> dict[str, Any]:
        return {"size": [4, 6], "resize_shortest": None, "interpolation": "cubic"}


@pytest.fixture
def model() -> StandIn:
    return StandIn()


@pytest.fixture
def ask(model: StandIn) -> Callable[..., Any]:
    """Calls a function with a client of a server and returns its result: (function, limits)."""

    def run(check: Check, **limits: Any) -> Any:
        async def inside() -> Any:
            app = create_app([model], Limits(**limits))  # type: ignore[list-item]
            async with (
                app.router.lifespan_context(app),
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(app=app), base_url="http://here"
                ) as client,
            ):
                return await check(client)

        return asyncio.run(inside())

    return run


def post(content: Any = PNG, headers: dict[str, str] = BYTES, **more: Any) -> Check:
    """Sends one image."""
    return lambda client: client.post("/v1/m", content=content, headers=headers, **more)


def line(answer: Any, status: int) -> str:
    """The one-line message of an error."""
    assert answer.status_code == status, answer.text
    assert answer.json().keys() == {"detail"}
    text = str(answer.json()["detail"])
    assert "\n" not in text
    return text


@pytest.mark.parametrize("kind", ["image/png", "IMAGE/PNG", "application/octet-stream"])
def test_bytes(ask: Callable[..., Any], kind: str) -> None:
    answer = ask(post(headers={"Content-Type": kind}))
    assert (answer.status_code, answer.json()) == (200, [len(PNG), 0.4])
    assert answer.headers["content-type"] == "application/json"


def test_bytes_of_no_type_and_a_form(ask: Callable[..., Any]) -> None:
    assert ask(post(headers={})).json() == [len(PNG), 0.4]
    form = ask(lambda client: client.post("/v1/m", files={"any": ("../x", PNG)}, data={"a": "b"}))
    assert form.json() == [len(PNG), 0.4]


def test_threshold(ask: Callable[..., Any]) -> None:
    assert ask(post(params={"threshold": 0})).json() == [len(PNG), 0]
    assert ask(post(params={"threshold": 1})).json() == [len(PNG), 1]
    assert ask(post(), threshold=0.7).json() == [len(PNG), 0.7]
    for wrong in ("1.01", "-0.1", "nan", "x"):
        assert line(ask(post(params={"threshold": wrong})), 422).startswith("threshold: Input ")


def test_unknown_model(ask: Callable[..., Any]) -> None:
    answer = ask(lambda client: client.post("/v1/n", content=PNG))
    assert line(answer, 404) == "no such model; the models are m"


def test_types_that_are_not_taken(ask: Callable[..., Any]) -> None:
    for kind in ("text/plain", "image/gif", "application/x-www-form-urlencoded", "x"):
        assert f"{kind!r} is not supported; send image/jpeg" in line(
            ask(post(headers={"Content-Type": kind})), 415
        )


@pytest.mark.parametrize("data", [b"", b"no image", PNG[:20]])
def test_no_image(ask: Callable[..., Any], model: StandIn, data: bytes) -> None:
    assert "not a JPEG, PNG, WEBP, BMP file" in line(ask(post(data)), 422)
    assert model.batches == []


def test_forms_without_an_image(ask: Callable[..., Any]) -> None:
    def form(content: bytes, boundary: str = "; boundary=x") -> str:
        headers = {"Content-Type": f"multipart/form-data{boundary}"}
        return line(ask(post(content, headers)), 422)

    text = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nhi\r\n--x--\r\n'
    assert form(text) == "form: no file in it; send the image as a file"
    assert form(b"", "") == "form: Missing boundary in multipart."
    assert form(b"no form").startswith("form: ")


async def in_parts(*parts: bytes, wait: float = 0) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
        await asyncio.sleep(wait)


def test_too_many_bytes(ask: Callable[..., Any]) -> None:
    """By the header, or without one by counting."""
    limit = len(PNG)
    assert ask(post(), max_bytes=limit).status_code == 200
    assert (
        line(ask(post(PNG + b"0"), max_bytes=limit), 413) == f"more than the limit of {limit} bytes"
    )
    parts = [PNG, b"0"]
    assert line(ask(lambda c: post(in_parts(*parts))(c), max_bytes=limit), 413)
    assert ask(lambda c: post(in_parts(PNG))(c), max_bytes=limit).status_code == 200
    form = ask(lambda client: client.post("/v1/m", files={"a": PNG}), max_bytes=limit)
    assert line(form, 413)


def test_too_many_pixels(ask: Callable[..., Any], model: StandIn) -> None:
    assert ask(post(), rule=BatchRule(max_weight=600)).status_code == 200
    refused = line(ask(post(), rule=BatchRule(max_weight=599)), 413)
    assert refused == "image: 30 x 20 pixels exceed the limit of 599; send a smaller image"
    assert model.batches == [1]


def test_too_slow_an_upload(ask: Callable[..., Any]) -> None:
    slow = ask(lambda c: post(in_parts(PNG[:9], PNG[9:], wait=0.2))(c), timeout=0.1)
    assert line(slow, 408) == "the image did not arrive within 0.1 s"


def test_too_slow_an_answer(ask: Callable[..., Any], model: StandIn) -> None:
    model.go.clear()

    async def check(client: Any) -> Any:
        answer = await post()(client)
        model.go.set()
        return answer

    assert line(ask(check, timeout=0.1), 504) == "no answer within 0.1 s"


def test_too_many_at_once(ask: Callable[..., Any], model: StandIn) -> None:
    """Three of five fit; not ready until they are done."""
    model.go.clear()

    async def check(client: Any) -> Any:
        asked = [asyncio.create_task(post()(client)) for _ in range(5)]
        done, waiting = await asyncio.wait(asked, timeout=0.3)
        ready = await client.get("/ready")
        model.go.set()
        taken = await asyncio.gather(*waiting)
        refused = [task.result() for task in done]
        return refused, taken, ready, await client.get("/ready"), await post()(client)

    done, taken, full, ready, after = ask(check, rule=BatchRule(max_queue=3, max_batch=2))
    assert [line(answer, 503) for answer in done] == ["too many requests at once"] * 2
    assert {answer.headers["retry-after"] for answer in done} == {"1"}
    assert [answer.status_code for answer in taken] == [200] * 3
    assert line(full, 503) == "m: too many requests at once"
    assert (ready.status_code, after.status_code) == (200, 200)


def test_requests_at_once_share_batches(ask: Callable[..., Any], model: StandIn) -> None:
    async def check(client: Any) -> Any:
        return await asyncio.gather(*(post()(client) for _ in range(12)))

    answers = ask(check, rule=BatchRule(max_batch=4, max_wait=0.2))
    assert [answer.status_code for answer in answers] == [200] * 12
    assert sum(model.batches) == 12
    assert max(model.batches) == 4


def test_a_model_that_breaks_is_no_answer_of_its_own(
    ask: Callable[..., Any], model: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that the image did not cause is the server's; the next request works."""

    def broken(uploads: Sequence[Upload]) -> list[bytes]:
        monkeypatch.undo()
        raise ValueError("nan")

    async def check(client: Any) -> Any:
        monkeypatch.setattr(model, "answer", broken)
        with pytest.raises(ValueError, match="nan"):  # uvicorn makes it a 500
            await post()(client)
        return await post()(client)

    assert ask(check).status_code == 200


def test_what_is_counted(ask: Callable[..., Any]) -> None:
    async def check(client: Any) -> Any:
        for content in (PNG, PNG, b"none"):
            await post(content)(client)
        await client.post("/v1/unknown")
        return await client.get("/metrics")

    answer = ask(check)
    assert answer.headers["content-type"].startswith("text/plain; version=")
    counts = dict(row.rsplit(" ", 1) for row in answer.text.splitlines() if row[0] != "#")
    assert counts['lcnet_requests_total{model="m",status="200"}'] == "2.0"
    assert counts['lcnet_requests_total{model="m",status="422"}'] == "1.0"
    assert counts['lcnet_batch_images_count{model="m"}'] == "2.0"
    assert counts['lcnet_request_seconds_count{model="m"}'] == "3.0"
    assert counts['lcnet_requests_inside{model="m"}'] == "0.0"
    assert "unknown" not in answer.text


def test_what_is_said_of_models(ask: Callable[..., Any]) -> None:
    answer = ask(lambda client: client.get("/v1")).json()
    rule = {"size": [4, 6], "resize_shortest": None, "interpolation": "cubic"}
    assert answer["models"] == [
        {"name": "m", "classes": ["a", "b"], "batched": True, "input": rule}
    ]
    assert (answer["max_bytes"], answer["max_pixels"]) == (2**24, 24_000_000)
    assert ask(lambda client: client.get("/health")).json() == {"status": "alive"}


def test_openapi_names_every_status(ask: Callable[..., Any]) -> None:
    page = ask(lambda client: client.get("/openapi.json")).json()
    post_ = page["paths"]["/v1/{model}"]["post"]
    assert {*post_["responses"]} == {
        "200", "400", "404", "408", "413", "415", "422", "503", "504",
    }  # fmt: skip
    assert {"image/jpeg", "multipart/form-data"} < {*post_["requestBody"]["content"]}
    assert ask(lambda client: client.get("/docs")).status_code == 200
