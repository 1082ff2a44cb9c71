"""Gives each worker its next microbatch just before its GPU is free.

The backlog stays in the ledger; what this process keeps in memory (virtual times, estimates, heads of the backlog) is
rebuilt from it within a second after a restart. Rows are committed before a message is sent, so a crash in between
costs one lease and nothing else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection

from handlers.backlog import Backlog
from handlers.estimates import Estimates
from handlers.forming import Former
from handlers.give_back import give_back
from handlers.leases import losses
from handlers.notices import account
from handlers.release_params import ReleaserParams
from handlers.windows import Openings, live, openings
from schemas.errors import AquatintError, QueueMissing
from schemas.microbatch import Microbatch
from storage.dispatch import Dispatcher
from storage.ledger import costs, images, marks, microbatches, workers
from storage.ledger.costs import Cost
from storage.ledger.engine import Ledger
from storage.ledger.microbatches import Outstanding
from storage.ledger.workers import WorkerRecord

log = structlog.get_logger(__name__)

#: The name of the leader lock: a second releaser would only be waste, since claims are safe by row.
LOCK = "releaser"
#: How often a leader makes sure that a lost database connection has not cost it the lock.
_LEADING_CHECK_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class View:
    """What one tick saw in the ledger."""

    workers: Sequence[WorkerRecord]
    outstanding: Sequence[Outstanding]
    suspects: bool
    late: bool


class Releaser:
    """One tick looks, decides, commits and sends. Not thread-safe: one releaser, one thread."""

    def __init__(
        self,
        ledger: Ledger,
        dispatcher: Dispatcher,
        *,
        params: ReleaserParams | None = None,
        priors: Mapping[str, Cost] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.params = params or ReleaserParams()
        self._ledger, self._dispatcher, self._clock = ledger, dispatcher, clock
        self.estimates = Estimates(self.params, priors or {})
        self.backlog = Backlog()
        self._former = Former(self.params, self.estimates, self.backlog)
        self._sweep_at = self._scan_at = self._rare_at = self._retry_at = 0.0
        self._suspects = False
        #: Microbatches sent to an idle GPU, whose start will show the latency.
        self._timed: dict[str, float] = {}
        #: Workers whose queue was gone, until they are heard of again: id to the time they had been seen.
        self._unreachable: dict[str, float] = {}

    def tick(self) -> float:
        """Do what can be done now; returns the seconds until something may be due without any further commit."""
        now = self._clock()
        if now >= self._sweep_at:
            self.sweep(now)
        view = self._look(now)
        if view.late:
            self._expire(now)
        self._learn_latency(view.outstanding)
        if now < self._retry_at:
            return self._retry_at - now
        reachable = [
            one
            for one in live(view.workers, now, self.params)
            if self._unreachable.get(one.id) != one.seen_at
        ]
        opened = openings(reachable, view.outstanding, self.estimates, self.params, now)
        released = bool(opened.slots and (self.backlog or view.suspects)) and self._release(
            opened, view, reachable, now
        )
        return self._sleep(opened, released, now)

    def sweep(self, now: float) -> None:
        """Put back what is lost, and read anew what is only kept in memory."""
        self._sweep_at = now + self.params.sweep_every
        self._scan_at = self._rare_at = 0.0
        with self._ledger.read() as conn:
            mark = marks.get(conn, marks.OUTCOMES)
            known, outstanding = workers.everyone(conn), microbatches.outstanding(conn)
            self.estimates.learn_costs(costs.known(conn))
        lost = losses(known, outstanding, mark, self.params, now)
        pools = {one.id: one.pool for one in known}
        if lost.microbatches:
            self._put_back(
                lost.microbatches,
                lost.workers,
                {id for id, pool in pools.items() if pool in lost.mass_death},
                now,
            )
        if any(now - one.seen_at > self.params.forget_seconds for one in known):
            with self._ledger.begin(wake=False) as conn:
                workers.forget(conn, now - self.params.forget_seconds)
        self._former.residency.keep(pools.keys())
        self._timed = {id: at for id, at in self._timed.items() if any(one.id == id for one in outstanding)}

    def _look(self, now: float) -> View:
        with self._ledger.read() as conn:
            if now >= self._scan_at:
                self._scan(conn, now)
            late = False
            if now >= self._rare_at:
                self._rare_at = now + self.params.rare_every
                self._suspects, late = bool(images.suspects(conn, 1)), images.any_late(conn, now)
            return View(
                workers=workers.everyone(conn),
                outstanding=microbatches.outstanding(conn),
                suspects=self._suspects,
                late=late,
            )

    def _scan(self, conn: Connection, now: float) -> None:
        started = time.perf_counter()
        self.backlog.replace(images.heads(conn))
        # With thousands of waiting keys a scan takes tens of milliseconds: then it is made less often.
        self._scan_at = now + (time.perf_counter() - started) * (1 / self.params.scan_share - 1)

    def _release(self, opened: Openings, view: View, reachable: Sequence[WorkerRecord], now: float) -> bool:
        with self._ledger.begin(wake=False) as conn:
            formed = self._former.form(conn, opened.slots, reachable, view.outstanding, now)
            microbatches.add(conn, [one.row for one in formed])
        # Durable: the images are released and their leases run. A message that is lost from here on comes back by them.
        self._timed |= {one.row.id: now for one in formed if one.slot.idle}
        self._send([one.message for one in formed], view, now)
        return bool(formed)

    def _send(self, messages: Sequence[Microbatch], view: View, now: float) -> None:
        if not messages:
            return
        try:
            self._dispatcher.submit(*messages)
        except AquatintError:
            # One by one: the queue of a single worker may be gone while all others are there. What was sent twice
            # is rendered once, because pictures are named by their digest.
            self._send_singly(messages, {one.id: one.seen_at for one in view.workers}, now)
        log.debug("released", microbatches=len(messages), images=sum(len(one.images) for one in messages))

    def _send_singly(self, messages: Sequence[Microbatch], seen_at: Mapping[str, float], now: float) -> None:
        refused = []
        for message in messages:
            try:
                self._dispatcher.submit(message)
            except AquatintError as error:
                refused.append(message.id)
                log.warning("not_sent", microbatch=message.id, worker=message.worker, error=error.code)
                if isinstance(error, QueueMissing):
                    self._unreachable[message.worker] = seen_at.get(message.worker, 0.0)
                else:
                    self._retry_at = now + self.params.retry_seconds
        with self._ledger.begin(wake=False) as conn:
            for held in microbatches.contents(conn, refused).values():
                images.put_back(conn, microbatch=held.id, ids=held.images)
            microbatches.delete(conn, refused)

    def _put_back(
        self, gone: Iterable[Outstanding], dead: frozenset[str], excused: set[str], now: float
    ) -> None:
        gone = list(gone)
        with self._ledger.begin(wake=False) as conn:
            ended = []
            for held in microbatches.contents(conn, [one.id for one in gone]).values():
                counted = held.worker not in excused
                most = self.params.attempts_most
                ended += give_back(
                    conn, held, held.images, died=True, counted=counted, attempts_most=most, now=now
                )
            microbatches.delete(conn, [one.id for one in gone])
            workers.lost(conn, dead, now)
            account(conn, ended, now)
        log.warning(
            "put_back", microbatches=[one.id for one in gone], lost_workers=sorted(dead), failed=len(ended)
        )

    def _expire(self, now: float) -> None:
        with self._ledger.begin(wake=False) as conn:
            ended = images.expire(conn, now)
            account(conn, ended, now)
        log.info("expired", images=len(ended))

    def _learn_latency(self, outstanding: Iterable[Outstanding]) -> None:
        for one in outstanding:
            if one.started_at is not None and (sent_at := self._timed.pop(one.id, None)) is not None:
                self.estimates.learn_latency(one.started_at - sent_at)

    def _sleep(self, opened: Openings, released: bool, now: float) -> float:
        due = [self._sweep_at, now + self.params.backstop]
        due += [moment for moment in (opened.next_at, self._former.waiting_until) if moment is not None]
        if released:
            due.append(now + self.params.tick)
        return max(min(due) - now, 0.0)


def run_releaser(releaser: Releaser, ledger: Ledger, stop: threading.Event) -> None:
    """Tick until told to stop, while this process holds the leader lock."""
    lock = ledger.lock(LOCK)
    try:
        while not stop.is_set():
            try:
                if lock.acquire():
                    _lead(releaser, ledger, lock.held, stop)
                else:
                    stop.wait(releaser.params.backstop)
            except AquatintError as error:
                log.error("releaser_stumbled", error=error.code, actor=error.actor)
                stop.wait(releaser.params.retry_seconds)
    finally:
        lock.release()


def _lead(releaser: Releaser, ledger: Ledger, leading: Callable[[], bool], stop: threading.Event) -> None:
    check_at = 0.0
    while not stop.is_set():
        began = time.monotonic()
        if began >= check_at:
            if not leading():
                return
            check_at = began + _LEADING_CHECK_SECONDS
        seen = ledger.version()
        wait = releaser.tick()
        if wait > releaser.params.tick:
            ledger.wait_for_change(wait, since=seen)
        # Commits come in bursts: one tick then serves all of them. After a quiet spell there is no pause.
        stop.wait(max(0.0, began + releaser.params.tick - time.monotonic()))
