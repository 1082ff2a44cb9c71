"""Fine-tuning as an event: what is asked for, what a trainer is sent, what it reports, and how it ends."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Frozen
from schemas.input_reference import MAX_REFERENCE_CHARS, InputReference, Reference, checked_object
from schemas.render_spec import Sha256
from schemas.request import MAX_SEED, Text

MIN_IMAGES, MAX_IMAGES = 4, 2000
MAX_RANK, DEFAULT_RANK = 64, 8
MAX_STEPS = 20_000
MAX_MINUTES = 240.0
#: Of one picture, and of all pictures of a fine-tune.
MAX_IMAGE_BYTES, MAX_TOTAL_BYTES = 20_000_000, 2_000_000_000
#: Of all references of a request: they travel in one message, and some brokers take no more than 256 KiB.
MAX_REFERENCE_BYTES = 128_000
MAX_CAPTION_CHARS = 500
#: Where other tenants' uploads lie, as far as a tenant's store shows them at all.
TENANTS = "tenants/"
#: What a picture in a folder of uploads is called.
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
#: What a file of captions is called.
CAPTION_LISTS = ("captions.csv", "captions.jsonl")
#: Of the file that lists the captions.
MAX_LISTING_BYTES = 4_000_000

#: What an adapter may be called.
ADAPTER_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
#: Stands for the trigger word in a caption.
TRIGGER_SLOT = "{trigger}"

#: Up to four words.
_TRIGGER = r"^([^\W_][\w'-]*( [\w'-]+){0,3})?$"


class FinetuneState(StrEnum):
    """Where a fine-tune stands, as its customer sees it."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"


class FinetuneStage(StrEnum):
    """What a trainer is doing, or was doing when it failed."""

    FETCH = "fetch"
    CURATE = "curate"
    TRAIN = "train"
    EVALUATE = "evaluate"
    STORE = "store"


def is_picture(key: str) -> bool:
    """Whether an object of a folder of uploads counts as a picture, by its name; another tenant's never does."""
    return key.lower().endswith(PICTURE_SUFFIXES) and not key.startswith(TENANTS)


def is_caption_list(key: str) -> bool:
    """Whether an upload lists captions, by its name: it belongs to the pictures beside it, and is no product list."""
    return key.rpartition("/")[2].lower() in CAPTION_LISTS


def _image(text: str) -> str:
    """One picture, or a whole folder of uploads by its prefix."""
    if not text.endswith("/"):
        return checked_object(text)
    # With a name below it, so that the folder of another tenant is refused as its objects are.
    if InputReference.parse(f"{text}x").place != "uploads":
        raise ValueError("a folder of pictures is uploads/PREFIX/")
    return text


def _images(references: tuple[str, ...]) -> tuple[str, ...]:
    if any(one.endswith("/") for one in references):
        if len(references) > 1:
            raise ValueError("name one folder, or a list of single pictures")
        return references
    if not MIN_IMAGES <= len(references) <= MAX_IMAGES:
        raise _out_of_range(f"{MIN_IMAGES} to {MAX_IMAGES} pictures", [MIN_IMAGES, MAX_IMAGES])
    if len(set(references)) < len(references):
        raise ValueError("a picture is named once")
    if sum(len(one.encode()) for one in references) > MAX_REFERENCE_BYTES:
        raise _out_of_range("the list is too long: name a folder, uploads/PREFIX/", MAX_REFERENCE_BYTES)
    return references


def _out_of_range(sentence: str, limit: Any) -> PydanticCustomError:
    return PydanticCustomError("too_far", "{sentence}", {"sentence": sentence, "limit": limit})


def _listing(text: str) -> str:
    reference = InputReference.parse(text)
    if reference.place != "uploads" or not is_caption_list(reference.key):
        raise ValueError(f"captions are an upload called {' or '.join(CAPTION_LISTS)}")
    return text


def _caption(text: str) -> str:
    if set(text) & {"{", "}"} and TRIGGER_SLOT not in text:
        raise ValueError(f"the only slot of a caption is {TRIGGER_SLOT}")
    return text


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Images = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=MAX_REFERENCE_CHARS), AfterValidator(_image)], ...],
    BeforeValidator(_as_list),
    AfterValidator(_images),
]
Listing = Annotated[Reference, AfterValidator(_listing)]
Caption = Annotated[Text, Field(min_length=1, max_length=MAX_CAPTION_CHARS), AfterValidator(_caption)]
Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]
Name = Annotated[str, Field(pattern=ADAPTER_NAME)]


class FinetuneWebhook(Frozen):
    """Where to report the end to."""

    url: str = Field(min_length=1, max_length=2048)
    events: tuple[Literal["finetune.completed"], ...] = ("finetune.completed",)


