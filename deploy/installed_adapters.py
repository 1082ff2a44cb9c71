"""Adapters that come with a model, in its folder `adapters/`: every tenant may name them."""

from __future__ import annotations

from pathlib import Path

from models.adapters import ADAPTER_FILE, WEIGHTS_FILE, AdapterCard, adapter_digest
from schemas.errors import BadSettings
from schemas.object_keys import adapter_key
from storage.ledger.adapters import AdapterRow
from storage.objects.store import ObjectStore

FOLDER = "adapters"


def installed_adapter(model_folder: Path, name: str, tenant: str, store: ObjectStore) -> AdapterRow | None:
    """The adapter of that name, its files put into the tenant's results store, where a worker looks; None without one.

    Put there now, so that the tenant's pictures can be rendered again when the installation has moved on.
    """
    folder = model_folder / FOLDER / name
    if not (folder / ADAPTER_FILE).is_file():
        return None
    try:
        files = {file: (folder / file).read_bytes() for file in (WEIGHTS_FILE, ADAPTER_FILE)}
        card = AdapterCard.model_validate_json(files[ADAPTER_FILE])
    except (OSError, ValueError) as error:
        raise BadSettings(f"the adapter in {folder} cannot be read", field="AQUATINT_MODEL") from error
    digest = adapter_digest(files[ADAPTER_FILE])
    for file, data in files.items():
        store.put(adapter_key(digest, file), data)
    return AdapterRow(
        tenant=tenant,
        name=name,
        digest=digest,
        model=card.base_model,
        base_digest=card.base_digest,
        created_at=0.0,
        rank=card.rank,
    )
