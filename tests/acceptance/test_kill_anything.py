"""SIGKILL any process at any moment: whatever was accepted is finished, stored once and told of."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest
from embedded_stack import Stack, check_everything, running_stack

from services import Rabbit

COLOURS = ("red", "blue", "green", "black", "white", "teal", "orange", "pink", "gray", "brown")
PRODUCTS = ("mug", "lamp", "chair", "vase", "hat")
EVENTS, IMAGES_PER_EVENT = 25, 4
ROWS, IMAGES_PER_ROW = 50, 2
IMAGES = EVENTS * IMAGES_PER_EVENT + ROWS * IMAGES_PER_ROW
#: RabbitMQ 3.10 saves the directory of its logs a moment after a quorum queue was made; a kill before that loses the queue.
QUEUE_SAVED_SECONDS = 5.0


#: Victims of one run. Bounded, because on a busy machine a process may need longer to start than it is left alive.
VICTIMS = 20


class Killer(threading.Thread):
    """Kills a random process every second or two, `VICTIMS` in all, and the broker once if there is one."""

    def __init__(self, stack: Stack, seed: int, broker: Rabbit | None = None) -> None:
        super().__init__(daemon=True)
        self.stack, self.random, self.broker = stack, random.Random(seed), broker
        self.stop = threading.Event()

    def run(self) -> None:
        for number in range(VICTIMS):
            if self.stop.wait(self.random.uniform(1, 2)):
                return
            if self.broker is not None and number == 4:
                self.broker.kill()
                self.broker.restart()
            else:
                self.stack.kill_one(self.random)


def send_everything(stack: Stack) -> None:
    """200 images by HTTP and by upload; each event twice, since senders repeat what they are not sure of."""
    rows = [
        f"SKU-{n},{PRODUCTS[n % 5]},{COLOURS[n % 10]},{('white', 'beige', 'mint')[n % 3]},128x128,{IMAGES_PER_ROW}" for n in range(ROWS)
    ]
    stack.drop("catalogue.csv", "sku,product,colour,background,sizes,count\n" + "\n".join(rows) + "\n")
    for number in range(EVENTS):
        event = stack.event(number, f"a {COLOURS[number % 10]} {PRODUCTS[number // 5]} on a gray background", n=IMAGES_PER_EVENT)
        first, again = stack.post("/v1/events", event), stack.post("/v1/events", event)
        assert 202 == first.status_code, first.text
        assert first.json()["id"] == again.json()["id"]


def survive(stack: Stack, killer: Killer) -> None:
    killer.start()
    send_everything(stack)
    killer.join()  # to its last victim, however fast the work was done
    assert sum(stack.kills.values()) >= VICTIMS / 2, stack.describe()
    stack.wait_until_settled(IMAGES)

    check_everything(stack, IMAGES)
    rendered = stack.rows("SELECT count(*) FROM image WHERE state = 'rendered'")[0][0]
    # Three deaths on two workers may fail an image that only had bad luck; it must stay a rarity.
    assert rendered >= IMAGES * 0.95, stack.describe()


@pytest.mark.timeout(600)
def test_nothing_is_lost_on_one_machine(tmp_path: Path) -> None:
    """SQLite ledger and queue: random kills of intake, releaser, workers and webhooks lose and double nothing."""
    with running_stack(tmp_path / "home", AQUATINT_WORKERS="2") as stack:
        survive(stack, Killer(stack, seed=1))


@pytest.mark.timeout(600)
def test_nothing_is_lost_on_rabbitmq(tmp_path: Path, rabbitmq_broker: Rabbit) -> None:
    """RabbitMQ: the same, and the broker itself is killed and comes back."""
    with running_stack(tmp_path / "home", AQUATINT_WORKERS="2", AQUATINT_BROKER_URL=rabbitmq_broker.url) as stack:
        threading.Event().wait(QUEUE_SAVED_SECONDS)
        survive(stack, Killer(stack, seed=2, broker=rabbitmq_broker))
