"""The object store in Amazon S3 or a service that imitates it."""

from __future__ import annotations

import hashlib
import random
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from schemas.errors import ObjectMissing, StoreUnavailable
from storage.objects.s3_errors import is_conflict, is_missing, is_taken, s3_errors
from storage.objects.s3_probe import PROBE_PREFIX, probe_s3
from storage.objects.store import (
    DEFAULT_MEDIA_TYPE,
    Capabilities,
    ObjectEntry,
    ObjectInfo,
    PutResult,
    require_description,
    require_key,
    require_lifetime,
)

#: Names of our own entries in the user metadata. Stores differ in which checksums they keep, so we keep ours.
SHA256, PUT_ID = "aquatint-sha256", "aquatint-put"
#: Tries of a conditional write that the store answers with a conflict.
CONFLICT_TRIES = 6
CONFLICT_PAUSE_SECONDS = 0.1

Checksums = Literal["when_required", "when_supported"]


def connect(
    *,
    endpoint_url: str | None = None,
    region: str | None = None,
    access_key_id: str | None = None,
    secret_access_key: str | None = None,
    max_connections: int = 32,
    connect_timeout_seconds: float = 5.0,
    read_timeout_seconds: float = 60.0,
    checksums: Checksums | None = None,
) -> Any:
    """A client that threads may share; credentials not given come from where the AWS SDK looks for them.

    With an `endpoint_url` the address is path-style and checksums are sent only where S3 demands them, because many
    compatible stores refuse the newer ones; Amazon itself keeps the SDK's defaults.
    """
    foreign = endpoint_url is not None
    mode = checksums or ("when_required" if foreign else "when_supported")
    config = Config(
        signature_version="s3v4",  # otherwise links to foreign endpoints are signed the old way and break
        s3={"addressing_style": "path" if foreign else "auto"},
        request_checksum_calculation=mode,
        response_checksum_validation=mode,
        retries={"mode": "standard", "total_max_attempts": 4},
        max_pool_connections=max_connections,
        connect_timeout=connect_timeout_seconds,
        read_timeout=read_timeout_seconds,
    )
    with s3_errors(endpoint_url or "Amazon S3"):
        # A session of its own: the default session is not safe to create clients from in several threads.
        return boto3.session.Session().client(
            "s3",
            endpoint_url=endpoint_url,
            region_name=region or ("us-east-1" if foreign else None),
            aws_access_key_id=access_key_id,
            aws_secret_access_key=secret_access_key,
            config=config,
        )


