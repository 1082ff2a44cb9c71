"""Live progress of a run: what stands where, how fast, how long still."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

#: Images/s is taken over this window, so that a slow start does not spoil the estimate.
RATE_WINDOW_SECONDS = 8.0
#: Without a terminal one line is printed this often.
LINE_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Counts at one moment."""

    total: int
    queued: int
    rendering: int
    stored: int
    blocked: int
    failed: int
    delivered: int
    owed: int
    #: Waiting for a reviewer.
    held: int = 0

    @property
    def ended(self) -> int:
        return self.stored + self.blocked + self.failed


class Rate:
    """Images per second over a sliding window."""

    def __init__(self, window_seconds: float = RATE_WINDOW_SECONDS) -> None:
        self._window = window_seconds
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, now: float, ended: int) -> None:
        self._seen.append((now, ended))
        while len(self._seen) > 2 and now - self._seen[0][0] > self._window:
            self._seen.popleft()

    @property
    def per_second(self) -> float:
        if len(self._seen) < 2:
            return 0.0
        (start, before), (end, after) = self._seen[0], self._seen[-1]
        return (after - before) / (end - start) if end > start else 0.0

    def seconds_left(self, remaining: int) -> float | None:
        """None while nothing can be said."""
        return remaining / self.per_second if self.per_second > 0 else None


class Progress:
    """Shows standings: a table that updates in place on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._rate = Rate()
        self._live = Live(console=self._console, refresh_per_second=8, transient=True) if self._console.is_terminal else None
        self._last_line = float("-inf")

    def __enter__(self) -> Progress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, standing: Standing) -> None:
        now = self._clock()
        self._rate.add(now, standing.ended)
        if self._live is not None:
            self._live.update(self._table(standing))
        elif now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            self._console.print(line(standing, self._rate), highlight=False, soft_wrap=True)

    def _table(self, standing: Standing) -> Table:
        table = Table.grid(padding=(0, 3))
        table.add_row(*(f"[bold]{value}[/] {name}" for name, value in _columns(standing)))
        bar = Table.grid(padding=(0, 2))
        bar.add_row(ProgressBar(total=max(1, standing.total), completed=standing.ended, width=48), _speed(standing, self._rate))
        whole = Table.grid()
        whole.add_row(table)
        whole.add_row(bar)
        return whole


def _columns(standing: Standing) -> list[tuple[str, str]]:
    return [
        ("queued", str(standing.queued)),
        ("rendering", str(standing.rendering)),
        ("stored", f"{standing.stored}/{standing.total}"),
        ("blocked", str(standing.blocked)),
        ("failed", str(standing.failed)),
        *([("held", str(standing.held))] if standing.held else []),
        ("delivered", f"{standing.delivered}/{standing.owed}"),
    ]


def _speed(standing: Standing, rate: Rate) -> str:
    left = rate.seconds_left(standing.total - standing.ended)
    return f"{rate.per_second:.1f} images/s" + (f", about {left:.0f} s left" if left is not None else "")


def line(standing: Standing, rate: Rate) -> str:
    """The standing as one plain line."""
    return ", ".join(f"{name} {value}" for name, value in _columns(standing)) + f", {_speed(standing, rate)}"
