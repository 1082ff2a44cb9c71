"""Nothing unchecked leaves: every check of the way out is broken in every way, and nothing lies under a readable key."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from microbatches import MODEL, MODEL_DIGEST, Reports, a_microbatch, a_task, a_way_out, keys

from safety import output_sanity
from safety.allow_token import Tokens, pixels_sha256
from safety.onnx_screen import open_screen
from safety.output_screen import OutputScreen
from safety.policy import STANDARD, STRICT
from schemas.errors import (
    AquatintError,
    NotAllowed,
    ScreenMissing,
    SigningRefused,
    SigningUnavailable,
    StoreFull,
    StoreUnavailable,
)
from schemas.microbatch import ImageTask
from schemas.outcome import ImageBlocked, ImageFailed, ImageHeld, ImageRendered, Outcome, QuarantineRef
from schemas.provenance import Watermark
from schemas.states import Stage
from schemas.verdict import Decision, Verdict
from storage.objects.memory import MemoryStore
from workers import shelf
from workers.fetch import Fetcher
from workers.finishing import Candidate, Finishing
from workers.gpu import Gpu
from workers.null_renderer import NullRenderer
from workers.policy_screens import PolicyScreens
from workers.ports import OutputScreen as OutputPort
from workers.render import Ports, render_microbatch
from workers.shelf import Permitted
from workers.stop import Stop
from workers.watchdog import Watchdog

Answer = Callable[[Sequence[Any]], Any]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "RETRY_DELAYS", ())


class Scripted:
    """A classifier whose answer the test writes."""

    name, version, model_sha256, categories = "scripted", "1", "a" * 64, ("sexual",)

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def self_test(self) -> None:
        return None

    def check(self, images: Sequence[Any]) -> Any:
        return self.answer(images)


def harmless(images: Sequence[Any]) -> list[dict[str, float]]:
    return [{"sexual": 0.01} for _ in images]


def asked(policy_digest: str = STANDARD.digest, **fields: Any) -> ImageTask:
    """A task with a customer's copy, so that there are three readable keys to keep clean."""
    base = a_task(1, copy_key="shop/1.png")
    spec = base.spec.model_copy(update={"policy_digest": policy_digest, **fields})
    return base.model_copy(update={"spec": spec, "digest": spec.digest})


@dataclass(kw_only=True)
class WayThrough:
    """One worker's way from pixels to the store, whole unless a test breaks a part of it."""

    io: ThreadPoolExecutor
    answer: Answer = harmless
    screen: OutputPort | None = None
    pixels: Callable[[], Any] | None = None
    encode: Any = None
    watermarker: Any = None
    quarantine: Any = None
    timeout_seconds: float = 60
    store: MemoryStore = field(default_factory=lambda: MemoryStore(bucket="results"))

    def run(self, task: ImageTask) -> Outcome:
        def stores(_tenant: str) -> MemoryStore:
            return self.store

        renderer = NullRenderer({MODEL: MODEL_DIGEST})
        if self.pixels is not None:
            made = self.pixels
            renderer.render = lambda works, **_: [made() for _ in works]  # type: ignore[method-assign]
        usual = OutputScreen(
            policy=STANDARD,
            screens=[Scripted(self.answer)],
            domain="open",
            timeout_seconds=self.timeout_seconds,
        )
        plain = a_way_out(stores, self.quarantine)
        way_out = type(plain)(
            encode=self.encode or plain.encode, watermarker=self.watermarker, quarantine=self.quarantine
        )
        ports = Ports(
            renderer=renderer,
            fetch=Fetcher(stores, renderer).fetch,
            screen=self.screen or PolicyScreens({STANDARD.digest: usual.check}),
            finishing=Finishing(way_out=way_out, stores=stores),
            stores=stores,
            reporter=Reports(),
            gpu=Gpu(Watchdog()),
            stop=Stop(),
            io=self.io,
        )
        finished = render_microbatch(a_microbatch(task), ports, redelivered=False, now=time.time)
        return finished.outcomes[0]

    def fails(self, task: ImageTask | None = None) -> tuple[Stage, str, bool]:
        """How the image failed; nothing at all lies in the store."""
        outcome = self.run(task or asked())
        assert keys(self.store) == []
        assert isinstance(outcome, ImageFailed), outcome
        return outcome.failure.stage, outcome.failure.code, outcome.failure.retryable


@pytest.fixture
def way() -> Iterator[WayThrough]:
    with ThreadPoolExecutor(2) as pool:
        yield WayThrough(io=pool)


