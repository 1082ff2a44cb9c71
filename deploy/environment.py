"""The only place that reads the environment: `AQUATINT_*` variables and a `.env` file become `Settings`."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import SecretStr, ValidationError

from schemas.errors import BadSettings
from schemas.problem import from_validation
from schemas.settings import Settings

PREFIX = "AQUATINT_"
MASK = "********"


def load_settings(environ: Mapping[str, str] | None = None, env_file: Path | None = Path(".env")) -> Settings:
    """Settings from the environment, which wins over the file; BadSettings names the variable at fault."""
    values = dict(dotenv_values(env_file)) if env_file is not None and env_file.is_file() else {}
    values.update(os.environ if environ is None else environ)
    found = {name: value for name, value in values.items() if name.startswith(PREFIX) and value is not None}
    fields = {variable(field): field for field in Settings.model_fields}
    for name in found.keys() - fields.keys():
        raise BadSettings(f"{name} is not a setting{_suggestion(name, list(fields))}")
    try:
        return Settings.model_validate({fields[name]: value for name, value in found.items() if value != ""})
    except ValidationError as invalid:
        fault = from_validation(invalid)
        raise BadSettings(fault.detail, field=variable(fault.field.split(".")[0]) if fault.field else None) from None


def variable(field: str) -> str:
    return PREFIX + field.upper()


def _suggestion(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else "; `aquatint config` lists them all"


def effective(settings: Settings) -> dict[str, str]:
    """Variable name to value as a person may see it: secrets are masked."""
    return {variable(name): _shown(name, getattr(settings, name)) for name in Settings.model_fields}


def _shown(name: str, value: Any) -> str:
    extra = Settings.model_fields[name].json_schema_extra
    secret = isinstance(value, SecretStr) or (isinstance(extra, dict) and extra.get("secret"))
    if secret:
        filled = value.get_secret_value() if isinstance(value, SecretStr) else value
        return MASK if filled else ""
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value)
    return "" if value is None else str(value)


def as_environment(settings: Settings) -> dict[str, str]:
    """The variables that make another process load equal settings; secrets included."""
    found = {}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            text = value.get_secret_value()
        elif isinstance(value, dict):
            text = ",".join(f"{left}={right}" for left, right in value.items())
        else:
            text = _shown(name, value)
        found[variable(name)] = text
    return found


def settings_table() -> str:
    """Every setting as a Markdown table; `make generated` writes it to docs/SETTINGS.md."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    defaults = Settings()
    rows += [
        f"| `{variable(name)}` | {_code(_shown(name, getattr(defaults, name)))} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(rows) + "\n"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""
