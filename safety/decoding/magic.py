"""What a file is, by its first bytes and whatever it was called."""

from __future__ import annotations

from safety.decoding.refusals import OTHER_KINDS, Refusal, Refused
from schemas.input_limits import AVIF, MAX_INPUT_BYTES

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"GIF8", "a GIF file"),
    (b"II*\0", "a TIFF file"),
    (b"MM\0*", "a TIFF file"),
    (b"II+\0", "a TIFF file"),
    (b"MM\0+", "a TIFF file"),
    (b"%PDF", "a PDF file"),
    (b"\0\0\1\0", "an icon file"),
    (b"\0\0\2\0", "an icon file"),
    (b"BM", "a BMP file"),
    (b"8BPS", "a Photoshop file"),
    (b"%!PS", "a PostScript file"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript file"),
    (b"\xff\x0a", "a JPEG XL file"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL file"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 file"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 file"),
)


def media_type(data: bytes, *, avif: bool = False) -> str:
    """The media type of a file that may be decoded; Refused for any other, and for too many bytes."""
    if len(data) > MAX_INPUT_BYTES:
        raise Refused(Refusal.TOO_MANY_BYTES, len(data))
    if data.startswith(_PNG):
        return "image/png"
    if data.startswith(_JPEG):
        return "image/jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    other = _other_kind(data)
    if other == "an AVIF file" and avif:
        return AVIF
    if other is None:
        raise Refused(Refusal.NOT_A_PICTURE)
    raise Refused(Refusal.OTHER_KIND, OTHER_KINDS.index(other))


def _other_kind(data: bytes) -> str | None:
    if data[4:8] == b"ftyp":
        # The major brand, or for the two general ones whatever follows among the compatible brands.
        brands = data[8:64]
        if b"avif" in brands or b"avis" in brands:
            return "an AVIF file"
        return "a HEIC file" if brands[:4] in _HEIC_BRANDS else None
    for start, kind in _OTHERS:
        if data.startswith(start):
            return kind
    text = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return (
        "an SVG file" if text.startswith((b"<svg", b"<?xml", b"<!doctype svg")) and b"<svg" in text else None
    )
