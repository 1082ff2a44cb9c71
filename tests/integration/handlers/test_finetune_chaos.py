"""Whatever is lost, repeated, reordered or killed: every fine-tune ends once, is told of once, and names one adapter."""

from __future__ import annotations

import atexit
import tempfile
from collections import Counter
from functools import cache

from finetune_lane import Lane, ended, failed, returned, started, trained, training
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import text

from handlers.cancel import cancel_finetune
from handlers.finetune_releaser import FinetuneReleaser
from schemas.finetune import FinetuneTask
from schemas.outcome import TrainingReport
from storage.ledger import adapters
from storage.ledger.engine import Ledger
from storage.ledger.tables import metadata

ENDED = {"completed", "failed", "canceled"}


@cache
def _ledger() -> Ledger:
    """One for all examples, emptied before each: a migration takes longer than an example."""
    folder = tempfile.TemporaryDirectory(prefix="aquatint-finetunes-")
    ledger = Ledger.open(f"sqlite:///{folder.name}/ledger.db", pool_size=2)
    ledger.migrate()
    atexit.register(folder.cleanup)
    atexit.register(ledger.close)
    return ledger


class Chaos(RuleBasedStateMachine):
    """Two trainers with messages that get lost, repeated and reordered, on a fake clock."""

    @initialize()
    def begin(self) -> None:
        ledger = _ledger()
        with ledger.begin() as conn:
            for table in metadata.sorted_tables:
                conn.execute(table.delete())
        self.lane = Lane(ledger)
        self.alive, self.born = ["t1", "t2"], 2
        self.inbox: list[FinetuneTask] = []
        #: What each trainer works on, and which runs it has taken.
        self.held: dict[str, FinetuneTask] = {}
        self.taken: set[str] = set()
        self.reports: list[TrainingReport] = []
        self.asked = 0
        self.final: dict[str, tuple[str, str | None]] = {}

    @rule(tenant=st.sampled_from(["default", "other"]))
    def ask(self, tenant: str) -> None:
        self.asked += 1
        self.lane.ask(str(self.asked), tenant=tenant, name=f"n{self.asked}")

    @rule(restarted=st.booleans())
    def tick(self, restarted: bool) -> None:
        if restarted:  # a killed releaser leaves nothing but the ledger
            self.lane.releaser = FinetuneReleaser(self.lane.ledger, self.lane.outbox, clock=self.lane.clock)
        self.inbox += self.lane.tick()

    @rule(data=st.data(), fate=st.sampled_from(["deliver", "deliver", "twice", "lose"]))
    @precondition(lambda self: self.inbox)
    def message(self, data: st.DataObject, fate: str) -> None:
        task = self.inbox.pop(data.draw(st.integers(0, len(self.inbox) - 1)))
        if fate == "twice":
            self.inbox.append(task)
        if fate == "lose" or task.trainer not in self.alive or task.run in self.taken:
            return
        if task.trainer in self.held or self.lane.clock.now > task.good_until:
            self.reports.append(ended(task, returned("busy")))
            return
        self.taken.add(task.run)
        self.held[task.trainer] = task
        self.reports.append(started(task))

    @rule(data=st.data(), how=st.sampled_from(["trained", "trained", "failed", "passing", "shutdown"]))
    @precondition(lambda self: self.held)
    def finish(self, data: st.DataObject, how: str) -> None:
        task = self.held.pop(data.draw(st.sampled_from(sorted(self.held))))
        digest = f"{len(self.taken):064x}"
        outcomes = {
            "trained": trained(digest),
            "failed": failed(),
            "passing": failed(retryable=True),
            "shutdown": returned("shutdown"),
        }
        self.reports.append(ended(task, outcomes[how]))

    @rule(data=st.data(), fate=st.sampled_from(["record", "record", "twice", "lose"]))
    @precondition(lambda self: self.reports)
    def report(self, data: st.DataObject, fate: str) -> None:
        one = self.reports.pop(data.draw(st.integers(0, len(self.reports) - 1)))
        if fate != "lose":
            self.lane.report(one)
        if fate == "twice":
            self.reports.append(one)

    @rule(seconds=st.sampled_from([1, 6, 25]))
    def time_passes(self, seconds: int) -> None:
        self.lane.clock.pass_by(seconds)
        self._beat()

    @rule(data=st.data())
    def trainer_dies(self, data: st.DataObject) -> None:
        dead = self.alive.pop(data.draw(st.integers(0, len(self.alive) - 1)))
        self.held.pop(dead, None)
        self.born += 1
        self.alive.append(f"t{self.born}")
        self._beat()

    @rule(data=st.data())
    @precondition(lambda self: self.asked)
    def cancel(self, data: st.DataObject) -> None:
        with self.lane.ledger.begin() as conn:
            rows = conn.execute(text("SELECT id, tenant FROM finetune ORDER BY id")).all()
            row = data.draw(st.sampled_from([tuple(one) for one in rows]))
            cancel_finetune(conn, tenant=row[1], id=row[0], now=self.lane.clock.now)

    def _beat(self) -> None:
        for one in self.alive:
            task = self.held.get(one)
            self.lane.beat(one, run=task.run if task else None, progress=training() if task else None)

    @invariant()
    def ends_are_final_and_nobody_holds_two(self) -> None:
        if not hasattr(self, "lane"):
            return
        with self.lane.ledger.read() as conn:
            rows = conn.execute(text("SELECT id, state, trainer, attempts, result FROM finetune")).all()
        for row in rows:
            assert self.final.get(row.id, (row.state, row.result)) == (row.state, row.result)
            if row.state in ENDED:
                self.final[row.id] = (row.state, row.result)
            assert row.attempts < 3
        holders = Counter(row.trainer for row in rows if row.state in ("released", "running"))
        assert not holders or max(holders.values()) == 1

    def teardown(self) -> None:
        """From here on nothing goes wrong any more: everything must end."""
        if not hasattr(self, "lane"):
            return
        self.held.clear()
        for _ in range(200):
            self.lane.clock.pass_by(6)
            self._beat()
            self.lane.report(
                *(ended(one, trained()) for one in self.lane.tick() if one.trainer in self.alive)
            )
            with self.lane.ledger.read() as conn:
                rows = conn.execute(text("SELECT id, tenant, name, state FROM finetune")).all()
            if {row.state for row in rows} <= ENDED:
                break
        assert {row.state for row in rows} <= ENDED and len(rows) == self.asked
        told = Counter((body["finetune"], body["state"]) for body in self.lane.told())
        assert told == Counter((row.id, row.state) for row in rows)
        with self.lane.ledger.read() as conn:
            for row in rows:
                found = adapters.find(conn, row.tenant, row.name)
                assert (found is not None) == (row.state == "completed")
                assert found is None or found.finetune == row.id


TestFinetuneChaos = Chaos.TestCase
TestFinetuneChaos.settings = settings(
    max_examples=15,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),  # explaining is ten times slower
)
