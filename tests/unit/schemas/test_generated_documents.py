"""The committed schemas and samples are those of the code, and others can read them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent as Reference
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate
from pydantic import BaseModel, ValidationError

import schemas
from deploy.generate import all_documents, write
from schemas import cloudevent, finetune, object_event, request
from schemas.finetune import TrainerMessage, TrainingOutcome
from schemas.messages import MESSAGES
from schemas.outcome import Outcome, Report
from schemas.webhook import WebhookBody

FOLDER = Path(schemas.__path__[0])
SAMPLES = sorted((FOLDER / "samples").glob("*.json"))
DOCUMENTS = all_documents()


def message_of(sample: Path) -> str:
    return sample.name.split(".")[0]


def committed(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_what_is_committed_is_what_the_code_says(name: str) -> None:
    """Generating again gives the committed text, byte for byte; else run `python -m deploy.generate`."""
    assert (FOLDER / name).read_text(encoding="utf-8") == DOCUMENTS[name]


def test_no_schema_is_left_over() -> None:
    """Every file in schemas/json is generated."""
    assert {f"json/{path.name}" for path in (FOLDER / "json").iterdir()} == {
        name for name in DOCUMENTS if name.startswith("json/")
    }


def test_writing_changes_only_what_differs(tmp_path: Path) -> None:
    """A second run changes nothing; a file that drifted is written anew."""
    assert sorted(write(tmp_path)) == sorted(DOCUMENTS)
    (tmp_path / "asyncapi.json").write_text("{}")
    assert write(tmp_path) == ["asyncapi.json"]
    assert write(tmp_path) == []


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_samples_are_valid_and_come_back_as_they_were(sample: Path) -> None:
    """Each sample is taken by its model and by its JSON Schema, and is written again byte for byte."""
    message, text = MESSAGES[message_of(sample)], sample.read_bytes()
    schema = committed(f"json/{message_of(sample)}.schema.json")
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(json.loads(text))
    assert message.dump_json(message.validate_json(text), indent=2, exclude_unset=True) + b"\n" == text


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_both_refuse_a_field_that_does_not_exist(sample: Path) -> None:
    """What is not in the words is refused by model and schema; only an event may bring extensions."""
    value = json.loads(sample.read_text(encoding="utf-8")) | {"unheardof": 1}
    schema = Draft202012Validator(committed(f"json/{message_of(sample)}.schema.json"))
    if message_of(sample) == "cloudevent":
        assert schema.is_valid(value)
        return
    assert not schema.is_valid(value)
    with pytest.raises(ValidationError):
        MESSAGES[message_of(sample)].validate_python(value)


def test_every_message_has_a_sample() -> None:
    """Each message, each member of each union and each webhook type stands in a sample."""
    assert {message_of(sample) for sample in SAMPLES} == set(MESSAGES)
    seen: set[type] = set()
    for sample in SAMPLES:
        collect(MESSAGES[message_of(sample)].validate_json(sample.read_bytes()), seen)
    every = (Report, Outcome, TrainingOutcome, TrainerMessage, WebhookBody)
    unions = [member for union in every for member in members(union)]
    assert set(unions) <= seen and len(unions) == 21
    told = {
        name for member in members(WebhookBody) for name in get_args(member.model_fields["type"].annotation)
    }
    assert told == {
        committed(f"samples/{sample.name}")["type"] for sample in SAMPLES if message_of(sample) == "webhook"
    }


def members(union: Any) -> tuple[type[BaseModel], ...]:
    return get_args(get_args(union)[0])


def collect(value: Any, seen: set[type]) -> None:
    if isinstance(value, BaseModel):
        seen.add(type(value))
        for inner in dict(value).values():
            collect(inner, seen)
    elif isinstance(value, tuple):
        for inner in value:
            collect(inner, seen)


EVENTS = [sample for sample in SAMPLES if message_of(sample) == "cloudevent"]


@pytest.mark.parametrize("sample", EVENTS, ids=lambda path: path.stem)
def test_event_samples_are_cloudevents(sample: Path) -> None:
    """The reference SDK reads each event sample, and its data is the message that its type promises."""
    message = HTTPMessage(headers={"content-type": "application/cloudevents+json"}, body=sample.read_bytes())
    event = from_http(message, JSONFormat(), Reference)
    ours = MESSAGES["cloudevent"].validate_json(sample.read_bytes())
    assert (event.get_id(), event.get_source(), event.get_type(), event.get_subject(), event.get_time()) == (
        ours.id, ours.source, ours.type, ours.subject, ours.time,
    )  # fmt: skip
    assert event.get_extension("traceparent") == ours.traceparent
    data = {
        cloudevent.GENERATION_REQUESTED: request.GenerationRequest,
        cloudevent.RECIPE_INVOKED: request.RecipeInvocation,
        cloudevent.OBJECT_CREATED: object_event.ObjectCreated,
        cloudevent.FINETUNE_REQUESTED: finetune.FinetuneRequest,
    }
    data[ours.type].model_validate(event.get_data())


def test_every_inbound_type_has_a_sample() -> None:
    """One for each type that intake knows."""
    kinds = {
        cloudevent.GENERATION_REQUESTED,
        cloudevent.RECIPE_INVOKED,
        cloudevent.OBJECT_CREATED,
        cloudevent.FINETUNE_REQUESTED,
    }
    assert {committed(f"samples/{sample.name}")["type"] for sample in EVENTS} == kinds


@pytest.mark.parametrize("name", ["asyncapi.json", "openapi.json"])
def test_every_reference_leads_somewhere(name: str) -> None:
    """No `$ref` of a document is dangling."""
    document = committed(name)
    found = list(references(document))
    assert found
    for reference in found:
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for inner in node.values():
            yield from references(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from references(inner)


def test_openapi_is_valid_and_names_routes_and_webhooks() -> None:
    """A validator of others takes the document; it is 3.1, holds every way in, our problems, and the webhooks."""
    document = committed("openapi.json")
    validate(document)
    assert document["openapi"].startswith("3.1")
    assert {
        "/v1/jobs",
        "/v1/jobs/{id}",
        "/v1/events",
        "/v1/images/{id}",
        "/v1/batches/{id}",
        "/v1/finetunes/{id}",
        "/v1/adapters/{name}",
        "/v1/notifications/s3",
    } <= document["paths"].keys()
    assert set(document["webhooks"]) == {"job", "batch", "image", "finetune", "endpoint"}
    for path in document["paths"].values():
        for operation in path.values():
            assert "application/problem+json" in operation["responses"]["4XX"]["content"]
            assert "422" not in operation["responses"]


def test_asyncapi_operations_use_channels_that_exist() -> None:
    """Version 3.0; each operation names a channel and messages of it; each channel with a parameter declares it."""
    document = committed("asyncapi.json")
    assert document["asyncapi"] == "3.0.0" and set(document["channels"]) == {
        "events",
        "work",
        "finetunes",
        "outcomes",
        "webhooks",
    }
    for operation in document["operations"].values():
        channel = operation["channel"]["$ref"]
        assert operation["action"] in ("send", "receive")
        assert all(message["$ref"].startswith(f"{channel}/messages/") for message in operation["messages"])
    for channel in document["channels"].values():
        assert ("{" in channel["address"]) == ("parameters" in channel)
