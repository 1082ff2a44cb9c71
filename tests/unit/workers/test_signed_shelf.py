"""Signed files under a digest: what lies there already counts only if it is the picture, marked and whole."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pytest
from microbatches import a_task, a_verdict
from signed_pictures import a_signer, some_pixels, task_of

from safety.provenance.reading import read_picture
from schemas.microbatch import ImageTask
from schemas.object_keys import image_key, receipt_key
from schemas.outcome import ImageRendered
from schemas.receipt import Receipt, RenderedWith
from storage.objects.memory import MemoryStore
from workers.encode import Encoder
from workers.finishing import Candidate, Finishing, WayOut

WITH = RenderedWith(aquatint="0", runtime="onnx", precision="int8", device="cpu")


@dataclass
class Published:
    task: ImageTask
    store: MemoryStore

    @property
    def data(self) -> bytes:
        return self.store.get(image_key(self.task.digest, "png"))

    @property
    def receipt(self) -> Receipt:
        return Receipt.model_validate_json(self.store.get(receipt_key(self.task.digest)))

    def publish(self, *, signed: bool = True) -> None:
        encoder = Encoder(stores=lambda tenant: self.store, signer=a_signer() if signed else None)
        finishing = Finishing(way_out=WayOut(encode=encoder.encode), stores=lambda tenant: self.store)
        candidate = finishing.prepare(self.task, some_pixels(64))
        assert isinstance(candidate, Candidate)
        outcome = finishing.finish(self.task, candidate, a_verdict(), WITH)
        assert isinstance(outcome, ImageRendered), outcome

    def forget_receipt(self) -> None:
        """As if the worker had died between picture and receipt."""
        self.store.delete(receipt_key(self.task.digest))


@pytest.fixture
def published() -> Published:
    made = Published(task=task_of(a_task(1)), store=MemoryStore(bucket="results"))
    made.publish()
    return made


def test_the_receipt_tells_what_the_file_shows(published: Published) -> None:
    """Digest, hash, credentials: all of the bytes that lie there."""
    receipt, facts = published.receipt, read_picture(published.data)

    assert receipt.image_sha256 == facts.sha256 and "valid" == facts.manifest.state
    assert receipt.provenance is not None and receipt.provenance.c2pa.signed and receipt.pdq is not None
    assert receipt.provenance.c2pa.issuer == facts.manifest.issuer
    assert receipt.provenance.digital_source_type in facts.manifest.source_types[0]


def test_a_picture_whose_receipt_is_missing_is_kept(published: Published) -> None:
    """Its bytes stay, although a new signature would differ, and the receipt describes them."""
    before = published.data
    published.forget_receipt()
    published.publish()

    assert before == published.data
    assert hashlib.sha256(before).hexdigest() == published.receipt.image_sha256
    assert published.receipt.provenance is not None and published.receipt.provenance.c2pa.signed


def test_a_file_that_was_changed_meanwhile_is_replaced(published: Published) -> None:
    """Damaged bytes under the digest never get a receipt."""
    spoilt = bytearray(published.data)
    spoilt[-30] ^= 1
    published.store.put(
        image_key(published.task.digest, "png"), bytes(spoilt), media_type="image/png", if_absent=False
    )
    published.forget_receipt()
    published.publish()

    assert bytes(spoilt) != published.data and read_picture(published.data).is_intact


def test_an_unsigned_file_is_replaced_where_pictures_are_signed(published: Published) -> None:
    """A file left from when signing was off does not pass for a signed one."""
    published.store.delete(image_key(published.task.digest, "png"))
    published.forget_receipt()
    published.publish(signed=False)
    assert not read_picture(published.data).is_intact
    published.forget_receipt()
    published.publish()

    assert read_picture(published.data).is_intact
    assert published.receipt.provenance is not None and published.receipt.provenance.c2pa.signed
