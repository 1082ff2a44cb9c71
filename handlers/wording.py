"""What is to be said of a request's pictures, put together from its recipe, its sender and its prompt."""

from __future__ import annotations

from collections.abc import Callable, Collection

from pydantic import TypeAdapter

from safety.descriptions import DUPLICATE
from schemas.description import MAX_ALT_CHARS, Description, DescriptionPlan
from schemas.errors import PromptRefused, ScreenMissing
from schemas.request import GenerationRequest
from schemas.verdict import Decision, Verdict
from schemas.webhook import ImageSummary

DESCRIPTIONS = TypeAdapter(tuple[Description, ...])


def word_plan(request: GenerationRequest, known: DescriptionPlan | None) -> DescriptionPlan:
    """What is known of the pictures, with what the request asks for beyond its recipe."""
    plan = known or DescriptionPlan(prompt=request.prompt)
    output = request.output
    languages = output.languages or tuple(dict.fromkeys([*plan.languages, *output.alt]))
    changes = {
        "languages": languages,
        "given": {lang: text for lang, text in output.alt.items() if lang in languages},
        "role": "decorative" if output.decorative else plan.role,
    }
    return plan.model_copy(update=changes)


def check_words(screen: Callable[[str], Verdict], plan: DescriptionPlan) -> None:
    """Screen the words that stand in no prompt: alt texts are published as pictures are.

    Raises PromptRefused for words that the policy refuses, ScreenMissing when they could not be checked.
    """
    for text in (*plan.given.values(), *plan.unscreened):
        verdict = screen(text)
        if verdict.decision is Decision.ERROR:
            raise ScreenMissing("the alt text could not be checked", field="output.alt")
        if verdict.decision is not Decision.ALLOW:
            raise PromptRefused(
                f"not allowed by policy {verdict.policy}: {', '.join(verdict.reasons)}",
                field="output.alt",
                limit=verdict.policy,
                reasons=verdict.reasons,
            )


def descriptions_json(said: tuple[Description, ...]) -> str:
    """As the ledger keeps them."""
    return DESCRIPTIONS.dump_json(said, exclude_defaults=True).decode()


def with_duplicates(image: ImageSummary, shared: Collection[str]) -> ImageSummary:
    """The image with a mark on its main description where another product of its batch has the same alt text."""
    if image.alt not in shared or not image.descriptions:
        return image
    first = image.descriptions[0]
    marked = first.model_copy(update={"faults": (*first.faults, DUPLICATE), "needs_review": True})
    return image.model_copy(update={"descriptions": (marked, *image.descriptions[1:])})


def prompt_as_alt(plan: DescriptionPlan) -> tuple[Description, ...]:
    """The twin of `safety.descriptions.describe`, for planners that describe nothing."""
    lang = (*plan.languages, "en")[0]
    alt = plan.given.get(lang) or plan.alts.get(lang) or plan.prompt
    return (Description(lang=lang, alt=alt[:MAX_ALT_CHARS], source="prompt"),)
