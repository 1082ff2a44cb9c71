"""Picture files and the metadata in them."""

from __future__ import annotations

import io
import xml.etree.ElementTree as xml

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from schemas.request import Format
from workers.encode import DIGITAL_SOURCE_TYPE, encode_image, xmp_packet
from workers.ports import Pixels

ALT = "{http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/}AltTextAccessibility"
SOURCE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
ITEM = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}li"
LANG = "{http://www.w3.org/XML/1998/namespace}lang"


def a_picture() -> Pixels:
    ramp = np.linspace(0, 255, 48 * 32 * 3).reshape(32, 48, 3)
    return ramp.astype(np.uint8)


def packet_of(data: bytes) -> bytes:
    picture = Image.open(io.BytesIO(data))
    packet = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp")
    return packet.encode() if isinstance(packet, str) else packet


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_file_shows_the_picture_and_says_what_made_it(format: Format) -> None:
    """Every format decodes to the picture and carries source type and alt text."""
    encoded = encode_image(a_picture(), format=format, quality=None, alt="A <red> mug & more", lang="de")
    decoded = np.asarray(Image.open(io.BytesIO(encoded.data)).convert("RGB")).astype(int)
    assert encoded.media_type == f"image/{format}"
    assert decoded.shape == (32, 48, 3) and abs(decoded - a_picture()).mean() < (
        0.1 if format == "png" else 4
    )
    tree = xml.fromstring(packet_of(encoded.data))
    assert tree.find(f".//{SOURCE}").text == DIGITAL_SOURCE_TYPE  # type: ignore[union-attr]
    items = tree.findall(f".//{ALT}//{ITEM}")
    assert {item.get(LANG): item.text for item in items} == dict.fromkeys(
        ("x-default", "de"), "A <red> mug & more"
    )


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_same_input_same_bytes(format: Format) -> None:
    """Encoding twice gives the same bytes; another quality gives others where there is one."""
    first, second = (
        encode_image(a_picture(), format=format, quality=None, alt="a", lang="en") for _ in range(2)
    )
    low = encode_image(a_picture(), format=format, quality=20, alt="a", lang="en")
    assert first == second and (low.data != first.data) == (format != "png")


@given(alt=st.text(min_size=1, max_size=3000), lang=st.text(max_size=12))
def test_packet_is_always_well_formed(alt: str, lang: str) -> None:
    """No alt text, however strange, breaks the packet or makes it too large for a JPEG segment."""
    packet = xmp_packet(alt, lang)
    assert xml.fromstring(packet).find(f".//{ALT}") is not None
    assert len(packet) < 60_000


def test_without_alt_text_there_is_no_element() -> None:
    """A decorative picture has no empty alternative."""
    assert xml.fromstring(xmp_packet("", "en")).find(f".//{ALT}") is None
