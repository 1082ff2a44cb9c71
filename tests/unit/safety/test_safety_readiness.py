"""Readiness before the first picture, and what an operator reads about it."""

import subprocess
import sys

import pytest

from safety.policy import STANDARD, STRICT
from safety.readiness import ensure_ready
from safety.report import describe
from safety.rule_pack import RulePack
from schemas.errors import ScreenMissing
from schemas.model_offer import ModelOffer


class Installed:
    """A classifier that is there, and works or does not."""

    name, version, model_sha256 = "installed", "1", "a" * 64

    def __init__(self, *categories: str, works: bool = True) -> None:
        self.categories, self.works = categories, works

    def self_test(self) -> None:
        if not self.works:
            raise RuntimeError("known answer 1 differs")

    def check(self, images: object) -> list[dict[str, float]]:
        raise NotImplementedError


def offer(domain: str) -> ModelOffer:
    return ModelOffer(
        name="some-model", digest="d" * 64, sizes=((128, 128),), default_steps=8, max_steps=50, default_guidance=3,
        max_prompt_tokens=64, domain=domain,
    )  # fmt: skip


def test_a_closed_domain_is_ready() -> None:
    """A model that can only draw what its card lists needs no classifier."""
    ensure_ready(STRICT, [], offer("closed"))


def test_an_open_domain_is_ready_with_its_classifiers() -> None:
    """Required categories may be shared among classifiers."""
    ensure_ready(STANDARD, [Installed("sexual")], offer("open"))
    ensure_ready(STRICT, [Installed("sexual", "hate_symbols"), Installed("violence_graphic")], offer("open"))


@pytest.mark.parametrize(
    ("policy", "screens", "missing"),
    [
        (STANDARD, [], "sexual"),
        (STANDARD, [Installed("ip_logo")], "sexual"),
        (STRICT, [Installed("sexual")], "violence_graphic, hate_symbols"),
    ],
)
def test_an_open_domain_without_them_is_refused(
    policy: object, screens: list[Installed], missing: str
) -> None:
    """The refusal is one sentence that names the model, the policy, what is missing and what to do."""
    with pytest.raises(ScreenMissing) as refusal:
        ensure_ready(policy, screens, offer("open"))  # type: ignore[arg-type]

    sentence = refusal.value.detail
    assert "some-model" in sentence and missing in sentence and "install" in sentence
    assert "\n" not in sentence and ". " not in sentence


@pytest.mark.parametrize("domain", ["open", "closed"])
def test_a_broken_classifier_is_refused(domain: str) -> None:
    """A classifier that fails its self-test stops the start, in a closed domain too."""
    with pytest.raises(ScreenMissing, match="self-test"):
        ensure_ready(STANDARD, [Installed("sexual", works=False)], offer(domain))


def test_the_report(packs: tuple[RulePack, ...]) -> None:
    """Policy, packs and screens each have a line with a digest; a broken screen is told, not raised."""
    parts = describe([STRICT], packs, [Installed("sexual"), Installed("sexual", works=False)])

    assert [part.name for part in parts][:2] == ["policy strict", "rule pack de"]
    assert [part.ready for part in parts[-2:]] == [True, False]
    assert "violence_graphic" in parts[0].note
    assert all(len(part.sha256) == 64 for part in parts)


def test_prompt_screening_is_light() -> None:
    """Handlers screen prompts without loading arrays, pictures or a runtime."""
    code = (
        "import sys, safety.prompt_screen, safety.policy, safety.alt_text\n"
        "safety.prompt_screen.PromptScreen(safety.policy.STRICT, safety.rule_pack.built_in_packs()).check('a mug')\n"
        "print(sorted({'numpy', 'PIL', 'onnxruntime', 'torch'} & sys.modules.keys()))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=250
    )

    assert found.stdout.strip() == "[]"
