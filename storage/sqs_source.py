"""Uploads announced through Amazon SQS: S3 notifications direct, by SNS or by EventBridge."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import boto3
import structlog
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from schemas.errors import AquatintError, BadSettings, MalformedJson, QueueUnavailable
from schemas.s3_notification import Notification, read_notification
from storage.objects.s3_errors import DENIED_CODES, code_of, status_of
from storage.upload_source import UploadMessage

#: Amazon's limits.
MAX_WAIT_SECONDS = 20
MAX_MESSAGES = 10
MAX_VISIBILITY_SECONDS = 12 * 3600

_NO_QUEUE = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "InvalidAddress"}
#: Too much at once, which SQS also answers with a 403.
_BUSY = {"OverLimit", "RequestThrottled", "Throttling", "ThrottlingException", "KmsThrottled"}
_EXPIRED = {"ReceiptHandleIsInvalid", "MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight"}
_AMAZON_HOST = re.compile(r"sqs\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?")

log = structlog.get_logger(__name__)


def connect(
    queue_url: str,
    *,
    region: str | None = None,
    access_key_id: str | None = None,
    secret_access_key: str | None = None,
) -> Any:
    """A client for the queue; address and, at Amazon, region are those in its URL."""
    address = urlsplit(queue_url)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise BadSettings("the address of an SQS queue starts with https://", field="uploads_queue_url")
    amazon = _AMAZON_HOST.fullmatch(address.hostname)
    return boto3.session.Session().client(
        "sqs",
        endpoint_url=f"{address.scheme}://{address.netloc}",
        region_name=region or (amazon[1] if amazon else "us-east-1"),
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key,
        # A long poll is silent for up to 20 s; the read must outlast it.
        config=Config(
            read_timeout=MAX_WAIT_SECONDS + 20,
            connect_timeout=5,
            retries={"mode": "standard", "total_max_attempts": 4},
        ),
    )


class SqsSource:
    """Long-polls one queue. A message that is not acknowledged comes again after `visibility_seconds`.

    A body that cannot be read is handed out without events, for the caller to log and acknowledge: it would be as
    unreadable the next time.
    """

    def __init__(self, queue_url: str, client: Any, *, visibility_seconds: int = 120) -> None:
        self._queue_url, self._client, self._visibility = queue_url, client, visibility_seconds
        self._closed = False

    def receive(self, timeout_seconds: float) -> list[UploadMessage]:
        if self._closed:
            return []
        with self._errors():
            answer = self._client.receive_message(
                QueueUrl=self._queue_url,
                MaxNumberOfMessages=MAX_MESSAGES,
                WaitTimeSeconds=max(0, min(MAX_WAIT_SECONDS, int(timeout_seconds))),
                VisibilityTimeout=self._visibility,
            )
        return [self._message(message) for message in answer.get("Messages", ())]

    def close(self) -> None:
        """A poll under way ends by itself; the next `receive` returns at once."""
        self._closed = True

    def _message(self, message: dict[str, Any]) -> UploadMessage:
        try:
            notification = read_notification(message["Body"])
        except MalformedJson as error:
            notification = Notification(ignored=(error.detail,))
        receipt = message["ReceiptHandle"]
        return UploadMessage(
            id=message["MessageId"],
            events=notification.events,
            ignored=notification.ignored,
            ack=lambda: self._ack(receipt),
            retry_later=lambda seconds: self._retry_later(receipt, seconds),
        )

    def _ack(self, receipt: str) -> None:
        # The caller has committed the events to the ledger; only now may SQS forget them.
        with self._errors(late_is_fine=True):
            self._client.delete_message(QueueUrl=self._queue_url, ReceiptHandle=receipt)

    def _retry_later(self, receipt: str, seconds: float) -> None:
        visibility = max(0, min(MAX_VISIBILITY_SECONDS, round(seconds)))
        with self._errors(late_is_fine=True):
            self._client.change_message_visibility(
                QueueUrl=self._queue_url, ReceiptHandle=receipt, VisibilityTimeout=visibility
            )

    @contextmanager
    def _errors(self, *, late_is_fine: bool = False) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            if not late_is_fine or code_of(error) not in _EXPIRED:
                raise _answered(error) from error
            # The message is on its way again, and the ledger will know its events.
            log.info("upload_receipt_expired", code=code_of(error))
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise BadSettings(f"no usable credentials for SQS ({type(error).__name__})") from error
        except BotoCoreError as error:
            raise QueueUnavailable(f"SQS cannot be reached ({type(error).__name__})") from error


def _answered(error: ClientError) -> AquatintError:
    code, status = code_of(error), status_of(error)
    if code in _NO_QUEUE:
        return BadSettings("there is no such SQS queue", field="uploads_queue_url")
    if code in DENIED_CODES or (status in (401, 403) and code not in _BUSY):
        return BadSettings(f"SQS refuses permission ({code})", field="uploads_queue_url")
    return QueueUnavailable(f"SQS answered {code}")
