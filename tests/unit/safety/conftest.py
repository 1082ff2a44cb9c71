"""The built-in packs and screens under both built-in policies, compiled once per session."""

import pytest

from safety.policy import STANDARD, STRICT
from safety.prompt_screen import PromptScreen
from safety.rule_pack import RulePack, built_in_packs


@pytest.fixture(scope="session")
def packs() -> tuple[RulePack, ...]:
    return built_in_packs()


@pytest.fixture(scope="session")
def standard_screen(packs: tuple[RulePack, ...]) -> PromptScreen:
    return PromptScreen(STANDARD, packs)


@pytest.fixture(scope="session", params=["strict", "standard"])
def any_screen(request: pytest.FixtureRequest, packs: tuple[RulePack, ...]) -> PromptScreen:
    return PromptScreen({"strict": STRICT, "standard": STANDARD}[request.param], packs)
