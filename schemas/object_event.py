"""An object has landed in a bucket: the one shape every notification is normalised to."""

from __future__ import annotations

from pydantic import Field

from schemas.base import Frozen


class ObjectCreated(Frozen):
    """`bucket`, `key` and `version` (version id, or etag and size) identify the upload; message ids do not."""

    bucket: str = Field(min_length=1, max_length=255)
    #: Decoded key, exactly as the store knows it.
    key: str = Field(min_length=1, max_length=1024)
    version: str = Field(min_length=1, max_length=512)
    size: int | None = Field(None, ge=0)
    #: Which dialect it came in, e.g. "aws:s3", "aws:eventbridge", "ceph:s3", "minio:s3", "directory".
    dialect: str = "directory"

    @property
    def source(self) -> str:
        return f"s3:{self.bucket}"

    @property
    def dedupe_id(self) -> str:
        return f"{self.key}\x1f{self.version}"
