"""The prompt screen: verdicts, limits, pair rules, fail closed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safety.policy import STANDARD, STRICT, StageRules
from safety.prompt_screen import PromptScreen
from safety.rule_pack import PairRule, RulePack, TermGroup, built_in_packs
from schemas.errors import PromptRefused, ScreenMissing
from schemas.verdict import Decision

SCREEN = PromptScreen(STANDARD, built_in_packs())
BENIGN = [
    "a red ceramic mug on a white background",
    "blue sneaker, close-up, 35mm f/1.8",
    "Kinderschuhe aus Leder",
    "une lampe en bois",
]

#: Two neutral words stand for the two halves of a pair rule.
PAIR_PACK = RulePack(
    id="pair",
    version="1",
    language="en",
    groups=(
        TermGroup(kind="word", marks=("left",), terms=("grault",)),
        TermGroup(kind="word", marks=("right",), terms=("garply",)),
    ),
    pairs=(PairRule(first="left", second="right", category="extremism"),),
)


def test_a_plain_prompt_is_allowed() -> None:
    """An ordinary prompt passes, and the verdict says which checks and which policy did it."""
    verdict = SCREEN.check("a red mug", "blurry")

    assert verdict.decision is Decision.ALLOW
    assert verdict.policy_digest == STANDARD.digest
    assert [(check.name, check.status) for check in verdict.checks] == [("prompt_rules", "ok")]
    assert verdict.checks[0].model_sha256 == SCREEN.packs_sha256


@pytest.mark.parametrize(
    ("prompt", "category"),
    [
        ("a nude figure", "sexual"), ("gore everywhere", "violence_graphic"), ("a beheading", "violence_graphic"),
        ("a wall with a swastika", "hate_symbols"), ("bomb instructions", "illicit"), ("self-harm", "self_harm"),
        ("terrorist propaganda poster", "extremism"), ("eine enthauptung", "violence_graphic"), ("une croix gammée", "hate_symbols"),
        ("una esvástica", "hate_symbols"), ("una svastica", "hate_symbols"), ("Bombenbauanleitung", "illicit"),
    ],
)  # fmt: skip
def test_listed_terms_are_blocked(prompt: str, category: str) -> None:
    """A listed term gives its category, a reason code, and nothing of the term."""
    verdict = SCREEN.check(prompt)

    assert verdict.decision is Decision.BLOCK
    assert set(verdict.categories) == {category}
    assert verdict.reasons == ("prompt.listed_term",)


@pytest.mark.parametrize("term", ["beheading", "swastika", "hakenkreuz", "hentai", "bomb"])
def test_the_term_never_leaves_the_screen(term: str) -> None:
    """No verdict, and no representation of the screen's findings, holds the matched term."""
    text = f"{term} instructions"

    assert term not in SCREEN.check(text).model_dump_json().lower()
    assert term not in SCREEN.check("a mug", text).model_dump_json().lower()


def test_the_negative_prompt_is_screened() -> None:
    """What may not be asked for may not be asked for in the negative prompt either; the reason names the field."""
    verdict = SCREEN.check("a red mug", "swastika")

    assert verdict.decision is Decision.BLOCK
    assert verdict.reasons == ("negative_prompt.listed_term",)


@pytest.mark.parametrize(
    ("prompt", "negative"),
    [
        ("grault with garply", ""),
        ("grault", "garply"),
        ("garply", "grault"),
        ("g r a u l t, g@rply", ""),
        ("ǥrault", "GARPLY"),
    ],
)
def test_pair_rules_look_everywhere(prompt: str, negative: str) -> None:
    """Two harmless words that a pair rule joins are blocked wherever they stand, under any disguise."""
    verdict = PromptScreen(STANDARD, [PAIR_PACK]).check(prompt, negative)

    assert verdict.decision is Decision.BLOCK
    assert verdict.reasons == ("prompt.pair_rule",)
    assert set(verdict.categories) == {"extremism"}


@pytest.mark.parametrize("prompt", ["grault", "garply", "a grault of graults"])
def test_one_half_of_a_pair_is_allowed(prompt: str) -> None:
    """One mark alone is no finding."""
    assert PromptScreen(STANDARD, [PAIR_PACK]).check(prompt).decision is Decision.ALLOW


def test_person_generation_follows_the_policy() -> None:
    """A policy for adults only refuses children in the picture, not products for them."""
    strict = PromptScreen(STRICT, built_in_packs())

    refused = strict.check("a child on a beach")
    assert refused.decision is Decision.BLOCK
    assert refused.reasons == ("prompt.person_generation",)
    assert strict.check("kids shoes").decision is Decision.ALLOW
    assert SCREEN.check("a child on a beach").decision is Decision.ALLOW


