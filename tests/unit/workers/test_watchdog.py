"""The watchdog bites a render that hangs, and only that."""

from __future__ import annotations

import threading
import time

from hypothesis import given
from hypothesis import strategies as st

from workers.watchdog import Watchdog


def test_render_without_progress_is_bitten() -> None:
    """A render that makes no step for its limit is ended."""
    bitten = threading.Event()
    watchdog = Watchdog(least_seconds=0.05, factor=1, bite=bitten.set)
    with watchdog.watching("mb_1", 0.01):
        assert bitten.wait(60)
    watchdog.close()


def test_slow_render_with_progress_is_left_alone() -> None:
    """A render may take many times its limit as long as it makes steps."""
    bitten = threading.Event()
    watchdog = Watchdog(least_seconds=5, factor=0, bite=bitten.set)
    with watchdog.watching("mb_1", 0.0):
        watchdog._limit = 0.5  # between two steps there are 10 ms
        for _ in range(100):
            watchdog.alive()
            time.sleep(0.01)
        assert not bitten.is_set()
    watchdog.close()


def test_nothing_is_watched_between_renders() -> None:
    """An idle worker lives as long as it likes."""
    bitten = threading.Event()
    watchdog = Watchdog(least_seconds=0.01, factor=0, unknown_seconds=3600, bite=bitten.set)
    with watchdog.watching("mb_1", None):
        pass
    assert not bitten.wait(0.2)
    watchdog.close()


@given(expected=st.floats(0, 1e6))
def test_limit_grows_with_the_expected_time(expected: float) -> None:
    """The limit is never under a minute, nor under twenty times what such a render takes."""
    assert Watchdog().limit_seconds(expected) == max(60.0, 20 * expected)
