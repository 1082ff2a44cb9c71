"""Pixels to a file that says what it shows and that a machine made it."""

from __future__ import annotations

import io
import unicodedata
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from schemas.request import Format
from workers.ports import Pixels

MEDIA_TYPES: dict[Format, str] = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
EXTENSIONS: dict[Format, str] = {"png": "png", "jpeg": "jpg", "webp": "webp"}
DEFAULT_QUALITY = 90

#: IPTC NewsCodes: created wholly by a trained model, or out of somebody's picture by one.
DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
COMPOSITE_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"

#: Characters; a JPEG segment holds 64 KB, and readers give up earlier.
MAX_ALT = 2000


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A picture file."""

    data: bytes = field(repr=False)
    media_type: str


def encode_image(
    pixels: Pixels, *, format: Format, quality: int | None, alt: str, lang: str, composite: bool = False
) -> Encoded:
    """The same input always gives the same bytes: nothing in them tells time, place or job.

    `composite` says that it was made out of another picture.
    """
    picture, file, xmp = Image.fromarray(pixels, "RGB"), io.BytesIO(), xmp_packet(alt, lang, composite)
    if format == "png":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        picture.save(file, "PNG", pnginfo=info, compress_level=6)
    elif format == "jpeg":
        # 4:4:4: subsampled colour smears the edges of product shots.
        picture.save(file, "JPEG", quality=quality or DEFAULT_QUALITY, subsampling=0, optimize=True, xmp=xmp)
    else:
        picture.save(file, "WEBP", quality=quality or DEFAULT_QUALITY, method=4, xmp=xmp)
    return Encoded(data=file.getvalue(), media_type=MEDIA_TYPES[format])


def xmp_packet(alt: str, lang: str, composite: bool = False) -> bytes:
    """An XMP packet (ISO 16684-1) with the IPTC digital source type, and the alt text when there is one."""
    source = COMPOSITE_SOURCE_TYPE if composite else DIGITAL_SOURCE_TYPE
    alternative = _language_alternative("Iptc4xmpCore:AltTextAccessibility", alt, lang) if alt else ""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpCore="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
        f"<Iptc4xmpExt:DigitalSourceType>{source}</Iptc4xmpExt:DigitalSourceType>"
        f'{alternative}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def _language_alternative(name: str, text: str, lang: str) -> str:
    clean = escape(_xml_text(text)[:MAX_ALT])
    languages = dict.fromkeys(("x-default", lang))
    items = "".join(f"<rdf:li xml:lang={quoteattr(_xml_text(each))}>{clean}</rdf:li>" for each in languages)
    return f"<{name}><rdf:Alt>{items}</rdf:Alt></{name}>"


def _xml_text(text: str) -> str:
    """Without the characters that XML 1.0 forbids."""
    return "".join(
        " " if unicodedata.category(char) in ("Cc", "Cs") or char in "\ufffe\uffff" else char for char in text
    )
