"""Sources of uploads when something is wrong: who has to act, and what goes on meanwhile."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from schemas.errors import BadSettings, QueueUnavailable, StoreDenied, StoreUnfit
from services import Aws, free_port
from storage import upload_watch
from storage.objects.directory import DirectoryStore
from storage.objects.reader import open_object
from storage.sqs_source import SqsSource, connect
from storage.upload_watch import DirectoryWatch

ROOT = Path(__file__).parents[3]


def source_of(url: str) -> SqsSource:
    return SqsSource(
        url, connect(url, region="us-east-1", access_key_id="testing", secret_access_key="testing")
    )


def test_a_queue_that_does_not_exist(sqs: Aws) -> None:
    """That is a wrong setting, and it is named."""
    source = source_of(f"{sqs.endpoint_url}/123456789012/gone-{uuid.uuid4().hex}")

    with pytest.raises(BadSettings) as wrong:
        source.receive(0.0)
    assert wrong.value.field == "uploads_queue_url"


def test_a_server_that_does_not_answer() -> None:
    """That may pass: QueueUnavailable is retryable."""
    source = source_of(f"http://127.0.0.1:{free_port()}/123456789012/uploads")

    with pytest.raises(QueueUnavailable) as failed:
        source.receive(0.0)
    assert failed.value.retryable


@pytest.mark.parametrize("url", ["", "uploads", "arn:aws:sqs:eu-central-1:1:uploads", "ftp://host/queue"])
def test_what_is_no_queue_address(url: str) -> None:
    """An ARN or a bare name is refused before anything is called."""
    with pytest.raises(BadSettings):
        connect(url)


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://sqs.eu-central-1.amazonaws.com/123456789012/uploads", "eu-central-1"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/uploads", "cn-north-1"),
        ("http://localhost:9324/000000000000/uploads", "us-east-1"),
    ],
)
def test_the_region_is_in_the_address(url: str, region: str) -> None:
    """Nobody has to say the region twice, and the client calls the host of the queue."""
    client = connect(url, access_key_id="a", secret_access_key="b")

    assert client.meta.region_name == region
    assert url.startswith(client.meta.endpoint_url)


class Refusing:
    """A queue client that answers every call with one error."""

    def __init__(self, code: str, status: int) -> None:
        answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
        self._error = ClientError(answer, "Any")

    def receive_message(self, **_: Any) -> dict[str, Any]:
        body = {"MessageId": "m", "ReceiptHandle": "r", "Body": "{}"}
        if self._error.response["Error"]["Code"] == "ReceiptHandleIsInvalid":
            return {"Messages": [body]}
        raise self._error

    def delete_message(self, **_: Any) -> None:
        raise self._error

    change_message_visibility = delete_message


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("AccessDenied", 403, BadSettings),
        ("InvalidClientTokenId", 403, BadSettings),
        ("ServiceUnavailable", 503, QueueUnavailable),
        ("OverLimit", 403, QueueUnavailable),
    ],
)
def test_each_refusal_says_who_acts(code: str, status: int, expected: type[Exception]) -> None:
    """Permission is the operator's, a busy service passes."""
    with pytest.raises(expected):
        SqsSource("http://queue", Refusing(code, status)).receive(0.0)


def test_an_acknowledgement_that_comes_too_late_is_no_error() -> None:
    """The message is already on its way again; the ledger knows its events."""
    (message,) = SqsSource("http://queue", Refusing("ReceiptHandleIsInvalid", 400)).receive(0.0)

    message.ack()
    message.retry_later(5.0)


def test_an_unreadable_file_does_not_hold_up_its_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again later; the others are announced now."""
    store = DirectoryStore.open_drop_folder(tmp_path, bucket="uploads")
    for name in ("a.csv", "b.csv", "c.csv"):
        (tmp_path / name).write_bytes(b"sku\n")
    now = [0.0]
    source = DirectoryWatch(store, settle_seconds=0.0, clock=lambda: now[0])
    real = open_object

    def deny(where: Any, key: str) -> Any:
        if key == "b.csv":
            raise StoreDenied("no permission")
        return real(where, key)

    with monkeypatch.context() as patch:
        patch.setattr("storage.upload_watch.open_object", deny)
        messages = source.receive(0.0)
    for message in messages:
        message.ack()

    assert [event.key for message in messages for event in message.events] == ["a.csv", "c.csv"]
    assert source.receive(0.0) == []
    now[0] += upload_watch.UNREADABLE_PAUSE_SECONDS + 1
    assert [event.key for message in source.receive(0.0) for event in message.events] == ["b.csv"]


def test_a_watched_folder_that_is_gone(tmp_path: Path) -> None:
    """Silence would look like "no uploads", so it is an operator's error."""
    store = DirectoryStore.open_drop_folder(tmp_path / "uploads", bucket="uploads")
    (tmp_path / "uploads").rmdir()

    with pytest.raises(StoreUnfit, match="does not exist"):
        DirectoryWatch(store).receive(0.0)


def test_the_folder_half_never_loads_the_aws_library() -> None:
    """Installations without S3 and SQS do not pay its half second and its memory."""
    modules = (
        "storage.objects.location, storage.objects.directory, storage.objects.memory, storage.upload_watch"
    )
    script = f"import sys, {modules}, storage.objects.prefixed; assert not {{'boto3', 'botocore'}} & set(sys.modules)"

    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
