"""What every source of uploads promises: each upload is announced until it is acknowledged, under its real key."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from schemas.object_event import ObjectCreated
from services import Aws
from storage.objects.directory import DirectoryStore
from storage.sqs_source import SqsSource, connect
from storage.upload_source import UploadMessage, UploadSource
from storage.upload_watch import DirectoryWatch

PATIENCE_SECONDS = 120.0
KEYS = ["plain.csv", "autumn mugs.csv", "50% off + more.csv", "a%2Fb+c%20d.csv", "sub/Été 日本.jsonl"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A source and the way to upload to where it looks."""

    source: UploadSource
    upload: Callable[[str, bytes], None]
    bucket: str


def watched_folder(tmp_path: Path) -> Place:
    store = DirectoryStore.open_drop_folder(tmp_path / "uploads", bucket="uploads")

    def drop(key: str, data: bytes) -> None:
        (store.root / key).parent.mkdir(parents=True, exist_ok=True)
        (store.root / key).write_bytes(data)

    source = DirectoryWatch(store, settle_seconds=0.05, redelivery_seconds=1.0)
    return Place(source=source, upload=drop, bucket="uploads")


def notified_queue(aws: Aws, bucket: str) -> Place:
    s3, sqs = aws.client("s3"), aws.client("sqs")
    name = f"uploads-{uuid.uuid4().hex}"
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    wanted = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=wanted)
    client = connect(url, region=aws.region, access_key_id="testing", secret_access_key="testing")
    return Place(
        source=SqsSource(url, client, visibility_seconds=1),
        upload=lambda key, data: s3.put_object(Bucket=bucket, Key=key, Body=data),
        bucket=bucket,
    )


