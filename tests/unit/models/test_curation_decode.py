"""Reading pictures of unknown origin: every format, every trick, never a crash."""

from __future__ import annotations

import io
import resource

import numpy as np
import pytest
from curation_sources import encoded, flipped, made_up, scene, truncated
from PIL import Image, ImageCms

from models.curation.decode import Decoded, decode, sniff
from models.curation.reasons import Reason, Refused
from models.curation.settings import ReadSettings

READ = ReadSettings()


def reason_of(data: bytes, name: str, settings: ReadSettings = READ) -> str:
    """The reason of a refusal; "" for a picture that can be used."""
    try:
        decoded = decode(data, name, settings)
    except Refused as refused:
        return refused.reason
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.shape[2:] == (3,)
    return ""


@pytest.mark.parametrize(
    ("name", "data", "reason"), list(made_up()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_each_trick_has_its_reason(name: str, data: bytes, reason: str) -> None:
    """Every file made by hand is refused for the reason that is due, or read."""
    assert reason == reason_of(data, name)


def test_three_hundred_damaged_files() -> None:
    """Cut anywhere or with bytes changed, a file is a picture or refused with a reason, and memory stays bounded."""
    files = [*truncated(1), *truncated(2), *flipped(3)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reasons = [reason_of(data, name) for name, data in files]

    assert len(files) >= 300
    assert set(reasons) <= {"", *Reason}
    assert reasons.count("corrupt") > 150
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600 * 1024  # KiB


def test_a_cut_file_is_corrupt() -> None:
    """Half a PNG is refused, not filled up with grey."""
    data = encoded(scene(3))

    assert Reason.CORRUPT == reason_of(data[: len(data) // 2], "half.png")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_formats(kind: str) -> None:
    """Every allowed format is known by its first bytes and comes out nearly as it went in."""
    picture = scene(4)
    decoded = decode(encoded(picture, kind), f"x.{kind.lower()}", READ)
    difference = np.abs(decoded.pixels.astype(int) - np.asarray(picture, int)).mean()

    assert kind.lower() == decoded.format
    assert (96, 96) == (decoded.width, decoded.height)
    assert difference < 12


def test_only_allowed_formats_reach_a_decoder() -> None:
    """A format that is not on the list is refused by its signature."""
    only_png = ReadSettings(formats=("png",))

    assert Reason.FORMAT_NOT_ALLOWED == reason_of(encoded(scene(1), "JPEG"), "x.jpg", only_png)


def test_mislabelled_files_can_be_read_by_content() -> None:
    """Where the settings say so, the content counts."""
    reading = ReadSettings(mislabelled="read")

    assert "" == reason_of(encoded(scene(1), "JPEG"), "x.png", reading)
    assert "" == reason_of(encoded(scene(1), "JPEG"), "no-suffix", READ)


def test_limits_come_before_pixels() -> None:
    """Bytes and pixels are counted before anything is decoded."""
    data = encoded(scene(1))

    assert Reason.TOO_MANY_BYTES == reason_of(data, "x.png", ReadSettings(max_bytes=len(data) - 1))
    assert Reason.TOO_MANY_PIXELS == reason_of(data, "x.png", ReadSettings(max_pixels=96 * 96 - 1))


def test_orientation_is_applied() -> None:
    """A picture that a camera stored lying on its side comes out upright, with its size."""
    picture = scene(5, 96, 64)
    exif = Image.Exif()
    exif[274] = 6  # turn by 90 degrees clockwise
    decoded = decode(encoded(picture, "JPEG", exif=exif, quality=95), "x.jpg", READ)
    upright = np.asarray(picture.transpose(Image.Transpose.ROTATE_270), int)

    assert (64, 96) == (decoded.width, decoded.height)
    assert np.abs(decoded.pixels.astype(int) - upright).mean() < 6


def test_size_of_a_turned_picture_decoded_small() -> None:
    """Decoding at a fraction still tells the size of the whole picture, upright."""
    exif = Image.Exif()
    exif[274] = 8
    data = encoded(scene(5, 800, 400), "JPEG", exif=exif)
    decoded = decode(data, "x.jpg", READ, within=64)

    assert (400, 800) == (decoded.width, decoded.height)
    assert 64 <= decoded.pixels.shape[1] <= 128
    assert decoded.pixels.shape[0] == 2 * decoded.pixels.shape[1]


def test_transparency_shows_the_matte() -> None:
    """What is transparent becomes the matte, also where transparency is one palette colour."""
    clear = Image.new("RGBA", (64, 64), (10, 20, 30, 0))
    palette = Image.new("P", (64, 64), 3)
    white = decode(encoded(clear), "x.png", READ).pixels
    green = decode(encoded(clear), "x.png", ReadSettings(matte=(0, 255, 0))).pixels
    indexed = decode(encoded(palette, "GIF", transparency=3), "x.gif", READ).pixels

    assert (255, 255, 255) == tuple(white[0, 0])
    assert (0, 255, 0) == tuple(green[0, 0])
    assert (255, 255, 255) == tuple(indexed[0, 0])


def test_sixteen_bits() -> None:
    """Sixteen bits per sample keep black black, white white, and the middle in the middle."""
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        grey = decode(encoded(Image.fromarray(ramp), kind), f"x.{kind.lower()}", READ).pixels[..., 0]

        assert (0, 255) == (grey[0, 0], grey[-1, -1])
        assert abs(int(grey[32, 0]) - 128) <= 1


def test_floating_point_is_refused() -> None:
    """Nobody can say what white is in a picture of floats."""
    picture = Image.fromarray(np.zeros((64, 64), np.float32))

    assert Reason.FORMAT_NOT_ALLOWED == reason_of(encoded(picture, "TIFF"), "x.tiff")


def test_cmyk_and_grey() -> None:
    """Print colours and grey pictures become RGB that looks the same."""
    red = Image.new("RGB", (64, 64), (200, 30, 40))
    cmyk = decode(encoded(red.convert("CMYK"), "JPEG", quality=95), "x.jpg", READ).pixels
    grey = decode(encoded(scene(1).convert("L"), "JPEG"), "x.jpg", READ).pixels

    assert np.abs(cmyk[32, 32].astype(int) - (200, 30, 40)).max() < 12
    assert (grey[..., 0] == grey[..., 2]).all()


def test_profiles_are_converted_to_srgb() -> None:
    """A picture in a profile of its own comes out in sRGB: with one that swaps nothing, unchanged."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab = ImageCms.createProfile("LAB")
    picture = scene(6)
    plain = decode(encoded(picture, icc_profile=profile), "x.png", READ).pixels
    unfit = decode(
        encoded(picture, icc_profile=ImageCms.ImageCmsProfile(lab).tobytes()), "x.png", READ
    ).pixels

    assert np.abs(plain.astype(int) - np.asarray(picture, int)).max() <= 2
    assert np.asarray(picture).tobytes() == unfit.tobytes()


def test_wide_profiles_change_the_numbers() -> None:
    """The same numbers mean another colour in another profile, and alpha survives the conversion."""
    profile = wide_gamut_profile()
    picture = Image.new("RGBA", (64, 64), (200, 60, 60, 128))
    seen = decode(encoded(picture, icc_profile=profile), "x.png", READ).pixels[0, 0].astype(int)
    plain = decode(encoded(picture), "x.png", READ).pixels[0, 0].astype(int)

    assert np.abs(seen - plain).max() > 5


def wide_gamut_profile() -> bytes:
    """sRGB's profile with red and green exchanged: a profile that certainly differs."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(data[128:132], "big")
    entries = {bytes(data[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(count)}
    red, green = entries[b"rXYZ"] + 4, entries[b"gXYZ"] + 4
    data[red : red + 8], data[green : green + 8] = data[green : green + 8], data[red : red + 8]
    return bytes(data)


def test_signatures() -> None:
    """Formats are told by content; two letters of a text are no bitmap."""
    assert sniff(b"BM is how this sentence begins, and on") is None
    assert "bmp" == sniff(encoded(scene(1), "BMP")[:32])
    assert sniff(b"") is None
    assert "avif" == sniff(b"\0\0\0\x20ftypavif" + bytes(20))


def test_the_file_is_not_needed_afterwards() -> None:
    """The pixels own their memory."""
    data = io.BytesIO(encoded(scene(1)))
    decoded: Decoded = decode(data.getvalue(), "x.png", READ)
    data.close()

    assert decoded.pixels.sum() > 0
