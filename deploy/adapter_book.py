"""Adapters of this installation, without a server: the same store and registry that the trainers' adapters go to."""

from __future__ import annotations

import re
import time
from pathlib import Path

from deploy.compose import Parts
from schemas.errors import BadInput, OutOfRange, Unsupported
from schemas.finetune import ADAPTER_NAME
from storage.ledger import adapters
from storage.ledger.adapters import AdapterRow


def register_local(parts: Parts, folder: Path, tenant: str, *, name: str | None = None) -> AdapterRow:
    """Store an adapter's folder and let the tenant's requests name it, as its card does unless `name` is given.

    Raises BadInput for a folder that is none, Unsupported for an adapter of other weights than the model in force.
    """
    from models.adapters import load_adapter
    from models.errors import AdapterUnusable
    from workers.adapter_shelf import AdapterBroken, put_adapter, read_adapter_folder

    try:
        card, _ = read_adapter_folder(folder)
        chosen = name or card.name
        if not re.fullmatch(ADAPTER_NAME, chosen):
            raise OutOfRange(f"{chosen!r} cannot be named in requests", field="name", limit=ADAPTER_NAME)
        if card.base_digest != parts.card.base_digest:
            raise Unsupported(
                f"adapter {chosen} was trained on {card.base_model}, not on {parts.card.name} {parts.card.version}",
                field="folder",
            )
        load_adapter(folder, parts.card)
        _, digest = put_adapter(folder, parts.results_of(tenant))
    except (AdapterBroken, AdapterUnusable) as error:
        raise BadInput(f"{folder}: {error}", field="folder") from None
    row = AdapterRow(
        tenant=tenant,
        name=chosen,
        digest=digest,
        model=parts.card.name,
        base_digest=card.base_digest,
        rank=card.rank,
        trigger=", ".join(card.trigger)[:64],
        scores={"after": card.scores},
        created_at=time.time(),
    )
    with parts.ledger.begin() as conn:
        adapters.register(conn, row)
    return row
