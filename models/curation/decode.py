"""Reads a picture of unknown origin: by its content, within limits, into plain RGB; or refuses it with a reason."""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageOps

from models.curation.reasons import Reason, Refused
from models.curation.settings import ReadSettings

Pixels: TypeAlias = npt.NDArray[np.uint8]

#: an honest progressive JPEG has about ten scans; each costs a pass over all pixels
MAX_JPEG_SCANS = 64
MAX_PROFILE_BYTES = 4 * 2**20
#: enough for every signature below
HEAD_BYTES = 32

#: suffix to the format it promises
SUFFIXES = {
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".jpe": "jpeg",
    ".jfif": "jpeg",
    ".png": "png",
    ".apng": "png",
    ".webp": "webp",
    ".gif": "gif",
    ".bmp": "bmp",
    ".dib": "bmp",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".avif": "avif",
    ".heic": "heic",
    ".heif": "heic",
    ".svg": "svg",
    ".psd": "psd",
    ".pdf": "pdf",
    ".ico": "ico",
    ".jp2": "jpeg2000",
    ".jxl": "jpeg xl",
    ".exr": "exr",
}
_SIGNATURES = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"8BPS", "psd"),
    (b"%PDF", "pdf"),
    (b"<svg", "svg"),
    (b"\0\0\x01\0", "ico"),
    (b"\0\0\0\x0cjP  ", "jpeg2000"),
    (b"\0\0\0\x0cJXL ", "jpeg xl"),
    (b"\xff\x0a", "jpeg xl"),
    (b"v/1\x01", "exr"),
)
_BRANDS = {
    b"avif": "avif",
    b"avis": "avif",
    b"heic": "heic",
    b"heix": "heic",
    b"mif1": "heic",
    b"msf1": "heic",
}
#: formats in which more than one frame means a moving or many-paged picture; a JPEG's second picture is a preview
_FRAMED = ("png", "webp", "gif", "tiff", "avif")


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """A picture upright in sRGB; `width` and `height` are those of the file, `pixels` may be smaller where asked."""

    pixels: Pixels
    format: str
    width: int
    height: int


def sniff(head: bytes) -> str | None:
    """The format by its first bytes, None for what is no picture."""
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    # Two letters prove little: the header's own length field has to agree.
    if head[:2] == b"BM" and head[14:18] in (
        b"\x0c\0\0\0",
        b"\x28\0\0\0",
        b"\x38\0\0\0",
        b"\x6c\0\0\0",
        b"\x7c\0\0\0",
    ):
        return "bmp"
    return _BRANDS.get(head[8:12]) if head[4:8] == b"ftyp" else None


def decode(data: bytes, name: str, settings: ReadSettings, *, within: int | None = None) -> Decoded:
    """The picture in `data`; with `within`, JPEGs are decoded at a fraction whose shorter side is no less than that.

    Raises Refused, whatever the bytes are. Takes memory in proportion to `max_pixels`.
    """
    kind = _checked_kind(data, name, settings)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of bombs below our own limit, and of odd metadata
            with Image.open(io.BytesIO(data), formats=[kind.upper()]) as picture:
                _check_extent(picture, kind, settings)
                width, height = picture.size
                if within is not None and kind == "jpeg":
                    _decode_smaller(picture, within)
                picture.load()
                turned = _upright(picture)
                if picture.size != turned.size and picture.width != picture.height:
                    width, height = height, width
                pixels = np.asarray(_as_rgb(turned, picture, settings.matte), np.uint8)
    except Refused:
        raise
    except Image.DecompressionBombError:
        raise Refused(Reason.TOO_MANY_PIXELS) from None
    except MemoryError:
        raise Refused(Reason.TOO_MANY_PIXELS, "not enough memory") from None
    except Exception as error:  # decoders raise nearly anything on bytes made to hurt them
        raise Refused(Reason.CORRUPT, type(error).__name__) from None
    return Decoded(pixels=pixels, format=kind, width=width, height=height)


def _checked_kind(data: bytes, name: str, settings: ReadSettings) -> str:
    if not data:
        raise Refused(Reason.EMPTY_FILE)
    kind = sniff(data[:HEAD_BYTES])
    promised = SUFFIXES.get(PurePosixPath(name).suffix.lower())
    if kind is None:
        # Told apart from other files, since somebody meant it to be a picture.
        raise Refused(Reason.NOT_A_PICTURE, f"named like {promised}" if promised else "")
    if kind not in settings.formats:
        raise Refused(Reason.FORMAT_NOT_ALLOWED, kind)
    if len(data) > settings.max_bytes:
        raise Refused(Reason.TOO_MANY_BYTES, f"{len(data)} of {settings.max_bytes}")
    if promised is not None and promised != kind and settings.mislabelled == "skip":
        raise Refused(Reason.MISLABELLED, f"named {promised}, is {kind}")
    if kind == "jpeg" and data.count(b"\xff\xda") > MAX_JPEG_SCANS:
        raise Refused(Reason.CORRUPT, "too many scans")
    return kind


def _check_extent(picture: Image.Image, kind: str, settings: ReadSettings) -> None:
    width, height = picture.size
    if width * height > settings.max_pixels:
        raise Refused(Reason.TOO_MANY_PIXELS, f"{width}x{height}")
    if max(width, height) > settings.max_aspect * min(width, height):
        raise Refused(Reason.TOO_ELONGATED, f"{width}x{height}")
    if min(width, height) < settings.min_side:
        raise Refused(Reason.TOO_SMALL, f"{width}x{height}")
    if kind in _FRAMED and getattr(picture, "is_animated", False):
        raise Refused(Reason.ANIMATED)


def _decode_smaller(picture: Image.Image, within: int) -> None:
    factor = min(picture.size) / within
    if factor >= 2:
        picture.draft(None, (int(picture.width / factor), int(picture.height / factor)))


def _upright(picture: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # damaged metadata says nothing about the pixels
        return picture


def _as_rgb(turned: Image.Image, original: Image.Image, matte: tuple[int, int, int]) -> Image.Image:
    if turned.mode == "F":
        raise Refused(Reason.FORMAT_NOT_ALLOWED, "floating-point samples")
    if turned.mode.startswith("I"):
        # 16 bits per sample; shifting keeps black black and white white.
        wide = np.clip(np.asarray(turned, np.int64), 0, 65535)
        turned = Image.fromarray((wide >> 8).astype(np.uint8))
    if turned.has_transparency_data:
        turned = turned.convert("RGBA")
    profile = original.info.get("icc_profile")
    if isinstance(profile, bytes) and 0 < len(profile) <= MAX_PROFILE_BYTES:
        turned = _in_srgb(turned, profile)
    if turned.mode == "RGBA":
        ground = Image.new("RGBA", turned.size, (*matte, 255))
        turned = Image.alpha_composite(ground, turned)
    return turned.convert("RGB")


def _in_srgb(picture: Image.Image, profile: bytes) -> Image.Image:
    """Colours as they were meant; a profile that cannot be used is as good as none."""
    wanted = "RGBA" if picture.mode == "RGBA" else "RGB"
    if picture.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return picture
    with contextlib.suppress(Exception):
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(
            picture, source, ImageCms.createProfile("sRGB"), outputMode=wanted
        )
        if converted is not None:
            return converted
    return picture
