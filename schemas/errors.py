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
│   ├── InputMissing
│   ├── PromptRefused
│   ├── AddressRefused
│   ├── IdempotencyConflict
│   ├── BodyTooLarge
│   ├── WrongMediaType
│   └── MethodNotAllowed
├── NotFound                 what was named does not exist
│   └── ObjectMissing
├── Unauthorised             no valid token
│   └── SignatureRefused
├── Temporary                the same call may work later
│   ├── StoreUnavailable
│   ├── QueueUnavailable
│   │   └── QueueMissing
│   ├── LedgerBusy
│   └── StillRunning
└── OperatorError            only whoever runs this installation can repair it
    ├── BadSettings
    ├── StoreDenied
    ├── StoreFull
    ├── StoreUnfit
    └── ScreenMissing
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


class InputMissing(BadInput):
    """A picture or adapter that the request names is not there."""

    code, status = "input_missing", 422


class PromptRefused(BadInput):
    """The prompt is not allowed by the policy."""

    code, status = "prompt_refused", 422


class AddressRefused(BadInput):
    """The address is not one that may be called."""

    code, status = "address_refused", 422


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


class ScreenMissing(OperatorError):
    """A screen that the policy requires is not ready."""

    code = "screen_missing"
