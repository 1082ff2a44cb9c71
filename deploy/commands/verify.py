"""`aquatint verify FILE...`: what a picture says about itself, and whether it can be believed."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image
from pydantic import ValidationError
from rich.console import Console

from deploy.environment import load_settings
from deploy.home import Home
from deploy.signing import open_watermarker
from safety.picture_hash import distance, picture_hash
from safety.provenance.certificates import ROOT_FILE
from safety.provenance.reading import PictureFacts, read_manifest, read_picture
from safety.provenance.telling import tell
from safety.provenance.watermark import Watermarker
from schemas.errors import BadInput, NotFound
from schemas.input_image import MAX_INPUT_PIXELS
from schemas.receipt import Receipt
from schemas.settings import Settings

out = Console(highlight=False, markup=False, soft_wrap=True)

#: A 40 megapixel PNG of noise; what is larger is not read.
MAX_BYTES = 160_000_000
MAX_RECEIPT_BYTES = 1_000_000
#: PDQ's authors call pictures with at most this many differing bits the same.
SAME_PICTURE = 31
INTACT, CHANGED, UNSIGNED = 0, 1, 2


def verify(
    files: Annotated[list[Path], typer.Argument(help="Pictures: PNG, JPEG, WebP or AVIF.")],
    trust: Annotated[
        list[Path] | None, typer.Option(help="PEM file of root certificates that you trust; may be repeated.")
    ] = None,
    receipt: Annotated[Path | None, typer.Option(help="Receipt to compare with; takes one picture.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per picture.")] = False,
) -> None:
    """Tell what pictures say about themselves: made by AI, signed by whom, changed since, made from what.

    Exit code 0: signed and intact. 1: changed, broken, expired or not the picture of the receipt. 2: no signature in it.
    """
    if receipt is not None and len(files) != 1:
        raise BadInput("a receipt belongs to one picture", field="--receipt")
    anchors = "\n".join(_text(path) for path in trust or ())
    if trust and "-----BEGIN CERTIFICATE-----" not in anchors:
        raise BadInput("there is no PEM certificate in it", field="--trust")
    described = _receipt(receipt) if receipt is not None else None
    settings = load_settings()
    reader = _Reader(anchors=anchors, own_root=_own_root(settings), detector=open_watermarker(settings))
    codes = [_one(path, reader, described, as_json=as_json) for path in files]
    raise typer.Exit(CHANGED if CHANGED in codes else max(codes))


@dataclass(frozen=True, kw_only=True)
class _Reader:
    """What the facts are read with."""

    anchors: str
    #: The root of this installation's own certificates, PEM; empty where there is none.
    own_root: str
    detector: Watermarker | None

    def read(self, data: bytes) -> PictureFacts:
        return read_picture(data, anchors=self.anchors, detector=self.detector)

    def is_own(self, data: bytes, facts: PictureFacts) -> bool:
        """Whether this very installation signed it: the name alone, anybody can claim."""
        if not self.own_root or not facts.is_intact or facts.media_type is None:
            return False
        return read_manifest(data, facts.media_type, anchors=self.own_root).state == "trusted"


def _own_root(settings: Settings) -> str:
    path = Home(path=settings.home).certificates / ROOT_FILE
    return _text(path) if path.is_file() else ""


def _one(path: Path, reader: _Reader, receipt: Receipt | None, *, as_json: bool) -> int:
    data = _bytes(path, MAX_BYTES)
    facts = reader.read(data)
    own, compared = (
        reader.is_own(data, facts),
        _compared(data, facts, receipt) if receipt is not None else None,
    )
    code = _code(facts, compared)
    if as_json:
        told: dict[str, Any] = {
            "file": str(path),
            "exit_code": code,
            "says_ai": facts.says_ai,
            "signed_here": own,
        }
        out.print(
            json.dumps(told | facts.model_dump(mode="json") | ({"receipt": compared} if compared else {}))
        )
        return code
    out.print(f"{path}")
    for sentence in [*tell(facts, signed_here=own), *([compared["told"]] if compared else [])]:
        out.print(f"  {sentence}")
    return code


def _code(facts: PictureFacts, compared: dict[str, Any] | None) -> int:
    if (
        facts.media_type is None
        or facts.manifest.state == "invalid"
        or (compared and not compared["same_file"])
    ):
        return CHANGED
    return UNSIGNED if facts.manifest.state == "none" else INTACT


def _compared(data: bytes, facts: PictureFacts, receipt: Receipt) -> dict[str, Any]:
    """Whether the file is the receipt's, and if not, whether it still shows the same picture."""
    if facts.sha256 == receipt.image_sha256:
        return {"same_file": True, "told": "It is the very file of the receipt."}
    bits = _bits_apart(data, receipt)
    if bits is None:
        told = "It is not the file of the receipt."
    elif bits <= SAME_PICTURE:
        told = (
            f"It is not the file of the receipt, but shows the same picture ({bits} of 256 PDQ bits differ)."
        )
    else:
        told = f"It is another picture than the receipt's ({bits} of 256 PDQ bits differ)."
    return {"same_file": False, "pdq_bits_apart": bits, "told": told}


def _bits_apart(data: bytes, receipt: Receipt) -> int | None:
    if receipt.pdq is None:
        return None
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP", "AVIF")) as picture:
            if picture.width * picture.height > MAX_INPUT_PIXELS:
                return None
            return distance(picture_hash(np.asarray(picture.convert("RGB"))), receipt.pdq)
    except Exception:  # a decoder meets hostile bytes with whatever class comes to it
        return None


def _receipt(path: Path) -> Receipt:
    try:
        return Receipt.model_validate_json(_bytes(path, MAX_RECEIPT_BYTES))
    except ValidationError as error:
        raise BadInput(f"{path} is no receipt", field="--receipt") from error


def _text(path: Path) -> str:
    return _bytes(path, MAX_RECEIPT_BYTES).decode("ascii", "replace")


def _bytes(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > limit:
        raise BadInput(f"{path} is larger than what is read", limit=limit)
    return data
