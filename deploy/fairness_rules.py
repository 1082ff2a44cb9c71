"""The fairness rules of an installation: a file of tenants, each of which has turned it on for itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from schemas.errors import BadSettings
from schemas.fairness import Rules
from schemas.problem import from_validation

_BY_TENANT = TypeAdapter(dict[str, Rules])


def load_rules(file: Path | None) -> Mapping[str, Rules]:
    """Rules by tenant, e.g. ``{"acme": {"mode": "diversify"}}``; BadSettings names the tenant and the field at fault."""
    if file is None:
        return {}
    try:
        return _BY_TENANT.validate_json(file.read_bytes())
    except OSError as error:
        raise BadSettings(f"{file} cannot be read: {error.strerror}", field="AQUATINT_FAIRNESS") from None
    except ValidationError as invalid:
        raise BadSettings(f"{file.name}: {from_validation(invalid)}", field="AQUATINT_FAIRNESS") from None
