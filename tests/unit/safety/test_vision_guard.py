"""The vision-language guard: asked over HTTP, believed only when its first token is clear."""

import base64
import io
import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from safety.guards.breaker import Breaker
from safety.image_screen import ImageScreen, ScreenFault
from safety.output_screen import OutputScreen
from safety.policy import STANDARD
from safety.screens.vlm_guard import QUESTIONS, VisionGuard, read_questions, yes_probability
from schemas.errors import ScreenMissing
from schemas.render_spec import RenderSpec
from schemas.verdict import Decision

Answer = tuple[int, bytes]
RNG = np.random.default_rng(1)


def said(*tokens: tuple[str, float]) -> bytes:
    first = {"top_logprobs": [{"token": token, "logprob": math.log(share)} for token, share in tokens]}
    return json.dumps(
        {"choices": [{"logprobs": {"content": [first]}, "message": {"content": "Yes"}}]}
    ).encode()


@contextmanager
def endpoint(answer: Callable[[dict[str, Any]], Answer]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    seen: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append(body | {"path": self.path, "authorization": self.headers.get("Authorization")})
            status, data = answer(body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def guard(url: str, categories: tuple[str, ...] = ("sexual",), **more: Any) -> VisionGuard:
    questions = {name: QUESTIONS[name] for name in categories}
    return VisionGuard(url=url, model="shield", key="secret", questions=questions, **more)


def picture(height: int = 20, width: int = 30) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def policy_of(body: dict[str, Any]) -> str:
    return str(body["messages"][0]["content"][1]["text"])


def shown(body: dict[str, Any]) -> np.ndarray:
    link = body["messages"][0]["content"][0]["image_url"]["url"]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(link.partition(",")[2]))))


def test_a_score_per_picture_and_category() -> None:
    """Each picture is asked about each category; the answers land where they belong."""

    def answer(body: dict[str, Any]) -> Answer:
        bright = shown(body).mean() > 128
        yes = 0.9 if bright and "violence" in policy_of(body) else 0.2
        return 200, said(("Yes", yes), ("No", 1 - yes))

    with endpoint(answer) as (url, seen):
        screen = guard(url, ("sexual", "violence_graphic"))
        dark, light = screen.check([np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)])

    assert isinstance(screen, ImageScreen)
    assert dark == pytest.approx({"sexual": 0.2, "violence_graphic": 0.2})
    assert light == pytest.approx({"sexual": 0.2, "violence_graphic": 0.9})
    assert len(seen) == 4
    assert {body["path"] for body in seen} == {"/v1/chat/completions"}
    assert {body["authorization"] for body in seen} == {"Bearer secret"}
    assert all(body["logprobs"] and body["max_tokens"] == 1 and body["temperature"] == 0 for body in seen)


def test_the_very_pixels_are_shown() -> None:
    """Small pictures go out losslessly; large ones are made as large as such models see."""
    small, large = picture(), picture(1000, 2000)
    with endpoint(lambda _: (200, said(("No", 1.0)))) as (url, seen):
        guard(url, at_once=1).check([small, large])

    np.testing.assert_array_equal(shown(seen[0]), small)
    assert shown(seen[1]).shape == (448, 896, 3)


@pytest.mark.parametrize(
    "response",
    [
        b"", b"{}", b"[]", b"null", b'{"choices": []}', b'{"choices": [{"logprobs": null}]}',
        b'{"choices": [{"message": {"content": "No"}}]}',
        said(("Maybe", 0.9), ("No", 0.1)), said(("Sure", 1.0)),
        json.dumps({"choices": [{"logprobs": {"content": [{"top_logprobs": [{"token": "No", "logprob": float("nan")}]}]}}]}).encode(),
        json.dumps({"choices": [{"logprobs": {"content": [{"top_logprobs": [{"token": "No", "logprob": 5.0}]}]}}]}).encode(),
        said(("No", 0.9), ("no", 0.9)),
        b"x" * 2_000_000,
    ],
    ids=lambda value: repr(value[:60]),
)  # fmt: skip
def test_an_unclear_answer_is_no_answer(response: bytes) -> None:
    """A text without probabilities, other words, NaN, impossible probabilities, endless replies: nothing is published."""
    with endpoint(lambda _: (200, response)) as (url, _), pytest.raises(ScreenFault):
        guard(url).check([picture()])


