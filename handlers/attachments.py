"""What a request brings besides words: pictures and adapters, checked against the model and named by their digests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from schemas.errors import BadInput, InputMissing, OutOfRange, ScreenMissing, Unsupported
from schemas.input_image import InputImage, JudgedInput
from schemas.model_offer import ModelOffer
from schemas.render_spec import UsedAdapter, UsedControl
from schemas.request import Control, GenerationRequest
from schemas.verdict import Verdict
from storage.ledger.adapters import AdapterRow

#: How far from its image a result may go when nobody says; inside a mask, as far as it likes.
DEFAULT_STRENGTH = 0.8
MASKED_STRENGTH = 1.0
#: A mask may be of another size than its image, but not of another shape.
_SAME_SHAPE = 0.02
#: Grey level from which a pixel of a mask asks to be painted.
_LIGHT = 128

#: A tenant's picture by reference, kept and judged under the policy of that digest.
ResolveInput = Callable[[str, str, str], JudgedInput]
FindAdapter = Callable[[str, str], AdapterRow | None]


@dataclass(frozen=True, kw_only=True)
class Attachments:
    """What a request brought: fields of its render specs, and what the screens said about its pictures."""

    image: str | None = None
    mask: str | None = None
    strength: float | None = None
    control: tuple[UsedControl, ...] = ()
    adapters: tuple[UsedAdapter, ...] = ()
    #: One of stage upload for each different picture.
    verdicts: tuple[Verdict, ...] = ()

    @property
    def spec_fields(self) -> dict[str, Any]:
        """By the names of `RenderSpec`."""
        return {name: value for name, value in vars(self).items() if name != "verdicts"}

    @property
    def pictures(self) -> frozenset[str]:
        """The digests of all pictures that the images need."""
        single = (one for one in (self.image, self.mask) if one is not None)
        return frozenset((*single, *(one.image for one in self.control)))


def check_features(request: GenerationRequest, offer: ModelOffer) -> None:
    """Unsupported or OutOfRange for what the model cannot do, naming the field and what it can; reads nothing."""
    if request.image is not None and request.mask is None:
        _require(offer, "image_to_image", "image", "does not start from pictures")
    if request.mask is not None:
        _require(offer, "inpainting", "mask", "does not paint into pictures")
    kinds = [feature.removeprefix("control:") for feature in offer.features if feature.startswith("control:")]
    for place, control in enumerate(request.control):
        if control.kind not in kinds:
            detail = f"model {offer.name} does not follow {control.kind}"
            raise Unsupported(detail, field=f"control.{place}.kind", limit=kinds)
    if len(request.control) > offer.max_controls:
        detail = f"{len(request.control)} controls at once for model {offer.name}"
        raise OutOfRange(detail, field="control", limit=offer.max_controls)
    if request.adapters:
        _require(offer, "adapters", "adapters", "takes no adapters")
    if len(request.adapters) > offer.max_adapters:
        detail = f"{len(request.adapters)} adapters for model {offer.name}"
        raise OutOfRange(detail, field="adapters", limit=offer.max_adapters)


def _require(offer: ModelOffer, feature: str, field: str, words: str) -> None:
    if feature not in offer.features:
        raise Unsupported(f"model {offer.name} {words}", field=field, limit=list(offer.features))


def attach(
    request: GenerationRequest,
    tenant: str,
    offer: ModelOffer,
    *,
    policy_digest: str,
    resolve_input: ResolveInput,
    find_adapter: FindAdapter,
) -> Attachments:
    """Look up what a request names, for its tenant alone; errors carry the field of the request.

    Raises BadInput for what the caller can repair, and the stores' and the ledger's own errors.
    """

    judged: dict[str, Verdict] = {}

    def resolved(field: str, reference: str) -> InputImage:
        try:
            found = resolve_input(tenant, reference, policy_digest)
        except (BadInput, ScreenMissing) as error:
            raise type(error)(error.detail, field=field, limit=error.limit) from None
        if found.verdict is not None:
            judged[found.sha256] = found.verdict
        return found

    def used(place: int, control: Control) -> UsedControl:
        lines = resolved(f"control.{place}.image", control.image)
        return UsedControl(kind=control.kind, image=lines.sha256, weight=control.weight)

    image = None if request.image is None else resolved("image", request.image)
    mask = None if request.mask is None else resolved("mask", request.mask)
    if image is not None and mask is not None:
        _check_mask(mask, image)
    control = tuple(used(place, one) for place, one in enumerate(request.control))
    return Attachments(
        image=image.sha256 if image else None,
        mask=mask.sha256 if mask else None,
        strength=_strength(request),
        control=control,
        adapters=_used_adapters(request, tenant, offer, find_adapter),
        verdicts=tuple(judged.values()),
    )


def _check_mask(mask: InputImage, image: InputImage) -> None:
    shape = f"{mask.width}x{mask.height} over an image of {image.width}x{image.height}"
    wide, high = mask.width * image.height, mask.height * image.width
    if abs(wide - high) > _SAME_SHAPE * max(wide, high):
        raise OutOfRange(f"the mask has another shape: {shape}", field="mask", limit="the shape of the image")
    if mask.transparent:
        # White strokes on nothing and holes in a picture are both in use, and mean the opposite.
        raise Unsupported(
            "the mask has transparent parts", field="mask", limit="white is painted, black is kept"
        )
    if mask.lightest < _LIGHT:
        raise OutOfRange("the mask has no white part to paint in", field="mask", limit=_LIGHT)


def _strength(request: GenerationRequest) -> float | None:
    if request.image is None:
        return None
    if request.strength is not None:
        return request.strength
    return DEFAULT_STRENGTH if request.mask is None else MASKED_STRENGTH


def _used_adapters(
    request: GenerationRequest, tenant: str, offer: ModelOffer, find_adapter: FindAdapter
) -> tuple[UsedAdapter, ...]:
    rows = [
        _found(place, one.name, tenant, offer, find_adapter) for place, one in enumerate(request.adapters)
    ]
    ranks = sum(row.rank for row in rows)
    if ranks > offer.max_adapter_rank:
        raise OutOfRange(f"ranks of {ranks} altogether", field="adapters", limit=offer.max_adapter_rank)
    return tuple(
        UsedAdapter(name=asked.name, weight=asked.weight, digest=row.digest)
        for asked, row in zip(request.adapters, rows, strict=True)
    )


def _found(place: int, name: str, tenant: str, offer: ModelOffer, find_adapter: FindAdapter) -> AdapterRow:
    field, row = f"adapters.{place}.name", find_adapter(tenant, name)
    if row is None:
        raise InputMissing(f"there is no adapter {name!r}", field=field)
    if row.base_digest != offer.base_digest:
        detail = f"adapter {name!r} was trained on other weights, those of {row.model}@{row.base_digest[:12]}"
        raise Unsupported(detail, field=field, limit=f"{offer.name} {offer.base_digest[:12]}")
    return row
