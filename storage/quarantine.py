"""Pictures that nobody outside may see: sealed objects in a store of their own, under keys of their own.

No signed link leads here, and the results stores do not reach it. A key is derived per tenant from the installation's
secret, so that workers, which know no ledger, can seal and the intake can open.
"""

from __future__ import annotations

from schemas.errors import SealBroken
from storage.objects.store import ObjectStore
from storage.sealing import derive_key, seal_bytes, unseal_bytes

#: The parts of one held picture.
PICTURE, FACTS, PREVIEW = "picture", "facts", "preview"
_PARTS = (FACTS, PREVIEW, PICTURE)
_MEDIA_TYPE = "application/octet-stream"
_PURPOSE = "quarantine"
PREFIX = "quarantine/"


def quarantine_key(tenant: str, image: str) -> str:
    """The place of one held image; its parts lie below it."""
    return f"{PREFIX}{tenant}/{image}"


class Vault:
    """Sealed parts by key; what lies somewhere first stays, so that a repeated writer finds its work done."""

    def __init__(self, store: ObjectStore, master: bytes, previous: bytes | None = None) -> None:
        """`previous` is the installation's secret before `master`: what was sealed under it still opens."""
        self._store, self._master, self._previous = store, master, previous

    def keep(self, tenant: str, key: str, part: str, plain: bytes) -> bytes:
        """Seals and stores; returns what lies there now, which is what came first."""
        place = f"{key}/{part}"
        sealed = seal_bytes(self._key(tenant), plain, place.encode())
        if self._store.put(place, sealed, media_type=_MEDIA_TYPE).created:
            return plain
        return self.open(tenant, key, part)

    def open(self, tenant: str, key: str, part: str) -> bytes:
        """Raises ObjectMissing, and SealBroken for what was sealed for another place, tenant or installation."""
        place = f"{key}/{part}"
        return self._opened(tenant, place, self._store.get(place))

    def seal_anew(self) -> int:
        """Seal under `master` what was sealed under `previous`; how many parts. It may be repeated, and interrupted."""
        moved = 0
        for entry in self._store.list(PREFIX):
            tenant, sealed = entry.key.split("/")[1], self._store.get(entry.key)
            try:
                unseal_bytes(self._key(tenant), sealed, entry.key.encode())
            except SealBroken:
                plain = self._opened(tenant, entry.key, sealed)
                anew = seal_bytes(self._key(tenant), plain, entry.key.encode())
                self._store.put(entry.key, anew, media_type=_MEDIA_TYPE, if_absent=False)
                moved += 1
        return moved

    def _opened(self, tenant: str, place: str, sealed: bytes) -> bytes:
        try:
            return unseal_bytes(self._key(tenant), sealed, place.encode())
        except SealBroken:
            if self._previous is None:
                raise
            return unseal_bytes(derive_key(self._previous, _PURPOSE, tenant), sealed, place.encode())

    def discard(self, key: str) -> None:
        """Removes all parts; those that are gone are no error."""
        for part in _PARTS:
            self._store.delete(f"{key}/{part}")

    def _key(self, tenant: str) -> bytes:
        return derive_key(self._master, _PURPOSE, tenant)
