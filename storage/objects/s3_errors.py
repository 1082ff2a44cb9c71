"""What a failed call to AWS, or to something that imitates it, means in terms of who can act."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    TokenRetrievalError,
)

from schemas.errors import (
    AquatintError,
    BadSettings,
    ObjectMissing,
    OutOfRange,
    StoreDenied,
    StoreFull,
    StoreUnavailable,
    StoreUnfit,
)

_MISSING = {"NoSuchKey", "NotFound", "404"}
DENIED_CODES = {
    "403",
    "401",
    "AccessDenied",
    "AllAccessDisabled",
    "AccountProblem",
    "ExpiredToken",
    "Forbidden",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "Unauthorized",
}
_FULL = {"QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "507"}
_BUSY = {"RequestTimeout", "SlowDown", "Throttling", "ThrottlingException", "ServiceUnavailable", "429"}
_CONFLICT = {"ConditionalRequestConflict", "OperationAborted", "409"}


def code_of(error: ClientError) -> str:
    """The store's word for what went wrong, or the HTTP status where it gave none (answers to HEAD have no body)."""
    return str(error.response.get("Error", {}).get("Code", "")) or str(status_of(error))


def status_of(error: ClientError) -> int:
    response: dict[str, Any] = dict(error.response)
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_missing(error: ClientError) -> bool:
    return code_of(error) in _MISSING


def is_taken(error: ClientError) -> bool:
    """The precondition failed: final."""
    return status_of(error) == 412 or code_of(error) == "PreconditionFailed"


def is_conflict(error: ClientError) -> bool:
    """Two conditional writes met: to be tried again."""
    return code_of(error) in _CONFLICT


@contextmanager
def s3_errors(place: str) -> Iterator[None]:
    """Turns an error of the AWS library about `place` into a typed one, without the request's headers or links."""
    try:
        yield
    except ClientError as error:
        raise _answered(error, place) from error
    except (NoCredentialsError, PartialCredentialsError, TokenRetrievalError) as error:
        raise StoreDenied(f"{place}: no usable credentials ({type(error).__name__})") from error
    except (ConnectionError, HTTPClientError, IncompleteReadError) as error:
        raise StoreUnavailable(f"{place} cannot be reached ({type(error).__name__})") from error
    except NoRegionError as error:
        raise BadSettings(f"{place}: the region is not set") from error
    except BotoCoreError as error:
        raise StoreUnfit(f"{place}: {type(error).__name__}") from error


def _answered(error: ClientError, place: str) -> AquatintError:
    code, status = code_of(error), status_of(error)
    said = f"{place}: the store answered {code}"
    if code == "NoSuchBucket":
        return StoreUnfit(f"{place}: there is no such bucket")
    if code in _MISSING:
        return ObjectMissing(f"there is no object {place}", field="key")
    if code in _FULL or status == 507:
        return StoreFull(said)
    if code in DENIED_CODES or status in (401, 403):
        return StoreDenied(said)
    if code == "KeyTooLongError":
        return OutOfRange(said, field="key")
    if code in _BUSY or code in _CONFLICT or status == 429 or (status >= 500 and status != 501):
        return StoreUnavailable(said)
    return StoreUnfit(said)
