"""Pictures, honest and hostile, for the tests of curation."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw


def scene(seed: int, width: int = 96, height: int = 96) -> Image.Image:
    """A picture with enough to see: no two seeds look alike."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8))
    picture = coarse.resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for _ in range(8):
        left, top = int(rng.integers(0, width)), int(rng.integers(0, height))
        right, bottom = (
            left + int(rng.integers(width // 16 + 1, width // 2)),
            top + int(rng.integers(height // 16 + 1, height // 2)),
        )
        draw.ellipse((left, top, right, bottom), fill=tuple(int(v) for v in rng.integers(0, 256, 3)))
    return picture


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def write_source(folder: Path, count: int, *, width: int = 96, height: int = 96) -> Path:
    """`count` pictures with captions beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"p{number:03d}.png").write_bytes(encoded(scene(number, width, height)))
        (folder / f"p{number:03d}.txt").write_text(f"picture number {number} of a shop")
    return folder


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is enormous."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + png_chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + png_chunk(b"IEND", b"")
    )


def with_chunk(png: bytes, kind: bytes, data: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    return png[:33] + png_chunk(kind, data) + png[33:]


def animated(kind: str) -> bytes:
    frames = [scene(seed, 48, 48) for seed in range(3)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)


def truncated(seed: int) -> Iterator[tuple[str, bytes]]:
    """Files of every format, cut at random places."""
    rng = random.Random(seed)
    whole = {
        kind.lower(): encoded(scene(seed), kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
    }
    for kind, data in whole.items():
        for number in range(20):
            yield f"cut-{number}.{kind}", data[: rng.randrange(1, len(data) - 1)]


def flipped(seed: int) -> Iterator[tuple[str, bytes]]:
    """Files of every format with random bytes changed behind the signature."""
    rng = random.Random(seed)
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"):
        data = encoded(scene(seed), kind)
        for number in range(25):
            changed = bytearray(data)
            for _ in range(rng.randrange(1, 40)):
                changed[rng.randrange(16, len(changed))] = rng.randrange(256)
            yield f"flip-{number}.{kind.lower()}", bytes(changed)


def made_up() -> Iterator[tuple[str, bytes, str]]:
    """Hostile files by hand: name, bytes, and the reason that is due ("" = it may be read)."""
    png, jpeg = encoded(scene(1)), encoded(scene(1), "JPEG")
    yield "empty.png", b"", "empty_file"
    yield "text.jpg", b"hello, this is no picture", "not_a_picture"
    yield "page.png", b"<html><script>alert(1)</script></html>", "not_a_picture"
    yield "archive.jpg", b"PK\x03\x04" + bytes(500), "not_a_picture"
    yield "program.png", b"\x7fELF" + bytes(500), "not_a_picture"
    yield "zeros.webp", bytes(5000), "not_a_picture"
    yield "drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "format_not_allowed"
    yield "paper.pdf", b"%PDF-1.7\n" + bytes(100), "format_not_allowed"
    yield "layers.psd", b"8BPS\0\1" + bytes(100), "format_not_allowed"
    yield "phone.heic", b"\0\0\0\x18ftypheic" + bytes(100), "format_not_allowed"
    yield "really-png.jpg", png, "mislabelled"
    yield "really-jpeg.png", jpeg, "mislabelled"
    yield "bomb.png", png_bomb(60_000, 60_000), "too_many_pixels"
    yield "bomb-at-limit.png", png_bomb(6_000, 6_000), "corrupt"
    yield "no-pixels.png", png_bomb(0, 0), "corrupt"
    yield "line.png", encoded(Image.new("RGB", (1, 20_000))), "too_elongated"
    yield "ribbon.png", encoded(Image.new("RGB", (2_000, 40))), "too_elongated"
    yield "dot.png", encoded(scene(1, 12, 12)), "too_small"
    yield "moving.gif", animated("GIF"), "animated"
    yield "moving.webp", animated("WEBP"), "animated"
    yield "moving.png", animated("PNG"), "animated"
    yield "pages.tiff", animated("TIFF"), "animated"
    yield "zip-behind.png", png + b"PK\x03\x04" + bytes(2000), ""
    yield "script-behind.jpg", jpeg + b"<script>alert(1)</script>", ""
    yield "only-signature.png", b"\x89PNG\r\n\x1a\n", "corrupt"
    yield "only-signature.jpg", b"\xff\xd8\xff", "corrupt"
    yield "only-signature.webp", b"RIFF\xff\xff\xff\xffWEBP", "corrupt"
    yield "text-bomb.png", with_chunk(png, b"zTXt", b"k\0\0" + zlib.compress(bytes(80 * 2**20), 9)), "corrupt"
    yield (
        "profile-bomb.png",
        with_chunk(png, b"iCCP", b"k\0\0" + zlib.compress(bytes(80 * 2**20), 9)),
        "corrupt",
    )
    yield "profile-junk.jpg", encoded(scene(1), "JPEG", icc_profile=random.Random(1).randbytes(300_000)), ""
    yield "many-scans.jpg", jpeg[:-2] + b"\xff\xda\0\x08\1\1\0\0\x3f\0" * 2000, "corrupt"
    yield "broken-exif.jpg", encoded(scene(1), "JPEG", exif=b"Exif\0\0MM\0*" + b"\xff" * 60), ""
