"""Progress tells the truth about counts and never invents a time."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from deploy.progress import Progress, Rate, Standing, line


def standing(stored: int, total: int = 100) -> Standing:
    return Standing(
        total=total,
        queued=total - stored - 2,
        rendering=2,
        stored=stored,
        blocked=0,
        failed=0,
        delivered=1,
        owed=4,
    )


@given(st.lists(st.tuples(st.floats(0.01, 5), st.integers(0, 20)), min_size=2, max_size=30))
def test_the_rate_is_what_happened_in_the_window(steps: list[tuple[float, int]]) -> None:
    """Images/s is the growth over the window divided by its length, never negative."""
    rate, now, done, fastest = Rate(), 0.0, 0, 0.0
    rate.add(now, done)
    for seconds, images in steps:
        now, done = now + seconds, done + images
        fastest = max(fastest, images / seconds)
        rate.add(now, done)

    assert 0 <= rate.per_second <= fastest + 1e-9


def test_no_rate_no_promise() -> None:
    """Before anything has ended there is no time left to tell."""
    rate = Rate()
    rate.add(0, 0)
    rate.add(1, 0)

    assert None is rate.seconds_left(10)
    assert "left" not in line(standing(0), rate)


def test_lines_without_a_terminal_are_rare_and_complete() -> None:
    """A pipe gets plain lines, not a redrawn table, at most one every two seconds."""
    now, sink = [0.0], io.StringIO()
    with Progress(Console(file=sink), clock=lambda: now[0]) as progress:
        for second in range(6):
            now[0] = float(second)
            progress.show(standing(second * 10))
    lines = sink.getvalue().splitlines()

    assert 3 == len(lines)
    assert lines[-1].startswith(
        "queued 58, rendering 2, stored 40/100, blocked 0, failed 0, delivered 1/4, 10.0 images/s, about 6 s left"
    )
