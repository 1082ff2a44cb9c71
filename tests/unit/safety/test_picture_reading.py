"""Strangers' files are read without fear, and their facts become sentences that promise nothing they do not hold."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signed_pictures import FORMATS, a_claim, anchor, signed_file, unsigned_file

from safety.provenance.ingredients import Ingredient
from safety.provenance.reading import MAX_TEXT, ManifestFacts, PictureFacts, read_picture
from safety.provenance.telling import credentials_in_words, tell
from safety.provenance.xmp import Words, write_packet
from schemas.provenance import SOURCE_TYPES
from schemas.request import Format

CERTIFICATE_ENDED = Path(__file__).parents[2] / "fixtures" / "safety" / "certificate_ended.jpg"
GENERATED = SOURCE_TYPES + "trainedAlgorithmicMedia"


@cache
def whole(format: Format) -> bytes:
    return signed_file(format)


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(FORMATS), st.data())
def test_no_damage_makes_reading_fail(format: Format, data: st.DataObject) -> None:
    """Cut, spliced, overwritten: facts come out, sentences too, and nothing damaged outside its padding is trusted anew."""
    original = whole(format)
    start = data.draw(st.integers(0, len(original)))
    end = data.draw(st.integers(start, min(len(original), start + 600)))
    damaged = original[:start] + data.draw(st.binary(max_size=40)) + original[end:]
    facts = read_picture(damaged, anchors=anchor())

    assert tell(facts) and credentials_in_words(facts)
    if facts.manifest.state == "trusted":
        assert facts.manifest == read_picture(original, anchors=anchor()).manifest


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP", b"\0\0\0\x1cftypavif"]),
)
def test_junk_is_read_as_junk(junk: bytes, head: bytes) -> None:
    """Any bytes behind any signature give facts without claims."""
    facts = read_picture(head + junk)

    assert not facts.is_intact and not facts.says_ai


def test_a_marking_without_a_signature_is_called_a_claim() -> None:
    """Anybody can write XMP: it counts as saying so, not as proof."""
    facts = read_picture(
        unsigned_file("webp", xmp=write_packet("trainedAlgorithmicMedia", [Words(lang="en", alt="Mug")]))
    )
    told = " ".join(tell(facts))

    assert facts.says_ai and not facts.is_intact
    assert "no intact signature covers it" in told and "not signed" in told


def test_an_unknown_signer_is_not_introduced_as_known() -> None:
    """A valid signature by a stranger is integrity; only an anchor makes it identity."""
    stranger = PictureFacts(
        sha256="0" * 64,
        bytes=1,
        media_type="image/png",
        manifest=ManifestFacts(state="valid", issuer="A Famous Company", source_types=(GENERATED,)),
    )
    told = " ".join(tell(stranger))

    assert "name is a claim" in told and "shows who signed" not in told
    assert "identity not checked" in credentials_in_words(stranger)


def test_a_certificate_that_has_ended_is_told_apart_from_a_changed_picture() -> None:
    """Without a time stamp nobody knows whether it was signed in time: not intact any more, but not called changed.

    The file was signed on 23 November 2026 with a certificate that ended seconds later; the library signs with none that
    has ended already.
    """
    signed = CERTIFICATE_ENDED.read_bytes()
    facts, changed = read_picture(signed), read_picture(signed[:-40] + bytes(38) + signed[-2:])
    told = " ".join(tell(facts))

    assert ("expired", False, "invalid") == (facts.manifest.state, facts.is_intact, changed.manifest.state)
    assert "not changed since" in told and "counts no more" in told
    assert "certificate has ended" in credentials_in_words(facts)


def test_pictures_that_went_in_are_told() -> None:
    """Each by its place in the request and what it said of itself."""
    brought = (
        Ingredient(field="image", sha256="1" * 64, relationship="parentOf"),
        Ingredient(field="control.0.image", sha256="2" * 64, relationship="inputTo"),
    )
    claim = a_claim("compositeWithTrainedAlgorithmicMedia", ingredients=brought)
    told = " ".join(tell(read_picture(signed_file(claim=claim))))

    assert "out of another picture" in told
    assert (
        'made from a picture called "image"' in told
        and 'guided by a picture called "control.0.image"' in told
    )


@pytest.mark.parametrize("format", FORMATS)
def test_facts_survive_the_way_through_json(format: Format) -> None:
    """What a script is given is what was read."""
    facts = read_picture(whole(format))

    assert facts == PictureFacts.model_validate_json(facts.model_dump_json())


def test_long_texts_of_strangers_are_cut() -> None:
    """No fact is longer than what a person would read."""
    source = f"{'x' * 5000}"
    packet = write_packet("trainedAlgorithmicMedia", []).replace(GENERATED.encode(), source.encode())
    facts = read_picture(unsigned_file("jpeg", xmp=packet))

    assert len(facts.xmp_source_type) <= MAX_TEXT and not facts.says_ai
