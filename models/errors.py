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
    │   ├── PromptTooLong
    │   ├── FeatureMissing       the model does not do this at all
    │   ├── WrongPictureSize     image, mask or control of another size than the shot
    │   ├── BadMask              nothing to repaint, or a mask without an image
    │   ├── StrengthOutOfRange
    │   ├── ControlOutOfRange
    │   └── AdapterRefused       too many, too strong, too large together, or made for another model
    ├── AdapterUnusable          whoever made the adapter: its files are wrong
    │   ├── AdapterNotFound
    │   ├── AdapterCorrupt       unreadable, altered, of wrong shapes, not finite
    │   └── AdapterMismatch      made for another base model
    ├── CurationError            whoever curates
    │   ├── CurationUnusable     source, destination or options are wrong
    │   └── CurationCancelled    somebody asked for it; the same call goes on where it stopped
    ├── FinetuneError            whoever fine-tunes
    │   ├── FinetuneRefused      pictures, captions or options are wrong, or the model takes no adapters
    │   ├── FinetuneDiverged     the loss is no longer a number: a smaller learning rate may do
    │   └── FinetuneCancelled    somebody asked for it
    ├── EvaluationError          whoever evaluates
    │   ├── InvalidSetting       a setting to compare with that is none
    │   └── TooFewSamples        fewer pictures than features: the figure would mean nothing
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


class CurationError(ModelError):
    """A data set was not curated to its end."""


class CurationUnusable(CurationError):
    """Source, destination or options of a curation are wrong."""


class CurationCancelled(CurationError):
    """The caller asked to stop; what is done stays done."""

    retryable = True


class FeatureMissing(InvalidShot):
    """The model's card does not list the feature."""


class WrongPictureSize(InvalidShot):
    """A picture that came with the shot is not uint8 of the shot's own height and width."""


class BadMask(InvalidShot):
    """The mask marks nothing to repaint, or there is no image to keep the rest of."""


class StrengthOutOfRange(InvalidShot):
    """The strength is not above 0 and at most 1, or there is no image it could apply to."""


class ControlOutOfRange(InvalidShot):
    """The weight of the control is not a number of the allowed range."""


class AdapterRefused(InvalidShot):
    """These adapters cannot be used together with this model or with these weights."""


class AdapterUnusable(ModelError):
    """The adapter cannot be opened as it is; `file` names what is wrong."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(f"{file}: {reason}")
        self.file = file


class AdapterNotFound(AdapterUnusable):
    """A file of the adapter is not there."""


class AdapterCorrupt(AdapterUnusable):
    """A file of the adapter is unreadable, altered, of wrong shapes or not finite."""


class AdapterMismatch(AdapterUnusable):
    """The adapter was made for another base model."""


class FinetuneError(ModelError):
    """A fine-tune did not come to an adapter."""


class FinetuneRefused(FinetuneError):
    """A fine-tune cannot be started as it was asked for; `field`, `limit` and `value` say why."""

    def __init__(self, field: str, limit: str, value: object) -> None:
        super().__init__(f"{field} must be {limit}, not {value!r}")
        self.field = field
        self.limit = limit
        self.value = value


class FinetuneDiverged(FinetuneError):
    """The loss became NaN or infinity."""


class FinetuneCancelled(FinetuneError):
    """The caller asked to stop; nothing was written."""

    retryable = True


class EvaluationError(ModelError):
    """What was asked for cannot be measured."""


class InvalidSetting(EvaluationError):
    """A text names no setting; `field`, `limit` and `value` say why."""

    def __init__(self, field: str, limit: str, value: object) -> None:
        super().__init__(f"{field} must be {limit}, not {value!r}")
        self.field = field
        self.limit = limit
        self.value = value


class TooFewSamples(EvaluationError):
    """There are fewer pictures than features, so that a covariance would be singular and the figure meaningless."""


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
