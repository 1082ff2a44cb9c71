"""The body of a request: read within a limit, and only in a media type that is understood."""

from __future__ import annotations

from email.message import Message
from typing import Annotated

from fastapi import Depends, Request
from starlette.requests import ClientDisconnect

from schemas.errors import BadInput, BodyTooLarge, WrongMediaType
from schemas.input_image import INPUT_MEDIA_TYPES, MAX_INPUT_BYTES

MAX_BODY_BYTES = 1_000_000


async def read_body(request: Request) -> bytes:
    """The whole body; BodyTooLarge as soon as it passes the limit, whatever its content-length claims."""
    return await _read_within(request, MAX_BODY_BYTES)


async def read_picture(request: Request) -> bytes:
    """The bytes of a picture, within their own limit; WrongMediaType before a byte is read of anything else."""
    if not media_type(request).startswith("image/"):
        raise WrongMediaType("send image/*", field="content-type", limit=list(INPUT_MEDIA_TYPES))
    return await _read_within(request, MAX_INPUT_BYTES)


async def _read_within(request: Request, limit: int) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and (len(announced) > 15 or int(announced) > limit):
        raise BodyTooLarge(limit=limit)
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > limit:
                raise BodyTooLarge(limit=limit)
    except ClientDisconnect as gone:
        raise BadInput("the request ended before its body did") from gone
    return bytes(body)


Body = Annotated[bytes, Depends(read_body)]
Picture = Annotated[bytes, Depends(read_picture)]


def media_type(request: Request) -> str:
    """The content type without its parameters, in lower case; WrongMediaType for a charset other than UTF-8."""
    parsed = Message()
    parsed["content-type"] = request.headers.get("content-type", "")
    charset = parsed.get_param("charset", "utf-8")
    if not isinstance(charset, str) or charset.lower() not in ("utf-8", "utf8", "us-ascii"):
        raise WrongMediaType("only UTF-8 is read here", field="content-type", limit="utf-8")
    return parsed.get_content_type() if parsed["content-type"] else ""


def require_media_type(request: Request, *wanted: str) -> str:
    """The media type, if it is one of `wanted`."""
    given = media_type(request)
    if given not in wanted:
        raise WrongMediaType(f"send {' or '.join(wanted)}", field="content-type", limit=list(wanted))
    return given
