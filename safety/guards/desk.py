"""Where guards are asked: each text once, several texts at a time, and nobody while a guard keeps failing."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from cachetools import TTLCache

from safety.guards.breaker import Breaker
from safety.guards.port import Guard, GuardFault, checked
from schemas.verdict import Check


@dataclass(frozen=True, kw_only=True)
class Opinion:
    """What the guards said about one text: the highest score of each category, and one check per guard."""

    scores: Mapping[str, tuple[float, str]]
    checks: tuple[Check, ...]

    @property
    def complete(self) -> bool:
        return all(check.status == "ok" for check in self.checks)


class GuardDesk:
    """Asks guards and remembers their answers for a while, by keyed hash: no text is kept. Safe to share."""

    def __init__(
        self,
        guards: Sequence[Guard],
        *,
        key: bytes,
        at_once: int = 16,
        remembered: int = 50_000,
        remember_seconds: float = 3600.0,
        breaker: Callable[[], Breaker] = Breaker,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._guards = tuple((guard, breaker()) for guard in guards)
        self._key, self._at_once, self._clock = key, at_once, clock
        self._lock = threading.Lock()
        self._known: TTLCache[bytes, dict[str, float]] = TTLCache(remembered, remember_seconds)

    def __len__(self) -> int:
        return len(self._guards)

    def opinion(self, text: str) -> Opinion:
        """What every guard says about `text`; never raises, a fault is a check that failed."""
        scores: dict[str, tuple[float, str]] = {}
        checks = []
        for guard, breaker in self._guards:
            started = self._clock()
            found = self._asked(guard, breaker, text)
            for category, score in (found or {}).items():
                if score > scores.get(category, (0.0, ""))[0]:
                    scores[category] = (score, guard.name)
            checks.append(
                Check(
                    name=guard.name,
                    version=guard.version,
                    milliseconds=max(0.0, (self._clock() - started) * 1000),
                    status="error" if found is None else "ok",
                )
            )
        return Opinion(scores=scores, checks=tuple(checks))

    def prepare(self, texts: Iterable[str]) -> None:
        """Ask about several texts at the same time, so that `opinion` knows them already; never raises."""
        wanted = [
            text
            for text in dict.fromkeys(texts)
            if any(self._place(g, text) not in self._known for g, _ in self._guards)
        ]
        if wanted:
            with ThreadPoolExecutor(min(self._at_once, len(wanted)), thread_name_prefix="guards") as crew:
                list(crew.map(self.opinion, wanted))

    def _asked(self, guard: Guard, breaker: Breaker, text: str) -> dict[str, float] | None:
        place = self._place(guard, text)
        with self._lock:
            known = self._known.get(place)
        if known is not None:
            return known
        if not breaker.allows():
            return None
        try:
            found = checked(guard.name, guard.ask(text))
        except GuardFault:
            breaker.failed()
            return None
        except Exception:  # an adapter's own fault must not let a prompt through either
            breaker.failed()
            return None
        breaker.succeeded()
        with self._lock:
            self._known[place] = found
        return found

    def _place(self, guard: Guard, text: str) -> bytes:
        whole = f"{guard.name}\0{guard.version}\0{text}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, whole, hashlib.sha256)