@pytest.fixture(params=["folder", "sqs"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "folder":
        made = watched_folder(tmp_path)
    else:
        made = notified_queue(request.getfixturevalue("sqs"), request.getfixturevalue("bucket"))
    yield made
    made.source.close()


def receive_until(
    source: UploadSource, enough: Callable[[list[UploadMessage]], object]
) -> list[UploadMessage]:
    """Everything that comes, unacknowledged, until it is enough."""
    messages: list[UploadMessage] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not enough(messages):
        assert time.monotonic() < deadline, f"only {messages}"
        messages += source.receive(1.0)
    return messages


def uploads(messages: list[UploadMessage]) -> list[ObjectCreated]:
    return [event for message in messages for event in message.events]


def quiet(source: UploadSource, seconds: float) -> list[ObjectCreated]:
    """The uploads that still come within `seconds`."""
    late: list[UploadMessage] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        late += source.receive(0.5)
    return uploads(late)


def test_each_upload_is_announced_under_its_key(place: Place) -> None:
    """Bucket, key and size are the upload's own, whatever the key contains."""
    for key in KEYS:
        place.upload(key, key.encode())
    messages = receive_until(place.source, lambda found: {event.key for event in uploads(found)} >= set(KEYS))
    sizes = {event.key: event.size for event in uploads(messages)}

    assert sizes == {key: len(key.encode()) for key in KEYS}
    assert {event.bucket for event in uploads(messages)} == {place.bucket}


def test_an_acknowledged_upload_does_not_come_again(place: Place) -> None:
    """After ack there is silence, well past the time of redelivery."""
    place.upload("k.csv", b"sku\n")
    for message in receive_until(place.source, uploads):
        message.ack()

    assert quiet(place.source, 2.5) == []


def test_an_upload_that_is_not_acknowledged_comes_again(place: Place) -> None:
    """The repetition names the same key and version, so that it is recognised."""
    place.upload("k.csv", b"sku\n")
    messages = receive_until(place.source, lambda found: len(uploads(found)) >= 2)

    assert len({event.dedupe_id for event in uploads(messages)}) == 1


def test_an_upload_given_back_comes_again(place: Place) -> None:
    """retry_later(0) brings it back at once, and it can be acknowledged then."""
    place.upload("k.csv", b"sku\n")
    (first,) = [message for message in receive_until(place.source, uploads) if message.events]
    first.retry_later(0)
    again = [message for message in receive_until(place.source, uploads) if message.events]
    again[0].ack()

    assert again[0].events == first.events


def test_changed_content_is_a_new_upload(place: Place) -> None:
    """The same key with other bytes has another version, also after the first was acknowledged."""
    place.upload("k.csv", b"one\n")
    for message in receive_until(place.source, uploads):
        message.ack()
    place.upload("k.csv", b"two, longer\n")
    messages = receive_until(place.source, lambda found: any(event.size == 12 for event in uploads(found)))

    assert {event.key for event in uploads(messages)} == {"k.csv"}
    for message in messages:
        message.ack()


def test_waiting_for_nothing_ends(place: Place) -> None:
    """An empty source answers with an empty list after the timeout, and at once when it was closed."""
    for message in place.source.receive(0.0):
        message.ack()
    assert uploads(place.source.receive(0.2)) == []
    place.source.close()

    assert place.source.receive(3600.0) == []


# The queue alone


def test_sqs_test_events_and_foreign_bodies_carry_a_reason(sqs: Aws, bucket: str) -> None:
    """What announces nothing is handed out without events, and acknowledging removes it."""
    place = notified_queue(sqs, bucket)
    assert isinstance(place.source, SqsSource)
    url = place.source._queue_url
    for body in ("not json {", json.dumps({"job": 7}), "[]"):
        sqs.client("sqs").send_message(QueueUrl=url, MessageBody=body)
    reasons: set[str] = set()

    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(reasons) < 4 and time.monotonic() < deadline:
        for message in place.source.receive(1.0):
            assert message.events == ()
            reasons |= set(message.ignored)
            message.ack()
    assert {
        "test message of the bucket's notification settings",
        "the notification is not valid JSON",
        "not a notification: none of the known shapes",
        "not a notification: expected a JSON object",
    } == reasons
    assert place.source.receive(1.5) == []


def test_sqs_carries_sns_messages(sqs: Aws, bucket: str) -> None:
    """The recorded SNS-wrapped body is read like a direct one."""
    place = notified_queue(sqs, bucket)
    assert isinstance(place.source, SqsSource)
    body = (Path(__file__).parents[2] / "fixtures" / "s3" / "sns_wrapped_put.json").read_text()
    sqs.client("sqs").send_message(QueueUrl=place.source._queue_url, MessageBody=body)
    messages = receive_until(place.source, uploads)

    assert [event.key for event in uploads(messages)] == ["lists/autumn mugs + 50% off.csv"]


# The folder alone


def test_a_file_is_not_announced_while_it_grows(tmp_path: Path) -> None:
    """A slow writer is waited for: what is announced is the whole file, once."""
    store = DirectoryStore.open_drop_folder(tmp_path / "uploads", bucket="uploads")
    now = [1000.0]
    source = DirectoryWatch(store, settle_seconds=5.0, clock=lambda: now[0])
    with (store.root / "slow.csv").open("wb") as file:
        for _ in range(4):
            file.write(b"row\n" * 1000)
            file.flush()
            assert source.receive(0.0) == []
            now[0] += 3.0
        assert source.receive(0.0) == []
    now[0] += 6.0
    (message,) = source.receive(0.0)
    message.ack()
    now[0] += 3600.0

    assert [event.size for event in message.events] == [16_000]
    assert source.receive(0.0) == []


def test_hidden_and_partial_files_are_left_alone(tmp_path: Path) -> None:
    """Names that start with a dot are not announced; renaming one into place announces it."""
    store = DirectoryStore.open_drop_folder(tmp_path / "uploads", bucket="uploads")
    source = DirectoryWatch(store, settle_seconds=0.0)
    (store.root / ".list.csv.part").write_bytes(b"sku\n")
    assert source.receive(0.0) == []
    (store.root / ".list.csv.part").rename(store.root / "list.csv")

    assert [event.key for event in uploads(source.receive(0.0))] == ["list.csv"]


def test_a_restart_announces_the_same_version_again(tmp_path: Path) -> None:
    """Nothing is remembered over a restart, but key and version are the same, so the ledger drops it."""
    store = DirectoryStore.open_drop_folder(tmp_path / "uploads", bucket="uploads")
    (store.root / "list.csv").write_bytes(b"sku\n")
    (first,) = DirectoryWatch(store, settle_seconds=0.0).receive(0.0)
    first.ack()
    (store.root / "list.csv").touch()
    (second,) = DirectoryWatch(store, settle_seconds=0.0).receive(0.0)

    assert first.events == second.events


def test_an_acknowledgement_of_old_content_does_not_hide_the_new(tmp_path: Path) -> None:
    """The file changes between announcement and ack: the new content is announced all the same."""
    store = DirectoryStore.open_drop_folder(tmp_path / "uploads", bucket="uploads")
    source = DirectoryWatch(store, settle_seconds=0.0)
    (store.root / "list.csv").write_bytes(b"one\n")
    (first,) = source.receive(0.0)
    (store.root / "list.csv").write_bytes(b"three\n")
    (second,) = source.receive(0.0)
    first.ack()
    second.retry_later(0)
    (third,) = source.receive(0.0)

    assert second.events == third.events and second.events != first.events


def test_a_waiting_receive_is_woken_by_a_new_file(tmp_path: Path) -> None:
    """With a rescan only once an hour, a file that lands during the wait is still announced."""
    store = DirectoryStore.open_drop_folder(tmp_path / "uploads", bucket="uploads")
    source = DirectoryWatch(store, settle_seconds=0.05, rescan_seconds=3600.0)
    timer = threading.Timer(0.5, lambda: (store.root / "late.csv").write_bytes(b"sku\n"))
    timer.start()
    messages = source.receive(PATIENCE_SECONDS)
    timer.join()
    source.close()

    assert [event.key for event in uploads(messages)] == ["late.csv"]


def test_a_folder_without_change_news_is_polled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the system has no watches left, new files are still found at the next look."""

    class NoWatches:
        def __next__(self) -> Any:
            raise OSError("OS file watch limit reached")

    monkeypatch.setattr("storage.upload_watch.watchfiles.watch", lambda *_, **__: NoWatches())
    store = DirectoryStore.open_drop_folder(tmp_path / "uploads", bucket="uploads")
    source = DirectoryWatch(store, settle_seconds=0.05, rescan_seconds=0.1)
    assert source.receive(0.0) == []
    (store.root / "list.csv").write_bytes(b"sku\n")

    assert [event.key for event in uploads(source.receive(PATIENCE_SECONDS))] == ["list.csv"]


def test_closing_ends_a_wait(tmp_path: Path) -> None:
    """A receive in another thread returns when the source is closed."""
    store = DirectoryStore.open_drop_folder(tmp_path / "uploads", bucket="uploads")
    source = DirectoryWatch(store, rescan_seconds=3600.0)
    found: list[list[UploadMessage]] = []
    thread = threading.Thread(target=lambda: found.append(source.receive(3600.0)))
    thread.start()
    source.close()
    thread.join(PATIENCE_SECONDS)

    assert not thread.is_alive() and found == [[]]
