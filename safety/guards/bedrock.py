"""A guardrail of Amazon Bedrock, applied to the text alone (ApplyGuardrail)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from safety import categories as ids
from safety.guards.port import GuardFault, checked

#: Its content filters by our categories. None: known, and not about pictures.
FILTERS: Mapping[str, str | None] = {
    "SEXUAL": ids.SEXUAL,
    "VIOLENCE": ids.VIOLENCE_GRAPHIC,
    "HATE": ids.HATE_SYMBOLS,
    "INSULTS": None,
    "MISCONDUCT": ids.ILLICIT,
    "PROMPT_ATTACK": "policy_custom:prompt-attack",
}
CONFIDENCE: Mapping[str, float] = {"NONE": 0.0, "LOW": 0.4, "MEDIUM": 0.7, "HIGH": 1.0}
#: For what a guardrail stops by its own topics, words or expressions: the operator has configured that.
OTHER = "policy_custom:bedrock-guardrail"


class BedrockGuard:
    """Asks one version of one guardrail."""

    name = "bedrock_guardrail"

    def __init__(self, *, client: Any, guardrail: str, version: str) -> None:
        """`client` is boto3's for ``bedrock-runtime``; see `open_client`."""
        self._client, self._guardrail = client, guardrail
        self.version = version

    def ask(self, text: str) -> Mapping[str, float]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._client.apply_guardrail(
                guardrailIdentifier=self._guardrail,
                guardrailVersion=self.version,
                source="INPUT",
                content=[{"text": {"text": text}}],
            )
        except (BotoCoreError, ClientError) as error:
            # The message of a validation error quotes what was sent.
            raise GuardFault(f"{self.name}: {type(error).__name__}") from None
        return self._scores(answer)

    def _scores(self, answer: Mapping[str, Any]) -> dict[str, float]:
        action = answer.get("action")
        if action not in {"NONE", "GUARDRAIL_INTERVENED"}:
            raise GuardFault(f"{self.name}: an action nobody knows")
        found: dict[str, float] = {}
        for assessment in answer.get("assessments", ()):
            for one in assessment.get("contentPolicy", {}).get("filters", ()):
                kind, confidence = one.get("type"), one.get("confidence")
                if kind not in FILTERS or confidence not in CONFIDENCE:
                    raise GuardFault(f"{self.name}: a filter nobody knows")
                category = FILTERS[kind]
                if category is not None:
                    found[category] = max(found.get(category, 0.0), CONFIDENCE[confidence])
        if action == "GUARDRAIL_INTERVENED" and not any(found.values()):
            found[OTHER] = 1.0
        return checked(self.name, found)


def open_client(*, region: str = "", timeout_seconds: float = 2.0) -> Any:
    """boto3's client with a deadline and one retry."""
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=timeout_seconds,
        read_timeout=timeout_seconds,
        retries={"total_max_attempts": 2, "mode": "standard"},
    )
    return boto3.client("bedrock-runtime", region_name=region or None, config=config)
