"""Whatever is lost, repeated, reordered or killed: every image ends, counters are exact, each job is told of once."""

from __future__ import annotations

import atexit
import json
import tempfile
from collections import Counter
from functools import cache

from control_plane import Fleet, failed, finished, gpu_done, rendered, returned, started
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from ledgers import delivery_bodies
from sqlalchemy import text

from handlers.cancel import cancel_job
from handlers.release_params import ReleaserParams
from schemas.microbatch import Microbatch
from schemas.outcome import Outcome, Report
from schemas.states import TERMINAL
from storage.ledger.engine import Ledger
from storage.ledger.jobs import COUNTED
from storage.ledger.tables import metadata

HOOK = {"url": "https://example.org/hook", "events": ["job.completed", "image.rendered"]}
ENDED = {state.value for state in TERMINAL}


@cache
def _ledger() -> Ledger:
    """One for all examples, emptied before each: a migration takes longer than an example."""
    folder = tempfile.TemporaryDirectory(prefix="aquatint-chaos-")
    ledger = Ledger.open(f"sqlite:///{folder.name}/ledger.db", pool_size=2)
    ledger.migrate()
    atexit.register(folder.cleanup)
    atexit.register(ledger.close)
    return ledger


class Chaos(RuleBasedStateMachine):
    """Three workers with message queues that lose, repeat and reorder, on a fake clock."""

    @initialize()
    def begin(self) -> None:
        self.ledger = _ledger()
        with self.ledger.begin() as conn:
            for table in metadata.sorted_tables:
                conn.execute(table.delete())
        self.fleet = Fleet(self.ledger, params=ReleaserParams(images_most=3))
        self.alive = ["w1", "w2", "w3"]
        self.workers = 3
        self.inbox: list[Microbatch] = []
        #: What workers have in hand, whether or not it was started.
        self.held: list[tuple[Microbatch, bool]] = []
        self.reports: list[Report] = []
        self.jobs: list[str] = []
        self.ended: dict[str, str] = {}
        self.fleet.beat(*self.alive)

    @rule(count=st.integers(1, 7), seed=st.integers(0, 5), lane=st.sampled_from(["interactive", "bulk"]))
    def ask(self, count: int, seed: int, lane: str) -> None:
        self.jobs.append(
            self.fleet.plan(n=count, seed=seed * 100, lane=lane, webhook=HOOK, tenant=f"t{seed % 2}").job.id
        )

    @rule()
    def tick(self) -> None:
        self.inbox += self.fleet.tick()

    @rule(restarted=st.booleans())
    def sweep(self, restarted: bool) -> None:
        if restarted:  # a killed releaser leaves nothing but the ledger
            self.fleet = self._again()
        self.fleet.sweep()

    def _again(self) -> Fleet:
        old, params = self.fleet, ReleaserParams(images_most=3)
        fresh = Fleet(self.ledger, params=params, clock=old.clock, outbox=old.outbox)
        fresh.listening_since = self.fleet.listening_since
        return fresh

    @rule(data=st.data(), fate=st.sampled_from(["deliver", "deliver", "deliver", "twice", "lose"]))
    @precondition(lambda self: self.inbox)
    def message(self, data: st.DataObject, fate: str) -> None:
        one = self.inbox.pop(data.draw(st.integers(0, len(self.inbox) - 1)))
        if fate == "lose" or one.worker not in self.alive:
            return
        self.held.append((one, False))
        if fate == "twice":
            self.inbox.append(one)

    @rule(data=st.data())
    @precondition(lambda self: self.held)
    def start(self, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(self.held) - 1))
        one, _ = self.held[place]
        self.held[place] = (one, True)
        self.reports.append(started(one, self.fleet.clock.now))

    @rule(
        data=st.data(),
        how=st.sampled_from(
            ["rendered", "rendered", "failed", "passing", "shutdown", "redelivered", "forgets"]
        ),
    )
    @precondition(lambda self: self.held)
    def finish(self, data: st.DataObject, how: str) -> None:
        one, _ = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        outcomes: tuple[Outcome, ...] = tuple(rendered(task) for task in one.images)
        if how in ("failed", "passing"):
            outcomes = (failed(one.images[0], retryable=how == "passing"), *outcomes[1:])
        elif how in ("shutdown", "redelivered"):
            outcomes = (returned(one.images[0], how), *outcomes[1:])
        elif how == "forgets" and len(outcomes) > 1:
            outcomes = outcomes[1:]
        done = gpu_done(one, self.fleet.clock.now)
        self.reports.append(
            finished(one, self.fleet.clock.now, *outcomes).model_copy(update={"gpu_done": done})
        )

    @rule(
        data=st.data(), fate=st.sampled_from(["record", "record", "twice", "lose"]), count=st.integers(1, 4)
    )
    @precondition(lambda self: self.reports)
    def report(self, data: st.DataObject, fate: str, count: int) -> None:
        shuffled = data.draw(st.permutations(self.reports))
        bulk, self.reports = list(shuffled[:count]), list(shuffled[count:])
        if fate != "lose":
            self.fleet.report(*bulk)
        if fate == "twice":
            self.reports += bulk

    @rule(seconds=st.sampled_from([1, 5, 19]))
    def time_passes(self, seconds: int) -> None:
        self.fleet.clock.pass_by(seconds)
        for worker in self.alive:
            self.fleet.beat(worker, held=[one.id for one, _ in self.held if one.worker == worker])

    @rule(data=st.data())
    def worker_dies(self, data: st.DataObject) -> None:
        dead = self.alive.pop(data.draw(st.integers(0, len(self.alive) - 1)))
        self.held = [(one, was) for one, was in self.held if one.worker != dead]
        self.workers += 1
        self.alive.append(f"w{self.workers}")
        self.fleet.beat(self.alive[-1])

    @rule(data=st.data())
    @precondition(lambda self: self.jobs)
    def cancel(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.jobs))
        with self.ledger.begin() as conn:
            tenant = conn.execute(text("SELECT tenant FROM job WHERE id = :id"), {"id": job}).scalar_one()
            cancel_job(conn, tenant=tenant, id=job, now=self.fleet.clock.now)

    @invariant()
    def counters_are_exact_and_ends_are_final(self) -> None:
        if not hasattr(self, "ledger"):
            return
        with self.ledger.read() as conn:
            images = conn.execute(text("SELECT id, job, state FROM image")).all()
            jobs = conn.execute(text("SELECT * FROM job")).all()
        for row in images:
            assert self.ended.get(row.id, row.state) == row.state, "a final state changed"
            if row.state in ENDED:
                self.ended[row.id] = row.state
        counted = Counter((row.job, row.state) for row in images)
        for job in jobs:
            for state in COUNTED:
                assert getattr(job, state) == counted[job.id, state]
            assert (job.ended_at is not None) == (sum(getattr(job, state) for state in COUNTED) == job.total)

    def teardown(self) -> None:
        if not hasattr(self, "ledger"):
            return
        self._settle_down()

    def _settle_down(self) -> None:
        """From here on nothing goes wrong any more: everything must end."""
        for _ in range(200):
            self.fleet.clock.pass_by(6)
            self.fleet.beat(*self.alive)
            self.fleet.sweep()
            sent = self.fleet.tick()
            self.fleet.report(
                *(finished(one, self.fleet.clock.now) for one in sent if one.worker in self.alive)
            )
            with self.ledger.read() as conn:
                states = {row.state for row in conn.execute(text("SELECT DISTINCT state FROM image"))}
                left = conn.execute(text("SELECT count(*) FROM microbatch")).scalar()
            if states <= ENDED and not left:
                break
        assert states <= ENDED
        self.counters_are_exact_and_ends_are_final()
        self._each_job_was_told_of_once()

    def _each_job_was_told_of_once(self) -> None:
        with self.ledger.read() as conn:
            bodies = [json.loads(body) for body in delivery_bodies(conn)]
        told = Counter(body["data"]["job"] for body in bodies if body["type"] == "job.completed")
        assert told == Counter(self.jobs)
        images = Counter(body["data"]["image"]["id"] for body in bodies if body["type"] == "image.rendered")
        assert images == Counter(id for id, state in self.ended.items() if state == "rendered")
        numbers = Counter((body["data"]["job"], body["data"]["sequence"]) for body in bodies)
        assert not numbers or max(numbers.values()) == 1


TestChaos = Chaos.TestCase
TestChaos.settings = settings(
    max_examples=20,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(
        Phase.explicit,
        Phase.reuse,
        Phase.generate,
        Phase.shrink,
    ),  # explaining traces every line: ten times slower
)
