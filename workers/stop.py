"""How a worker is told to stop, in two steps."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Stop:
    """`stopping`: start no further render. `hurry`: leave the one on the GPU at its next step."""

    stopping: threading.Event = field(default_factory=threading.Event)
    hurry: threading.Event = field(default_factory=threading.Event)