def test_a_whole_way_publishes(way: WayThrough) -> None:
    """With nothing broken the picture, its copy and its receipt are there: what follows is not empty for other reasons."""
    outcome = way.run(asked())

    assert isinstance(outcome, ImageRendered)
    assert [key.split("/")[0] for key in keys(way.store)] == ["images", "receipts", "shop"]


def killed_process(_images: Sequence[Any]) -> Any:
    """A classifier in a process of its own that is killed while it looks."""
    program = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    return subprocess.run([sys.executable, "-S", "-c", program], check=True).returncode


def dying_thread(_images: Sequence[Any]) -> Any:
    raise SystemExit("the thread of the classifier ends")


def raising(_images: Sequence[Any]) -> Any:
    raise MemoryError("no room for the picture")


BAD_ANSWERS: dict[str, Answer] = {
    "killed process": killed_process,
    "dying thread": dying_thread,
    "exception": raising,
    "NaN": lambda images: [{"sexual": float("nan")} for _ in images],
    "infinite": lambda images: [{"sexual": float("inf")} for _ in images],
    "above one": lambda images: [{"sexual": 1.01} for _ in images],
    "negative": lambda images: [{"sexual": -0.01} for _ in images],
    "unknown label": lambda images: [{"sexual": 0.0, "nonsense": 0.0} for _ in images],
    "other label": lambda images: [{"violence_graphic": 0.0} for _ in images],
    "no label": lambda images: [{} for _ in images],
    "no score": lambda images: [{"sexual": None} for _ in images],
    "text": lambda images: [{"sexual": "harmless"} for _ in images],
    "too many answers": lambda images: harmless([*images, None]),
    "no answers": lambda _images: [],
    "no list": lambda _images: None,
    "an array": lambda images: np.zeros((len(images), 1)),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_a_classifier_without_a_usable_answer(way: WayThrough, name: str) -> None:
    """Whatever a classifier does instead of answering, the picture is not published, and may be tried again."""
    way.answer = BAD_ANSWERS[name]

    assert way.fails() == (Stage.SCREEN, "screen_incomplete", True)


def test_a_classifier_that_does_not_answer_in_time(way: WayThrough) -> None:
    """A classifier that hangs is given up; the picture is not published, then or later."""
    over, waited = threading.Event(), threading.Event()

    def hang(images: Sequence[Any]) -> Any:
        over.wait(60)
        waited.set()
        return harmless(images)

    way.answer, way.timeout_seconds = hang, 0.05
    assert way.fails() == (Stage.SCREEN, "screen_incomplete", True)
    over.set()
    assert waited.wait(60) and keys(way.store) == []


@pytest.fixture(scope="module")
def tiny() -> ModuleType:
    path = Path(__file__).parents[2] / "fixtures" / "safety" / "make_tiny_classifier.py"
    spec = importlib.util.spec_from_file_location("make_tiny_classifier", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault("make_tiny_classifier", module)
    spec.loader.exec_module(module)
    return module


def a_red_picture() -> Any:
    red = np.zeros((64, 64, 3), dtype=np.uint8)
    red[..., 0] = np.linspace(180, 255, 64, dtype=np.uint8)
    return red


def test_a_model_file_that_is_swapped_after_the_start(
    way: WayThrough, tiny: ModuleType, tmp_path: Path
) -> None:
    """The model that was hashed at the start is the one that judges; the file in its place is refused at the next start."""
    path, sha256 = tiny.write_screen(tmp_path)
    opened = open_screen(path, sha256=sha256)
    screen = OutputScreen(policy=STANDARD, screens=[opened], domain="open")
    way.screen, way.pixels = PolicyScreens({STANDARD.digest: screen.check}), a_red_picture
    path.write_bytes(tiny.tiny_model(bias=100.0))

    assert isinstance(way.run(asked()), ImageBlocked)
    assert keys(way.store) == []
    with pytest.raises(ScreenMissing, match="digest"):
        open_screen(path, sha256=sha256)


BAD_PICTURES: dict[str, Callable[[], Any]] = {
    "NaN": lambda: np.full((64, 64, 3), np.nan, dtype=np.float32),
    "floats": lambda: np.zeros((64, 64, 3), dtype=np.float32),
    "smaller": lambda: np.zeros((32, 64, 3), dtype=np.uint8),
    "grey": lambda: np.zeros((64, 64), dtype=np.uint8),
    "with alpha": lambda: np.zeros((64, 64, 4), dtype=np.uint8),
}


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_a_render_that_is_no_picture(way: WayThrough, name: str) -> None:
    """Samples that are not a picture of the size asked for end where they were made."""
    way.pixels = BAD_PICTURES[name]

    assert way.fails()[:2] == (Stage.GENERATE, "bad_picture")


def test_a_blank_picture(way: WayThrough) -> None:
    """A blank picture would be blank again: it is broken for good."""
    way.pixels = lambda: np.zeros((64, 64, 3), dtype=np.uint8)

    assert way.fails() == (Stage.SCREEN, "picture_broken", False)


def test_a_broken_look_at_the_picture(way: WayThrough, monkeypatch: pytest.MonkeyPatch) -> None:
    """When even the look whether it is a picture breaks, the picture does not leave."""

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(output_sanity, "inspect", broken)
    assert way.fails() == (Stage.SCREEN, "screen_incomplete", True)


def screens_of(verdict: Verdict, count: int | None = None) -> OutputPort:
    return lambda pixels, specs: [verdict] * (len(specs) if count is None else count)


def a_verdict(**fields: Any) -> Verdict:
    base = {"stage": "output", "decision": Decision.ALLOW, "policy": "p", "policy_digest": STANDARD.digest}
    return Verdict.model_validate({**base, **fields})


WRONG_VERDICTS: dict[str, tuple[OutputPort, Stage, str]] = {
    "another policy": (screens_of(a_verdict(policy_digest=STRICT.digest)), Stage.STORE, "not_allowed"),
    "another stage": (screens_of(a_verdict(stage="prompt")), Stage.STORE, "not_allowed"),
    "an upload's": (screens_of(a_verdict(stage="upload")), Stage.STORE, "not_allowed"),
    "none": (screens_of(a_verdict(), 0), Stage.SCREEN, "screen_error"),
    "two": (screens_of(a_verdict(), 2), Stage.SCREEN, "screen_error"),
    "no verdict": (lambda _pixels, specs: [None for _ in specs], Stage.SCREEN, "screen_error"),  # type: ignore[misc]
}


@pytest.mark.parametrize("name", WRONG_VERDICTS)
def test_a_verdict_that_is_not_about_this_picture(way: WayThrough, name: str) -> None:
    """A verdict that is missing, or is of another stage or policy, lets nothing through."""
    way.screen, stage, code = WRONG_VERDICTS[name]

    assert way.fails()[:2] == (stage, code)


def test_a_policy_that_was_withdrawn(way: WayThrough) -> None:
    """An image planned under a policy that is gone ends with a reason of its own, and stays unpublished."""
    assert way.fails(asked("d" * 64)) == (Stage.SCREEN, "policy_withdrawn", False)


def test_a_policy_that_is_not_ready(way: WayThrough) -> None:
    """An installed policy that lacks a screen on this worker publishes nothing and says what is missing."""
    way.screen = PolicyScreens({}, unready={STRICT.digest: ScreenMissing("install one")})

    assert way.fails(asked(STRICT.digest)) == (Stage.SCREEN, "screen_missing", False)


def test_pixels_that_change_after_the_check(way: WayThrough) -> None:
    """Whoever writes to the picture between the verdict and the file is found out: the permission names other pixels."""

    def allow_then_repaint(pixels: Sequence[Any], specs: Sequence[Any]) -> list[Verdict]:
        for picture in pixels:
            picture.flags.writeable = True
            picture[:32] = 255 - picture[:32]
        return [a_verdict() for _ in specs]

    way.screen = allow_then_repaint
    assert way.fails() == (Stage.STORE, "not_allowed", False)


def test_a_screen_cannot_write_to_the_picture_by_mistake(way: WayThrough) -> None:
    """Pixels under screening are read-only: a classifier that writes to them fails, and its picture with it."""

    def scribble(images: Sequence[Any]) -> Any:
        images[0][:] = 0
        return harmless(images)

    way.answer = scribble
    assert way.fails() == (Stage.SCREEN, "screen_incomplete", True)


class Marker:
    """A watermarker that does as the test says."""

    name = "marker"

    def __init__(self, mark: Callable[[Any], Any]) -> None:
        self._mark = mark

    def mark(self, pixels: Any, digest: str) -> tuple[Any, Watermark]:
        return self._mark(pixels), Watermark(name=self.name, payload=digest[:8])

    def read(self, pixels: Any) -> Watermark | None:
        return None


BAD_MARKS: dict[str, Callable[[Any], Any]] = {
    "exception": raising,
    "NaN": lambda pixels: np.full(pixels.shape, np.nan, dtype=np.float32),
    "smaller": lambda pixels: pixels[:-1],
    "nothing": lambda _pixels: None,
}


@pytest.mark.parametrize("name", BAD_MARKS)
def test_a_watermark_that_fails(way: WayThrough, name: str) -> None:
    """Where pictures are marked, one that cannot be marked is not published unmarked."""
    way.watermarker = Marker(BAD_MARKS[name])

    assert way.fails() == (Stage.GENERATE, "watermark_failed", True)


def test_the_screens_see_the_marked_picture(way: WayThrough) -> None:
    """The mark comes before the check: what is judged is what is published, mark included."""
    seen: list[str] = []

    def look(images: Sequence[Any]) -> Any:
        seen.extend(pixels_sha256(image) for image in images)
        return harmless(images)

    marked: list[str] = []

    def encode(task: ImageTask, pixels: Any, watermark: Watermark | None) -> Any:
        marked.append(pixels_sha256(pixels))
        assert watermark is not None and watermark.payload == task.digest[:8]
        return a_way_out(lambda _tenant: way.store).encode(task, pixels, watermark)

    way.watermarker, way.answer, way.encode = Marker(lambda pixels: pixels ^ 1), look, encode
    assert isinstance(way.run(asked()), ImageRendered)
    assert seen == marked


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (SigningRefused(), "signing_refused", False),
        (SigningUnavailable(), "signing_unavailable", True),
        (TimeoutError("the signing service"), "store_error", False),
        (MemoryError(), "store_error", False),
    ],
)
def test_a_signature_that_fails(way: WayThrough, error: Exception, code: str, retryable: bool) -> None:
    """A picture that cannot be encoded or signed does not leave unsigned."""
    way.encode = failing(error)

    assert way.fails() == (Stage.STORE, code, retryable)


