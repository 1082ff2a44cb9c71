"""Signatures: what they say, when they break, and that nothing unsigned comes out when signing fails."""

from __future__ import annotations

import io
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from signed_pictures import (
    FORMATS,
    a_claim,
    a_signer,
    anchor,
    own_chain,
    signed_file,
    some_pixels,
    unsigned_file,
)

from safety.provenance.ingredients import Ingredient, ingredient_record
from safety.provenance.reading import PictureFacts, provenance_of, read_picture
from safety.provenance.signing import CredentialSigner
from schemas.errors import SigningRefused, SigningUnavailable
from schemas.provenance import SOURCE_TYPES, Watermark
from schemas.request import Format
from workers.encode import MEDIA_TYPES


def resaved(data: bytes, kind: str) -> bytes:
    file = io.BytesIO()
    Image.open(io.BytesIO(data)).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("format", FORMATS)
def test_each_format_is_signed_and_shows_the_same_picture(format: Format) -> None:
    """Signing leaves every pixel as it was; the result says who, what and that a model made it."""
    plain, signed = unsigned_file(format), signed_file(format)
    before, after = (np.asarray(Image.open(io.BytesIO(data))) for data in (plain, signed))
    facts = read_picture(signed)

    assert np.array_equal(before, after)
    assert "valid" == facts.manifest.state and () == facts.manifest.problems
    assert (SOURCE_TYPES + "trainedAlgorithmicMedia",) == facts.manifest.source_types
    assert "starter " + "a" * 16 == facts.manifest.made_with and facts.says_ai
    assert {"notAllowed"} == set(facts.manifest.training.values())


@pytest.mark.parametrize("format", FORMATS)
def test_an_anchor_turns_integrity_into_trust(format: Format) -> None:
    """Without the root the signer is unknown; with it the file is trusted."""
    signed = signed_file(format)

    assert "valid" == read_picture(signed).manifest.state
    assert "trusted" == read_picture(signed, anchors=anchor()).manifest.state


@pytest.mark.parametrize("format", FORMATS)
def test_a_picture_that_was_saved_again_has_no_signature(format: Format) -> None:
    """Another program's copy loses the manifest, and is said to have none."""
    facts = read_picture(resaved(signed_file(format), format.upper()))

    assert "none" == facts.manifest.state and not facts.says_ai


@cache
def one_signed_file() -> bytes:
    return signed_file()


def manifest_block(signed: bytes) -> range:
    """Where the manifest of a PNG lies."""
    at = signed.index(b"caBX") - 4
    return range(at, at + 12 + int.from_bytes(signed[at : at + 4], "big"))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_flipped_bit_of_the_picture_is_found(data: st.DataObject) -> None:
    """Outside its own manifest, no single bit can change unseen."""
    signed = bytearray(one_signed_file())
    block = manifest_block(signed)
    # The first bytes decide what kind of file it is.
    places = [at for at in range(8, len(signed)) if at not in block]
    signed[data.draw(st.sampled_from(places))] ^= 1 << data.draw(st.integers(0, 7))

    assert "invalid" == read_picture(bytes(signed)).manifest.state


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_manifest_never_gains_trust(data: st.DataObject) -> None:
    """Bytes changed inside the manifest break it or lie in its padding: what it says stays the same, or is not believed."""
    whole = one_signed_file()
    signed = bytearray(whole)
    block = manifest_block(signed)
    signed[data.draw(st.sampled_from(block))] ^= 1 << data.draw(st.integers(0, 7))
    facts, told = read_picture(bytes(signed), anchors=anchor()), read_picture(whole, anchors=anchor())

    if facts.manifest.state == "trusted":
        assert facts.manifest == told.manifest


@pytest.mark.parametrize("cut", [30, 200, 5000, -20])
def test_a_file_that_ends_early_is_not_believed(cut: int) -> None:
    """A truncated upload reads as broken or as bare, never as intact."""
    assert read_picture(signed_file()[:cut]).manifest.state in ("none", "invalid")


def test_edits_of_uploads_name_what_went_in() -> None:
    """Opened, then edited; guides are named where they were used; what the upload said about itself is carried on."""
    upload = signed_file("jpeg", seed=9)
    record = ingredient_record(upload, "image/jpeg")
    brought = (
        Ingredient(field="image", sha256="1" * 64, relationship="parentOf", record=record),
        Ingredient(field="mask", sha256="2" * 64, relationship="inputTo"),
    )
    facts = read_picture(
        signed_file(claim=a_claim("compositeWithTrainedAlgorithmicMedia", ingredients=brought))
    )
    found = {one.title: (one.relationship, one.sha256, one.state) for one in facts.manifest.ingredients}

    assert {"image": ("parentOf", "1" * 64, "valid"), "mask": ("inputTo", "2" * 64, "none")} == found
    assert (SOURCE_TYPES + "compositeWithTrainedAlgorithmicMedia",) == facts.manifest.source_types


