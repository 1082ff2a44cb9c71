"""What the HTTP API needs of the rest, given to it by whoever composes the process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from prometheus_client import CollectorRegistry
from sqlalchemy import Connection

from schemas.cloudevent import CloudEvent
from schemas.errors import Unsupported
from schemas.input_image import InputImage
from schemas.object_event import ObjectCreated
from storage.objects.signed_link import LinkSigner
from storage.objects.store import ObjectStore
from storage.quarantine import Vault

#: A signed link in an answer lives at most so long.
MAX_LINK_SECONDS = 15 * 60


class Accepted(Protocol):
    """What an event became."""

    @property
    def id(self) -> str | None: ...

    @property
    def kind(self) -> Literal["job", "batch", "finetune", "ignored"]: ...

    @property
    def duplicate(self) -> bool: ...


class Intake(Protocol):
    """Both return after the event's rows are committed, and raise the errors of `schemas.errors`."""

    def accept(self, event: CloudEvent, tenant: str) -> Accepted: ...

    def object_created(
        self, created: ObjectCreated, tenant: str, *, traceparent: str | None = None
    ) -> Accepted: ...


class Transactions(Protocol):
    def begin(self, *, wake: bool = True) -> AbstractContextManager[Connection]: ...

    def read(self) -> AbstractContextManager[Connection]: ...


@dataclass(frozen=True, kw_only=True)
class ReadinessCheck:
    """Raises an AquatintError, quickly, while its part is not ready."""

    name: str
    check: Callable[[], None]


def _no_inputs(_tenant: str, _data: bytes) -> InputImage:
    raise Unsupported("pictures are not taken in here")


@dataclass(frozen=True, kw_only=True)
class ApiDeps:
    """The ports of the API."""

    ledger: Transactions
    intake: Intake
    #: Keeps the bytes of a picture for a tenant; raises BadImage. Durable when it returns.
    take_input: Callable[[str, bytes], InputImage] = _no_inputs
    #: Where a tenant's pictures are; links to them go into answers.
    results: Callable[[str], ObjectStore]
    metrics: CollectorRegistry
    #: Bearer token to tenant; without any, every caller is the tenant "default".
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: What stores must show that push notifications, once there are tokens; empty = none may. It is the operator's
    #: and no tenant's, because a notification can start work for any of them.
    notification_token: str = field(default="", repr=False)
    readiness: Sequence[ReadinessCheck] = ()
    #: Stores by bucket that have no server of their own, and whose links this API therefore serves.
    served_stores: Mapping[str, ObjectStore] = field(default_factory=dict)
    links: LinkSigner | None = None
    #: Publishes the JSON of one worker's report with confirmation; None when no worker reports over HTTPS.
    publish_report: Callable[[bytes], None] | None = None
    outcomes_secret: bytes = field(default=b"", repr=False)
    #: Bearer token to reviewer, as ``name`` or ``name@tenant``. Without any, an installation without tenants' tokens has
    #: one reviewer, "local"; another has none.
    reviewers: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: Where held pictures lie; None where nothing is ever held.
    vault: Vault | None = None
    #: Signs what a reviewer's browser brings back.
    session_key: bytes = field(default=b"", repr=False)
    clock: Callable[[], float] = time.time
