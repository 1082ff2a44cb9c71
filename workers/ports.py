"""What a worker needs from the rest of the world."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from models.adapters import Adapter
from schemas.microbatch import ImageTask
from schemas.outcome import Failure, Report
from schemas.receipt import RenderedWith
from schemas.render_spec import RenderSpec
from schemas.verdict import Verdict
from storage.broker.publisher import Outgoing, Publisher
from storage.objects.store import ObjectStore

#: (height, width, 3), RGB.
Pixels = npt.NDArray[np.uint8]

#: (height, width); 255 is painted anew, 0 kept.
Mask = npt.NDArray[np.uint8]

#: Called after each denoising step with (index of the image, steps done).
OnStep = Callable[[int, int], None]

#: Says for each picture whether it may leave: one verdict per spec, in their order.
OutputScreen = Callable[[Sequence[Pixels], Sequence[RenderSpec]], Sequence[Verdict]]

#: The results store of a tenant; two tenants never share a picture.
Stores = Callable[[str], ObjectStore]


@dataclass(frozen=True, kw_only=True)
class NotRendered:
    """The image was left alone and may be planned again."""

    reason: Literal["shutdown", "worker_fault"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Fetched:
    """What a spec names by digest, ready to use: pictures at the image's size, the rest in the spec's order."""

    image: Pixels | None = None
    mask: Mask | None = None
    control: tuple[Pixels, ...] = ()
    adapters: tuple[Adapter, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Work:
    """One image to be drawn, with all that it takes."""

    task: ImageTask
    fetched: Fetched = Fetched()


class Renderer(Protocol):
    """Draws pictures."""

    @property
    def models(self) -> Mapping[str, str]:
        """Names of the models it can render, with their digests."""

    @property
    def rendered_with(self) -> RenderedWith: ...

    def read_adapter(self, model: str, description: bytes, weights: bytes) -> Adapter:
        """An adapter of one of its models, from the bytes of its two files; raises AdapterUnusable."""

    def render(
        self, works: Sequence[Work], *, on_step: OnStep, cancelled: Callable[[], bool]
    ) -> Sequence[Pixels | Failure | NotRendered]:
        """One result for each work, in their order; asks `cancelled` between steps.

        An exception says nothing about the single image: the images are then tried one by one.
        """


#: All that an image takes beyond its spec.
Fetch = Callable[[ImageTask], Fetched]


class Reporter(Protocol):
    """Tells the handlers."""

    def report(self, report: Report) -> None:
        """Returns when the report is safe on its way; raises `QueueUnavailable`."""


class BrokerReporter:
    """Reports through the outcomes queue."""

    def __init__(self, publisher: Publisher, queue: str) -> None:
        self._publisher, self._queue = publisher, queue

    def report(self, report: Report) -> None:
        self._publisher.publish(Outgoing(queue=self._queue, body=report.model_dump_json()))
