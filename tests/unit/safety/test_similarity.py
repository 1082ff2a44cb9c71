"""Resemblance raises a doubt and nothing more."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from safety.guards.desk import GuardDesk
from safety.policy import STANDARD, STRICT
from safety.prompt_screen import PromptScreen
from safety.rule_pack import built_in_packs
from safety.rules import compile_rules
from safety.similarity import Exemplars, Similarity, Vectors, read_exemplars
from schemas.errors import BadSettings
from schemas.verdict import Decision

RULES = compile_rules(built_in_packs())


class Bag:
    """An encoder of a test: one dimension per known word, unit length."""

    name, sha256 = "bag", "0" * 64
    words = ("storm", "ruin", "harvest", "field", "lamp")

    def encode(self, texts: Sequence[str]) -> Vectors:
        rows = (
            np.array([[text.split().count(word) for word in self.words] for text in texts], np.float32) + 1e-3
        )
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


EXEMPLARS = Exemplars(
    version="1",
    at_least=0.6,
    margin=0.1,
    categories={"violence_graphic": ("storm ruin",), "person": ("lamp lamp",)},
    harmless=("storm harvest field",),
)
SIMILARITY = Similarity(Bag(), EXEMPLARS)


def test_what_is_close_is_found_with_its_cosine() -> None:
    """A category is resembled from the threshold on."""
    found = SIMILARITY.resembles("storm ruin")

    assert set(found) == {"violence_graphic"}
    assert found["violence_graphic"].score == pytest.approx(1.0, abs=1e-3)
    assert SIMILARITY.resembles("harvest") == {}


def test_harmless_look_alikes_are_subtracted() -> None:
    """Closer to something harmless, by the margin, is no resemblance, however close it is."""
    assert SIMILARITY.resembles("storm ruin harvest field") == {}


def test_a_resemblance_is_held_for_review_at_most() -> None:
    """Never a block, and nothing where the policy does not mind the category."""
    screen = PromptScreen(STANDARD, RULES, similarity=SIMILARITY)
    held = screen.check("storm ruin")

    assert (held.decision, held.reasons) == (Decision.REVIEW, ("prompt.resembles",))
    assert screen.check("lamp lamp").decision is Decision.ALLOW
    assert screen.check("harvest").decision is Decision.ALLOW
    assert [check.name for check in held.checks] == ["prompt_rules", "prompt_similarity"]


class Judge:
    name, version = "judge", "1"

    def __init__(self, scores: Mapping[str, float]) -> None:
        self.scores, self.asked = scores, []

    def ask(self, text: str) -> Mapping[str, float]:
        self.asked.append(text)
        return self.scores


@pytest.mark.parametrize(
    ("scores", "decision"), [({}, Decision.ALLOW), ({"violence_graphic": 1.0}, Decision.BLOCK)]
)
def test_a_guard_settles_the_doubt(scores: Mapping[str, float], decision: Decision) -> None:
    """Where there is a guard, it is asked about what resembles something, and only about that."""
    judge = Judge(scores)
    screen = PromptScreen(STRICT, RULES, similarity=SIMILARITY, desk=GuardDesk([judge], key=b"k"))
    screen.prepare([("harvest", ""), ("storm ruin", "lamp")])

    assert screen.check("harvest").decision is Decision.ALLOW
    assert screen.check("storm ruin").decision is decision
    assert judge.asked == ["storm ruin"]


def test_a_fault_of_the_encoder_is_an_error() -> None:
    """A screen that cannot look does not let through."""

    class Broken(Bag):
        def encode(self, texts: Sequence[str]) -> Vectors:
            if "lamp" in texts:
                raise RuntimeError("no")
            return super().encode(texts)

    verdict = PromptScreen(STANDARD, RULES, similarity=Similarity(Broken(), EXEMPLARS)).check("lamp")
    assert verdict.decision is Decision.ERROR


def test_the_shipped_exemplars() -> None:
    """They are read, and each category has more than one."""
    shipped = read_exemplars()

    assert {"sexual", "violence_graphic", "hate_symbols", "extremism"} <= shipped.categories.keys()
    assert shipped.harmless and all(len(texts) > 1 for texts in shipped.categories.values())


@pytest.mark.parametrize(
    "text", ["{", '{"version": "1", "at_least": 0.5, "margin": 0, "categories": {"nonsense": ["a"]}}']
)
def test_bad_exemplars_are_refused(text: str, tmp_path: Path) -> None:
    """The operator is told which file and why."""
    path = tmp_path / "ours.json"
    path.write_text(text, "utf-8")

    with pytest.raises(BadSettings, match=r"ours\.json"):
        read_exemplars(path)
