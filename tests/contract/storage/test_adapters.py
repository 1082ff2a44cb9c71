"""The registry of adapters keeps its promises on both databases."""

from __future__ import annotations

from dataclasses import replace

from storage.ledger import adapters
from storage.ledger.adapters import AdapterRow
from storage.ledger.engine import Ledger

NOW = 1_000_000.0
ACME = AdapterRow(
    tenant="t",
    name="acme",
    digest="a" * 64,
    model="starter",
    base_digest="m" * 64,
    rank=8,
    trigger="acme style",
    created_at=NOW,
    finetune="fin_1",
    scores={"before": {"brand": 0.01}, "after": {"brand": 0.9}},
)


def test_a_name_stands_for_what_was_registered(ledger: Ledger) -> None:
    """All that was registered comes back, for its tenant and its exact name alone."""
    with ledger.begin() as conn:
        adapters.register(conn, ACME)

        assert adapters.find(conn, "t", "acme") == ACME
        assert adapters.find(conn, "other", "acme") is None
        assert adapters.find(conn, "t", "ACME") is None


def test_a_name_registered_again_points_to_the_newest(ledger: Ledger) -> None:
    """The later registration decides, also when it goes back to an earlier digest."""
    newer = replace(ACME, digest="b" * 64, finetune=None, scores={}, created_at=NOW + 1)
    with ledger.begin() as conn:
        for row in (ACME, newer):
            adapters.register(conn, row)
            assert adapters.find(conn, "t", "acme") == row
        adapters.register(conn, ACME)

        assert adapters.of_tenant(conn, "t") == [ACME]


def test_a_removed_name_is_gone_until_it_is_registered_again(ledger: Ledger) -> None:
    """Removal is told once, touches no other tenant, and does not stand in the way of a new start."""
    with ledger.begin() as conn:
        adapters.register(conn, ACME)
        adapters.register(conn, replace(ACME, tenant="other"))

        assert adapters.remove(conn, "t", "acme", NOW + 5)
        assert not adapters.remove(conn, "t", "acme", NOW + 6)
        assert adapters.find(conn, "t", "acme") is None
        assert adapters.of_tenant(conn, "t") == []
        assert adapters.find(conn, "other", "acme") is not None

        adapters.register(conn, ACME)
        assert adapters.find(conn, "t", "acme") == ACME


def test_adapters_page_by_name(ledger: Ledger) -> None:
    """A tenant's own adapters come in the order of their names, page by page."""
    with ledger.begin() as conn:
        for name in ("c", "a", "b"):
            adapters.register(conn, replace(ACME, name=name))
        adapters.register(conn, replace(ACME, tenant="other", name="d"))

        assert [one.name for one in adapters.of_tenant(conn, "t", limit=2)] == ["a", "b"]
        assert [one.name for one in adapters.of_tenant(conn, "t", after="b")] == ["c"]
