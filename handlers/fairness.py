"""Who goes next: virtual time per lane and tenant, and a reserve for the bulk lane."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

Choice = TypeVar("Choice")


class FairLane:
    """The tenants of one lane: the one that has been charged least goes first; a pick costs under a microsecond.

    A tenant that has been away starts at the time of the one served last, so that absence earns no credit.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = weights
        self._time: dict[str, float] = {}
        self._active: set[str] = set()
        self._heap: list[tuple[float, str]] = []
        self._now = 0.0

    def set_active(self, tenants: Collection[str]) -> None:
        """These have work, the others do not."""
        for tenant in set(tenants) - self._active:
            self._time[tenant] = max(self._time.get(tenant, 0.0), self._now)
            heapq.heappush(self._heap, (self._time[tenant], tenant))
        self._active = set(tenants)
        if len(self._time) > 4 * len(self._active) + 1000:
            # Whoever is behind the present would be lifted to it anyway.
            self._time = {t: at for t, at in self._time.items() if t in self._active or at > self._now}

    def pick(self, offer: Callable[[str], Choice | None]) -> tuple[str, Choice] | None:
        """The first tenant, least charged first, for which `offer` gives something, with what it gave."""
        passed: list[tuple[float, str]] = []
        try:
            while self._heap:
                entry = heapq.heappop(self._heap)
                time, tenant = entry
                if tenant not in self._active or time != self._time[tenant]:
                    continue  # an outdated entry: a newer one is in the heap
                passed.append(entry)
                choice = offer(tenant)
                if choice is not None:
                    return tenant, choice
            return None
        finally:
            for entry in passed:
                heapq.heappush(self._heap, entry)

    def charge(self, tenant: str, gpu_seconds: float) -> None:
        before = self.time_of(tenant)
        self._now = max(self._now, before)
        self._time[tenant] = before + gpu_seconds / self._weights.get(tenant, 1.0)
        if tenant in self._active:
            heapq.heappush(self._heap, (self._time[tenant], tenant))

    def time_of(self, tenant: str) -> float:
        """Virtual seconds: what an active tenant has been charged, or where one that comes now would start."""
        return self._time[tenant] if tenant in self._active else max(self._time.get(tenant, 0.0), self._now)


class LaneShares:
    """Interactive goes first, and bulk keeps a share of the charged GPU seconds, both fading with time."""

    def __init__(self, reserve: float, half_life_seconds: float) -> None:
        self._reserve, self._half_life = reserve, half_life_seconds
        self._charged = [0.0, 0.0]
        self._at, self._bulk_was_active = 0.0, False

    def order(self, active: Collection[int], now: float) -> tuple[int, ...]:
        """The lanes that have work, in the order to serve them (0 interactive, 1 bulk)."""
        self._fade(now)
        if 1 in active and not self._bulk_was_active:
            # Absence earns no credit: without this, bulk would take everything until its share is made up.
            self._charged[1] = max(self._charged[1], self._reserve * sum(self._charged))
        self._bulk_was_active = 1 in active
        if 1 in active and self._charged[1] < self._reserve * sum(self._charged):
            return (1, 0) if 0 in active else (1,)
        return tuple(sorted(active))

    def charge(self, lane: int, gpu_seconds: float, now: float) -> None:
        self._fade(now)
        self._charged[lane] += gpu_seconds

    def _fade(self, now: float) -> None:
        if now > self._at:
            keep = 0.5 ** ((now - self._at) / self._half_life)
            self._charged = [seconds * keep for seconds in self._charged]
            self._at = now
