"""Pictures that requests will name."""

from __future__ import annotations

from fastapi import APIRouter

from handlers.api.caller import Deps, Tenant
from handlers.api.request_body import Picture
from handlers.api.views import InputView
from schemas.input_image import INPUT_MEDIA_TYPES, MAX_INPUT_BYTES

routes = APIRouter()

_BYTES = {"schema": {"type": "string", "format": "binary", "maxLength": MAX_INPUT_BYTES}}
_CONTENT = dict.fromkeys(INPUT_MEDIA_TYPES, _BYTES)


@routes.post(
    "/v1/inputs",
    status_code=201,
    response_model=InputView,
    openapi_extra={"requestBody": {"required": True, "content": _CONTENT}},
)
def send_input(tenant: Tenant, body: Picture, deps: Deps) -> InputView:
    """Send the bytes of a picture, to name it in requests as `image`, `mask` or `control[].image`.

    The same bytes again get the same answer. What it is, is seen from the bytes, whatever image type was declared.
    """
    # 201 says that it is kept: the bytes are in the store when `take_input` returns.
    taken = deps.take_input(tenant, body)
    return InputView(
        reference=f"inputs/{taken.sha256}",
        media_type=taken.media_type,
        width=taken.width,
        height=taken.height,
    )
