"""What can go wrong in this room, and who can do something about it.

    ModelError
    ├── ModelUnusable            the operator: the folder or the installation is wrong
    │   ├── ModelNotFound        no aquatint.json there
    │   ├── ModelCorrupt         a file is missing, altered or unreadable
    │   ├── PrecisionMissing     the card lists no such file
    │   └── RuntimeMissing       an extra is not installed
    ├── InvalidShot              the customer: this image cannot be asked of this model
    │   ├── UnsupportedSize
    │   ├── StepsOutOfRange
    │   ├── GuidanceOutOfRange
    │   ├── SeedOutOfRange
    │   └── PromptTooLong
    └── RenderError              nobody yet: the render itself
        ├── RenderCancelled      somebody asked for it
        ├── RenderFailed         the runtime raised; another try or another worker may do
        └── NonFiniteImage       NaN or infinity came out; the same seed will give it again

`retryable` says whether the same shot may succeed when it is tried again.
"""

from typing import ClassVar


class ModelError(Exception):
    """Root of this room's errors; the message is one plain sentence."""

    retryable: ClassVar[bool] = False


class ModelUnusable(ModelError):
    """The model cannot be opened as it is."""


class ModelNotFound(ModelUnusable):
    """There is no model at this place."""


class ModelCorrupt(ModelUnusable):
    """A file of the model is missing, altered or unreadable; `file` names it."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(f"{file}: {reason}")
        self.file = file


class PrecisionMissing(ModelUnusable):
    """The model has no file for the precision asked for."""


class RuntimeMissing(ModelUnusable):
    """The package that runs this kind of file is not installed."""


class InvalidShot(ModelError):
    """The model cannot make the image asked for; `field`, `limit` and `value` say why."""

    def __init__(self, field: str, limit: str, value: object) -> None:
        super().__init__(f"{field} must be {limit}, not {value!r}")
        self.field = field
        self.limit = limit
        self.value = value


class UnsupportedSize(InvalidShot):
    """The model was not made for this width and height."""


class StepsOutOfRange(InvalidShot):
    """Fewer or more denoising steps than the card allows."""


class GuidanceOutOfRange(InvalidShot):
    """Guidance below one or above what the card allows."""


class SeedOutOfRange(InvalidShot):
    """The seed is not an unsigned 64-bit number."""


class PromptTooLong(InvalidShot):
    """The prompt has more tokens than the text encoder was trained on."""


class RenderError(ModelError):
    """An image that could be asked for did not come out."""


class RenderCancelled(RenderError):
    """The caller asked to stop before this image was finished."""

    retryable = True


class RenderFailed(RenderError):
    """The runtime raised while this image was made."""

    retryable = True


class NonFiniteImage(RenderError):
    """The model gave NaN or infinity."""
