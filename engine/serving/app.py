"""The HTTP application: image files in, rows as JSON out."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from engine.serving.batching import Batcher
from engine.serving.metrics import Meters
from engine.serving.schemas import PROBLEMS, ROWS, InputRule, ModelInfo, ModelList, Status
from engine.serving.service import BadImage, Limits, Served, TooManyPixels, Upload, count_pixels
from engine.serving.uploads import FORM, SCHEMA, TYPES, read_image_file, within

Lane = Batcher[Upload, bytes]
Threshold = Annotated[float | None, Query(ge=0, le=1, description="lowest score wanted")]


class Web:
    """The endpoints.

    Args:
        models: Models to serve.
        limits: Limits of each model.
    """

    def __init__(self, models: Sequence[Served], limits: Limits) -> None:
        self.models = {model.name: model for model in models}
        self.limits = limits
        self.meters = Meters()
        self.thread = ThreadPoolExecutor(
            1, "model"
        )  # shared, so that a running model has all cores
        self.lanes = {model.name: self._lane(model) for model in models}
        self.tasks: list[asyncio.Task[None]] = []

    def _lane(self, model: Served) -> Lane:
        def work(uploads: Sequence[Upload]) -> list[bytes | BadImage]:
            with self.meters.batch(model.name, len(uploads)):
                return model.answer(uploads)

        return Batcher(work, self.thread, self.limits.rule)

    @asynccontextmanager
    async def working(self, _: FastAPI) -> AsyncIterator[None]:
        """Process batches while entered."""
        self.tasks = [asyncio.create_task(lane.run()) for lane in self.lanes.values()]
        yield
        for task in self.tasks:
            task.cancel()
        self.thread.shutdown()

    async def predict(self, model: str, request: Request, threshold: Threshold = None) -> Response:
        """Predict on one image, sent as the body or as a file of a form."""
        if model not in self.models:
            raise HTTPException(404, f"no such model; the models are {', '.join(self.models)}")
        least = self.limits.threshold if threshold is None else threshold
        with self.meters.request(model), _refusals():
            rows = await self._rows(self.lanes[model], request, least)
        return Response(rows, media_type="application/json")

    async def _rows(self, lane: Lane, request: Request, threshold: float) -> bytes:
        limits = self.limits
        with lane.place():
            data = await read_image_file(request, limits.max_bytes, limits.timeout)
            pixels = await asyncio.to_thread(count_pixels, data, limits.rule.max_weight)
            answer = lane.answer(Upload(data, threshold), pixels)
            return await within(limits.timeout, answer, 504, "no answer")

    async def list_models(self) -> ModelList:
        """List the models with their classes and preprocessing."""
        infos = [
            ModelInfo(
                name=name,
                classes=list(served.model.classes),
                batched=served.model.batched,
                input=InputRule(**served.input_rule()),
            )
            for name, served in self.models.items()
        ]
        return ModelList(
            models=infos,
            content_types=[*TYPES, FORM],
            max_bytes=self.limits.max_bytes,
            max_pixels=self.limits.rule.max_weight,
            threshold=self.limits.threshold,
        )

    async def health(self) -> Status:
        """Answer if the process is alive."""
        return Status(status="alive")

    async def ready(self) -> Status:
        """Answer 200 if every model can take another image, else 503."""
        if not self.tasks or any(task.done() for task in self.tasks):
            raise HTTPException(503, "not working")
        full = [name for name, lane in self.lanes.items() if lane.full]
        if full:
            raise HTTPException(503, f"{', '.join(full)}: too many requests at once")
        return Status(status="ready")

    async def metrics(self) -> Response:
        """Metrics for Prometheus."""
        return Response(self.meters.text(), media_type=CONTENT_TYPE_LATEST)


def create_app(models: Sequence[Served], limits: Limits) -> FastAPI:
    """Make the application that serves these models."""
    web = Web(models, limits)
    app = FastAPI(title="PP-LCNet models", lifespan=web.working, redoc_url=None)
    app.add_exception_handler(RequestValidationError, _in_a_line)
    app.add_api_route(
        "/v1/{model}",
        web.predict,
        methods=["POST"],
        responses={200: {"content": {"application/json": {"schema": ROWS}}}, **PROBLEMS},
        openapi_extra={"requestBody": SCHEMA},
    )
    app.add_api_route("/v1", web.list_models)
    app.add_api_route("/health", web.health)
    app.add_api_route("/ready", web.ready, responses={503: PROBLEMS[503]})
    app.add_api_route("/metrics", web.metrics, response_class=Response)
    return app


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn errors of the block into HTTP answers."""
    try:
        yield
    except asyncio.QueueFull:
        raise HTTPException(503, "too many requests at once", {"Retry-After": "1"}) from None
    except TooManyPixels as error:
        raise HTTPException(413, str(error)) from None
    except BadImage as error:
        raise HTTPException(422, str(error)) from None


async def _in_a_line(_: Request, error: Exception) -> JSONResponse:
    """Report wrong parameters in one line instead of a list."""
    assert isinstance(error, RequestValidationError)
    lines = [f"{row['loc'][-1]}: {row['msg']}" for row in error.errors()]
    return JSONResponse({"detail": "; ".join(lines)}, 422)
