"""Every dialect of the S3 notification becomes the same `ObjectCreated`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import MalformedJson
from schemas.s3_notification import parse_notification, read_notification

FIXTURES = Path(__file__).parents[2] / "fixtures" / "s3"
KEY = "lists/autumn mugs + 50% off.csv"
VERSION = "0cc175b9c0f1b6a831c399e269772661-1048"
#: Bodies that all announce the same upload, and the dialect each is in.
SAME_UPLOAD = {
    "aws_put": "aws:s3",
    "sns_wrapped_put": "aws:s3",
    "eventbridge_created": "aws:eventbridge",
    "sns_wrapped_eventbridge": "aws:eventbridge",
    "ceph_put": "ceph:s3",
    "ceph_old_put": "ceph:s3",
    "minio_put": "minio:s3",
    "cloudevent_object_created": "cloudevent",
    "cloudevent_from_s3": "aws:s3",
}
IGNORED = {
    "aws_test_event": "test message",
    "sns_wrapped_test_event": "test message",
    "sns_subscription": "SNS message of type SubscriptionConfirmation",
    "aws_delete_and_tags": "not a new object: ObjectRemoved:Delete",
    "aws_folder_marker": "folder marker",
    "eventbridge_deleted": "not a new object: Object Deleted",
    "eventbridge_tags_added": "not a new object: Object Tags Added",
    "minio_legal_hold": "not a new object: s3:ObjectCreated:PutLegalHold",
    "foreign_sqs_message": "none of the known shapes",
    "foreign_ses_records": "record of another service: aws:ses",
}

# Lone surrogates cannot be written as UTF-8, so no store can hold such a key.
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).filter(
    lambda key: key[-1] != "/"
)
awkward_keys = st.lists(
    st.sampled_from(["+", "%", "%2F", "%20", " ", "/", "é", "日", "a", "&", "?"]), min_size=1
).map(lambda parts: "".join(parts) + ".csv")


def fixture(name: str) -> Any:
    return json.loads((FIXTURES / f"{name}.json").read_text())


@pytest.mark.parametrize(("name", "dialect"), SAME_UPLOAD.items())
def test_each_dialect_names_the_same_upload(name: str, dialect: str) -> None:
    """Bucket, key and version are equal in all, so that a repetition through another channel is recognised."""
    (event,) = parse_notification((FIXTURES / f"{name}.json").read_bytes())

    assert (event.bucket, event.key, event.version, event.size) == ("shop-uploads", KEY, VERSION, 1048)
    assert event.dialect == dialect


@pytest.mark.parametrize(("name", "reason"), IGNORED.items())
def test_what_is_no_upload_is_ignored_with_a_reason(name: str, reason: str) -> None:
    """Test messages, deletions, tags and foreign bodies announce nothing and say why."""
    notification = read_notification((FIXTURES / f"{name}.json").read_text())

    assert notification.events == ()
    assert any(reason in text for text in notification.ignored)


def test_every_fixture_is_used() -> None:
    """No recorded shape lies about untested."""
    used = SAME_UPLOAD.keys() | IGNORED.keys() | {"aws_versioned_two_records"}

    assert {path.stem for path in FIXTURES.glob("*.json")} == used


def test_several_records_in_one_message() -> None:
    """Each record is an upload; "null" is no version, so the etag and size stand in."""
    first, second = parse_notification(json.dumps(fixture("aws_versioned_two_records")))

    assert (first.key, first.version) == ("lists/été.csv", "L4kqtJlcpXroDTDmpUMLUo")
    assert (second.key, second.version) == ("lists/winter.jsonl", "9b2cf535f27731c974343645a3985328-3-77")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe\x00", "nope", '{"Records": [', "[" * 100_000])
def test_malformed_json_is_a_typed_error(body: bytes | str) -> None:
    """What is not JSON raises MalformedJson, never anything else."""
    with pytest.raises(MalformedJson):
        parse_notification(body)


@pytest.mark.parametrize(
    "part",
    [
        None,
        "text",
        {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put"},
        {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {"bucket": {}, "object": {}}},
        {
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "b"}, "object": {"key": 7}},
        },
        {
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "b"}, "object": {"key": "%FF"}},
        },
    ],
)
def test_an_unreadable_record_does_not_take_its_neighbours(part: Any) -> None:
    """The good record of the same message is still announced, the bad one leaves a reason."""
    notification = read_notification(json.dumps({"Records": [part, fixture("aws_put")["Records"][0]]}))

    assert [event.key for event in notification.events] == [KEY]
    assert len(notification.ignored) == 1


def test_a_record_without_etag_still_counts() -> None:
    """The sequencer stands in for the etag: losing an upload would be worse than an odd version."""
    body = fixture("aws_put")
    del body["Records"][0]["s3"]["object"]["eTag"]

    assert [event.version for event in parse_notification(json.dumps(body))] == ["00671DE4F1A2B3C4D5"]


def with_key(name: str, key: str) -> str:
    """The fixture with `key` written the way its sender writes it."""
    body = fixture(name)
    if name == "sns_wrapped_put":
        body["Message"] = with_key("aws_put", key)
    elif name == "sns_wrapped_eventbridge":
        body["Message"] = with_key("eventbridge_created", key)
    elif name == "eventbridge_created":
        body["detail"]["object"]["key"] = key
    elif name == "cloudevent_object_created":
        body["data"]["key"] = key
    elif name == "cloudevent_from_s3":
        body["data"]["object"]["key"] = quote_plus(key)
    else:
        written = {"aws_put": quote(key, safe="/ ").replace(" ", "+"), "minio_put": quote_plus(key)}.get(
            name, key
        )
        body["Records"][0]["s3"]["object"]["key"] = written
    return json.dumps(body)


@given(key=keys | awkward_keys)
@pytest.mark.parametrize("name", SAME_UPLOAD)
def test_any_key_survives_each_dialect(name: str, key: str) -> None:
    """A key with plus, percent, spaces or any script arrives as the store knows it."""
    assert [event.key for event in parse_notification(with_key(name, key))] == [key]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["Records", "s3", "eventSource", "eventName", "object", "bucket", "key", "name", "Type"]
            )
            | st.sampled_from(
                ["Message", "specversion", "type", "data", "detail", "source", "detail-type", "size"]
            ),
            inner
            | st.sampled_from(
                ["aws:s3", "ObjectCreated:Put", "aws.s3", "Object Created", "Notification", "1.0"]
            ),
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(body=json_values)
def test_any_json_is_read_or_ignored(body: Any) -> None:
    """No JSON value, however odd, raises; what announces nothing has a reason."""
    notification = read_notification(json.dumps(body))

    assert notification.events or notification.ignored
