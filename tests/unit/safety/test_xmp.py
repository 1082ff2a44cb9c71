"""The XMP packet: what is written can be read by others, and what others wrote is read with care."""

from __future__ import annotations

import xml.etree.ElementTree as xml

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safety.provenance.xmp import MAX_PACKET_BYTES, MAX_READ_BYTES, Words, read_packet, write_packet
from schemas.provenance import SOURCE_TYPES

CORE, EXT = "{http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/}", "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
ITEM, LANG = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}li", "{http://www.w3.org/XML/1998/namespace}lang"
SOURCE = "trainedAlgorithmicMedia"


def items(packet: bytes, name: str) -> dict[str | None, str | None]:
    """The language alternatives of an IPTC property, by an independent parser."""
    return {one.get(LANG): one.text for one in xml.fromstring(packet).findall(f".//{CORE}{name}//{ITEM}")}


def test_every_language_is_written_and_the_first_is_the_default() -> None:
    """Alt texts and long descriptions are language alternatives; markup in them is text."""
    words = [
        Words(lang="de", alt="Eine <rote> Tasse & mehr", long_description='Auf "Holz".'),
        Words(lang="en", alt="A mug"),
    ]
    packet = write_packet("compositeWithTrainedAlgorithmicMedia", words)

    assert {"x-default": words[0].alt, "de": words[0].alt, "en": "A mug"} == items(
        packet, "AltTextAccessibility"
    )
    assert dict.fromkeys(("x-default", "de"), 'Auf "Holz".') == items(packet, "ExtDescrAccessibility")
    source = xml.fromstring(packet).find(f".//{EXT}DigitalSourceType")
    assert source is not None and SOURCE_TYPES + "compositeWithTrainedAlgorithmicMedia" == source.text


def test_a_picture_without_words_has_no_empty_alternatives() -> None:
    """A decorative picture is marked as made by a model, and described by nothing."""
    packet = write_packet(SOURCE, [Words(lang="en", alt="")])

    assert {} == items(packet, "AltTextAccessibility")
    found = read_packet(packet)
    assert found is not None and SOURCE == found.source_type and {} == found.alt


@given(
    st.lists(
        st.builds(
            Words,
            lang=st.text(max_size=12),
            alt=st.text(max_size=400),
            long_description=st.text(max_size=1500),
        ),
        max_size=20,
    )
)
def test_no_text_breaks_the_packet(words: list[Words]) -> None:
    """Whatever the texts and languages are, the packet is well-formed, small, marked, and read back by its own reader."""
    packet = write_packet(SOURCE, words)
    found = read_packet(packet)

    assert xml.fromstring(packet) is not None and len(packet) <= MAX_PACKET_BYTES
    assert found is not None and SOURCE == found.source_type
    assert items(packet, "AltTextAccessibility") == dict(found.alt)


def test_too_many_words_are_cut_and_the_marking_stays() -> None:
    """A packet that would not fit loses words, never the source type."""
    words = [Words(lang=f"x{n}", alt="ü" * 3000, long_description="&" * 9000) for n in range(40)]
    packet = write_packet(SOURCE, words)

    assert len(packet) <= MAX_PACKET_BYTES
    found = read_packet(packet)
    assert found is not None and SOURCE == found.source_type and found.alt


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"<x",
        b"<a/>",
        b"\xff\xfe\x00",
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        b'<?xml version="1.0" encoding="no-such"?><a/>',
        b"<a>" * 5000,
        b" " * (MAX_READ_BYTES + 1),
    ],
)
def test_a_packet_that_is_none_says_nothing(packet: bytes) -> None:
    """Broken XML, entity declarations, other documents and oversized ones give None, not an error."""
    assert read_packet(packet) is None


def test_other_writers_are_read() -> None:
    """The source type as an attribute or as a resource, as other programs write it."""
    head = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    )
    tail = "</rdf:RDF></x:xmpmeta>"
    attribute = f'{head} e:DigitalSourceType="{SOURCE_TYPES}{SOURCE}"/>{tail}'
    resource = f'{head}><e:DigitalSourceType rdf:resource="{SOURCE_TYPES}{SOURCE}"/></rdf:Description>{tail}'

    for text in (attribute, resource):
        found = read_packet(text.encode())
        assert found is not None and SOURCE == found.source_type
