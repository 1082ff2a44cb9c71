"""What an upload starts: when an object lands under this prefix, run this recipe."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from schemas.base import Frozen
from schemas.finetune import is_caption_list
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
            and not is_caption_list(key)
        )


def tenant_of_upload(trigger: Trigger, created: ObjectCreated, accepted_for: str) -> str:
    """Whose upload it is: what lies in a tenant's folder is that tenant's, whoever the rest of the store belongs to."""
    folder, _, rest = created.key.partition("/")
    name, slash, _ = rest.partition("/")
    return name if folder == "tenants" and slash else trigger.tenant or accepted_for


def trigger_for(triggers: Sequence[Trigger], created: ObjectCreated) -> Trigger | None:
    return next((trigger for trigger in triggers if trigger.fits(created)), None)
