"""Where reviews, standings and the audit log meet the stores and the way out of the worker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from deploy.compose import Parts

if TYPE_CHECKING:
    from handlers.held_pictures import Publish
    from handlers.sweeps import Sweep
    from schemas.outcome import ImageRendered, QuarantineRef


def oversight_sweeps(parts: Parts) -> Iterator[Sweep]:
    """What a clock, or somebody's decision elsewhere, brings about; it needs the ledger and the stores, and no GPU."""
    from handlers.audit_roots import AuditRoots
    from handlers.held_pictures import HeldPictures
    from handlers.shutting_out import ShuttingOut
    from handlers.sweeps import Sweep

    held = HeldPictures(ledger=parts.ledger, publish=publisher(parts), discard=parts.vault.discard)
    shutting_out = ShuttingOut(ledger=parts.ledger, abuse=parts.abuse)
    yield Sweep(name="released", every_seconds=1, run=held.publish_released)
    yield Sweep(name="reviews", every_seconds=5, run=held.end_reviews)
    yield Sweep(name="quarantine", every_seconds=600, run=held.discard_old)
    yield Sweep(name="standings", every_seconds=5, run=shutting_out.judge)
    yield Sweep(name="suspended", every_seconds=2, run=shutting_out.cancel_queues)
    yield Sweep(
        name="audit-root", every_seconds=600, run=partial(AuditRoots(parts.restricted).export, parts.ledger)
    )


def note_policies(parts: Parts) -> None:
    """Put into the audit log which policies this installation has from now on."""
    from handlers.policy_changes import note_policies

    note_policies(parts.ledger, {policy.name: policy.digest for policy in parts.policies.all}, time.time())


def publisher(parts: Parts) -> Publish:
    """Brings a released picture out by the way of every other: a permission, the file, its signature, the store."""
    from safety.human_review import released
    from workers.finishing import Candidate, Finishing

    finishing = Finishing(way_out=parts.way_out, stores=parts.results_of)

    def publish(tenant: str, quarantined: QuarantineRef) -> ImageRendered:
        facts, pixels = parts.quarantine.take(tenant, quarantined)
        candidate = Candidate(pixels=pixels, sha256=quarantined.sha256, watermark=facts.watermark)
        return finishing.publish(facts.task, candidate, released(facts.verdict), facts.rendered_with)

    return publish
