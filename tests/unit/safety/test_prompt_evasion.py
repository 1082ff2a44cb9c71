"""Bypass and over-block: disguised terms are found, everyday prompts pass."""

import importlib.util
from itertools import cycle
from pathlib import Path
from types import ModuleType

import pytest

from models.catalogue.world import BACKGROUNDS, COLOURS, KINDS, LAYOUTS, MATERIALS
from safety.prompt_screen import PromptScreen
from schemas.verdict import Decision

FIXTURES = Path(__file__).parents[2] / "fixtures" / "safety"
TERMS = [
    "nude", "naked", "hentai", "gore", "beheading", "swastika", "bomb instructions", "self harm", "neonazi", "pornographic",
    "hakenkreuz", "enthauptung", "decapitation", "croix gammée", "esvástica", "suicidio", "svastica", "passaporto falso",
]  # fmt: skip


def load_evasions() -> ModuleType:
    spec = importlib.util.spec_from_file_location("safety_evasions", FIXTURES / "evasions.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def near_misses() -> list[tuple[str, str]]:
    lines = (FIXTURES / "near_misses.txt").read_text("utf-8").splitlines()
    return [(line.split("\t")[0], line.split("\t")[1]) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("term", TERMS)
def test_no_disguise_of_a_listed_term_passes(term: str, any_screen: PromptScreen) -> None:
    """Every one of more than twenty disguises of a listed term is refused: bypass 0."""
    evasions = load_evasions().EVASIONS
    passed = [
        name
        for name, disguise in evasions.items()
        if any_screen.check(f"a photo of {disguise(term)} on a table").decision is Decision.ALLOW
    ]

    assert len(evasions) >= 20
    assert passed == []


def test_everyday_prompts_pass(any_screen: PromptScreen) -> None:
    """At most two in a hundred everyday prompts that look like listed ones are held or blocked."""
    prompts = near_misses()
    stopped = [text for _, text in prompts if any_screen.check(text).decision is not Decision.ALLOW]

    assert len(prompts) >= 120
    assert len({language for language, _ in prompts}) >= 5
    assert len(stopped) <= 0.02 * len(prompts), stopped


def test_everyday_prompts_pass_as_capitals(standard_screen: PromptScreen) -> None:
    """Shouting does not make an everyday prompt suspicious."""
    prompts = near_misses()
    stopped = [
        text for _, text in prompts if standard_screen.check(text.upper()).decision is not Decision.ALLOW
    ]

    assert len(stopped) <= 0.02 * len(prompts), stopped


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
