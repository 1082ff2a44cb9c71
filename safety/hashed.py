"""Values that are named by the digest of their content."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Self

from schemas.base import Frozen
from schemas.canonical import digest


class Hashed(Frozen):
    """A frozen value with a digest, computed once."""

    @cached_property
    def content_sha256(self) -> str:
        """SHA-256 of the canonical JSON."""
        return digest(self.hashed_form())

    def hashed_form(self) -> dict[str, Any]:
        """What the digest is taken over, as JSON types."""
        return self.model_dump(mode="json")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A validated copy: pydantic's own would skip the validators and carry the old digest along."""
        del deep  # frozen all the way down, nothing to separate
        return type(self)(
            **{name: getattr(self, name) for name in type(self).model_fields} | dict(update or {})
        )
