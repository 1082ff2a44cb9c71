"""TrustMark (Bui, Agarwal, Collomosse, 2023), variant Q, from the operator's ONNX files: no torch, no download.

A network draws a faint residual that carries 100 bits at 256 x 256; it is enlarged to the picture's size and added.
Of the bits 61 are ours, 35 correct up to five errors, four name this layout (BCH_5 of the reference implementation).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from PIL import Image

from safety.provenance.bch import decode, encode, parity_bits
from safety.provenance.watermark import Pixels
from schemas.errors import BadSettings
from schemas.provenance import Watermark

NAME = "com.adobe.trustmark.Q"
ENCODER_SIDE, DECODER_SIDE = 256, 245
DATA_BITS, CORRECTED, LAYOUT = 61, 5, 1
#: The reference pads data to whole bytes before it computes parity.
PADDED_BITS = 64
SECRET_BITS = 100
#: Longer pictures are marked in their central square alone.
MAX_ASPECT = 2.0
#: Share of a square's side over which the mark fades in, so that its border cannot be seen.
FADE = 0.05

Floats = npt.NDArray[np.float32]
Bits = npt.NDArray[np.float32]


class TrustMark:
    """Marks and reads; safe to share between threads."""

    name = NAME

    def __init__(self, encoder: onnxruntime.InferenceSession, decoder: onnxruntime.InferenceSession) -> None:
        self._encoder, self._decoder = encoder, decoder
        ranks = {len(one.shape): one.name for one in encoder.get_inputs()}
        if set(ranks) != {2, 4} or len(decoder.get_inputs()) != 1:
            raise BadSettings("these are no TrustMark graphs", field="AQUATINT_WATERMARK_ENCODER")
        self._picture_input, self._secret_input = ranks[4], ranks[2]

    @classmethod
    def open(cls, *, encoder: tuple[Path, str], decoder: tuple[Path, str]) -> TrustMark:
        """From files and their SHA-256; BadSettings for a file that is absent, another or no such graph."""
        return cls(
            _session(*encoder, field="AQUATINT_WATERMARK_ENCODER"),
            _session(*decoder, field="AQUATINT_WATERMARK_DECODER"),
        )

    def mark(self, pixels: Pixels, digest: str) -> tuple[Pixels, Watermark]:
        """A marked copy, uint8 (H, W, 3); the payload is the first 61 bits of the digest."""
        data = int(digest[:16], 16) >> (64 - DATA_BITS)
        top, left, height, width = _region(*pixels.shape[:2])
        region = pixels[top : top + height, left : left + width]
        cover = _network_input(region, ENCODER_SIDE)  # (1, 3, 256, 256)
        given = {self._picture_input: cover, self._secret_input: _secret(data)[None]}
        drawn = np.clip(self._encoder.run(None, given)[0], -1, 1)
        residual = drawn - cover
        # Without its mean the mark would tint the whole picture.
        residual = (residual - residual.mean(axis=(2, 3), keepdims=True))[0].transpose(
            1, 2, 0
        )  # (256, 256, 3)
        enlarged = _resized(residual, width, height)
        if (height, width) != pixels.shape[:2]:
            enlarged *= _fading(height, width)[..., None]
        marked = pixels.copy()
        summed = region.astype(np.float32) + 127.5 * enlarged
        marked[top : top + height, left : left + width] = np.rint(np.clip(summed, 0, 255)).astype(np.uint8)
        return marked, _watermark(data)

    def read(self, pixels: Pixels) -> Watermark | None:
        """The mark in a picture; None when its bits are not within five errors of any payload.

        By chance alone the bits of one unmarked picture in some 8,000 are.
        """
        top, left, height, width = _region(*pixels.shape[:2])
        region = _network_input(pixels[top : top + height, left : left + width], DECODER_SIDE)
        found = self._decoder.run(None, {self._decoder.get_inputs()[0].name: region})[0]
        data = _payload(np.asarray(found).reshape(-1) > 0)
        return _watermark(data) if data is not None else None


def _session(path: Path, sha256: str, *, field: str) -> onnxruntime.InferenceSession:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadSettings(f"{path} cannot be read: {error.strerror}", field=field) from error
    # Hashed in memory: what is run is what was hashed, even if the file changes meanwhile.
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BadSettings(f"{path} is not the file of that digest", field=field)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has many classes for a graph that is none
        raise BadSettings(f"{path} is no ONNX graph", field=field) from error


def _watermark(data: int) -> Watermark:
    """In the notation of C2PA soft bindings of TrustMark: layout, asterisk, bits."""
    return Watermark(name=NAME, payload=f"{LAYOUT}*{data:0{DATA_BITS}b}")


def _secret(data: int) -> Bits:
    """Data, parity and layout as 100 bits, (100,)."""
    parity = encode(data << (PADDED_BITS - DATA_BITS), PADDED_BITS, CORRECTED)
    text = f"{data:0{DATA_BITS}b}{parity:0{parity_bits(CORRECTED)}b}{LAYOUT:04b}"
    return np.array([int(bit) for bit in text], np.float32)


def _payload(bits: npt.NDArray[np.bool_]) -> int | None:
    if len(bits) != SECRET_BITS:
        return None
    text = "".join("1" if bit else "0" for bit in bits)
    padding = PADDED_BITS - DATA_BITS
    data, parity, layout = text[:DATA_BITS], text[DATA_BITS:-4], text[-4:]
    if int(layout, 2) != LAYOUT:
        return None
    corrected = decode(int(data, 2) << padding, int(parity, 2), PADDED_BITS, CORRECTED)
    # Padding is never sent, so it cannot have been wrong.
    return corrected >> padding if corrected is not None and corrected % (1 << padding) == 0 else None


def _region(height: int, width: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of what is marked: all of it, or the central square of a long picture."""
    side = min(height, width)
    if max(height, width) <= MAX_ASPECT * side:
        return 0, 0, height, width
    return (height - side) // 2, (width - side) // 2, side, side


def _network_input(pixels: Pixels, side: int) -> Floats:
    """(1, 3, side, side) in -1 to 1."""
    resized = Image.fromarray(pixels, "RGB").resize((side, side), Image.Resampling.BILINEAR)
    scaled: Floats = np.asarray(resized, np.float32) / 127.5 - 1
    return scaled.transpose(2, 0, 1)[None]


def _resized(residual: Floats, width: int, height: int) -> Floats:
    channels: list[Any] = [
        Image.fromarray(np.ascontiguousarray(residual[..., one])).resize(
            (width, height), Image.Resampling.BILINEAR
        )
        for one in range(3)
    ]
    return np.stack([np.asarray(one, np.float32) for one in channels], axis=-1)


def _fading(height: int, width: int) -> Floats:
    """0 at the border to 1 inside, (height, width)."""
    ramps = []
    for length in (height, width):
        distance = np.minimum(np.arange(length) + 1, np.arange(length)[::-1] + 1).astype(np.float32)
        ramps.append(np.clip(distance / max(1.0, FADE * length), 0, 1))
    fading: Floats = np.minimum(ramps[0][:, None], ramps[1][None, :])
    return fading
