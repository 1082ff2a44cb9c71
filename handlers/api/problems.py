"""Every error of the API as RFC 9457 `application/problem+json`."""

from __future__ import annotations

import math
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from schemas.errors import AquatintError, BadInput, MethodNotAllowed, NotFound, Temporary, Unauthorised
from schemas.problem import from_validation, problem

MEDIA_TYPE = "application/problem+json"


def answer_with_problems(app: FastAPI) -> None:
    """Let every error of a route, and of routing itself, end in a problem."""
    app.add_exception_handler(AquatintError, _of_ours)
    app.add_exception_handler(RequestValidationError, _of_parameters)
    app.add_exception_handler(HTTPException, _of_routing)


def problem_response(error: AquatintError, headers: Mapping[str, str] | None = None) -> Response:
    more = dict(headers or {})
    if isinstance(error, Unauthorised):
        more["www-authenticate"] = "Bearer"
    if isinstance(error, Temporary):
        more["retry-after"] = str(math.ceil(error.retry_after_seconds))
    body = problem(error).model_dump_json(exclude_none=True)
    return Response(body, status_code=error.status, headers=more, media_type=MEDIA_TYPE)


async def _of_ours(_request: Request, error: Exception) -> Response:
    assert isinstance(error, AquatintError)
    return problem_response(error)


async def _of_parameters(_request: Request, error: Exception) -> Response:
    """Query and path parameters are the only thing that FastAPI itself validates here."""
    assert isinstance(error, RequestValidationError)
    faults = [
        {"type": fault["type"], "loc": tuple(fault["loc"])[1:], "ctx": fault.get("ctx", {})}
        for fault in error.errors()
    ]
    inputs = [fault.get("input") for fault in error.errors()]
    lines = [{**fault, "input": given} for fault, given in zip(faults, inputs, strict=True)]
    return problem_response(from_validation(ValidationError.from_exception_data("parameters", lines)))  # type: ignore[arg-type]


async def _of_routing(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == MethodNotAllowed.status:
        return problem_response(MethodNotAllowed(field="method"), error.headers)
    if error.status_code == NotFound.status:
        return problem_response(NotFound("there is nothing at this address"))
    return problem_response(BadInput(str(error.detail)))
