"""Hostile uploads without end: seeded, of many kinds, none of them from anybody's collection.

Each kind is a function from a random generator to a file; `hostile_files` takes them in turns.
"""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
KINDS = ("PNG", "JPEG", "WEBP")

Make = Callable[[random.Random], bytes]


def hostile_files(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """(kind, file), every kind about equally often."""
    for number in range(count):
        kind = list(MAKERS)[number % len(MAKERS)]
        yield kind, MAKERS[kind](random.Random(f"{seed}:{number}"))


def noise(rng: random.Random, width: int = 0, height: int = 0, mode: str = "RGB") -> Image.Image:
    width, height = width or rng.randint(20, 160), height or rng.randint(20, 160)
    pixels = np.random.default_rng(rng.getrandbits(32)).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def whole(rng: random.Random) -> bytes:
    return saved(noise(rng), rng.choice(KINDS))


def chunk(name: bytes, data: bytes, *, length: int | None = None, crc: int | None = None) -> bytes:
    size = len(data) if length is None else length
    check = zlib.crc32(name + data) if crc is None else crc
    return struct.pack(">I", size) + name + data + struct.pack(">I", check)


def a_png(width: int, height: int, rows: bytes, *more: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG with any size in its header over any rows."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *more, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return PNG_MAGIC + b"".join(parts)


def small_png(rng: random.Random, *more: bytes) -> bytes:
    return a_png(32, 32, rng.randbytes(32) * (97), *more)


def truncated(rng: random.Random) -> bytes:
    data = whole(rng)
    return data[: rng.randint(0, len(data) - 1)]


def mutated(rng: random.Random) -> bytes:
    data = bytearray(whole(rng))
    for _ in range(rng.randint(1, 30)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def header_mutated(rng: random.Random) -> bytes:
    data = bytearray(whole(rng))
    for _ in range(rng.randint(1, 6)):
        data[rng.randrange(min(64, len(data)))] = rng.randrange(256)
    return bytes(data)


def spliced(rng: random.Random) -> bytes:
    one, other = whole(rng), whole(rng)
    at, to = rng.randrange(len(one)), rng.randrange(len(other))
    return one[:at] + other[to:] + one[at : at + rng.randrange(200)]


def repeated_parts(rng: random.Random) -> bytes:
    data = whole(rng)
    start = rng.randrange(len(data))
    stop = min(len(data), start + rng.randint(1, 400))
    return data[:stop] + data[start:stop] * rng.randint(1, 50) + data[stop:]


def pixel_bomb(rng: random.Random) -> bytes:
    side = rng.choice([5001, 8193, 20_000, 65_535, 2**20, 2**31 - 1])
    kind = rng.choice(KINDS)
    if kind == "PNG":
        return a_png(
            side,
            rng.choice([side, 5000]),
            bytes(1000),
            depth=rng.choice([8, 16]),
            colour=rng.choice([0, 2, 6]),
        )
    if kind == "JPEG":
        data = bytearray(saved(noise(rng), "JPEG"))
        at = data.index(b"\xff\xc0")
        data[at + 5 : at + 9] = struct.pack(">HH", min(side, 65535), 65535)
        return bytes(data)
    size = min(side, 2**24) - 1
    body = b"VP8X" + struct.pack("<I", 10) + b"\x10\0\0\0" + struct.pack("<I", size)[:3] * 2
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body + rng.randbytes(60)


def largest_allowed(rng: random.Random) -> bytes:
    """Within every limit and yet as much as one may claim, over next to no data."""
    return a_png(
        5000, 5000, bytes(rng.randint(10, 5000)), colour=rng.choice([0, 2, 6]), depth=rng.choice([8, 16])
    )


def zlib_bomb(rng: random.Random) -> bytes:
    bomb = zlib.compress(bytes(rng.choice([10**6, 3 * 10**7])), 9)
    name = rng.choice([b"zTXt", b"iTXt", b"iCCP", b"IDAT"])
    head = {b"zTXt": b"a\0\0", b"iTXt": b"a\0\1\0\0\0", b"iCCP": b"a\0\0", b"IDAT": b""}[name]
    return small_png(rng, *[chunk(name, head + bomb)] * rng.choice([1, 1, 8]))


def many_chunks(rng: random.Random) -> bytes:
    return small_png(
        rng,
        *[chunk(rng.choice([b"tEXt", b"tIME", b"abCd"]), b"k\0" + rng.randbytes(8))]
        * rng.randint(1000, 20_000),
    )


def giant_profile(rng: random.Random) -> bytes:
    size = rng.choice([900_000, 1_000_001, 3_000_000])
    profile = struct.pack(">I", size) + rng.randbytes(36) + b"acsp" + bytes(size - 44)
    return saved(noise(rng), rng.choice(KINDS), icc_profile=profile)


def broken_profile(rng: random.Random) -> bytes:
    return saved(
        noise(rng, mode=rng.choice(["RGB", "L"])),
        rng.choice(["PNG", "JPEG"]),
        icc_profile=rng.randbytes(rng.randint(1, 4000)),
    )


def giant_text(rng: random.Random) -> bytes:
    return small_png(
        rng, chunk(b"tEXt", b"k\0" + bytes([65 + rng.randrange(26)]) * rng.choice([100_000, 2_000_000]))
    )


def overflowing_chunk(rng: random.Random) -> bytes:
    length = rng.choice([2**32 - 1, 2**31, 2**31 - 1, 0, 10**7])
    name = rng.choice([b"IHDR", b"IDAT", b"PLTE", b"tEXt", b"iCCP", b"IEND", b"eXIf"])
    return small_png(rng, chunk(name, rng.randbytes(13), length=length))


def wrong_checksum(rng: random.Random) -> bytes:
    return small_png(
        rng, chunk(rng.choice([b"tEXt", b"gAMA", b"IDAT"]), rng.randbytes(4), crc=rng.getrandbits(32))
    )


def odd_header(rng: random.Random) -> bytes:
    """Depths and colours that do not exist, no size, or one that its rows do not fill."""
    sizes = [0, 1, 16, 31, 2**31, 64]
    width, height = rng.choice(sizes), rng.choice(sizes)
    if rng.random() < 0.5:
        return a_png(width, height, bytes(9000), depth=rng.randrange(256), colour=rng.randrange(256))
    return a_png(
        64,
        64,
        bytes(rng.randint(0, 30_000)),
        depth=rng.choice([1, 2, 4, 8, 16]),
        colour=rng.choice([0, 2, 3, 4, 6]),
    )


def long_line(rng: random.Random) -> bytes:
    long, short = rng.randint(400, 9000), rng.randint(1, 39)
    size = (long, short) if rng.random() < 0.5 else (short, long)
    return saved(Image.new("RGB", size, "red"), rng.choice(("PNG", "JPEG")))


def animated(rng: random.Random) -> bytes:
    frames = [noise(rng, 32, 32) for _ in range(rng.randint(2, 5))]
    kind = rng.choice(["PNG", "WEBP", "MPO", "GIF", "TIFF"])
    return saved(frames[0], kind, save_all=True, append_images=frames[1:])


def endless_animation(rng: random.Random) -> bytes:
    """Claims more frames than there are bytes."""
    control = chunk(b"acTL", struct.pack(">II", rng.choice([0, 2, 2**31, 2**32 - 1]), 0))
    return small_png(rng, control)


def polyglot(rng: random.Random) -> bytes:
    data, archive = whole(rng), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("evil.sh", "echo hello")
    tail = rng.choice(
        [archive.getvalue(), b"<html><script>alert(1)</script></html>", b"%PDF-1.7\n", b"GIF89a" + bytes(50)]
    )
    return data + tail if rng.random() < 0.7 else tail + data


def commented_jpeg(rng: random.Random) -> bytes:
    page = b"<html><script>alert(1)</script></html>" * rng.randint(1, 40)
    data = saved(noise(rng), "JPEG")
    return data[:2] + b"\xff\xfe" + struct.pack(">H", len(page) + 2) + page + data[2:]


def wrong_magic(rng: random.Random) -> bytes:
    magic = rng.choice(
        [
            PNG_MAGIC,
            b"\xff\xd8\xff",
            b"RIFF\x10\0\0\0WEBP",
            b"GIF89a",
            b"BM",
            b"MM\0*",
            b"%PDF-1.4",
            b"\0\0\0\x20ftypheic",
        ]
    )
    return magic + (whole(rng)[8:] if rng.random() < 0.5 else rng.randbytes(rng.randint(0, 3000)))


def other_kind(rng: random.Random) -> bytes:
    kind = rng.choice(["GIF", "BMP", "TIFF", "ICO", "PPM", "TGA", "AVIF", "JPEG2000", "PCX", "DDS"])
    if rng.random() < 0.3:
        return rng.choice(
            [
                b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
                b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'b'>]><svg/>",
                b"%PDF-1.7",
                b"%!PS-Adobe",
                b"8BPS\0\1",
                b"",
                b"\0" * 5000,
            ]
        )
    return saved(noise(rng, 64, 64), kind)


def deep_exif(rng: random.Random) -> bytes:
    """Directories that point to themselves, and counts that no file holds."""
    entries = rng.randint(1, 200)
    body = b"".join(
        struct.pack(
            "<HHII",
            rng.choice([0x0112, 0x8769, 0x8825, 0xA005, rng.randrange(65536)]),
            rng.randint(0, 13),
            rng.choice([1, 2**31, 2**32 - 1]),
            rng.choice([8, 0, 2**32 - 1]),
        )
        for _ in range(entries)
    )
    tiff = (
        b"II*\0"
        + struct.pack("<I", 8)
        + struct.pack("<H", rng.choice([entries, 65535]))
        + body
        + struct.pack("<I", 8)
    )
    return saved(noise(rng), rng.choice(KINDS), exif=b"Exif\0\0" + tiff)


def hostile_markers(rng: random.Random) -> bytes:
    """JPEG segments of wrong lengths, in wrong places, too many, or none."""
    data, marker = (
        bytearray(saved(noise(rng), "JPEG")),
        rng.choice([0xC0, 0xC2, 0xC4, 0xDB, 0xDD, 0xDA, 0xE0, 0xE1, 0xED, 0xFE, 0xFF, 0xD8, 0xD9, 0x00]),
    )
    segment = (
        bytes([0xFF, marker])
        + struct.pack(">H", rng.choice([0, 1, 2, 8, 65535, 300]))
        + rng.randbytes(rng.randint(0, 300))
    )
    at = rng.choice([2, rng.randrange(len(data))])
    data[at:at] = segment * rng.choice([1, 1, 50])
    return bytes(data)


def many_scans(rng: random.Random) -> bytes:
    """A progressive JPEG whose last scan comes again and again: each costs a pass over all pixels."""
    data = saved(noise(rng, 400, 400), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * rng.choice([50, 500]) + data[-2:]


def riff_sizes(rng: random.Random) -> bytes:
    data = bytearray(saved(noise(rng, mode=rng.choice(["RGB", "RGBA"])), "WEBP", lossless=rng.random() < 0.5))
    at = rng.choice([4, 16])
    data[at : at + 4] = struct.pack("<I", rng.choice([0, 1, 2**32 - 1, 2**31, len(data), 7]))
    return bytes(data)


def odd_modes(rng: random.Random) -> bytes:
    """Honest pictures of unusual kinds: these must be decoded, to what they show."""
    mode, kind = rng.choice(
        [
            ("L", "PNG"),
            ("1", "PNG"),
            ("P", "PNG"),
            ("LA", "PNG"),
            ("RGBA", "PNG"),
            ("I;16", "PNG"),
            ("CMYK", "JPEG"),
            ("L", "JPEG"),
            ("RGBA", "WEBP"),
            ("YCbCr", "JPEG"),
        ]
    )
    if mode == "I;16":
        deep = np.random.default_rng(rng.getrandbits(32)).integers(0, 65536, (40, 50), dtype=np.uint16)
        return saved(Image.fromarray(deep), kind)
    if mode == "P":
        return saved(noise(rng).quantize(rng.choice([2, 16, 255])), kind, transparency=rng.choice([0, 1]))
    return saved(noise(rng, mode=mode), kind)


def honest(rng: random.Random) -> bytes:
    return whole(rng)


MAKERS: dict[str, Make] = {
    make.__name__: make
    for make in (
        truncated, mutated, header_mutated, spliced, repeated_parts, pixel_bomb, largest_allowed, zlib_bomb, many_chunks,
        giant_profile, broken_profile, giant_text, overflowing_chunk, wrong_checksum, odd_header, long_line, animated,
        endless_animation, polyglot, commented_jpeg, wrong_magic, other_kind, deep_exif, hostile_markers, many_scans,
        riff_sizes, odd_modes, honest,
    )
}  # fmt: skip
