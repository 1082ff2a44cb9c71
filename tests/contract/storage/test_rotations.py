"""Whoever has had a turn keeps it, on both databases."""

from __future__ import annotations

from handlers.turns import Turns
from storage.ledger import rotations
from storage.ledger.engine import Ledger
from storage.ledger.rotations import Turn


def written(ledger: Ledger, *turns: Turn) -> None:
    with ledger.begin() as conn:
        rotations.keep(conn, turns)


def test_a_turn_is_kept_for_ever(ledger: Ledger) -> None:
    """What was written down is found by another process, and the next unit comes behind it."""
    first = Turns(ledger)
    written(ledger, *(first.take("acme", "c", unit) for unit in "xyz"))
    second = Turns(ledger)

    assert second.take("acme", "c", "z").place == 2
    assert second.take("acme", "c", "new").place == 3


def test_what_was_not_written_is_given_again(ledger: Ledger) -> None:
    """A planner that died before its commit leaves no trace: the next one gives the same turns in the same order."""
    lost = [Turns(ledger).take("acme", "c", unit) for unit in "x"]
    again = Turns(ledger)

    assert [again.take("acme", "c", unit) for unit in "x"] == lost


def test_a_unit_keeps_the_turn_that_was_written_first(ledger: Ledger) -> None:
    """Of two writers of one unit the first wins, and the second does not fail."""
    written(ledger, Turn("acme", "c", "u", 4))
    written(ledger, Turn("acme", "c", "u", 9), Turn("acme", "c", "v", 9))

    with ledger.read() as conn:
        assert rotations.place_of(conn, tenant="acme", cycle="c", unit="u") == 4
        assert rotations.next_place(conn, tenant="acme", cycle="c") == 10


def test_tenants_and_cycles_are_apart(ledger: Ledger) -> None:
    """Nobody's turn depends on another tenant's batches, nor a recipe's on another recipe."""
    turns = Turns(ledger)
    places = [turns.take(tenant, cycle, "u").place for tenant in ("a", "b") for cycle in ("c", "d")]

    assert places == [0, 0, 0, 0]


def test_units_cannot_be_guessed(ledger: Ledger) -> None:
    """A unit may be a prompt: it is kept under the installation's key, and another key names it otherwise."""
    one, other = (
        Turns(ledger, b"key").take("a", "c", "a doctor"),
        Turns(ledger, b"other").take("a", "c", "a doctor"),
    )

    assert one.unit != other.unit
    assert "doctor" not in one.unit
