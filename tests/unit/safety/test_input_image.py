"""Pictures from customers: hostile files are refused with a reason, honest ones look as they look elsewhere."""

from __future__ import annotations

import hashlib
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import a_picture, as_file
from PIL import Image, ImageCms

from safety.input_image import decode, inspect
from schemas.errors import BadImage
from schemas.input_image import MAX_INPUT_BYTES, MAX_INPUT_PIXELS


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def a_png(width: int, height: int, rows: bytes, *more: bytes) -> bytes:
    """A PNG with any size in its header over any rows."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = [chunk(b"IHDR", header), *more, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def animated(kind: str) -> bytes:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "green", "blue")]
    return as_file(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)


def a_damaged_png() -> bytes:
    whole = bytearray(as_file(a_picture()))
    whole[len(whole) // 2] ^= 0xFF
    return bytes(whole)


JPEG = as_file(a_picture(), "JPEG")
HOSTILE = {
    "nothing": b"",
    "text": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "gif": as_file(a_picture(), "GIF"),
    "tiff": as_file(a_picture(), "TIFF"),
    "only the magic of a png": b"\x89PNG\r\n\x1a\n",
    "only the magic of a jpeg": b"\xff\xd8\xff",
    "only the magic of a webp": b"RIFF\x04\x00\x00\x00WEBP",
    "a png called jpeg": b"\xff\xd8\xff" + as_file(a_picture())[3:],
    "a zip behind the magic": b"\x89PNG\r\n\x1a\nPK\x03\x04" + bytes(200),
    "cut png": as_file(a_picture())[:-200],
    "png without its end": as_file(a_picture())[:-12],
    "cut jpeg": JPEG[: len(JPEG) // 2],
    "cut webp": as_file(a_picture(), "WEBP")[:-60],
    "damaged png": a_damaged_png(),
    "animated png": animated("PNG"),
    "animated webp": animated("WEBP"),
    "bomb: 60000x60000 black pixels": a_png(60000, 60000, bytes(1000)),
    "bomb: the largest size there is": a_png(2**31 - 1, 2**31 - 1, b""),
    "bomb: a few pixels too many": a_png(8000, 3126, bytes(1000)),
    "bomb: a text that inflates to 100 MB": a_png(32, 32, bytes(32 * 97), chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8)))),
    "a chunk for every pixel": a_png(32, 32, bytes(32 * 97), *[chunk(b"tEXt", b"a\0b")] * 10_001),
    "a jpeg of a thousand scans": as_file(a_picture(), "JPEG", progressive=True)[:-2] + b"\xff\xda\0\x08\x01\x01\0\0\x3f\0" * 1000,
    "no pixels": a_png(0, 0, b""),
    "one pixel": as_file(a_picture(1, 1)),
    "a line": as_file(a_picture(1000, 16)),
    "larger than anything sent": b"\xff\xd8\xff" + bytes(MAX_INPUT_BYTES),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_files_are_refused_with_a_reason(name: str) -> None:
    """Whatever is not one whole picture within the limits ends in BadImage, with a sentence, at once."""
    with pytest.raises(BadImage) as caught:
        inspect(HOSTILE[name])
    assert type(caught.value) is not BadImage and caught.value.detail and not caught.value.retryable


@pytest.mark.parametrize(
    ("name", "word", "limit"),
    [
        ("gif", "a GIF file: send a PNG, JPEG or WebP", ["image/png", "image/jpeg", "image/webp"]),
        ("animated webp", "animated", 1),
        ("cut jpeg", "cut off", None),
        ("damaged png", "damaged", None),
        ("bomb: a few pixels too many", "8000x3126", MAX_INPUT_PIXELS),
        ("a line", "too long", "10:1"),
        ("larger than anything sent", "bytes", MAX_INPUT_BYTES),
    ],
)
def test_a_refusal_says_what_to_change(name: str, word: str, limit: object) -> None:
    """The sentence says what is wrong, and the limit stands beside it."""
    with pytest.raises(BadImage, match=word) as caught:
        inspect(HOSTILE[name])
    assert caught.value.limit == limit


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "WEBP"]), st.data())
def test_no_damage_escapes_as_another_error(kind: str, data: st.DataObject) -> None:
    """Bytes flipped, cut out or appended anywhere: a picture comes out, or BadImage, and both functions agree."""
    whole = bytearray(as_file(a_picture(20, 16), kind))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    hostile = bytes(whole[: cut or None])
    try:
        found = inspect(hostile)
    except BadImage:
        return
    assert decode(hostile).shape == (found.height, found.width, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_an_honest_picture_is_described(kind: str) -> None:
    """Type, size and digest are those of the bytes."""
    data = as_file(a_picture(40, 24), kind)
    found = inspect(data)
    assert (found.media_type, found.width, found.height) == (f"image/{kind.lower()}", 40, 24)
    assert (found.sha256, found.bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    assert not found.transparent and decode(data).shape == (24, 40, 3)


def test_a_large_jpeg_is_still_read_to_its_end() -> None:
    """A large JPEG is looked at in a smaller scale, but a cut one is found out, and its size is its own."""
    large = as_file(a_picture(2600, 1800), "JPEG", quality=40)
    found = inspect(large)
    assert (found.width, found.height) == (2600, 1800)
    with pytest.raises(BadImage, match="cut off"):
        inspect(large[:-40000])


def test_lossless_pixels_come_back_as_they_were() -> None:
    """Without a profile, an orientation or alpha, decoding changes nothing."""
    picture = a_picture()
    assert np.array_equal(decode(as_file(picture)), np.asarray(picture))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_phones_pictures_stand_upright(kind: str, orientation: int) -> None:
    """A picture stored turned and marked so in EXIF is the same picture, and has its upright size."""
    upright = Image.new("RGB", (48, 32), "white")
    upright.paste("red", (0, 0, 24, 16))
    undo = {
        2: "FLIP_LEFT_RIGHT",
        3: "ROTATE_180",
        4: "FLIP_TOP_BOTTOM",
        5: "TRANSPOSE",
        6: "ROTATE_90",
        7: "TRANSVERSE",
        8: "ROTATE_270",
    }
    stored = upright.transpose(Image.Transpose[undo[orientation]]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = (
        {"lossless": True} if kind == "WEBP" else {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    )
    data = as_file(stored, kind, exif=exif, **options)
    found = inspect(data)
    assert (found.width, found.height) == (48, 32)
    assert np.abs(decode(data).astype(int) - np.asarray(upright).astype(int)).mean() < 2


def test_unreadable_notes_do_not_spoil_a_picture() -> None:
    """EXIF and profiles that nobody can read are left aside, not an error."""
    plain = decode(as_file(a_picture()))
    for junk in (b"junk", bytes(5000), b"acsp" * 100):
        assert np.array_equal(decode(as_file(a_picture(), icc_profile=junk)), plain)
        assert np.array_equal(decode(as_file(a_picture(), exif=b"Exif\0\0" + junk)), plain)


def test_a_profile_of_another_colour_space_is_left_aside() -> None:
    """A LAB profile says nothing about RGB pixels."""
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert np.array_equal(decode(as_file(a_picture(), icc_profile=lab)), np.asarray(a_picture()))


def test_an_srgb_profile_changes_nothing_to_see() -> None:
    """Pixels that are in sRGB already stay, to a rounding."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    off = decode(as_file(a_picture(), icc_profile=srgb)).astype(int) - np.asarray(a_picture()).astype(int)
    assert np.abs(off).max() <= 2


