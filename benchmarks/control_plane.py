"""The cost of everything but the render, and the latency it adds.

    python -m benchmarks.control_plane [--images N] [--events N] [--ledger URL] [--broker URL] [--out PATH]

(a) CPU milliseconds per image of planner, releaser and recorder: a manifest of N rows is planned, released in microbatches
of 8 to null-rendering workers, and recorded. (b) Idle end-to-end latency, from an event handed to intake to its recorded
outcome, one event at a time. Ledger and queue are SQLite files unless other addresses are given. The worker here answers
at once and stores nothing, so objects, receipts, webhooks and signatures are not in the figures; its own CPU and that of a
database or broker server are not counted. Run it on an otherwise idle machine, or read CPU and not wall time.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import structlog

from benchmarks.machine import describe
from handlers.intake import Intake
from handlers.manifest_planner import ManifestPlanner
from handlers.planner import Planner
from handlers.recorder import Recorder, run_recorder
from handlers.releaser import Releaser, run_releaser
from handlers.triggers import Trigger
from schemas.cloudevent import GENERATION_REQUESTED, CloudEvent
from schemas.ids import new_id
from schemas.microbatch import ImageTask, Microbatch
from schemas.model_offer import ModelOffer
from schemas.object_event import ObjectCreated
from schemas.object_keys import image_key, receipt_key
from schemas.outcome import Finished, GpuDone, Heartbeat, ImageRendered, Report, Started, Stored
from schemas.verdict import Verdict
from storage.broker.connection import BrokerSettings
from storage.broker.consumer import Consumer
from storage.broker.publisher import Outgoing, Publisher
from storage.broker.sqlite_transport import register, url_of
from storage.broker.topology import outcomes, work, work_queue
from storage.dispatch import CeleryDispatcher
from storage.ledger.engine import Ledger
from storage.objects.memory import MemoryStore
from storage.sealing import MasterKeys

#: Words are sealed in the ledger, as in every installation.
KEYS = MasterKeys(b"a secret of thirty-two bytes....")
WORKERS = ("wrk_bench_1", "wrk_bench_2")
OFFER = ModelOffer(
    name="null",
    digest="a" * 64,
    sizes=((128, 128),),
    default_steps=8,
    max_steps=50,
    default_guidance=3.0,
    max_prompt_tokens=64,
    domain="closed",
)
_ALLOWED = Verdict.model_validate(
    {"stage": "prompt", "decision": "allow", "policy": "bench", "policy_digest": "b" * 64}
)
_PUBLISHED = _ALLOWED.model_copy(update={"stage": "output"})


class _Open:
    """A screen that lets everything through: screening has its own benchmark."""

    def check(self, _prompt: str, _negative_prompt: str = "") -> Verdict:
        return _ALLOWED


class _NoRecipes:
    def get(self, reference: str) -> Any:
        raise KeyError(reference)


def _quiet() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def release(ledger_url: str, broker: BrokerSettings, stop: Any) -> None:
    """The releaser process."""
    _quiet()
    register()
    done = threading.Event()
    threading.Thread(target=lambda: (stop.wait(), done.set()), daemon=True).start()
    with Ledger.open(ledger_url, keys=KEYS) as ledger:
        run_releaser(Releaser(ledger, CeleryDispatcher(Publisher(broker))), ledger, done)


def pretend(broker: BrokerSettings, worker: str, stop: Any) -> None:
    """A worker that consumes its queue, reports a start, and at once the end of every microbatch."""
    _quiet()
    register()
    consumer = Consumer(broker, work(broker, worker))
    consumer.declare()
    publisher = Publisher(broker, outcomes(broker))
    beat_at, last = 0.0, None
    while not stop.is_set():
        if time.time() >= beat_at:
            beat = Heartbeat(
                worker=worker,
                pool="bench",
                queue=work_queue(worker),
                at=time.time(),
                models={OFFER.name: OFFER.digest},
            )
            _send(publisher, broker, beat)
            beat_at = time.time() + 2
        for delivery in consumer.drain(1, 0.5):
            microbatch = Microbatch.model_validate(_argument(delivery.body))
            began = time.time()
            _send(
                publisher, broker, Started(worker=worker, microbatch=microbatch.id, at=began, gpu_done=last)
            )
            last = GpuDone(
                microbatch=microbatch.id, at=time.time(), seconds=0.001, images=len(microbatch.images)
            )
            ended = tuple(_rendered(task) for task in microbatch.images)
            _send(
                publisher,
                broker,
                Finished(
                    worker=worker, microbatch=microbatch.id, at=time.time(), gpu_done=last, outcomes=ended
                ),
            )
            # The outcome is confirmed by the broker.
            consumer.ack([delivery])


def _argument(body: bytes) -> Any:
    arguments = json.loads(body)[0]
    return json.loads(arguments[0]) if isinstance(arguments[0], str) else arguments[0]


def _send(publisher: Publisher, broker: BrokerSettings, report: Report) -> None:
    publisher.publish(Outgoing(queue=outcomes(broker).name, body=report.model_dump_json().encode()))


def _rendered(task: ImageTask) -> ImageRendered:
    stored = Stored(
        key=image_key(task.digest, "png"),
        receipt_key=receipt_key(task.digest),
        sha256=task.digest,
        bytes=1,
        width=128,
        height=128,
        media_type="image/png",
    )
    return ImageRendered(image=task.image, digest=task.digest, stored=stored, verdict=_PUBLISHED)


class _Counting(Recorder):
    """A recorder that tells how many images have ended."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.ended = threading.Condition()

    def record(self, reports: Sequence[Report], mark: Any = None) -> None:
        super().record(reports, mark)
        with self.ended:
            self.ended.notify_all()

    def wait_for(self, images: int, seconds: float) -> None:
        with self.ended:
            if not self.ended.wait_for(lambda: self.counts["rendered"] >= images, seconds):
                raise TimeoutError(f"{self.counts['rendered']} of {images} images after {seconds:.0f} s")


