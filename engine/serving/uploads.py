"""Reads image files from requests, up to a limit of bytes."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from typing import TypeVar

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from engine.serving.service import FORMATS

Result = TypeVar("Result")
FORM = "multipart/form-data"
TYPES = (*FORMATS.values(), "application/octet-stream")
GONE = 499  # nginx's code for a client that disconnected; nobody reads the answer
FILE = {"type": "string", "format": "binary"}
SCHEMA = {
    "required": True,
    "content": {
        **{kind: {"schema": FILE} for kind in TYPES},
        FORM: {"schema": {"type": "object", "properties": {"file": FILE}, "required": ["file"]}},
    },
}  # of a request's body, for OpenAPI


def check_type(request: Request) -> str:
    """The content type of a request; without one, the body is the bytes of a file.

    Raises:
        HTTPException: 415, the type is neither FORM nor one of TYPES.
    """
    kind = request.headers.get("content-type", TYPES[-1]).partition(";")[0].strip().lower()
    if kind not in (*TYPES, FORM):
        raise HTTPException(415, f"{kind!r} is not supported; send {', '.join(TYPES)} or {FORM}")
    return kind


async def read_image_file(request: Request, most: int, seconds: float) -> bytes:
    """Read the image file that a request sends as its body or in a form.

    Raises:
        HTTPException: 408, it did not arrive within `seconds`; 413, the body has more than `most`
            bytes; 415, the type is not supported; 422, the form is damaged or has no file; GONE,
            the client disconnected.
    """
    form = check_type(request) == FORM
    body = _file_of_form(request, most) if form else _whole_body(request, most)
    try:
        return await within(seconds, body, 408, "the image did not arrive")
    except ClientDisconnect:
        raise HTTPException(GONE, "the client disconnected") from None


async def within(seconds: float, work: Awaitable[Result], status: int, what: str) -> Result:
    """Await `work`; raise an HTTPException of this status if it takes longer."""
    try:
        return await asyncio.wait_for(work, seconds)
    except asyncio.TimeoutError:
        raise HTTPException(status, f"{what} within {seconds:g} s") from None


async def _whole_body(request: Request, most: int) -> bytes:
    return b"".join([part async for part in _limited(request, most)])


async def _file_of_form(request: Request, most: int) -> bytes:
    """The first file of a form."""
    parser = MultiPartParser(request.headers, _limited(request, most), max_files=1, max_fields=8)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise HTTPException(422, f"form: {error.message}") from None
    try:
        for value in form.values():
            if isinstance(value, UploadFile):
                return await value.read()
        raise HTTPException(422, "form: no file in it; send the image as a file")
    finally:
        await form.close()


async def _limited(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    """Yield parts of a body; raise HTTPException 413 once they exceed the limit."""
    too_large = HTTPException(413, f"more than the limit of {most} bytes")
    if int(request.headers.get("content-length", 0)) > most:
        raise too_large
    total = 0
    async for part in request.stream():
        total += len(part)
        if total > most:
            raise too_large
        yield part
