"""Pictures from customers: looked at where they can do no harm, and turned into clean ones of our own."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from safety.decoding.magic import media_type
from safety.decoding.opening import Opened, open_picture
from safety.decoding.refusals import Refused, error_of
from schemas.input_image import CleanPicture, InputImage

#: (height, width, 3), RGB in sRGB.
Pixels = npt.NDArray[np.uint8]
#: Bytes to pixels; raises BadImage. `safety.decoding.pool.DecoderPool.open`, or `open_here` where bytes are trusted.
Open = Callable[[bytes], Opened]

#: Of zlib: higher levels take three times as long for a few per cent.
_COMPRESSION = 2


def open_here(data: bytes) -> Opened:
    """Decode in this process: for bytes that we made ourselves, and for tests."""
    try:
        return open_picture(data)
    except Refused as refused:
        raise error_of(refused) from None


@dataclass(frozen=True, kw_only=True)
class PictureReader:
    """Reads customers' pictures through `open`; BadImage says what is wrong with one, and the limit. Thread-safe."""

    open: Open = open_here
    #: Whether AVIF may be read; `open` must agree.
    avif: bool = False

    def clean(self, data: bytes) -> CleanPicture:
        """What the picture is, and its pixels as a new file with nothing else in it."""
        opened = self.open(data)
        picture = _picture(opened)
        return CleanPicture(facts=self._facts(data, opened, picture), png=_encoded(picture))

    def inspect(self, data: bytes) -> InputImage:
        """What the picture is."""
        opened = self.open(data)
        return self._facts(data, opened, _picture(opened))

    def decode(self, data: bytes) -> Pixels:
        """The picture as it is looked at: upright, in sRGB, on white; uint8 (H, W, 3)."""
        return np.asarray(_on_white(_picture(self.open(data))))

    def _facts(self, data: bytes, opened: Opened, picture: Image.Image) -> InputImage:
        return InputImage(
            sha256=hashlib.sha256(data).hexdigest(),
            media_type=media_type(data, avif=self.avif),
            bytes=len(data),
            width=opened.width,
            height=opened.height,
            transparent=opened.channels == 4 and _lowest_alpha(picture) < 255,
            lightest=_lightest(picture),
        )


def inspect(data: bytes) -> InputImage:
    """What a picture is, looked at in this process."""
    return PictureReader().inspect(data)


def decode(data: bytes) -> Pixels:
    """A picture decoded in this process, as `PictureReader.decode`."""
    return PictureReader().decode(data)


def _picture(opened: Opened) -> Image.Image:
    mode = "RGBA" if opened.channels == 4 else "RGB"
    return Image.frombuffer(mode, (opened.width, opened.height), opened.pixels, "raw", mode, 0, 1)


def _lowest_alpha(picture: Image.Image) -> int:
    lowest, _ = picture.getchannel("A").getextrema()
    return int(lowest)  # type: ignore[arg-type]


def _lightest(picture: Image.Image) -> int:
    _, highest = picture.convert("L").getextrema()
    return int(highest)  # type: ignore[arg-type]


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGB":
        return picture
    ground = Image.new("RGB", picture.size, "white")
    ground.paste(picture, mask=picture.getchannel("A"))
    return ground


def _encoded(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=_COMPRESSION)
    return file.getvalue()
