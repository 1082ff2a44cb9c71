"""From a request to learn a look to a row of the ledger: checked against what is there before anyone is told it is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from schemas.errors import InputMissing, OutOfRange, Unsupported
from schemas.finetune import (
    MAX_IMAGE_BYTES,
    MAX_IMAGES,
    MAX_LISTING_BYTES,
    MAX_TOTAL_BYTES,
    MIN_IMAGES,
    FinetuneRequest,
    FinetuneSpec,
    is_picture,
)
from schemas.input_reference import InputReference
from schemas.model_offer import ModelOffer
from schemas.render_spec import derive_seed
from storage.ledger.finetunes import NewFinetune
from storage.objects.store import ObjectStore

#: What a model's card must list.
FEATURE = "adapters"
#: Objects of a folder that are looked at: pictures, their captions, and a little else.
_MOST_LISTED = 4 * MAX_IMAGES


@dataclass(frozen=True, kw_only=True)
class FinetunePlanner:
    """What planning a fine-tune needs to know. Looks at the tenant's uploads, and changes nothing."""

    #: The models that may be fine-tuned, by name.
    offers: Mapping[str, ModelOffer]
    default_model: str
    #: A tenant's upload store.
    uploads: Callable[[str], ObjectStore]
    #: Raises AddressRefused for a webhook address that may not be called.
    check_webhook: Callable[[str], object] = lambda url: url
    #: Raises PromptRefused, with the field, for words that the policy does not allow.
    check_words: Callable[[Mapping[str, str]], object] = lambda _texts: None
    #: Why no fine-tune can be done in this installation, and what would change that; empty when one can.
    unavailable: str = ""

    def spec(self, request: FinetuneRequest, tenant: str) -> FinetuneSpec:
        """What a trainer will be told; typed errors name the field and its limit."""
        if self.unavailable:
            raise Unsupported(self.unavailable)
        offer = self._offer(request.model or self.default_model)
        if request.webhook is not None:
            self.check_webhook(request.webhook.url)
        self._check_uploads(request, self.uploads(tenant))
        seed = request.seed
        trigger = f"{request.name} style" if request.trigger is None else request.trigger
        # Captions of single pictures are looked at by whoever reads them: the trainer.
        self.check_words({"trigger": trigger, "caption": request.caption})
        return FinetuneSpec(
            name=request.name,
            images=request.images,
            captions=request.captions,
            caption=request.caption,
            trigger=trigger,
            model=offer.name,
            base_digest=offer.base_digest,
            rank=request.rank,
            steps=request.steps,
            minutes=request.minutes,
            seed=derive_seed(tenant, "finetune", request.name, 0) if seed is None else seed,
        )

    def _offer(self, name: str) -> ModelOffer:
        offer = self.offers.get(name)
        if offer is None:
            raise Unsupported(f"there is no model {name!r} here", field="model", limit=sorted(self.offers))
        if FEATURE not in offer.features:
            raise Unsupported(f"the model {name} takes no adapters", field="model")
        return offer

    def _check_uploads(self, request: FinetuneRequest, store: ObjectStore) -> None:
        """Single pictures are only looked at by the trainer: asking for each would take longer than a caller waits."""
        if request.captions is not None:
            _check_listing(InputReference.parse(request.captions).key, store)
        if request.images[0].endswith("/"):
            _check_folder(request.images[0].removeprefix("uploads/"), store)


def _check_listing(key: str, store: ObjectStore) -> None:
    info = store.head(key)
    if info is None:
        raise InputMissing("this file of captions is not among the uploads", field="captions")
    if info.size > MAX_LISTING_BYTES:
        raise OutOfRange(
            f"the file of captions has {info.size} bytes", field="captions", limit=MAX_LISTING_BYTES
        )


def _check_folder(prefix: str, store: ObjectStore) -> None:
    count = total = 0
    for place, entry in enumerate(store.list(prefix)):
        if place >= _MOST_LISTED:
            raise OutOfRange("the folder holds too many files", field="images", limit=_MOST_LISTED)
        if not is_picture(entry.key):
            continue
        count, total = count + 1, total + entry.size
        if entry.size > MAX_IMAGE_BYTES:
            raise OutOfRange(
                f"a picture has {entry.size} bytes", field="images", limit=MAX_IMAGE_BYTES, row=count
            )
    if not MIN_IMAGES <= count <= MAX_IMAGES:
        raise OutOfRange(
            f"{count} pictures in this folder: {MIN_IMAGES} to {MAX_IMAGES} are needed",
            field="images",
            limit=[MIN_IMAGES, MAX_IMAGES],
        )
    if total > MAX_TOTAL_BYTES:
        raise OutOfRange(f"the pictures have {total} bytes", field="images", limit=MAX_TOTAL_BYTES)


def new_finetune(
    request: FinetuneRequest, spec: FinetuneSpec, *, id: str, tenant: str, traceparent: str | None, now: float
) -> NewFinetune:
    """The row of an accepted request."""
    return NewFinetune(
        id=id,
        tenant=tenant,
        name=spec.name,
        model=spec.model,
        base_digest=spec.base_digest,
        spec=spec.model_dump_json(),
        webhook_url=request.webhook.url if request.webhook and request.webhook.events else None,
        metadata=json.dumps(request.metadata),
        traceparent=traceparent,
        created_at=now,
    )