def test_one_question_without_an_answer_spoils_only_its_picture() -> None:
    """A picture whose question fails has NaN there, which no caller publishes; its neighbour keeps its scores."""

    def answer(body: dict[str, Any]) -> Answer:
        return (400, b"") if shown(body).mean() > 128 else (200, said(("No", 1.0)))

    with endpoint(answer) as (url, _):
        screen = OutputScreen(policy=STANDARD, screens=[guard(url)], domain="open")
        spec = RenderSpec(
            model="m", model_digest="b" * 64, prompt="a mug", seed=1, width=30, height=20, steps=8, guidance=1,
            policy_digest=STANDARD.digest,
        )  # fmt: skip
        failed, passed = screen.check([picture() // 3 + 170, picture() // 3], [spec, spec])

    assert (failed.decision, passed.decision) == (Decision.ERROR, Decision.ALLOW)


def test_trouble_is_tried_once_more() -> None:
    """A busy endpoint is asked a second time, a refusal is not."""
    answers = [(503, b""), (200, said(("No", 1.0)))]
    with endpoint(lambda _: answers.pop(0)) as (url, seen):
        assert guard(url).check([picture()])[0]["sexual"] == 0.0
    assert len(seen) == 2

    with endpoint(lambda _: (401, b"")) as (url, seen), pytest.raises(ScreenFault):
        guard(url).check([picture()])
    assert len(seen) == 1


def test_a_slow_endpoint_is_given_up() -> None:
    """An endpoint that does not answer in time has not answered."""
    release = threading.Event()

    def answer(_: dict[str, Any]) -> Answer:
        release.wait(30)
        return 200, b""

    with endpoint(answer) as (url, _):
        try:
            with pytest.raises(ScreenFault):
                guard(url, timeout_seconds=0.05).check([picture()])
        finally:
            release.set()


def test_an_endpoint_that_keeps_failing_is_left_alone() -> None:
    """After failures in a row nothing is sent for a while and nothing passes; then a probe brings it back."""
    now, answers = [0.0], [(400, b"")] * 2 + [(200, said(("No", 1.0)))] * 2
    breaker = Breaker(open_after_failures=2, first_pause_seconds=5, clock=lambda: now[0])
    with endpoint(lambda _: answers.pop(0)) as (url, seen):
        screen = guard(url, breaker=breaker)
        for asked in (1, 2, 2, 2):
            with pytest.raises(ScreenFault):
                screen.check([picture()])
            assert len(seen) == asked
        now[0] = 6.0
        assert screen.check([picture()])[0]["sexual"] == 0.0
        assert screen.check([]) == []


def test_the_self_test_needs_sense() -> None:
    """An endpoint that finds something in a plain grey picture, or does not answer, is not ready."""
    with endpoint(lambda _: (200, said(("Yes", 0.1), ("No", 0.9)))) as (url, _):
        guard(url).self_test()
    with endpoint(lambda _: (200, said(("Yes", 1.0)))) as (url, _), pytest.raises(ScreenFault, match="grey"):
        guard(url).self_test()
    with pytest.raises(ScreenFault):
        guard(url).self_test()


@given(
    st.floats(1e-6, 1 - 1e-6),
    st.sampled_from(["Yes", " yes", "YES", "▁Yes"]),
    st.sampled_from(["No", "no", " No"]),
)
def test_spellings_of_one_word_are_one(yes: float, one: str, other: str) -> None:
    """Tokens that differ by case and leading space are the same answer."""
    assert yes_probability(json.loads(said((one, yes), (other, 1 - yes)))) == pytest.approx(yes)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(["choices", "logprobs", "content", "top_logprobs", "token", "logprob"]), inner
            )
        ),
    )
)
def test_nothing_makes_the_parser_fall_over(response: Any) -> None:
    """Whatever comes back is a probability or NaN."""
    score = yes_probability(response)

    assert math.isnan(score) or 0 <= score <= 1


def test_questions(tmp_path: Path) -> None:
    """Built-in texts, replaced or added to by the operator's file; what has no text cannot be asked."""
    own = tmp_path / "questions.json"
    own.write_text(json.dumps({"sexual": "mine", "policy_custom:tobacco": "No tobacco."}))

    assert read_questions(["sexual", "policy_custom:tobacco"], own) == {
        "sexual": "mine",
        "policy_custom:tobacco": "No tobacco.",
    }
    assert read_questions(["hate_symbols"], None) == {"hate_symbols": QUESTIONS["hate_symbols"]}
    for categories, path in (
        [["nonsense"], None],
        [[], None],
        [["sexual"], tmp_path / "absent"],
        [["policy_custom:x"], own],
    ):
        with pytest.raises(ScreenMissing):
            read_questions(categories, path)
    own.write_text('{"sexual": 1}')
    with pytest.raises(ScreenMissing, match="texts"):
        read_questions(["sexual"], own)


def test_other_questions_are_another_screen() -> None:
    """The digest in a verdict tells which model was asked what."""
    digests = {
        guard("http://127.0.0.1:9", ("sexual",)).model_sha256,
        guard("http://127.0.0.1:9", ("sexual", "illicit")).model_sha256,
        VisionGuard(
            url="http://127.0.0.1:9", model="other", questions={"sexual": QUESTIONS["sexual"]}
        ).model_sha256,
    }

    assert len(digests) == 3
