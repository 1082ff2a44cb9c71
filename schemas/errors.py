"""Every error a caller or an operator can meet, with who has to act.

AquatintError
├── BadInput                 the caller must change the request
│   ├── MalformedJson
│   ├── UnknownField
│   ├── MissingField
│   ├── WrongType
│   ├── OutOfRange
│   ├── Unsupported
│   ├── BadManifest
│   ├── BadImage
│   │   ├── ImageUnsupported
│   │   ├── ImageTooLarge
│   │   ├── ImageAnimated
│   │   ├── ImageDamaged
│   │   └── ImageTooCostly
│   ├── InputMissing
│   ├── InputRefused
│   ├── QuotaReached
│   ├── PromptRefused
│   ├── AddressRefused
│   ├── AddressUnreachable
│   ├── IdempotencyConflict
│   ├── BodyTooLarge
│   ├── WrongMediaType
│   ├── MethodNotAllowed
│   ├── TenantErased
│   ├── LegalHold
│   ├── ReviewConflict
│   └── Forbidden
│       └── TenantSuspended
├── NotFound                 what was named does not exist
│   └── ObjectMissing
├── Unauthorised             no valid token
│   └── SignatureRefused
├── Temporary                the same call may work later
│   ├── StoreUnavailable
│   ├── QueueUnavailable
│   │   └── QueueMissing
│   ├── LedgerBusy
│   ├── TenantThrottled
│   ├── DecoderBusy
│   ├── SigningUnavailable
│   └── StillRunning
└── OperatorError            only whoever runs this installation can repair it
    ├── BadSettings
    ├── StoreDenied
    ├── StoreFull
    ├── StoreUnfit
    ├── SigningRefused
    ├── NotAllowed
    ├── ScreenMissing
    │   └── PolicyWithdrawn
    ├── DecoderUnavailable
    ├── SealBroken
    └── KeyMissing
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

Actor = Literal["caller", "retry", "operator"]


class AquatintError(Exception):
    """Something went wrong."""

    #: Stable machine-readable name; never changes once published.
    code: ClassVar[str] = "error"
    #: Who can do something about it. The worker decides from this alone, never from the text.
    actor: ClassVar[Actor] = "operator"
    #: HTTP status of the RFC 9457 problem.
    status: ClassVar[int] = 500

    def __init__(
        self,
        detail: str | None = None,
        *,
        field: str | None = None,
        limit: Any = None,
        row: int | None = None,
    ) -> None:
        self.detail = detail or (type(self).__doc__ or "").strip().splitlines()[0]
        self.field, self.limit, self.row = field, limit, row
        super().__init__(self.detail)

    @property
    def retryable(self) -> bool:
        return self.actor == "retry"

    def __str__(self) -> str:
        place = [f"row {self.row}"] if self.row is not None else []
        place += [self.field] if self.field else []
        return f"{', '.join(place)}: {self.detail}" if place else self.detail


class BadInput(AquatintError):
    """The request cannot be accepted as it is."""

    code, actor, status = "bad_input", "caller", 400


class MalformedJson(BadInput):
    """The body is not valid JSON."""

    code = "malformed_json"


class UnknownField(BadInput):
    """The request has a field that does not exist."""

    code, status = "unknown_field", 422


class MissingField(BadInput):
    """A required field is missing."""

    code, status = "missing_field", 422


class WrongType(BadInput):
    """A field has the wrong type."""

    code, status = "wrong_type", 422


class OutOfRange(BadInput):
    """A value lies outside its limits."""

    code, status = "out_of_range", 422


class Unsupported(BadInput):
    """What was asked for is valid but cannot be done here."""

    code, status = "unsupported", 422


class BadManifest(BadInput):
    """The manifest cannot be read."""

    code, status = "bad_manifest", 422


class BadImage(BadInput):
    """The picture cannot be used."""

    code, status = "bad_image", 422


class ImageUnsupported(BadImage):
    """It is not a picture of a kind that is read here."""

    code = "image_unsupported"


class ImageTooLarge(BadImage):
    """The picture, or something inside it, is too large, too small or too long."""

    code = "image_too_large"


class ImageAnimated(BadImage):
    """The file holds several pictures."""

    code = "image_animated"


class ImageDamaged(BadImage):
    """The file is damaged and cannot be decoded."""

    code = "image_damaged"


class ImageTooCostly(BadImage):
    """Decoding the picture takes more time or memory than any honest one does."""

    code = "image_too_costly"


class InputMissing(BadInput):
    """A picture or adapter that the request names is not there."""

    code, status = "input_missing", 422


class InputRefused(BadInput):
    """The picture is not allowed by the policy."""

    code, status = "input_refused", 422


class QuotaReached(BadInput):
    """The tenant keeps as much here as it may."""

    code, status = "quota_reached", 429


class PromptRefused(BadInput):
    """The prompt is not allowed by the policy."""

    code, status = "prompt_refused", 422

    def __init__(
        self,
        detail: str | None = None,
        *,
        field: str | None = None,
        limit: Any = None,
        row: int | None = None,
        reasons: tuple[str, ...] = (),
    ) -> None:
        super().__init__(detail, field=field, limit=limit, row=row)
        #: Stable codes, for the audit log.
        self.reasons = reasons


class AddressRefused(BadInput):
    """The address is not one that may be called."""

    code, status = "address_refused", 422


class AddressUnreachable(BadInput):
    """The address of a picture did not answer."""

    code, status = "address_unreachable", 422


class IdempotencyConflict(BadInput):
    """The idempotency key was used before with another request."""

    code, status = "idempotency_conflict", 422


class BodyTooLarge(BadInput):
    """The body of the request is too large."""

    code, status = "body_too_large", 413


class WrongMediaType(BadInput):
    """The content type is not one that is read here."""

    code, status = "wrong_media_type", 415


class MethodNotAllowed(BadInput):
    """This address does not take that method."""

    code, status = "method_not_allowed", 405


class TenantErased(BadInput):
    """Everything of this tenant was erased, and its key with it."""

    code, status = "tenant_erased", 410


class LegalHold(BadInput):
    """It may not be erased: a legal hold lies on it."""

    code, status = "legal_hold", 409


class ReviewConflict(BadInput):
    """The review is in other hands, or decided."""

    code, status = "review_conflict", 409


class Forbidden(BadInput):
    """This caller may not do that."""

    code, status = "forbidden", 403


class TenantSuspended(Forbidden):
    """This tenant is suspended; only the operator of this installation can lift that."""

    code = "tenant_suspended"


class NotFound(AquatintError):
    """There is no such thing."""

    code, actor, status = "not_found", "caller", 404


class ObjectMissing(NotFound):
    """The object does not exist in the store."""

    code = "object_missing"


class Unauthorised(AquatintError):
    """The request carries no valid token."""

    code, actor, status = "unauthorised", "caller", 401


class SignatureRefused(Unauthorised):
    """The message is not signed by a key that is trusted here, or not now."""

    code = "signature_refused"


class Temporary(AquatintError):
    """It did not work this time."""

    code, actor, status = "temporary", "retry", 503
    #: When it may be worth another try.
    retry_after_seconds: float = 2.0


class StoreUnavailable(Temporary):
    """The object store cannot be reached."""

    code = "store_unavailable"


class QueueUnavailable(Temporary):
    """The broker cannot be reached."""

    code = "queue_unavailable"


class QueueMissing(QueueUnavailable):
    """The queue does not exist, for example because its worker is gone."""

    code = "queue_missing"


class LedgerBusy(Temporary):
    """The ledger is busy."""

    code = "ledger_busy"


class DecoderBusy(Temporary):
    """All decoders of pictures are busy."""

    code = "decoder_busy"


class SigningUnavailable(Temporary):
    """The picture could not be signed this time."""

    code = "signing_unavailable"


class TenantThrottled(Temporary):
    """Too much of what this tenant asked for was refused: it may ask less often for a while."""

    code, status = "tenant_throttled", 429

    def __init__(self, detail: str | None = None, *, retry_after_seconds: float = 60.0) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class StillRunning(Temporary):
    """A request with this idempotency key is still being answered."""

    code, status = "still_running", 409


class OperatorError(AquatintError):
    """This installation needs its operator."""

    code = "operator"


class BadSettings(OperatorError):
    """A setting is wrong."""

    code = "bad_settings"


class StoreDenied(OperatorError):
    """The object store refuses permission."""

    code = "store_denied"


class StoreFull(OperatorError):
    """There is no space left in the store."""

    code, status = "store_full", 507


class StoreUnfit(OperatorError):
    """The object store lacks something that is needed."""

    code = "store_unfit"


class SigningRefused(OperatorError):
    """The picture cannot be signed with this certificate."""

    code = "signing_refused"


class NotAllowed(OperatorError):
    """A picture came without a valid permission to be stored."""

    code = "not_allowed"


class ScreenMissing(OperatorError):
    """A screen that the policy requires is not ready."""

    code = "screen_missing"


class PolicyWithdrawn(ScreenMissing):
    """The policy that the image was planned under is not installed any more."""

    code = "policy_withdrawn"


class DecoderUnavailable(OperatorError):
    """The process that decodes pictures cannot be started."""

    code = "decoder_unavailable"


class SealBroken(OperatorError):
    """A sealed text cannot be opened: another key, or it was changed."""

    code = "seal_broken"


class KeyMissing(OperatorError):
    """What is sealed here needs a secret that was not given."""

    code = "key_missing"
