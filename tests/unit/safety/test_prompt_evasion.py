"""Bypass: no disguise of a listed term passes."""

import random
from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.catalogue.world import BACKGROUNDS, COLOURS, KINDS, LAYOUTS, MATERIALS
from safety.evaluation.mutations import ListedTerm, listed_terms, mutate, mutation_suite, ordinary_texts
from safety.prompt_screen import PromptScreen
from safety.rule_pack import RulePack, TermGroup, built_in_packs
from safety.rules import RuleSet, compile_rules
from schemas.verdict import Decision

CARRIERS = ("{}", "a photo of {} on a table", "picture: {}, detailed")
#: Of the disguises of each term; all of them are run by benchmarks/safety_prompts.py.
AT_LEAST = 24


@pytest.fixture(scope="module")
def rules(packs: tuple[RulePack, ...]) -> RuleSet:
    return compile_rules(packs)


def found_as_listed(rules: RuleSet, text: str, term: ListedTerm) -> bool:
    found = rules.screen(text)
    return (term.category is None or term.category in found.scores) and set(term.marks) <= found.marks


@pytest.mark.parametrize("pack", [pack.id for pack in built_in_packs() if pack.groups])
def test_no_disguise_of_a_listed_term_passes(pack: str, packs: tuple[RulePack, ...], rules: RuleSet) -> None:
    """Every listed term is found under each of more than twenty disguises: bypass 0."""
    ordinary = ordinary_texts(packs)
    passed = []
    for number, term in enumerate(listed_terms([one for one in packs if one.id == pack])):
        made = [one for one in mutate(term.text, number, ordinary) if one.covered]
        chosen = random.Random(number).sample(made, AT_LEAST)
        carrier = (
            CARRIERS[number % 3]
            if found_as_listed(rules, CARRIERS[number % 3].format(term.text), term)
            else CARRIERS[2]
        )
        passed += [
            (one.mutator, term.text)
            for one in chosen
            if not found_as_listed(rules, carrier.format(one.text), term)
        ]

    assert passed == []


@settings(max_examples=20)
@given(st.text("abcdefghijklmnoprstuvwz", min_size=6, max_size=14), st.integers(0, 10**6))
def test_no_disguise_of_any_word_passes(word: str, seed: int) -> None:
    """What holds for our terms holds for an operator's: the disguises are undone in general, not one by one."""
    pack = RulePack(
        id="own",
        version="1",
        language="en",
        groups=(TermGroup(kind="word", category="illicit", terms=(word,)),),
        glued_with=("big", "photo"),
    )
    rules = compile_rules([pack])
    missed = [
        one.mutator
        for one in mutate(word, seed)
        if one.covered and "illicit" not in rules.screen(f"picture: {one.text}, detailed").scores
    ]

    assert missed == []


def test_the_suite_is_reproducible(packs: tuple[RulePack, ...]) -> None:
    """The same packs and seed give the same cases, at least twenty for each term, all of which should be refused."""
    small = [pack.model_copy(update={"groups": pack.groups[:2]}) for pack in packs if pack.id == "de"]
    suite = mutation_suite(small)
    per_term: dict[str, int] = {}
    for case in suite.cases:
        per_term[case.cluster] = per_term.get(case.cluster, 0) + 1

    assert suite.sha256 == mutation_suite(small).sha256 != mutation_suite(small, seed=1).sha256
    assert min(per_term.values()) >= 20
    assert {case.expected for case in suite.cases} == {"refuse"}


def test_every_starter_caption_passes(any_screen: PromptScreen) -> None:
    """Nothing that the starter model can draw is refused."""
    captions = [
        f"a {material} {colour} {kind} on a {background} background, {layout}"
        for kind in KINDS
        for colour in COLOURS
        for background, layout, material in zip(BACKGROUNDS, cycle(LAYOUTS), cycle(MATERIALS), strict=False)
    ]

    assert len(captions) > 1000
    assert [text for text in captions if any_screen.check(text).decision is not Decision.ALLOW] == []
