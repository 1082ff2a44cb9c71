"""Heartbeats and what they list."""

from __future__ import annotations

import threading

from microbatches import Reports, a_microbatch, a_task, eventually

from schemas.errors import QueueUnavailable
from schemas.outcome import Heartbeat, Report
from workers.gpu import Gpu
from workers.heartbeat import Held, Pulse
from workers.ports import Reporter
from workers.stop import Stop
from workers.watchdog import Watchdog


def a_pulse(reporter: Reporter, *, held: Held, stop: Stop, gpu: Gpu, seconds: float = 3600) -> Pulse:
    return Pulse(
        worker="wrk_1",
        pool="default",
        queue="work.wrk_1",
        models={"starter": "a" * 64},
        reporter=reporter,
        gpu=gpu,
        held=held,
        accepting=lambda: not stop.stopping.is_set(),
        seconds=seconds,
    )


def beats(reports: Reports) -> list[Heartbeat]:
    return [report for report in reports.all if isinstance(report, Heartbeat)]


def test_life_of_a_pulse() -> None:
    """The first heartbeat goes at once, one more when the worker stops accepting, and a last one at the end."""
    reports, held, stop = Reports(), Held(), Stop()
    pulse = a_pulse(reports, held=held, stop=stop, gpu=Gpu(Watchdog()))
    with held.hold("mb_1"):
        pulse.start()
        eventually(lambda: len(beats(reports)) == 1)
        stop.stopping.set()
        pulse.beat_now()
        eventually(lambda: len(beats(reports)) == 2)
    pulse.close()
    first, second, last = beats(reports)
    assert (first.accepting, second.accepting) == (True, False)
    assert (first.held, last.held) == (("mb_1",), ())
    assert (first.queue, first.models) == ("work.wrk_1", {"starter": "a" * 64})


def test_heartbeats_go_on_after_one_was_lost() -> None:
    """A broker that is away for a moment costs a heartbeat, not the thread."""

    class Flaky(Reports):
        failures = 2

        def report(self, report: Report) -> None:
            if self.failures:
                self.failures -= 1
                raise QueueUnavailable
            super().report(report)

    reports = Flaky()
    pulse = a_pulse(reports, held=Held(), stop=Stop(), gpu=Gpu(Watchdog()), seconds=0.01)
    pulse.start()
    eventually(lambda: len(beats(reports)) >= 2)
    pulse.close()


def test_idle_gpu_is_told_by_the_heartbeat() -> None:
    """A GPU-free notice that no other report took travels with the next heartbeat, once."""
    reports, gpu = Reports(), Gpu(Watchdog())
    microbatch = a_microbatch(a_task(1), a_task(2))
    with gpu.rendering(microbatch, 2):
        pass
    pulse = a_pulse(reports, held=Held(), stop=Stop(), gpu=gpu)
    first, second = pulse.beat(), pulse.beat()
    assert first.gpu_done is not None and second.gpu_done is None
    assert (first.gpu_done.microbatch, first.gpu_done.images) == (microbatch.id, 2)


def test_second_holder_waits_for_the_first() -> None:
    """A microbatch delivered twice to one process is worked on once; the second delivery ends after the first."""
    held, inside, leave = Held(), threading.Event(), threading.Event()
    order: list[str] = []

    def first() -> None:
        with held.hold("mb_1") as mine:
            inside.set()
            leave.wait(60)
            order.append(f"first {mine}")

    def second() -> None:
        with held.hold("mb_1") as mine:
            order.append(f"second {mine}")

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    inside.wait(60)
    threads[1].start()
    assert held.ids() == ("mb_1",)
    leave.set()
    for thread in threads:
        thread.join()
    assert order == ["first True", "second False"] and held.ids() == ()