class FinetuneRequest(Frozen):
    """Learn the look of a few pictures, as an adapter that requests may name from then on."""

    #: Of the adapter; a name that is taken points to the new one once it is there.
    name: Name
    #: One folder of uploads with its slash, or a list of pictures as requests name them.
    images: Images
    #: uploads/.../captions.csv or captions.jsonl, with the columns `image` (file name) and `caption`; else a .txt beside each picture.
    captions: Listing | None = None
    #: For pictures that have none.
    caption: Caption = TRIGGER_SLOT
    #: The words that call the look up; "NAME style" unless given. Empty: it shows whenever the adapter is named.
    trigger: str | None = Field(None, max_length=64, pattern=_TRIGGER)
    model: Name | None = None
    rank: int = Field(DEFAULT_RANK, ge=1, le=MAX_RANK)
    #: At most one of the two: how many steps, or how long the training itself may take.
    steps: int | None = Field(None, ge=1, le=MAX_STEPS)
    minutes: float | None = Field(None, gt=0, le=MAX_MINUTES)
    seed: int | None = Field(None, ge=0, le=MAX_SEED)
    webhook: FinetuneWebhook | None = None
    metadata: Metadata = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_budget(self) -> FinetuneRequest:
        if self.steps is not None and self.minutes is not None:
            raise PydanticCustomError(
                "too_many_budgets", "give steps or minutes, not both", {"field": "minutes", "limit": 1}
            )
        return self


class FinetuneSpec(Frozen):
    """All that a trainer needs to know; no address and nothing of the customer's bookkeeping."""

    version: Literal[1] = 1
    name: Name
    images: Images
    captions: Listing | None = None
    caption: Caption
    trigger: str
    model: Name
    #: Digest of the weights that the adapter will fit (`ModelOffer.base_digest`).
    base_digest: Sha256
    rank: int
    steps: int | None
    minutes: float | None
    seed: int


class FinetuneTask(Frozen):
    """One fine-tune, released to one trainer."""

    kind: Literal["train"] = "train"
    finetune: str
    #: Names this release: what is reported about another one is stale.
    run: str
    trainer: str
    tenant: str
    #: Unix seconds; a trainer that receives it later leaves it, because it has been planned again.
    good_until: float
    spec: FinetuneSpec
    traceparent: str | None = None


class FinetuneStop(Frozen):
    """This run does not count any more: leave it at the next step."""

    kind: Literal["stop"] = "stop"
    run: str
    trainer: str


TrainerMessage = Annotated[FinetuneTask | FinetuneStop, Field(discriminator="kind")]


class Progress(Frozen):
    """How far a run is."""

    stage: FinetuneStage
    #: Of the training, while it trains.
    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    seconds_left: float | None = None


class FinetuneProblem(Frozen):
    """Why a fine-tune failed, in the terms of `schemas.errors`."""

    stage: FinetuneStage
    code: str
    detail: str
    field: str | None = None
    limit: Any = None
    retryable: bool = False


class ImageCounts(Frozen):
    """What became of the pictures: every one that was seen is kept or dropped for a reason."""

    seen: int = 0
    kept: int = 0
    dropped: dict[str, int] = Field(default_factory=dict)


class Trained(Frozen):
    """The adapter lies in the tenant's store, under its digest."""

    type: Literal["io.aquatint.finetune.trained"] = "io.aquatint.finetune.trained"
    adapter: Sha256
    scores_before: dict[str, float] = Field(default_factory=dict)
    scores_after: dict[str, float] = Field(default_factory=dict)
    images: ImageCounts = ImageCounts()
    #: Of the training, and of the whole.
    steps: int
    seconds: float


class TrainingFailed(Frozen):
    type: Literal["io.aquatint.finetune.failed"] = "io.aquatint.finetune.failed"
    problem: FinetuneProblem
    images: ImageCounts = ImageCounts()


class TrainingReturned(Frozen):
    """Not finished, and not at fault: plan it again, without counting an attempt."""

    type: Literal["io.aquatint.finetune.returned"] = "io.aquatint.finetune.returned"
    reason: Literal["stale", "busy", "shutdown", "stopped"]


TrainingOutcome = Annotated[Trained | TrainingFailed | TrainingReturned, Field(discriminator="type")]


class TrainerBeat(Frozen):
    """Every few seconds: this trainer lives, and this is in its hands."""

    kind: Literal["trainer_heartbeat"] = "trainer_heartbeat"
    trainer: str
    #: The queue it consumes.
    queue: str
    at: float
    #: Model names with digests that it can fine-tune.
    models: dict[str, str] = Field(default_factory=dict)
    #: False once it is shutting down.
    accepting: bool = True
    run: str | None = None
    progress: Progress | None = None


class TrainingStarted(Frozen):
    """Confirmed before anything is fetched: a death after this counts as an attempt."""

    kind: Literal["training_started"] = "training_started"
    trainer: str
    finetune: str
    run: str
    at: float


class TrainingEnded(Frozen):
    """Sent with confirmation before the message is acknowledged."""

    kind: Literal["training_ended"] = "training_ended"
    trainer: str
    finetune: str
    run: str
    at: float
    outcome: TrainingOutcome


class AdapterSummary(Frozen):
    """An adapter as its customer sees it."""

    name: str
    digest: str
    model: str
    base_digest: str
    rank: int
    trigger: str = ""
    scores: dict[str, Any] = Field(default_factory=dict)
    finetune: str | None = None


class FinetuneSummary(Frozen):
    """A fine-tune as its customer sees it."""

    finetune: str
    name: str
    state: FinetuneState
    model: str
    trigger: str
    adapter: AdapterSummary | None = None
    images: ImageCounts | None = None
    problem: FinetuneProblem | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    #: Its words were dropped, its trigger among them.
    erased: bool = False
