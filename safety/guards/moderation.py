"""The moderation endpoint of the OpenAI API: a score per category."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from safety import categories as ids
from safety.guards.json_service import JsonService
from safety.guards.port import GuardFault, checked

#: Its categories by ours. None: known, and not about pictures.
CATEGORIES: Mapping[str, str | None] = {
    "sexual": ids.SEXUAL,
    "sexual/minors": ids.SEXUAL_MINORS,
    "violence": None,
    "violence/graphic": ids.VIOLENCE_GRAPHIC,
    "hate": ids.HATE_SYMBOLS,
    "hate/threatening": ids.HATE_SYMBOLS,
    "harassment": None,
    "harassment/threatening": None,
    "self-harm": ids.SELF_HARM,
    "self-harm/intent": ids.SELF_HARM,
    "self-harm/instructions": ids.SELF_HARM,
    "illicit": ids.ILLICIT,
    "illicit/violent": ids.ILLICIT,
}
#: Models before omni-moderation have no scores for these.
_MAY_BE_MISSING = frozenset({"illicit", "illicit/violent"})


class ModerationGuard:
    """Asks the moderation endpoint; the score of a category of ours is the highest of its own."""

    name = "moderation"

    def __init__(
        self,
        *,
        url: str,
        model: str,
        key: str,
        timeout_seconds: float = 2.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.version = model
        self._service = JsonService(
            self.name, url, key=key, timeout_seconds=timeout_seconds, transport=transport
        )

    def ask(self, text: str) -> Mapping[str, float]:
        answer = self._service.post("moderations", {"model": self.version, "input": text})
        try:
            (result,) = answer["results"]
            scores, flags = dict(result["category_scores"]), dict(result["categories"])
        except (KeyError, TypeError, ValueError):
            raise GuardFault(f"{self.name}: not a moderation answer") from None
        if any(flags.get(label) for label in flags.keys() - CATEGORIES.keys()):
            raise GuardFault(f"{self.name}: flagged for a category nobody knows")
        if CATEGORIES.keys() - _MAY_BE_MISSING - scores.keys():
            raise GuardFault(f"{self.name}: a score is missing")
        return self._by_category(scores)

    def _by_category(self, scores: Mapping[str, float]) -> dict[str, float]:
        found: dict[str, float] = {}
        for label, category in CATEGORIES.items():
            if category is not None and label in scores:
                # Checked before it is compared: a NaN would hide behind any number.
                score = checked(self.name, {category: scores[label]})[category]
                found[category] = max(found.get(category, 0.0), score)
        return found