class S3Store:
    """Objects of one bucket; safe to share between threads.

    Where the store ignores ``If-None-Match`` (`capabilities.conditional_create` is False) a create looks first and then
    writes, so that of two simultaneous writers the last one stays: harmless for keys that name their content.
    """

    def __init__(self, *, bucket: str, client: Any, probe_prefix: str = "") -> None:
        """`probe_prefix`, empty or ending in a slash, is where the probe may write."""
        self._bucket, self._client, self._probe_prefix = bucket, client, probe_prefix
        self._capabilities: Capabilities | None = None
        self._bucket_seen = False
        self._probing = threading.Lock()

    @property
    def bucket(self) -> str:
        return self._bucket

    def probe(self) -> Capabilities:
        """Probes once and remembers."""
        with self._probing:
            if self._capabilities is None:
                self._capabilities = probe_s3(self._client, self._bucket, self._probe_prefix)
            return self._capabilities

    def put(
        self,
        key: str,
        data: bytes,
        *,
        media_type: str = DEFAULT_MEDIA_TYPE,
        metadata: Mapping[str, str] | None = None,
        if_absent: bool = True,
    ) -> PutResult:
        require_key(key)
        require_description(media_type, metadata or {})
        sha256, put_id = hashlib.sha256(data).hexdigest(), uuid.uuid4().hex
        about = {**(metadata or {}), SHA256: sha256, PUT_ID: put_id}
        request = {"Key": key, "Body": data, "ContentType": media_type, "Metadata": about}
        conditional = if_absent and self.probe().conditional_create
        if if_absent and not conditional and (present := self.head(key)):
            return PutResult(created=False, etag=present.etag, sha256=present.sha256)
        with s3_errors(f"{self._bucket}/{key}"):
            if not conditional:
                answer = self._client.put_object(Bucket=self._bucket, **request)
                return PutResult(created=True, etag=_bare(answer["ETag"]), sha256=sha256)
            return self._create(request, sha256, put_id)

    def _create(self, request: dict[str, Any], sha256: str, put_id: str) -> PutResult:
        for attempt in range(CONFLICT_TRIES):
            try:
                answer = self._client.put_object(Bucket=self._bucket, IfNoneMatch="*", **request)
                return PutResult(created=True, etag=_bare(answer["ETag"]), sha256=sha256)
            except ClientError as error:
                if is_taken(error):
                    present = self._head(request["Key"])
                    if present is not None:
                        # The SDK repeats a put whose answer was lost; the refusal of the repetition is then our own
                        # success, recognised by the id of this very call.
                        ours = present["Metadata"].get(PUT_ID) == put_id
                        found = _info(request["Key"], present)
                        return PutResult(created=ours, etag=found.etag, sha256=found.sha256)
                elif not is_conflict(error):
                    raise
            # A conflict, or the object was removed between the refusal and the look.
            time.sleep(CONFLICT_PAUSE_SECONDS * 2**attempt * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        raise StoreUnavailable(f"{self._bucket}/{request['Key']}: other writers keep getting in between")

    def get(self, key: str) -> bytes:
        with s3_errors(f"{self._bucket}/{key}"):
            body: bytes = self._client.get_object(Bucket=self._bucket, Key=_readable(key))["Body"].read()
        return body

    def get_range(self, key: str, start: int, length: int, *, etag: str | None = None) -> bytes:
        if length <= 0:
            return b""
        wanted = f"bytes={start}-{start + length - 1}"
        with s3_errors(f"{self._bucket}/{key}"):
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=_readable(key), Range=wanted)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in ("InvalidRange", "416"):
                    return b""
                raise
            # Compared here rather than by If-Match: stores disagree on the quotes around its value.
            if etag not in (None, _bare(answer["ETag"])):
                raise ObjectMissing(f"the object {key!r} was replaced while it was being read", field="key")
            body: bytes = answer["Body"].read()
        return body

    def head(self, key: str) -> ObjectInfo | None:
        with s3_errors(f"{self._bucket}/{key}"):
            answer = self._head(key)
        return None if answer is None else _info(key, answer)

    def _head(self, key: str) -> dict[str, Any] | None:
        try:
            answer: dict[str, Any] = self._client.head_object(Bucket=self._bucket, Key=_readable(key))
        except ObjectMissing:
            return None
        except ClientError as error:
            if is_missing(error):
                self._require_bucket()
                return None
            raise
        return answer

    def _require_bucket(self) -> None:
        """Answers to HEAD have no body, so a missing bucket looks like a missing object until this asks."""
        if not self._bucket_seen:
            self._client.list_objects_v2(Bucket=self._bucket, MaxKeys=1)
            self._bucket_seen = True

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectEntry]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix, StartAfter=start_after
        )
        with s3_errors(f"{self._bucket}/{prefix}"):
            for page in pages:
                for found in page.get("Contents", ()):
                    if not found["Key"].startswith(self._probe_prefix + PROBE_PREFIX):
                        yield ObjectEntry(
                            key=found["Key"],
                            size=found["Size"],
                            etag=_bare(found["ETag"]),
                            modified=found["LastModified"],
                        )

    def presign(self, key: str, *, expires_seconds: int) -> str:
        """The link dies earlier when the credentials that signed it do."""
        require_key(key)
        require_lifetime(expires_seconds)
        with s3_errors(f"{self._bucket}/{key}"):
            link: str = self._client.generate_presigned_url(
                "get_object", Params={"Bucket": self._bucket, "Key": key}, ExpiresIn=expires_seconds
            )
        return link

    def delete(self, key: str) -> None:
        with s3_errors(f"{self._bucket}/{key}"):
            try:
                self._client.delete_object(Bucket=self._bucket, Key=_readable(key))
            except ObjectMissing:
                return
            except ClientError as error:
                if not is_missing(error):
                    raise


def _readable(key: str) -> str:
    """Any key that S3 itself could hold, also those that we would not write."""
    if not key or "\0" in key or any("\ud800" <= character <= "\udfff" for character in key):
        raise ObjectMissing(f"there is no object {key!r}", field="key")
    return key


def _info(key: str, answer: dict[str, Any]) -> ObjectInfo:
    metadata = {name.lower(): value for name, value in answer.get("Metadata", {}).items()}
    sha256 = metadata.pop(SHA256, None)
    metadata.pop(PUT_ID, None)
    return ObjectInfo(
        key=key,
        size=answer["ContentLength"],
        etag=_bare(answer["ETag"]),
        media_type=answer.get("ContentType", DEFAULT_MEDIA_TYPE),
        sha256=sha256,
        metadata=metadata,
    )


def _bare(etag: str) -> str:
    return etag.strip('"')
