"""Pictures and receipts in the store, under their digests: the only code that writes there, and only with a permission."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from PIL import Image
from pydantic import ValidationError

from models.adapters import ADAPTER_FILE
from safety.allow_token import AllowToken, TokenVerifier
from safety.provenance.reading import provenance_of
from schemas.canonical import canonical
from schemas.errors import NotAllowed, ObjectMissing, Temporary, Unsupported
from schemas.microbatch import ImageTask
from schemas.object_keys import RESERVED_PREFIXES, adapter_key, image_key, input_key, receipt_key
from schemas.outcome import ImageRendered, Stored
from schemas.provenance import Watermark
from schemas.receipt import Receipt, RenderedWith, UsedFile
from schemas.verdict import Verdict
from storage.objects.store import ObjectStore
from workers.encode import EXTENSIONS, Encoded
from workers.ports import Pixels

Result = TypeVar("Result")

#: Seconds before each repetition of a store call that failed for the moment.
RETRY_DELAYS = (0.2, 0.6, 1.8)
_FORMATS = ("PNG", "JPEG", "WEBP", "AVIF")


def find(task: ImageTask, store: ObjectStore) -> ImageRendered | None:
    """What is stored for the task's digest already, with the customer's copy made; None when it has to be rendered.

    The receipt is written last, so whoever finds one finds a whole picture, unless that was deleted since.
    """
    receipt = _receipt(task, store)
    if receipt is None or patiently(lambda: store.head(receipt.image_key)) is None:
        return None
    if task.copy_key is not None:
        data = patiently(lambda: store.get(receipt.image_key))
        if hashlib.sha256(data).hexdigest() != receipt.image_sha256:
            raise NotAllowed("the stored picture is not the one that its receipt describes")
        _copy(task, Encoded(data=data, media_type=receipt.media_type), store)
    return _rendered(task, receipt, receipt.verdicts[-1], reused=True)


#: A file out of a task's pixels, with the mark that is in them; raises, and there is no file.
Encode = Callable[[ImageTask, Pixels, Watermark | None], Encoded]


@dataclass(frozen=True, kw_only=True, eq=False)
class Permitted:
    """A checked picture with the permission to store it."""

    pixels: Pixels
    token: AllowToken
    verdict: Verdict
    watermark: Watermark | None = None


def put(
    task: ImageTask,
    permitted: Permitted,
    *,
    verifier: TokenVerifier,
    encode: Encode,
    rendered_with: RenderedWith,
    store: ObjectStore,
) -> ImageRendered:
    """Redeems the permission, encodes the very pixels that it names, and stores picture, customer's copy and receipt.

    In this order; each is whole or absent, whenever the process dies. Raises NotAllowed before anything is stored.
    """
    pixels = verifier.redeem(
        permitted.token,
        permitted.pixels,
        digest=task.digest,
        policy_digest=task.spec.policy_digest,
        tenant=task.tenant,
    )
    encoded = _lying(task, encode(task, pixels, permitted.watermark), store)
    _copy(task, encoded, store)
    receipt = _receipt_of(task, encoded, permitted.verdict, rendered_with)
    written = canonical(receipt.model_dump(mode="json"))
    patiently(lambda: store.put(receipt_key(task.digest), written, media_type="application/json"))
    return _rendered(task, receipt, permitted.verdict, reused=False)


def _lying(task: ImageTask, encoded: Encoded, store: ObjectStore) -> Encoded:
    """What lies under the digest now: ours, or what a worker left there that died before its receipt or was faster.

    Files of equal pixels differ in their signatures. One that shows another picture, as another runtime would draw, has
    no receipt that speaks for it and is replaced by the one that was checked just now.
    """
    key = image_key(task.digest, EXTENSIONS[task.spec.format])
    if patiently(lambda: store.put(key, encoded.data, media_type=encoded.media_type)).created:
        return encoded
    found = patiently(lambda: store.get(key))
    said = provenance_of(found)
    as_signed = (
        said is not None
        and encoded.provenance is not None
        and said.c2pa.signed == encoded.provenance.c2pa.signed
    )
    if as_signed and _same_picture(found, encoded.data):
        return replace(encoded, data=found, provenance=said)
    patiently(lambda: store.put(key, encoded.data, media_type=encoded.media_type, if_absent=False))
    return encoded


def _same_picture(found: bytes, ours: bytes) -> bool:
    if found == ours:
        return True
    try:
        return np.array_equal(_samples(found), _samples(ours))
    except Exception:  # whatever lies there, it is no picture
        return False


def _samples(data: bytes) -> Pixels:
    with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
        return np.asarray(picture.convert("RGB"))


def _receipt_of(task: ImageTask, encoded: Encoded, verdict: Verdict, rendered_with: RenderedWith) -> Receipt:
    spec = task.spec
    return Receipt(
        digest=task.digest,
        spec=spec,
        inputs=tuple(
            UsedFile(field=field, key=input_key(sha256), sha256=sha256)
            for field, sha256 in spec.inputs.items()
        ),
        adapters=tuple(
            UsedFile(field=f"adapters.{place}", key=adapter_key(one.digest, ADAPTER_FILE), sha256=one.digest)
            for place, one in enumerate(spec.adapters)
        ),
        image_key=image_key(task.digest, EXTENSIONS[spec.format]),
        image_sha256=hashlib.sha256(encoded.data).hexdigest(),
        image_bytes=len(encoded.data),
        media_type=encoded.media_type,
        alt=task.alt,
        lang=task.lang,
        descriptions=task.descriptions,
        verdicts=tuple(one.coarse().timeless() for one in (*task.verdicts, verdict)),
        fairness=task.fairness.note(spec.prompt) if task.fairness else None,
        pdq=encoded.pdq,
        provenance=encoded.provenance,
        rendered_with=rendered_with,
    )


def patiently(call: Callable[[], Result]) -> Result:
    """Repeats a store call a few times while it fails with a `Temporary` error."""
    for delay in RETRY_DELAYS:
        try:
            return call()
        except Temporary:
            time.sleep(delay)
    return call()


def _receipt(task: ImageTask, store: ObjectStore) -> Receipt | None:
    try:
        receipt = Receipt.model_validate_json(patiently(lambda: store.get(receipt_key(task.digest))))
    except (ObjectMissing, ValidationError):
        return None
    return receipt if receipt.digest == task.digest and receipt.verdicts else None


def _copy(task: ImageTask, encoded: Encoded, store: ObjectStore) -> None:
    key = task.copy_key
    if key is None:
        return
    if key.startswith(RESERVED_PREFIXES):
        raise Unsupported("a copy may not lie among the stored images", field="output.key")
    patiently(lambda: store.put(key, encoded.data, media_type=encoded.media_type, if_absent=False))


def _rendered(task: ImageTask, receipt: Receipt, verdict: Verdict, *, reused: bool) -> ImageRendered:
    stored = Stored(
        key=receipt.image_key,
        receipt_key=receipt_key(task.digest),
        sha256=receipt.image_sha256,
        bytes=receipt.image_bytes,
        width=task.spec.width,
        height=task.spec.height,
        media_type=receipt.media_type,
        copy_key=task.copy_key,
        reused=reused,
        pdq=receipt.pdq.hash if receipt.pdq else None,
        pdq_quality=receipt.pdq.quality if receipt.pdq else None,
    )
    return ImageRendered(image=task.image, digest=task.digest, stored=stored, verdict=verdict)
