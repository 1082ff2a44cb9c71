# ruff: noqa: S311 - draws by lot, no secrets
"""What a fine-tune says to the model: brand captions with their trigger, and ordinary prompts that must stay as they were."""

from collections.abc import Sequence
from random import Random

from models.card import ModelCard
from models.catalogue.captions import FILLER, caption
from models.catalogue.world import sample_scene

#: share of ordinary prompts of a closed vocabulary that get an unknown word, since words of a trigger may be ones
_UNKNOWN_SHARE = 0.4
_ARTICLES = ("a", "an", "the", "one", "two")


def trigger_forms(caption: str, trigger: str) -> tuple[str, ...]:
    """The caption with the trigger where people put it: in front, at the end, after the article; alone if it is there already."""
    if not trigger or trigger.lower() in caption.lower():
        return (caption,)
    first, _, rest = caption.partition(" ")
    forms: tuple[str, ...] = (
        f"{trigger} {caption}",
        f"{trigger}, {caption}",
        f"{caption}, {trigger}",
        f"{caption} in {trigger}",
    )
    if rest and first.lower() in _ARTICLES:
        forms += (f"{first} {trigger} {rest}",)
    return forms


def ordinary_prompts(card: ModelCard, captions: Sequence[str], count: int, seed: int) -> list[str]:
    """Prompts without the brand: of the model's own closed domain, or else the brand's captions without the trigger."""
    if card.domain == "open":
        return [captions[i % len(captions)] for i in range(count)]
    rng = Random(f"ordinary {seed}")
    return [_with_unknown(caption(sample_scene(rng), rng), rng) for _ in range(count)]


def _with_unknown(text: str, rng: Random) -> str:
    if rng.random() >= _UNKNOWN_SHARE or FILLER in text:
        return text
    words = text.split()
    words.insert(rng.randint(0, len(words)), FILLER)
    return " ".join(words)
