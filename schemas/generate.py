"""JSON Schemas of all messages and the AsyncAPI 3.0 document, as text to be committed."""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter

from schemas.cloudevent import FINETUNE_REQUESTED, GENERATION_REQUESTED, OBJECT_CREATED, RECIPE_INVOKED
from schemas.messages import MESSAGES

_DIALECT = "https://json-schema.org/draft/2020-12/schema"

#: Channel to address, what it is for, the action of this application, and the messages on it.
_CHANNELS: dict[str, tuple[str, str, tuple[str, ...], tuple[str, ...]]] = {
    "events": (
        "/v1/events",
        "CloudEvents 1.0 that ask for pictures or announce uploads: by HTTP, or from a queue. Acknowledged once they are "
        f"committed. Types: {GENERATION_REQUESTED}, {RECIPE_INVOKED}, {FINETUNE_REQUESTED}, {OBJECT_CREATED}.",
        ("receive",),
        ("cloudevent",),
    ),
    "work": (
        "work.{worker}",
        "One queue per worker: what the releaser gives it to render. May be lost or repeated without harm.",
        ("send", "receive"),
        ("microbatch",),
    ),
    "finetunes": (
        "finetune.{trainer}",
        "One queue per trainer: the fine-tune it is given, and word that one does not count any more. As work.",
        ("send", "receive"),
        ("trainer_message",),
    ),
    "outcomes": (
        "outcomes",
        "What workers and trainers report. Confirmed by the broker before the work is acknowledged.",
        ("send", "receive"),
        ("report",),
    ),
    "webhooks": (
        "{endpoint}",
        "Standard Webhooks 1.0 to a customer's address: at least once, in no promised order, with a stable webhook-id.",
        ("send",),
        ("webhook",),
    ),
}


def documents() -> dict[str, str]:
    """File name, relative to this folder, to its whole text."""
    schemas = {f"json/{name}.schema.json": _schema(name, message) for name, message in MESSAGES.items()}
    return {name: as_text(document) for name, document in {**schemas, "asyncapi.json": _asyncapi()}.items()}


def as_text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _schema(name: str, message: TypeAdapter[Any]) -> dict[str, Any]:
    return {"$schema": _DIALECT, "$id": f"urn:aquatint:schema:{name}", **message.json_schema()}


def _asyncapi() -> dict[str, Any]:
    named = {name: MESSAGES[name] for *_, names in _CHANNELS.values() for name in names}
    inputs = [(name, "validation", message) for name, message in named.items()]
    payloads, shared = TypeAdapter.json_schemas(inputs, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    messages = {
        name: {"name": name, "contentType": "application/json", "payload": payloads[name, "validation"]}
        for name in named
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Aquatint",
            "version": "1",
            "description": "Events in, checked and signed images out.",
        },
        "defaultContentType": "application/json",
        "channels": {name: _channel(name) for name in _CHANNELS},
        "operations": dict(
            _operation(name, action) for name, spec in _CHANNELS.items() for action in spec[2]
        ),
        "components": {"messages": messages, "schemas": shared["$defs"]},
    }


def _channel(name: str) -> dict[str, Any]:
    address, description, _, messages = _CHANNELS[name]
    parameter = address.partition("{")[2].rstrip("}")
    channel: dict[str, Any] = {"address": address, "description": description}
    if parameter:
        channel["parameters"] = {parameter: {}}
    return channel | {"messages": {one: {"$ref": f"#/components/messages/{one}"} for one in messages}}


def _operation(name: str, action: str) -> tuple[str, dict[str, Any]]:
    messages = [{"$ref": f"#/channels/{name}/messages/{one}"} for one in _CHANNELS[name][3]]
    return f"{action}_{name}", {
        "action": action,
        "channel": {"$ref": f"#/channels/{name}"},
        "messages": messages,
    }
