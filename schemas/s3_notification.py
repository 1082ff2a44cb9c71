"""One reader for every real shape of "an object has landed" that S3 and the stores that imitate it send.

Shapes: ``Records`` (Amazon S3 to SQS, MinIO, Ceph RGW), the same wrapped by SNS, EventBridge, and CloudEvents. They
differ in how the key is written: percent-encoded with ``+`` for a space in the ``Records`` of Amazon and MinIO, raw in
EventBridge and in the ``Records`` of Ceph.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from pydantic import ValidationError

from schemas.cloudevent import OBJECT_CREATED
from schemas.errors import MalformedJson
from schemas.object_event import ObjectCreated
from schemas.problem import from_validation

#: MinIO also calls a new retention or legal hold "ObjectCreated"; no bytes have landed then.
CREATIONS = frozenset({"Put", "Post", "Copy", "CompleteMultipartUpload"})
#: Sources whose ``Records`` carry the key as it is.
RAW_KEY_SOURCES = frozenset({"ceph:s3"})
#: Prefix of the CloudEvents types that S3 events get when they are converted (CloudEvents adapter for AWS S3).
S3_CLOUDEVENT_PREFIX = "com.amazonaws.s3."
#: Envelopes around envelopes (EventBridge in SNS); deeper ones are foreign.
MAX_DEPTH = 3


class _Ignored(Exception):
    """This part of the body announces no new object; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Notification:
    """What a body announces, and for each part that announces nothing the reason."""

    events: tuple[ObjectCreated, ...] = ()
    ignored: tuple[str, ...] = ()


def parse_notification(body: bytes | str) -> list[ObjectCreated]:
    """The uploads that `body` announces; empty for test messages, deletions and foreign bodies (to be acknowledged).

    Raises MalformedJson when the body is not JSON.
    """
    return list(read_notification(body).events)


def read_notification(body: bytes | str) -> Notification:
    """As `parse_notification`, with the reasons for what was ignored."""
    events: list[ObjectCreated] = []
    ignored: list[str] = []
    for found in _announced(_json(body), 0):
        if isinstance(found, ObjectCreated):
            events.append(found)
        else:
            ignored.append(found)
    return Notification(events=tuple(events), ignored=tuple(ignored))


