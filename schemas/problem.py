"""Errors on the wire: RFC 9457 problem details, and the same facts for a manifest row."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from schemas import errors
from schemas.base import Frozen

#: pydantic error types to ours; whatever is not named here is a wrong type.
_BY_PREFIX = {
    "extra_forbidden": errors.UnknownField,
    "missing": errors.MissingField,
    "unsupported": errors.Unsupported,
    "json_": errors.MalformedJson,
    "too_": errors.OutOfRange,
    "string_too_": errors.OutOfRange,
    "greater_than": errors.OutOfRange,
    "less_than": errors.OutOfRange,
    "literal_error": errors.OutOfRange,
    "enum": errors.OutOfRange,
    "value_error": errors.OutOfRange,
    "string_pattern": errors.OutOfRange,
    "finite_number": errors.OutOfRange,
}
_LIMITS = ("limit", "max_length", "min_length", "ge", "le", "gt", "lt", "pattern", "expected")


class Problem(Frozen):
    """`application/problem+json`: what is wrong, where, against which limit, and who can act."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    actor: str
    field: str | None = None
    limit: Any = None
    row: int | None = None


def problem(error: errors.AquatintError) -> Problem:
    title = (type(error).__doc__ or "").strip().splitlines()[0].rstrip(".")
    return Problem(
        type=f"urn:aquatint:error:{error.code}",
        title=title,
        status=error.status,
        detail=error.detail,
        code=error.code,
        actor=error.actor,
        field=error.field,
        limit=error.limit,
        row=error.row,
    )


def from_validation(invalid: ValidationError, *, row: int | None = None) -> errors.BadInput:
    """The first fault of a pydantic report as one typed error that names field, limit and row."""
    fault = invalid.errors(include_url=False, include_context=True)[0]
    kind = next(
        (error for prefix, error in _BY_PREFIX.items() if fault["type"].startswith(prefix)), errors.WrongType
    )
    context = fault.get("ctx") or {}
    limit = next((context[name] for name in _LIMITS if name in context), None)
    # A fault in how two fields go together names the one to change, which need not be where it was noticed.
    field = context.get("field") or ".".join(str(part) for part in fault["loc"]) or None
    return kind(fault["msg"].removeprefix("Value error, "), field=field, limit=limit, row=row)
