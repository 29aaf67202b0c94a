"""No request makes the server fail: schemathesis against its OpenAPI, hypothesis for images."""

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("uvicorn")
schemathesis = pytest.importorskip("schemathesis")

import uvicorn  # noqa: E402
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.errors import Unsatisfiable  # noqa: E402
from schemathesis import GenerationMode  # noqa: E402
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from backbone.pplcnet import PPLCNet  # noqa: E402
from classification.classifier import Classifier  # noqa: E402
from engine.data.preprocess import Preprocess  # noqa: E402
from engine.inference.predictor import Predictor  # noqa: E402
from engine.serving.app import create_app  # noqa: E402
from engine.serving.service import BadImage, Limits, Served, Upload, count_pixels  # noqa: E402

pytestmark = pytest.mark.slow
CHECKS = (
    not_a_server_error, status_code_conformance, content_type_conformance,
    response_schema_conformance, unsupported_method,
)  # fmt: skip
PICTURE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
FILES = {s: bytes(cv2.imencode(s, PICTURE)[1]) for s in (".jpg", ".png", ".webp", ".bmp")}


@pytest.fixture(scope="module")
def served() -> Served:
    model = Classifier(
        backbone=PPLCNet(0.25), num_classes=3, data_preprocessor=Preprocess(size=(32, 32))
    )
    model.classes = ("a", "b", "c")
    return Served("m", Predictor(model))


@pytest.fixture(scope="module")
def address(served: Served) -> Iterator[str]:
    """Of a server in a thread of this process."""
    server = uvicorn.Server(uvicorn.Config(create_app([served], Limits()), log_level="error"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(30)


@pytest.fixture(scope="module")
def schema(address: str) -> object:
    return schemathesis.openapi.from_url(f"{address}/openapi.json")


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_what_openapi_allows_and_what_not(schema: Any, mode: GenerationMode) -> None:
    """Values that fit its schemas, and others."""
    asked: Counter[str] = Counter()
    answered: set[int] = set()
    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
        @given(operation.as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case) -> None:
            asked[case.operation.path] += 1
            if case.path_parameters and asked[case.operation.path] % 4:
                case.path_parameters["model"] = "m"  # else it is always unknown
            answered.add(case.call_and_validate(checks=list(CHECKS)).status_code)

        with suppress(Unsatisfiable):  # it has no invalid values
            ask()
    assert asked["/v1/{model}"] >= 40
    answers = {404, 422} if mode is GenerationMode.NEGATIVE else {200, 404, 422}
    assert answers <= answered  # an invalid value need not be one that the server ignores


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(sorted(FILES)), st.data())
def test_damaged_images_are_bad_images(served: Served, suffix: str, data: st.DataObject) -> None:
    """Cut and changed at random: an answer, or a one-line error about the image."""
    content = bytearray(FILES[suffix])
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + 4] = data.draw(st.binary(min_size=1, max_size=8))
    content = content[: data.draw(st.integers(0, len(content)))]
    with suppress(BadImage):
        count_pixels(bytes(content), 10**6)
        (answer,) = served.answer([Upload(bytes(content), 0.4)])
        if isinstance(answer, BadImage):
            raise answer
        assert answer.startswith(b'[{"class":"')


def test_whole_images_are_answered(served: Served) -> None:
    """The files that the test above damages are valid."""
    answers = served.answer([Upload(content, 0.4) for content in FILES.values()])
    assert len(answers) == len([a for a in answers if isinstance(a, bytes)]) == 4
