"""Reading data out of a minified JavaScript module without running it."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any

#: Texts are left alone; bare keys, `!0`, `!1` and numbers such as `.5` are not JSON yet.
_TOKEN = re.compile(
    r'(?P<text>"(?:[^"\\]|\\.)*")'
    r"|(?P<truth>![01])"
    r"|(?P<key>[A-Za-z_$][\w$]*)(?=:)"
    r"|(?P<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
)
_EXPORTED_TEXT = re.compile(r'\.exports="([A-Za-z0-9+/=]*)"')


class NotAModule(ValueError):
    """The file does not hold what was expected."""


def exported_object(source: str) -> dict[str, Any]:
    """The object that the module exports as a literal; NotAModule when there is none."""
    start = source.find(".exports={")
    if start < 0:
        raise NotAModule("it exports no object")
    literal = _TOKEN.sub(_as_json, source[start + len(".exports=") :])
    try:
        found, _ = json.JSONDecoder().raw_decode(literal)
    except ValueError as error:
        raise NotAModule(f"its object cannot be read: {error}") from error
    return dict(found)


def exported_bytes(source: str) -> bytes:
    """The bytes that the module exports as base64 text; NotAModule when there are none."""
    found = _EXPORTED_TEXT.search(source)
    if found is None:
        raise NotAModule("it exports no base64 text")
    try:
        return base64.b64decode(found[1], validate=True)
    except binascii.Error as error:
        raise NotAModule("its base64 text is damaged") from error


def _as_json(token: re.Match[str]) -> str:
    kind, text = token.lastgroup, token[0]
    if kind == "truth":
        return "true" if text == "!0" else "false"
    if kind == "key":
        return f'"{text}"'
    if kind == "number":
        return repr(float(text)) if re.search(r"[.eE]", text) else text
    return text