def _json(body: bytes | str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedJson("the notification is not valid JSON") from error


def _announced(body: Any, depth: int) -> Iterator[ObjectCreated | str]:
    if not isinstance(body, dict) or depth > MAX_DEPTH:
        yield "not a notification: expected a JSON object"
    elif isinstance(body.get("Records"), list):
        yield from _records(body["Records"])
    elif isinstance(body.get("Message"), str) and "Type" in body:
        yield from _sns(body, depth)
    elif body.get("Event") == "s3:TestEvent":
        yield "test message of the bucket's notification settings"
    elif body.get("source") == "aws.s3" and isinstance(body.get("detail"), dict):
        yield _or_reason(_eventbridge, body)
    elif "specversion" in body:
        yield from _cloudevent(body, depth)
    else:
        yield "not a notification: none of the known shapes"


def _or_reason(read: Any, part: Any) -> ObjectCreated | str:
    try:
        created: ObjectCreated = read(part)
    except _Ignored as reason:
        return str(reason)
    except ValidationError as invalid:
        # The loss of one unreadable record must not keep its neighbours from being acknowledged.
        return f"unreadable: {from_validation(invalid)}"
    return created


def _records(records: list[Any]) -> Iterator[ObjectCreated | str]:
    if not records:
        yield "no records"
    for record in records:
        yield _or_reason(_record, record)


def _record(record: Any) -> ObjectCreated:
    source = record.get("eventSource") if isinstance(record, dict) else None
    if not isinstance(source, str) or not source.endswith(":s3"):
        raise _Ignored(f"record of another service: {str(source)[:64]}")
    _require_creation(str(record.get("eventName")))
    return _from_s3_part(record.get("s3"), dialect=source, sequencer_of_last_resort=record.get("eventTime"))


def _require_creation(name: str) -> None:
    family, _, action = name.removeprefix("s3:").partition(":")
    if family != "ObjectCreated" or action not in CREATIONS:
        raise _Ignored(f"not a new object: {name[:64]}")


def _from_s3_part(part: Any, *, dialect: str, sequencer_of_last_resort: Any = None) -> ObjectCreated:
    bucket, stored = _parts(part)
    key = stored.get("key")
    if isinstance(key, str) and dialect not in RAW_KEY_SOURCES:
        key = _decoded(key)
    version = _version(stored.get("versionId"), stored.get("eTag"), stored.get("size"))
    version = version or stored.get("sequencer") or sequencer_of_last_resort
    return _created(bucket.get("name"), key, version, stored.get("size"), dialect)


def _parts(part: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    bucket, stored = (part.get("bucket"), part.get("object")) if isinstance(part, dict) else (None, None)
    if not isinstance(bucket, dict) or not isinstance(stored, dict):
        raise _Ignored("unreadable: no bucket or object in the record")
    return bucket, stored


def _decoded(key: str) -> str:
    try:
        return unquote_plus(key, errors="strict")
    except UnicodeDecodeError:
        raise _Ignored("unreadable: the key is not percent-encoded UTF-8") from None


def _version(version_id: Any, etag: Any, size: Any) -> str | None:
    """The version id where the bucket keeps versions, else etag and size: the same for each dialect and repetition."""
    # "null" is the id that every overwrite in a bucket with suspended versioning shares.
    if isinstance(version_id, str) and version_id not in ("", "null"):
        return version_id
    if not isinstance(etag, str) or not etag:
        return None
    bare = etag.strip('"')
    return bare if size is None else f"{bare}-{size}"


def _created(bucket: Any, key: Any, version: Any, size: Any, dialect: str) -> ObjectCreated:
    created = ObjectCreated(bucket=bucket, key=key, version=version, size=size, dialect=dialect)
    if created.key.endswith("/") and not created.size:
        raise _Ignored("folder marker of a storage console")
    return created


def _eventbridge(body: dict[str, Any]) -> ObjectCreated:
    if body.get("detail-type") != "Object Created":
        raise _Ignored(f"not a new object: {str(body.get('detail-type'))[:64]}")
    bucket, stored = _parts(body["detail"])
    version = _version(stored.get("version-id"), stored.get("etag"), stored.get("size")) or stored.get(
        "sequencer"
    )
    return _created(bucket.get("name"), stored.get("key"), version, stored.get("size"), "aws:eventbridge")


def _sns(body: dict[str, Any], depth: int) -> Iterator[ObjectCreated | str]:
    if body["Type"] != "Notification":
        yield f"SNS message of type {str(body['Type'])[:64]}"
        return
    try:
        inner = _json(body["Message"])
    except MalformedJson:
        # Valid JSON outside, plain text inside: somebody else's message on a shared topic.
        yield "SNS message that is not JSON inside"
        return
    yield from _announced(inner, depth + 1)


def _cloudevent(body: dict[str, Any], depth: int) -> Iterator[ObjectCreated | str]:
    kind, data = str(body.get("type")), body.get("data")
    if kind == OBJECT_CREATED:
        yield _or_reason(_ours, data)
    elif not kind.startswith(S3_CLOUDEVENT_PREFIX) or not isinstance(data, dict):
        yield f"CloudEvent of another type: {kind[:64]}"
    elif "Records" in data:
        yield from _announced(data, depth + 1)
    else:
        yield _or_reason(_converted, (kind.removeprefix(S3_CLOUDEVENT_PREFIX), data))


def _ours(data: Any) -> ObjectCreated:
    return ObjectCreated.model_validate({"dialect": "cloudevent"} | data if isinstance(data, dict) else data)


def _converted(named: tuple[str, dict[str, Any]]) -> ObjectCreated:
    """A CloudEvent whose data is one S3 record or the ``s3`` part of it."""
    name, data = named
    _require_creation(name)
    return _from_s3_part(
        data.get("s3", data), dialect="aws:s3", sequencer_of_last_resort=data.get("eventTime")
    )
