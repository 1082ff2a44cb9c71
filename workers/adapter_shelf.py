"""Adapters in a tenant's store, under their digests."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

from models.adapters import ADAPTER_FILE, WEIGHTS_FILE, AdapterCard, adapter_digest
from schemas.object_keys import adapter_key
from storage.objects.store import ObjectStore
from workers.shelf import patiently

_MEDIA_TYPES = {ADAPTER_FILE: "application/json", WEIGHTS_FILE: "application/octet-stream"}


class AdapterBroken(Exception):
    """The folder does not hold an adapter whose files agree."""


def read_adapter_folder(folder: Path) -> tuple[AdapterCard, dict[str, bytes]]:
    """The card and the bytes of both files; AdapterBroken when one is missing, unreadable or not what the card says."""
    try:
        files = {name: (folder / name).read_bytes() for name in (WEIGHTS_FILE, ADAPTER_FILE)}
        card = AdapterCard.model_validate_json(files[ADAPTER_FILE])
    except OSError as error:
        raise AdapterBroken(f"{Path(error.filename or folder).name}: {error.strerror}") from error
    except ValueError:
        raise AdapterBroken(f"{ADAPTER_FILE} cannot be read") from None
    if hashlib.sha256(files[WEIGHTS_FILE]).hexdigest() != card.weights_sha256:
        raise AdapterBroken(f"{WEIGHTS_FILE} is not the file that {ADAPTER_FILE} names")
    return card, files


def put_adapter(folder: Path, store: ObjectStore) -> tuple[AdapterCard, str]:
    """Stores both files, unless they are there; the card, and the digest that names it."""
    card, files = read_adapter_folder(folder)
    digest = adapter_digest(files[ADAPTER_FILE])
    # The weights first: whoever finds a card finds its weights.
    for name, data in files.items():
        patiently(partial(store.put, adapter_key(digest, name), data, media_type=_MEDIA_TYPES[name]))
    return card, digest
