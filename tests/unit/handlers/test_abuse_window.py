"""The arithmetic of refusals in a window."""

from __future__ import annotations

import tempfile

from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.standing import AbuseParams, standing_for
from storage.ledger import standing
from storage.ledger.engine import Ledger
from storage.ledger.standing import Tally

NOW = 1_000_000_020.0
PARAMS = AbuseParams()


@given(refused=st.integers(0, 500), asked=st.integers(0, 2000))
def test_more_refusals_never_help(refused: int, asked: int) -> None:
    """With the same number of things asked for, another refusal never makes a standing better."""
    order = ["good", "throttled", "suspended"]
    before = standing_for(Tally(tenant="t", refused=refused, asked=asked), PARAMS)
    after = standing_for(Tally(tenant="t", refused=refused + 1, asked=asked), PARAMS)

    assert order.index(after) >= order.index(before)


@given(asked=st.integers(0, 10_000), refused=st.integers(0, 10_000))
def test_few_requests_are_never_judged(asked: int, refused: int) -> None:
    """Below the least number of refusals nothing happens, at whatever rate; below the least rate neither."""
    few = standing_for(
        Tally(tenant="t", refused=min(refused, PARAMS.throttle_refusals - 1), asked=asked), PARAMS
    )
    rare = standing_for(Tally(tenant="t", refused=refused, asked=refused * 6 + 1), PARAMS)

    assert (few, rare) == ("good", "good")


@settings(max_examples=25)
@given(at=st.lists(st.floats(0, 2 * 3600), max_size=30), window=st.integers(1, 90))
def test_the_window_slides_by_the_minute(at: list[float], window: int) -> None:
    """A tally holds every refusal of the window, and none that is a minute older."""
    with tempfile.TemporaryDirectory() as folder, Ledger.open(f"sqlite:///{folder}/ledger.db") as ledger:
        ledger.migrate()
        with ledger.begin() as conn:
            for ago in at:
                standing.note(conn, "t", refused=1, unplanned=1, now=NOW - ago)
        since = NOW - window * 60
        with ledger.read() as conn:
            found = standing.tallies(conn, since=since, at_least=1)
    counted = found[0].refused if found else 0

    assert sum(NOW - ago >= since for ago in at) <= counted <= sum(NOW - ago >= since - 60 for ago in at)
