"""Finds out what an S3-compatible store really does with conditional writes, instead of believing its documentation."""

from __future__ import annotations

import contextlib
import uuid
from typing import Any, Literal

from botocore.exceptions import ClientError

from schemas.errors import StoreDenied
from storage.objects.s3_errors import is_taken, s3_errors
from storage.objects.store import Capabilities

#: Below this prefix of the bucket the probe writes its scratch objects.
PROBE_PREFIX = ".aquatint-probe/"


def probe_s3(client: Any, bucket: str, prefix: str = "") -> Capabilities:
    """Writes, replaces and removes one scratch object; raises StoreDenied, StoreUnfit or StoreUnavailable."""
    key = f"{prefix}{PROBE_PREFIX}{uuid.uuid4().hex}"
    scratch = _Scratch(client, bucket, key)
    with s3_errors(f"{bucket}/{key}"):
        scratch.client.put_object(Bucket=bucket, Key=key, Body=b"first")
        try:
            create = scratch.refuses(Body=b"second", IfNoneMatch="*")
            replace = _replace_form(scratch)
        finally:
            delete = scratch.remove()
    return Capabilities(conditional_create=create, conditional_replace=replace, delete=delete)


class _Scratch:
    def __init__(self, client: Any, bucket: str, key: str) -> None:
        self.client, self.bucket, self.key = client, bucket, key

    def refuses(self, **put: Any) -> bool:
        try:
            self.client.put_object(Bucket=self.bucket, Key=self.key, **put)
        except ClientError as error:
            # A store that does not know the header may also answer 501 or 400: not honoured, but not broken.
            return is_taken(error)
        return False

    def accepts(self, **put: Any) -> bool:
        with contextlib.suppress(ClientError):
            self.client.put_object(Bucket=self.bucket, Key=self.key, **put)
            return True
        return False

    def etag(self) -> str:
        return str(self.client.head_object(Bucket=self.bucket, Key=self.key)["ETag"])

    def remove(self) -> bool:
        try:
            with s3_errors(self.key):
                self.client.delete_object(Bucket=self.bucket, Key=self.key)
        except StoreDenied:
            return False
        return True


def _replace_form(scratch: _Scratch) -> Literal["quoted", "bare", "no"]:
    stale = scratch.etag()
    scratch.client.put_object(Bucket=scratch.bucket, Key=scratch.key, Body=b"third")
    # Ceph RGW refuses the right etag in the quotes that its own answers carry, so both forms are tried.
    forms: dict[Literal["quoted", "bare"], str] = {"quoted": '"{}"', "bare": "{}"}
    for form, pattern in forms.items():
        current = scratch.etag().strip('"')
        accepted = scratch.accepts(Body=b"fourth " + form.encode(), IfMatch=pattern.format(current))
        if accepted and scratch.refuses(Body=b"fifth", IfMatch=pattern.format(stale.strip('"'))):
            return form
    return "no"
