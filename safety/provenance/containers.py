"""Where picture files keep their XMP packet, without decoding a pixel."""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL import ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

_AVIF_BRANDS = (b"avif", b"avis")

#: By the class and not by `Image.open`, which has opinions about sizes: here no pixel is decoded.
_READERS: dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    "image/png": PngImageFile,
    "image/jpeg": JpegImageFile,
    "image/avif": AvifImageFile,
}


def file_kind(data: bytes) -> str | None:
    """The media type by the first bytes, whatever the file was called; None for other formats."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:8] == b"ftyp" and any(data[at : at + 4] in _AVIF_BRANDS for at in range(8, 40, 4)):
        return "image/avif"
    return None


def xmp_of(data: bytes, kind: str) -> bytes | None:
    """The packet of a file of that media type; None where there is none or the file cannot be read."""
    if kind == "image/webp":
        return _riff_chunk(data, b"XMP ")
    try:
        info = _READERS[kind](io.BytesIO(data)).info
    except Exception:  # a decoder meets hostile bytes with whatever class comes to it
        return None
    packet = info.get("xmp") or info.get("XML:com.adobe.xmp")
    if isinstance(packet, str):
        return packet.encode("utf-8", "replace")
    return packet if isinstance(packet, bytes) else None


def _riff_chunk(data: bytes, name: bytes) -> bytes | None:
    """Read here, since Pillow's WebP reader sets up a canvas for the whole picture."""
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == name:
            return data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    return None