def test_an_upload_that_was_changed_is_carried_on_as_changed() -> None:
    """The record keeps how its manifest was found, so that an edit cannot wash a forged one."""
    upload = bytearray(signed_file("jpeg", seed=9))
    upload[-50] ^= 1
    record = ingredient_record(bytes(upload), "image/jpeg")
    brought = (Ingredient(field="image", sha256="1" * 64, relationship="parentOf", record=record),)
    facts = read_picture(signed_file(claim=a_claim(ingredients=brought)))

    assert "valid" == facts.manifest.state
    assert ["invalid"] == [one.state for one in facts.manifest.ingredients]


def test_a_picture_without_a_statement_leaves_no_record() -> None:
    """Nothing to carry on: an unsigned, a broken and a foreign file give an empty record."""
    assert b"" == ingredient_record(unsigned_file("jpeg"), "image/jpeg")
    assert b"" == ingredient_record(b"\x89PNG\r\n\x1a\n and then nothing", "image/png")
    assert b"" == ingredient_record(b"GIF89a", "image/gif")


def test_a_record_holds_no_pixels() -> None:
    """It is as large for a large picture as for a small one."""
    small, large = (a_signer().sign(_noise(side), "image/png", a_claim())[0] for side in (32, 256))
    sizes = [len(ingredient_record(data, "image/png")) for data in (small, large)]

    assert abs(sizes[0] - sizes[1]) < 100


def _noise(side: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(some_pixels(side)).save(file, "PNG")
    return file.getvalue()


def test_a_watermark_is_bound_to_the_manifest() -> None:
    """The soft binding says which mark leads back here."""
    mark = Watermark(name="com.adobe.trustmark.Q", payload="1*0110")

    assert mark == read_picture(signed_file(claim=a_claim(watermark=mark))).manifest.watermark


def test_a_receipt_of_a_file_says_what_the_file_says() -> None:
    """What lies in the store already is read back, and a broken file is worth nothing."""
    signed = signed_file()
    said = provenance_of(signed)
    broken = bytearray(signed)
    broken[-20] ^= 1

    assert said is not None and said.c2pa.signed and "trainedAlgorithmicMedia" == said.digital_source_type
    assert "integrity, not identity" == said.c2pa.trust
    assert provenance_of(bytes(broken)) is None and provenance_of(unsigned_file()) is None


class FailingKey:
    """A key service that does not answer."""

    def sign(self, *_: Any) -> bytes:
        raise ConnectionError


def test_a_key_that_does_not_answer_is_a_passing_failure() -> None:
    """No file comes out, and the image may be tried again."""
    identity = replace(own_chain().current(), key=FailingKey())
    with pytest.raises(SigningUnavailable) as caught:
        CredentialSigner(lambda: identity, version="0").sign(unsigned_file(), "image/png", a_claim())

    assert caught.value.retryable


def test_a_certificate_that_has_ended_signs_nothing() -> None:
    """An expired or not yet valid certificate needs its operator."""
    identity = own_chain().current()
    for moment in (identity.not_after, identity.not_before - timedelta(seconds=1)):
        signer = CredentialSigner(lambda: identity, version="0", clock=lambda moment=moment: moment)  # type: ignore[misc]
        with pytest.raises(SigningRefused):
            signer.sign(unsigned_file(), "image/png", a_claim())


def test_what_is_not_marked_is_not_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest without the digital source type is refused by the library: there is no unmarked signature."""
    monkeypatch.setattr("safety.provenance.signing._actions", lambda claim: [{"action": "c2pa.created"}])
    with pytest.raises(SigningRefused):
        a_signer().sign(unsigned_file(), "image/png", a_claim())


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_not_signed(data: bytes) -> None:
    """Junk ends in a typed error, not in a file."""
    with pytest.raises(SigningRefused):
        a_signer().sign(data, "image/png", a_claim())


def test_an_authority_that_is_down_is_a_passing_failure() -> None:
    """Where time stamps are wanted, a picture without one is not published."""
    signer = CredentialSigner(own_chain().current, version="0", timestamp_url="http://127.0.0.1:9/")
    with pytest.raises(SigningUnavailable):
        signer.sign(unsigned_file(), "image/png", a_claim())


def test_many_threads_sign_at_once() -> None:
    """One signer serves all of a worker's threads; every file is its own and valid."""
    signer = a_signer()

    def sign(seed: int) -> PictureFacts:
        format = FORMATS[seed % 4]
        data, _ = signer.sign(unsigned_file(format, seed=seed), MEDIA_TYPES[format], a_claim())
        return read_picture(data, anchors=anchor())

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(sign, range(48)))

    assert {"trusted"} == {facts.manifest.state for facts in found}
    assert 48 == len({facts.sha256 for facts in found})


def test_a_manifest_that_lies_elsewhere_is_not_fetched() -> None:
    """A stranger's file that names an address makes nobody call there; the address is told."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/manifest.c2pa"
        packet = (
            '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
            f'<rdf:Description xmlns:dcterms="http://purl.org/dc/terms/" dcterms:provenance="{address}"/></rdf:RDF></x:xmpmeta>'
        )
        data = unsigned_file("jpeg", xmp=packet.encode())
        facts = read_picture(data)
        assert b"" == ingredient_record(data, "image/jpeg")

        with pytest.raises(TimeoutError):
            server.accept()
    assert ("none", address) == (facts.manifest.state, facts.manifest.remote_url)