def test_nobody_at_all() -> None:
    """With person_generation none, a person in the prompt is refused."""
    screen = PromptScreen(STANDARD.model_copy(update={"person_generation": "none"}), built_in_packs())

    assert screen.check("a woman in a red dress").reasons == ("prompt.person_generation",)
    assert screen.check("a red dress on a hanger").decision is Decision.ALLOW


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a" * 2001, "too_long"),
        ("mug \ud800", "invalid_text"),
        ("m\u200bu\u200bg" * 10, "hidden_characters"),
        ("\x01" * 20, "hidden_characters"),
    ],
)
def test_limits(text: str, reason: str) -> None:
    """Too long, not text, or full of invisible characters: refused before any rule is looked at, in either field."""
    assert SCREEN.check(text).reasons == (f"prompt.{reason}",)
    assert SCREEN.check("a mug", text).reasons == (f"negative_prompt.{reason}",)
    assert SCREEN.check(text).decision is Decision.BLOCK


def test_emoji_and_right_to_left_text_pass() -> None:
    """A few joiners and variation selectors belong to ordinary text."""
    assert SCREEN.check("سلام می‌خواهم 👨‍👩‍👧 ❤️").decision is Decision.ALLOW


def test_a_fault_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception inside the screen becomes ERROR: it never raises and never allows."""

    def broken(*_: object) -> None:
        raise RuntimeError("secret words")

    screen = PromptScreen(STANDARD, [PAIR_PACK])
    monkeypatch.setattr("safety.prompt_screen.count_hidden", broken)
    verdict = screen.check("a red mug")

    assert verdict.decision is Decision.ERROR
    assert verdict.reasons == ("prompt.screen_failed",)
    assert verdict.checks[0].status == "error"
    assert "secret words" not in verdict.model_dump_json()


def test_what_is_not_text_is_an_error() -> None:
    """A caller's mistake is not an allowed prompt."""
    assert SCREEN.check(None).decision is Decision.ERROR  # type: ignore[arg-type]


def test_a_required_check_that_nobody_does() -> None:
    """A policy that requires a check this screen does not have gets ERROR with the check named as missing."""
    stages = tuple(
        StageRules(
            stage="prompt", thresholds=rules.thresholds, required_checks=("prompt_rules", "prompt_guard")
        )
        if rules.stage == "prompt"
        else rules
        for rules in STANDARD.stages
    )
    verdict = PromptScreen(STANDARD.model_copy(update={"stages": stages}), [PAIR_PACK]).check("a red mug")

    assert verdict.decision is Decision.ERROR
    assert [(check.name, check.status) for check in verdict.checks] == [
        ("prompt_rules", "ok"),
        ("prompt_guard", "missing"),
    ]


def test_no_rules_is_no_screen() -> None:
    """A screen without a single term is refused at construction."""
    with pytest.raises(ScreenMissing):
        PromptScreen(STANDARD, [])


@given(st.text(st.characters(), max_size=120), st.text(st.characters(), max_size=40))
def test_any_text_gets_a_verdict(prompt: str, negative: str) -> None:
    """No text raises, and no text is an internal fault."""
    assert SCREEN.check(prompt, negative).decision is not Decision.ERROR


@given(
    st.sampled_from(BENIGN),
    st.lists(
        st.tuples(st.integers(0, 60), st.sampled_from("\u200b\u200d\u034f\u00ad\ufe0f\u2060")), max_size=6
    ),
    st.booleans(),
)
def test_harmless_stays_harmless(prompt: str, insertions: list[tuple[int, str]], upper: bool) -> None:
    """A harmless prompt's verdict depends neither on case nor on a few invisible characters."""
    text = prompt.upper() if upper else prompt
    for at, hidden in insertions:
        text = text[:at] + hidden + text[at:]

    assert SCREEN.check(text).decision is SCREEN.check(prompt).decision is Decision.ALLOW


@given(
    st.sampled_from(["swastika", "hentai", "beheading"]),
    st.integers(1, 6),
    st.sampled_from("\u200b\u034f\u00ad\ufe0f-._*"),
    st.booleans(),
)
def test_a_listed_term_stays_listed(term: str, at: int, sign: str, upper: bool) -> None:
    """One sign anywhere inside a listed term, in any case, does not hide it."""
    cut = term[:at] + sign + term[at:]

    assert SCREEN.check(f"a {cut.upper() if upper else cut} picture").decision is Decision.BLOCK


def test_words_beside_prompts_are_insisted_on() -> None:
    """Captions and trigger words that the policy refuses are an error that names their field and not their words."""
    SCREEN.insist({"trigger": "our style", "caption": "a red mug"})
    with pytest.raises(PromptRefused) as refusal:
        SCREEN.insist({"trigger": "our style", "caption": "a beheading"})

    assert refusal.value.field == "caption" and refusal.value.reasons == ("caption.listed_term",)
    assert "beheading" not in refusal.value.detail
    with pytest.raises(ScreenMissing):
        SCREEN.insist({"caption": None})  # type: ignore[dict-item]


def test_policies_share_their_rules() -> None:
    """The same compiled rules under another policy: another decision, the same digest of the packs."""
    strict = SCREEN.under(STRICT)

    assert strict.packs_sha256 == SCREEN.packs_sha256
    assert strict.check("a child on a beach").decision is Decision.BLOCK
    assert SCREEN.check("a child on a beach").decision is Decision.ALLOW
