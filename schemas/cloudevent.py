"""CloudEvents 1.0 in JSON, structured mode: the envelope of everything that comes in."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

#: Inbound types; the data of each is named beside it.
GENERATION_REQUESTED = "io.aquatint.generation.requested"  # GenerationRequest
RECIPE_INVOKED = "io.aquatint.recipe.invoked"  # RecipeInvocation
OBJECT_CREATED = "io.aquatint.object.created"  # ObjectCreated
FINETUNE_REQUESTED = "io.aquatint.finetune.requested"  # FinetuneRequest

_EXTENSION = re.compile(r"[a-z0-9]{1,32}")
_ATTRIBUTES = {
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "data",
    "data_base64",
}
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def _aware(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("the time needs a zone offset (RFC 3339)")
    return value


def _storable(value: str) -> str:
    if "\x00" in value:
        raise ValueError("the text holds a NUL, which no attribute may")
    return value


Attribute = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_storable)]


class CloudEvent(BaseModel):
    """One event; `source` and `id` together identify it, so a repeat is recognised.

    Extension attributes are kept as they came (lower-case letters and digits only); ``traceparent`` and
    ``tracestate`` carry W3C trace context.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    specversion: Literal["1.0"]
    id: Attribute
    source: Attribute
    type: Attribute
    subject: str | None = Field(None, max_length=1024)
    time: Annotated[datetime, AfterValidator(_aware)] | None = None
    datacontenttype: str | None = Field(None, max_length=128)
    dataschema: str | None = Field(None, max_length=512)
    data: Any = None

    @model_validator(mode="before")
    @classmethod
    def _extension_names(cls, values: Any) -> Any:
        if isinstance(values, dict):
            if values.get("data_base64") is not None:
                raise ValueError("binary data is not accepted: send JSON in `data`")
            for name in values.keys() - _ATTRIBUTES:
                if not isinstance(name, str) or not _EXTENSION.fullmatch(name):
                    raise ValueError(f"extension name {name!r}: lower-case letters and digits only")
        return values

    @property
    def traceparent(self) -> str | None:
        """The W3C trace context of the sender, if it sent a well-formed one."""
        value = (self.model_extra or {}).get("traceparent")
        return value if isinstance(value, str) and _TRACEPARENT.fullmatch(value) else None