def a_profile(gamma: float) -> bytes:
    """An RGB matrix profile (ICC.1:2022) with sRGB's primaries and another tone curve."""

    def s15(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(map(s15, values))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(79),
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.4361, 0.2225, 0.0139),
        b"gXYZ": xyz(0.3851, 0.7169, 0.0971),
        b"bXYZ": xyz(0.1431, 0.0606, 0.7141),
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
    }
    start = 128 + 4 + 12 * len(tags)
    table, data = b"", b""
    for name, content in tags.items():
        value = content + bytes(-len(content) % 4)
        table += name + struct.pack(">II", start + len(data), len(value))
        data += value
    body = struct.pack(">I", len(tags)) + table + data
    head = struct.pack(">I4sI4s4s4s", 128 + len(body), b"none", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return head + bytes(128 - len(head)) + body


def test_wide_profiles_are_brought_to_srgb() -> None:
    """Middle grey of a linear profile is light grey in sRGB, as a browser shows it."""
    grey = Image.new("RGB", (32, 32), (128, 128, 128))
    shown = decode(as_file(grey, icc_profile=a_profile(1.0)))
    assert np.abs(shown.astype(int) - 188).max() <= 2


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_what_lets_through_lies_on_white(mode: str) -> None:
    """Transparent pixels become white, opaque ones stay, and the description says that there are some."""
    picture = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    picture.paste((0, 0, 0, 255), (0, 0, 16, 32))
    if mode == "P":
        palette = Image.new("P", (32, 32), 1)
        palette.putpalette([0, 0, 0, 9, 9, 9])
        palette.paste(0, (0, 0, 16, 32))
        data = as_file(palette, transparency=1)
    else:
        data = as_file(picture.convert(mode) if mode != "PA" else picture.quantize(2), "PNG")
    pixels = decode(data)
    assert inspect(data).transparent
    assert (pixels[:, :16] <= 8).all() and (pixels[:, 16:] == 255).all()


def test_other_kinds_of_pixels_are_read() -> None:
    """Grey, 16-bit grey, black and white, and CMYK come out as what they show."""
    grey = a_picture(mode="L")
    assert np.array_equal(decode(as_file(grey)), np.repeat(np.asarray(grey)[..., None], 3, axis=2))
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    assert np.array_equal(decode(as_file(deep)), decode(as_file(grey)))
    assert set(np.unique(decode(as_file(a_picture(mode="1"))))) == {0, 255}
    cmyk = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
    red = decode(as_file(cmyk, "JPEG", quality=95))
    assert (red[..., 0] > 200).all() and (red[..., 1:] < 60).all()


def test_an_empty_mask_is_seen() -> None:
    """The lightest pixel tells a mask that paints something from one that paints nothing."""
    mask = Image.new("L", (64, 64), 0)
    assert inspect(as_file(mask)).lightest == 0
    mask.putpixel((3, 5), 255)
    assert inspect(as_file(mask)).lightest == 255


def test_decoding_is_the_same_every_time() -> None:
    """The same bytes give the same pixels: the render digest is taken over the bytes."""
    data = as_file(a_picture(), "JPEG", icc_profile=a_profile(1.8))
    assert np.array_equal(decode(data), decode(data))
