"""What an upload starts: when an object lands under this prefix, run this recipe."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from schemas.base import Frozen
from schemas.object_event import ObjectCreated
from schemas.request import Webhook


class Trigger(Frozen):
    """The first trigger in the list whose bucket and prefix fit decides."""

    bucket: str
    prefix: str = ""
    #: Only objects whose key ends so are manifests.
    suffixes: tuple[str, ...] = Field((".csv", ".tsv", ".jsonl", ".ndjson"), min_length=1)
    #: None: the manifest has a prompt column, or holds requests in our own form.
    recipe: str | None = None
    #: None: whoever the event was accepted for.
    tenant: str | None = None
    webhook: Webhook | None = None

    def fits(self, created: ObjectCreated) -> bool:
        key = created.key
        return (
            created.bucket == self.bucket
            and key.startswith(self.prefix)
            and key.lower().endswith(self.suffixes)
        )


def trigger_for(triggers: Sequence[Trigger], created: ObjectCreated) -> Trigger | None:
    return next((trigger for trigger in triggers if trigger.fits(created)), None)
