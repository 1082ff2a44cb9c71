"""What an XMP packet says: that a machine made the picture, and what it shows, in words and in several languages."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, get_args
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from schemas.provenance import SOURCE_TYPES, SourceType

#: A JPEG segment holds 64 KB, and readers give up earlier.
MAX_PACKET_BYTES = 48_000
#: Characters of one text; alt texts are far shorter.
MAX_ALT, MAX_LONG = 2_000, 4_000
MAX_LANGUAGES = 16
#: A packet in a stranger's file is read up to here.
MAX_READ_BYTES = 1_000_000

_NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
}
_LANGUAGE = re.compile(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*")
_RDF, _XML = _NAMESPACES["rdf"], "http://www.w3.org/XML/1998/namespace"
_SOURCE = f"{_NAMESPACES['Iptc4xmpExt']} DigitalSourceType"
_ALT = f"{_NAMESPACES['Iptc4xmpCore']} AltTextAccessibility"
_LONG = f"{_NAMESPACES['Iptc4xmpCore']} ExtDescrAccessibility"


class Describing(Protocol):
    """`schemas.description.Description`, or what there was before it."""

    @property
    def lang(self) -> str: ...

    @property
    def alt(self) -> str: ...

    @property
    def long_description(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Words:
    """A picture in one language."""

    lang: str
    alt: str
    long_description: str = ""


@dataclass(frozen=True, kw_only=True)
class Xmp:
    """The parts of a packet that matter here; the texts by language, "x-default" among them."""

    digital_source_type: str = ""
    alt: Mapping[str, str] = field(default_factory=dict)
    long_description: Mapping[str, str] = field(default_factory=dict)

    @property
    def source_type(self) -> SourceType | None:
        """The IPTC source type when it is one of those that a model's work bears."""
        return next(
            (one for one in get_args(SourceType) if self.digital_source_type == SOURCE_TYPES + one), None
        )


def write_packet(source: SourceType, descriptions: Sequence[Describing]) -> bytes:
    """A packet (ISO 16684-1) with the IPTC digital source type, alt texts and long descriptions; at most 48 KB.

    The first description is also the default. Texts are cut rather than refused: a long one must not lose the marking.
    """
    kept = [one for one in descriptions if one.alt or one.long_description][:MAX_LANGUAGES]
    long_limit = MAX_LONG
    while len(packet := _packet(source, kept, long_limit)) > MAX_PACKET_BYTES:
        kept, long_limit = (kept, long_limit // 2) if long_limit > 200 else (kept[:-1], long_limit)
    return packet


def _packet(source: SourceType, descriptions: Sequence[Describing], long_limit: int) -> bytes:
    names = "".join(
        f' xmlns:{prefix}="{uri}"' for prefix, uri in _NAMESPACES.items() if prefix.startswith("Iptc")
    )
    alt = _alternatives(
        "Iptc4xmpCore:AltTextAccessibility", [(one.lang, one.alt[:MAX_ALT]) for one in descriptions]
    )
    long = _alternatives(
        "Iptc4xmpCore:ExtDescrAccessibility",
        [(one.lang, one.long_description[:long_limit]) for one in descriptions],
    )
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f'<x:xmpmeta xmlns:x="{_NAMESPACES["x"]}"><rdf:RDF xmlns:rdf="{_RDF}"><rdf:Description rdf:about=""{names}>'
        f"<Iptc4xmpExt:DigitalSourceType>{SOURCE_TYPES}{source}</Iptc4xmpExt:DigitalSourceType>"
        f'{alt}{long}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def _alternatives(name: str, texts: Sequence[tuple[str, str]]) -> str:
    """An rdf:Alt with one item per language; the first is the default as well."""
    items: dict[str, str] = {}
    for lang, text in texts:
        if text:
            items.setdefault("x-default", text)
            items.setdefault(lang if _LANGUAGE.fullmatch(lang) else "und", text)
    if not items:
        return ""
    listed = "".join(
        f"<rdf:li xml:lang={quoteattr(lang)}>{escape(_xml_text(text))}</rdf:li>"
        for lang, text in items.items()
    )
    return f"<{name}><rdf:Alt>{listed}</rdf:Alt></{name}>"


def _xml_text(text: str) -> str:
    """Without the characters that XML 1.0 forbids."""
    return "".join(
        " " if unicodedata.category(char) in ("Cc", "Cs") or char in "\ufffe\uffff" else char for char in text
    )


def read_packet(packet: bytes) -> Xmp | None:
    """The packet of whoever wrote it; None when it is none. Bounded, without entities, and never raises."""
    if len(packet) > MAX_READ_BYTES:
        return None
    reader = _Reader()
    try:
        reader.parse(packet)
    except (expat.ExpatError, _Refused, UnicodeDecodeError, ValueError, LookupError):
        return None
    return reader.found() if reader.is_xmp else None


class _Refused(Exception):
    """The packet declares things that no packet needs."""


class _Reader:
    """Collects the three properties, in element or attribute form, wherever a writer nested them."""

    def __init__(self) -> None:
        self.is_xmp = False
        self._source: list[str] = []
        self._texts: dict[str, dict[str, str]] = {_ALT: {}, _LONG: {}}
        self._inside, self._lang, self._text = "", "", [""]

    def parse(self, packet: bytes) -> None:
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = self._refuse
        parser.Parse(packet.strip(b"\x00"), True)

    def found(self) -> Xmp:
        return Xmp(
            digital_source_type="".join(self._source).strip()[:200],
            alt=self._texts[_ALT],
            long_description=self._texts[_LONG],
        )

    def _refuse(self, *_declaration: object) -> None:
        raise _Refused

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self.is_xmp = self.is_xmp or name == f"{_RDF} RDF"
        if _SOURCE in attributes:
            self._source = [attributes[_SOURCE]]
        if name in (_SOURCE, *self._texts):
            self._inside = name
            if name == _SOURCE:
                self._source = [attributes.get(f"{_RDF} resource", "")]
        if name == f"{_RDF} li":
            self._lang, self._text = attributes.get(f"{_XML} lang", "x-default")[:35], []

    def _characters(self, text: str) -> None:
        if self._inside == _SOURCE:
            self._source.append(text)
        elif self._inside:
            self._text.append(text)

    def _end(self, name: str) -> None:
        texts = self._texts.get(self._inside)
        if name == f"{_RDF} li" and texts is not None and len(texts) < 2 * MAX_LANGUAGES:
            texts[self._lang] = "".join(self._text)[:MAX_LONG]
        if name == self._inside:
            self._inside = ""