class Kept:
    """A quarantine that remembers."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.pictures = error, 0

    def keep(self, task: ImageTask, pixels: Any, verdict: Verdict, **_: Any) -> QuarantineRef:
        if self.error is not None:
            raise self.error
        assert verdict.decision is Decision.REVIEW
        self.pictures += 1
        return QuarantineRef(key=f"quarantine/{task.image}", sha256=pixels_sha256(pixels))


def doubtful(images: Sequence[Any]) -> list[dict[str, float]]:
    return [{"sexual": 0.65} for _ in images]


def test_a_doubtful_picture_is_held(way: WayThrough) -> None:
    """A picture for a reviewer goes to the quarantine and lies under no readable key."""
    way.answer, way.quarantine = doubtful, Kept()

    outcome = way.run(asked())
    assert isinstance(outcome, ImageHeld) and outcome.verdict.found == ("sexual",)
    assert way.quarantine.pictures == 1 and keys(way.store) == []


@pytest.mark.parametrize(
    ("quarantine", "code", "retryable"),
    [
        (None, "no_quarantine", False),
        (Kept(StoreUnavailable()), "store_unavailable", True),
        (Kept(StoreFull()), "store_full", False),
        (Kept(OSError("disk")), "store_error", False),
    ],
)
def test_a_quarantine_that_cannot_be_written(
    way: WayThrough, quarantine: Kept | None, code: str, retryable: bool
) -> None:
    """A doubtful picture that cannot be held fails; it is never published for want of a place."""
    way.answer, way.quarantine = doubtful, quarantine

    assert way.fails() == (Stage.STORE, code, retryable)


def test_a_policy_may_call_a_person_instead(way: WayThrough) -> None:
    """Under `on_error = review` a picture without an answer is held, marked as not fully checked; what is broken fails."""
    policy = STANDARD.model_copy(update={"on_error": "review"})
    screen = OutputScreen(policy=policy, screens=[Scripted(raising)], domain="open")
    way.screen, way.quarantine = PolicyScreens({policy.digest: screen.check}), Kept()

    held = way.run(asked(policy.digest))
    assert isinstance(held, ImageHeld) and held.verdict.degraded and keys(way.store) == []
    way.pixels = lambda: np.zeros((64, 64, 3), dtype=np.uint8)
    assert way.fails(asked(policy.digest))[1] == "picture_broken"


def test_a_finding_outweighs_a_missing_answer() -> None:
    """What one classifier blocks stays blocked when another one breaks under `on_error = review`."""
    policy = STANDARD.model_copy(update={"on_error": "review"})
    finds = Scripted(lambda images: [{"sexual": 0.9} for _ in images])
    screen = OutputScreen(policy=policy, screens=[Scripted(raising), finds], domain="open")
    picture = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)

    (verdict,) = screen.check([picture], [asked(policy.digest).spec])
    assert verdict.decision is Decision.BLOCK


def put_with(task: ImageTask, permitted: Permitted, tokens: Tokens, store: MemoryStore) -> ImageRendered:
    return shelf.put(
        task,
        permitted,
        verifier=tokens.verifier,
        encode=a_way_out(lambda _tenant: store).encode,
        rendered_with=NullRenderer({}).rendered_with,
        store=store,
    )


@dataclass
class Permission:
    """A picture, checked and permitted, and the clock that both sides of the key look at."""

    now: float = 1_000.0
    task: ImageTask = field(default_factory=asked)
    store: MemoryStore = field(default_factory=lambda: MemoryStore(bucket="results"))

    def __post_init__(self) -> None:
        self.pixels = np.random.default_rng(7).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        self.tokens = Tokens.of_this_process(clock=lambda: self.now)
        self.verdict = a_verdict()
        self.token = self.tokens.issuer.issue(
            self.verdict, pixels_sha256(self.pixels), digest=self.task.digest, tenant=self.task.tenant
        )

    def put(self, **instead: Any) -> ImageRendered:
        task = instead.pop("task", self.task)
        tokens = instead.pop("tokens", self.tokens)
        given = {"pixels": self.pixels, "token": self.token, "verdict": self.verdict, **instead}
        return put_with(task, Permitted(**given), tokens, self.store)


def test_a_permission_is_good_once() -> None:
    """A token that has been redeemed stores nothing more, and neither does a copy of it."""
    one = Permission()
    one.put()
    for key in keys(one.store):
        one.store.delete(key)

    for again in (one.token, one.token.model_copy()):
        with pytest.raises(NotAllowed, match="used before"):
            one.put(token=again)
    assert keys(one.store) == []


def forged(field_name: str, value: Any) -> Callable[[Permission], dict[str, Any]]:
    return lambda one: {"token": one.token.model_copy(update={field_name: value})}


def expired(one: Permission) -> dict[str, Any]:
    one.now += 301
    return {}


def from_the_future(one: Permission) -> dict[str, Any]:
    one.now -= 60
    return {}


def for_another_task(**fields: Any) -> Callable[[Permission], dict[str, Any]]:
    return lambda one: {"task": one.task.model_copy(update=fields)}


def another_policy(one: Permission) -> dict[str, Any]:
    spec = one.task.spec.model_copy(update={"policy_digest": STRICT.digest})
    return {"task": one.task.model_copy(update={"spec": spec})}


def one_sample_changed(one: Permission) -> dict[str, Any]:
    pixels = one.pixels.copy()
    pixels[-1, -1, -1] ^= 1
    return {"pixels": pixels}


REFUSED: dict[str, Callable[[Permission], dict[str, Any]]] = {
    "one sample changed": one_sample_changed,
    "another form of the same samples": lambda one: {"pixels": one.pixels.reshape(32, 128, 3)},
    "expired": expired,
    "issued later": from_the_future,
    "another tenant": for_another_task(tenant="other"),
    "another digest": for_another_task(digest="e" * 64),
    "another policy": another_policy,
    "another process": lambda one: {"tokens": Tokens.of_this_process(clock=lambda: one.now)},
    "forged signature": forged("signature", "f" * 64),
    "forged expiry": forged("expires_at", 1e12),
    "forged tenant": forged("tenant", "other"),
    "forged pixels": forged("pixels_sha256", "f" * 64),
    "forged nonce": forged("nonce", "0" * 32),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_permission_that_does_not_fit(name: str) -> None:
    """A token for anything but these pixels, this digest, policy, tenant and time stores nothing."""
    one = Permission()

    with pytest.raises(NotAllowed) as refused:
        one.put(**REFUSED[name](one))
    assert keys(one.store) == []
    assert isinstance(refused.value, AquatintError) and not refused.value.retryable


@pytest.mark.parametrize("decision", [Decision.REVIEW, Decision.BLOCK, Decision.ERROR])
def test_only_what_is_allowed_is_permitted(decision: Decision) -> None:
    """No token is issued for any decision but ALLOW, also where a released picture is published."""
    store = MemoryStore(bucket="results")
    finishing = Finishing(way_out=a_way_out(lambda _tenant: store), stores=lambda _tenant: store)
    pixels = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    candidate = Candidate(pixels=pixels, sha256=pixels_sha256(pixels))

    with pytest.raises(NotAllowed):
        finishing.publish(asked(), candidate, a_verdict(decision=decision), NullRenderer({}).rendered_with)
    assert keys(store) == []


def test_two_threads_cannot_redeem_one_permission() -> None:
    """Of many that redeem the same token at once, one succeeds."""
    one = Permission()
    facts = {
        "digest": one.task.digest,
        "policy_digest": STANDARD.digest,
        "tenant": one.task.tenant,
    }

    def redeem(_: int) -> bool:
        try:
            one.tokens.verifier.redeem(one.token, one.pixels, **facts)
        except NotAllowed:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(redeem, range(64))) == 1