class Stack:
    """Intake and recorder in this process, a releaser and null workers in others."""

    def __init__(self, ledger_url: str, broker: BrokerSettings) -> None:
        register()
        self.ledger = Ledger.open(ledger_url, keys=KEYS)
        self.ledger.migrate()
        self.store = MemoryStore(bucket="uploads")
        planner = Planner(
            offers={OFFER.name: OFFER},
            default_model=OFFER.name,
            screen=_Open(),
            policy="bench",
            policy_digest="b" * 64,
        )
        trigger = Trigger(bucket="uploads")
        self.intake = Intake(ledger=self.ledger, planner=planner, recipes=_NoRecipes(), triggers=(trigger,))
        self.manifests = ManifestPlanner(
            ledger=self.ledger, planner=planner, recipes=_NoRecipes(), stores={"uploads": self.store}
        )
        self.recorder = _Counting(self.ledger)
        self.consumer = Consumer(broker, outcomes(broker))
        self.consumer.declare()
        self.stop = threading.Event()
        context = multiprocessing.get_context("spawn")
        self.end = context.Event()
        self.thread = threading.Thread(target=run_recorder, args=(self.recorder, self.consumer, self.stop))
        self.processes = [
            context.Process(target=pretend, args=(broker, worker, self.end)) for worker in WORKERS
        ]
        self.processes.append(context.Process(target=release, args=(ledger_url, broker, self.end)))

    def __enter__(self) -> Stack:
        self.thread.start()
        for process in self.processes:
            process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end.set()
        self.stop.set()
        self.thread.join()
        for process in self.processes:
            process.join(30)
            process.kill()
        self.ledger.close()

    def releaser_cpu(self) -> float:
        """CPU seconds that the releaser process has used."""
        used = psutil.Process(self.processes[-1].pid).cpu_times()
        return float(used.user + used.system)

    def warm_up(self) -> None:
        """Both workers are known and every statement has been used."""
        while self.recorder.counts["heartbeat"] < 2 * len(WORKERS):
            time.sleep(0.1)
        for place in range(5):
            self.ask(f"warm {place}")
        self.recorder.wait_for(5, 120)

    def ask(self, prompt: str) -> None:
        data = {"prompt": prompt, "seed": 1}
        self.intake.accept(
            CloudEvent(
                specversion="1.0", id=new_id("evt"), source="bench", type=GENERATION_REQUESTED, data=data
            ),
            "default",
        )

    def upload(self, images: int) -> None:
        """Accept and plan a manifest of that many rows."""
        body = "prompt,seed\n" + "".join(
            f"a plain wooden chair number {row},{row}\n" for row in range(images)
        )
        put = self.store.put("rows.csv", body.encode(), media_type="text/csv")
        self.intake.object_created(
            ObjectCreated(bucket="uploads", key="rows.csv", version=put.etag), "default"
        )
        while self.manifests.step():
            time.sleep(self.manifests.params.pause_seconds)


def measure(ledger_url: str, broker: BrokerSettings, images: int, events: int) -> dict[str, Any]:
    """Latency first, on idle processes; then the drain of a manifest."""
    with Stack(ledger_url, broker) as stack:
        stack.warm_up()
        waits = [_one_event(stack, f"idle {place}") for place in range(events)]
        already = stack.recorder.counts["rendered"]
        before, began, released = _cpu(), time.perf_counter(), stack.releaser_cpu()
        stack.upload(images)
        planned = _cpu() - before
        stack.recorder.wait_for(already + images, 600)
        seconds, handlers = time.perf_counter() - began, _cpu() - before
        releaser = stack.releaser_cpu() - released
        microbatches = stack.recorder.counts["finished"] - already
    return {
        "images": images,
        "images_per_microbatch": round(images / microbatches, 2),
        "cpu_ms_per_image": {
            "planner": _per_image(planned, images),
            "recorder_and_rest_of_intake": _per_image(handlers - planned, images),
            "releaser": _per_image(releaser, images),
            "sum": _per_image(handlers + releaser, images),
        },
        "images_per_second": round(images / seconds, 1),
        "idle_latency_ms": _percentiles(waits),
        "events": events,
    }


def _one_event(stack: Stack, prompt: str) -> float:
    target = stack.recorder.counts["rendered"] + 1
    time.sleep(0.05)
    began = time.perf_counter()
    stack.ask(prompt)
    stack.recorder.wait_for(target, 120)
    return (time.perf_counter() - began) * 1000


def _per_image(seconds: float, images: int) -> float:
    return round(seconds * 1000 / images, 4)


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 1), "p90": round(cuts[89], 1), "p99": round(cuts[98], 1)}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.control_plane", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--events", type=int, default=100)
    parser.add_argument("--ledger", help="sqlite:///PATH or postgresql+psycopg://...; an empty one")
    parser.add_argument("--broker", help="amqp://...; a SQLite file by default")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    _quiet()
    with tempfile.TemporaryDirectory(prefix="aquatint-bench-") as folder:
        ledger_url = options.ledger or f"sqlite:///{folder}/ledger.db"
        broker = BrokerSettings(url=options.broker or url_of(Path(folder) / "queue.db"))
        result = {
            "benchmark": "control_plane",
            "machine": describe(),
            "ledger": ledger_url.split(":")[0],
            "broker": broker.url.split(":")[0],
            **measure(ledger_url, broker, options.images, options.events),
        }
    text = json.dumps(result, indent=2)
    if options.out:
        options.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main(sys.argv[1:])
