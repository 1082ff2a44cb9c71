"""Pixels to a file that says what it shows and that a machine made it, signed last."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from safety.picture_hash import picture_hash
from safety.provenance.containers import file_kind
from safety.provenance.ingredients import Ingredient, ingredient_record
from safety.provenance.signing import Claim, CredentialSigner
from safety.provenance.xmp import Words, write_packet
from schemas.errors import ObjectMissing
from schemas.input_image import MAX_INPUT_BYTES
from schemas.microbatch import ImageTask
from schemas.object_keys import ingredient_key, input_key
from schemas.provenance import Credentials, Pdq, Provenance, SourceType, Watermark
from schemas.request import Format
from storage.objects.store import ObjectStore
from workers.ports import Pixels

MEDIA_TYPES: dict[Format, str] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "avif": "image/avif",
}
EXTENSIONS: dict[Format, str] = {"png": "png", "jpeg": "jpg", "webp": "webp", "avif": "avif"}
#: Of a spec that names none, which ours do not leave out.
_QUALITY = 90

_WRITTEN: dict[Format, dict[str, Any]] = {
    # 4:4:4: subsampled colour smears the edges of product shots.
    "jpeg": {"format": "JPEG", "subsampling": 0, "optimize": True},
    "webp": {"format": "WEBP", "method": 4},
    # One thread: pictures of a microbatch are encoded side by side already.
    "avif": {"format": "AVIF", "subsampling": "4:4:4", "speed": 8, "max_threads": 1},
}

#: The results store of a tenant.
Stores = Callable[[str], ObjectStore]


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A picture file, and what its receipt says about it."""

    data: bytes = field(repr=False)
    media_type: str
    provenance: Provenance | None = None
    pdq: Pdq | None = None


class Encoder:
    """Encodes, describes and signs; safe to share between threads.

    Without a signer, which is the operator's explicit choice, the file carries XMP alone and its receipt says so.
    """

    def __init__(self, *, stores: Stores, signer: CredentialSigner | None) -> None:
        self._stores, self._signer = stores, signer

    def encode(self, task: ImageTask, pixels: Pixels, watermark: Watermark | None = None) -> Encoded:
        """The file of the very pixels, uint8 RGB (H, W, 3); `watermark` says what was hidden in them.

        The same pixels give the same picture and XMP, but not the same bytes: an ECDSA signature is random. Raises
        SigningRefused or SigningUnavailable, and what the store raises; there is then no file.
        """
        spec = task.spec
        source = source_type(task)
        data = encode_picture(pixels, spec.format, spec.quality, write_packet(source, _words(task)))
        credentials = Credentials()
        if self._signer is not None:
            claim = Claim(
                source=source,
                model=spec.model,
                model_version=spec.model_digest[:16],
                ingredients=self._ingredients(task),
                watermark=watermark,
            )
            data, credentials = self._signer.sign(data, MEDIA_TYPES[spec.format], claim)
        return Encoded(
            data=data,
            media_type=MEDIA_TYPES[spec.format],
            provenance=Provenance(digital_source_type=source, c2pa=credentials, watermark=watermark),
            pdq=picture_hash(pixels),
        )

    def _ingredients(self, task: ImageTask) -> tuple[Ingredient, ...]:
        """What the request brought. The same picture in two places is named twice and its manifest carried once."""
        if not task.spec.inputs:
            return ()
        store = self._stores(task.tenant)
        records = {sha256: _record(store, sha256) for sha256 in set(task.spec.inputs.values())}
        return tuple(
            Ingredient(
                field=name,
                sha256=sha256,
                relationship="parentOf" if name == "image" else "inputTo",
                record=records[sha256],
            )
            for name, sha256 in task.spec.inputs.items()
        )


def source_type(task: ImageTask) -> SourceType:
    """Out of somebody's picture, or out of nothing; lines to follow leave no pixel in the result."""
    return "trainedAlgorithmicMedia" if task.spec.image is None else "compositeWithTrainedAlgorithmicMedia"


def encode_picture(pixels: Pixels, format: Format, quality: int | None, xmp: bytes) -> bytes:
    """A file with its XMP packet; the same input gives the same bytes: nothing in them tells time, place or job."""
    picture, file = Image.fromarray(pixels, "RGB"), io.BytesIO()
    if format == "png":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        picture.save(file, "PNG", pnginfo=info, compress_level=6)
    else:
        picture.save(file, quality=quality or _QUALITY, xmp=xmp, **_WRITTEN[format])
    return file.getvalue()


def _words(task: ImageTask) -> tuple[Words, ...]:
    if not task.descriptions:
        return (Words(lang=task.lang, alt=task.alt),)
    return tuple(
        Words(lang=one.lang, alt=one.alt, long_description=one.long_description) for one in task.descriptions
    )


def _record(store: ObjectStore, sha256: str) -> bytes:
    """The manifest that a picture came with: kept beside it, or, for one kept as it came, still in it."""
    try:
        return store.get(ingredient_key(sha256))
    except ObjectMissing:
        pass
    try:
        data = store.get_range(input_key(sha256), 0, MAX_INPUT_BYTES + 1)
    except ObjectMissing:
        return b""
    # What was cleaned on arrival has another digest and no manifest any more.
    if hashlib.sha256(data).hexdigest() != sha256:
        return b""
    kind = file_kind(data)
    return ingredient_record(data, kind) if kind else b""
