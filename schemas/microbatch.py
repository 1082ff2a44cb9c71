"""The unit on the queue: compatible images that one worker renders in one go."""

from __future__ import annotations

from pydantic import Field

from schemas.base import Frozen
from schemas.description import Description
from schemas.fairness import Variation
from schemas.render_spec import RenderSpec
from schemas.verdict import Verdict


class ImageTask(Frozen):
    """One image of a microbatch: what to draw, and what to write beside it."""

    image: str
    tenant: str
    job: str
    digest: str
    spec: RenderSpec
    alt: str = ""
    lang: str = "en"
    #: In every language that was asked for; the first is `alt` and `lang`.
    descriptions: tuple[Description, ...] = ()
    #: What was added to the prompt of `spec`, if anything.
    fairness: Variation | None = None
    #: Key of the customer's additional copy.
    copy_key: str | None = None
    #: What earlier stages said, coarse: the prompt's, then one for each picture that was brought.
    verdicts: tuple[Verdict, ...] = ()
    traceparent: str | None = None


class Microbatch(Frozen):
    """Images with one batch key, released to one worker."""

    id: str
    worker: str
    batch_key: str
    #: Unix seconds; a worker that receives it later returns it unrendered, because the releaser has put it back.
    good_until: float
    images: tuple[ImageTask, ...] = Field(min_length=1)
