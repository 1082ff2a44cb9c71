"""Pictures and receipts in the store, under their digests."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import TypeVar

from pydantic import ValidationError

from models.adapters import ADAPTER_FILE
from schemas.canonical import canonical
from schemas.errors import ObjectMissing, Temporary, Unsupported
from schemas.microbatch import ImageTask
from schemas.object_keys import RESERVED_PREFIXES, adapter_key, image_key, input_key, receipt_key
from schemas.outcome import ImageRendered, Stored
from schemas.receipt import Receipt, RenderedWith, UsedFile
from schemas.verdict import Verdict
from storage.objects.store import ObjectStore
from workers.encode import EXTENSIONS, Encoded

Result = TypeVar("Result")

#: Seconds before each repetition of a store call that failed for the moment.
RETRY_DELAYS = (0.2, 0.6, 1.8)


def find(task: ImageTask, store: ObjectStore) -> ImageRendered | None:
    """What is stored for the task's digest already, with the customer's copy made; None when it has to be rendered.

    The receipt is written last, so whoever finds one finds a whole picture, unless that was deleted since.
    """
    receipt = _receipt(task, store)
    if receipt is None or patiently(lambda: store.head(receipt.image_key)) is None:
        return None
    if task.copy_key is not None:
        data = patiently(lambda: store.get(receipt.image_key))
        _copy(task, Encoded(data=data, media_type=receipt.media_type), store)
    return _rendered(task, receipt, receipt.verdicts[-1], reused=True)


def put(
    task: ImageTask, encoded: Encoded, verdict: Verdict, rendered_with: RenderedWith, store: ObjectStore
) -> ImageRendered:
    """Stores picture, customer's copy and receipt, in this order; each is whole or absent, whenever the process dies."""
    key = image_key(task.digest, EXTENSIONS[task.spec.format])
    if not patiently(lambda: store.put(key, encoded.data, media_type=encoded.media_type)).created:
        # A worker that died before its receipt, or one that was faster: the receipt describes the bytes that are there.
        encoded = Encoded(data=patiently(lambda: store.get(key)), media_type=encoded.media_type)
    _copy(task, encoded, store)
    receipt = Receipt(
        digest=task.digest,
        spec=task.spec,
        inputs=tuple(
            UsedFile(field=field, key=input_key(sha256), sha256=sha256)
            for field, sha256 in task.spec.inputs.items()
        ),
        adapters=tuple(
            UsedFile(field=f"adapters.{place}", key=adapter_key(one.digest, ADAPTER_FILE), sha256=one.digest)
            for place, one in enumerate(task.spec.adapters)
        ),
        image_key=key,
        image_sha256=hashlib.sha256(encoded.data).hexdigest(),
        image_bytes=len(encoded.data),
        media_type=encoded.media_type,
        alt=task.alt,
        lang=task.lang,
        verdicts=(_timeless(verdict),),
        rendered_with=rendered_with,
    )
    written = canonical(receipt.model_dump(mode="json"))
    patiently(lambda: store.put(receipt_key(task.digest), written, media_type="application/json"))
    return _rendered(task, receipt, verdict, reused=False)


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


def _timeless(verdict: Verdict) -> Verdict:
    """The verdict without the time its checks took, which would make every receipt unique."""
    return verdict.model_copy(
        update={"checks": tuple(check.model_copy(update={"milliseconds": 0.0}) for check in verdict.checks)}
    )


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
    )
    return ImageRendered(image=task.image, digest=task.digest, stored=stored, verdict=verdict)
