"""Pictures that requests bring, as they lie in a tenant's results store: ours alone to write, and verified when read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from pydantic import ValidationError

from schemas.errors import BadImage, InputMissing, ObjectMissing
from schemas.input_image import CleanPicture
from schemas.input_limits import MAX_KEPT_BYTES
from schemas.input_record import InputRecord
from schemas.object_keys import ingredient_key, input_key, input_record_key
from schemas.verdict import Verdict
from storage.objects.store import ObjectInfo, ObjectStore

_MAX_RECORD_BYTES = 256_000
#: The latest verdicts under other policies and screens; older ones are judged anew when they are asked for.
_MOST_VERDICTS = 16


@dataclass(frozen=True, kw_only=True)
class KeptInputs:
    """One tenant's; `key` is derived from the master secret for this tenant. Thread-safe.

    Files from before there were records lie under the same key as they came: their own digest names them.
    """

    store: ObjectStore
    key: bytes

    def record(self, sha256: str) -> InputRecord | None:
        """What is known of a picture; None when nothing is, or somebody else wrote it."""
        if not self.key:
            return None  # under an empty key anybody could have sealed it
        try:
            data = self.store.get_range(input_record_key(sha256), 0, _MAX_RECORD_BYTES)
            found = InputRecord.model_validate_json(data)
        except (ObjectMissing, ValidationError):
            return None
        return found if found.facts.sha256 == sha256 and found.is_sealed(self.key) else None

    def read(self, sha256: str, *, most_bytes: int = MAX_KEPT_BYTES) -> bytes:
        """The file that is kept: our PNG as it was written, or an old one as it came.

        InputMissing when there is none, BadImage when it is another than was looked at.
        """
        key = input_key(sha256)
        try:
            data = self.store.get_range(key, 0, most_bytes + 1)
        except ObjectMissing:
            raise InputMissing(f"{key} is no longer there") from None
        if len(data) > most_bytes:
            raise BadImage(f"{key} is larger than what was planned with", limit=most_bytes)
        found = hashlib.sha256(data).hexdigest()
        if found != sha256:
            record = self.record(sha256)
            if record is None or record.kept_sha256 != found:
                raise BadImage(f"{key} no longer holds what was planned with")
        return data

    def holds(self, record: InputRecord) -> bool:
        """Whether the picture of a record lies there, as far as can be told without reading it."""
        info = self.store.head(input_key(record.facts.sha256))
        return info is not None and _is_kept(info, record)

    def keep(
        self, picture: CleanPicture, origin: bytes = b"", verdicts: dict[str, Verdict] | None = None
    ) -> InputRecord:
        """Store picture, origin and record, in this order; durable when it returns."""
        sha256 = picture.facts.sha256
        made = InputRecord.of(picture).model_copy(update={"verdicts": verdicts or {}})
        known = self.record(sha256)
        if known is not None and self.holds(known):
            return self.judged(known, made.verdicts)
        # Replaced, whatever lies there: a file of another version of the encoder, or one that is not ours.
        self.store.put(input_key(sha256), picture.png, media_type="image/png", if_absent=False)
        if origin:
            self.store.put(ingredient_key(sha256), origin, media_type="application/c2pa", if_absent=False)
        return self._write(made)

    def judged(self, record: InputRecord, verdicts: dict[str, Verdict]) -> InputRecord:
        """The record with further verdicts, written if they are new."""
        if verdicts.items() <= record.verdicts.items():
            return record
        latest = list({**record.verdicts, **verdicts}.items())[-_MOST_VERDICTS:]
        return self._write(record.model_copy(update={"verdicts": dict(latest)}))

    def remove(self, sha256: str) -> None:
        """Picture, origin and record; what is not there is no error."""
        for key in (input_record_key(sha256), ingredient_key(sha256), input_key(sha256)):
            self.store.delete(key)

    def _write(self, record: InputRecord) -> InputRecord:
        sealed = record.sealed(self.key)
        key = input_record_key(record.facts.sha256)
        data = sealed.model_dump_json().encode()
        self.store.put(key, data, media_type="application/json", if_absent=False)
        return sealed


def _is_kept(info: ObjectInfo, record: InputRecord) -> bool:
    # The store's own note of the digest; a worker hashes the bytes themselves before it draws with them.
    return info.size == record.kept_bytes and info.sha256 in (None, record.kept_sha256)
