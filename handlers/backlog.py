"""The planned images as the releaser sees them: which keys wait in which lane for which tenant."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from storage.ledger.images import Head


class Backlog:
    """Heads of the ready index, read anew now and then and corrected by every claim in between."""

    def __init__(self) -> None:
        self._heads: tuple[dict[str, dict[str, Head]], ...] = ({}, {})

    def replace(self, heads: Iterable[Head]) -> None:
        self._heads = ({}, {})
        for head in heads:
            self._heads[head.lane].setdefault(head.tenant, {})[head.batch_key] = head

    def drop(self, head: Head) -> None:
        """Nothing of this key waits there any more."""
        keys = self._heads[head.lane].get(head.tenant, {})
        keys.pop(head.batch_key, None)
        if not keys:
            self._heads[head.lane].pop(head.tenant, None)

    def __bool__(self) -> bool:
        return any(self._heads)

    @property
    def lanes(self) -> set[int]:
        return {lane for lane in (0, 1) if self._heads[lane]}

    def tenants(self, lane: int) -> set[str]:
        return set(self._heads[lane])

    def earliest(self, lane: int, tenant: str, allowed: Callable[[Head], bool]) -> Head | None:
        """The tenant's most urgent key in that lane: earliest deadline, then longest planned."""
        heads = (head for head in self._heads[lane].get(tenant, {}).values() if allowed(head))
        return min(heads, key=lambda head: (head.deadline, head.id), default=None)

    def same_key(self, first: Head) -> list[Head]:
        """The heads of the same batch key elsewhere, those of the same lane before those of the other."""
        lanes = (first.lane, 1 - first.lane)
        heads = [
            keys[first.batch_key]
            for lane in lanes
            for keys in self._heads[lane].values()
            if first.batch_key in keys
        ]
        return [head for head in heads if head != first]

    def all(self) -> list[Head]:
        return [head for lane in self._heads for keys in lane.values() for head in keys.values()]
