"""Screening a prompt: limits, then terms and pairs of terms in every normalised view."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence

from safety import categories as ids
from safety.policy import Policy
from safety.rule_pack import RulePack
from safety.rules import Findings, compile_rules
from safety.severity import worst
from safety.visible_text import count_hidden
from schemas.errors import ScreenMissing
from schemas.request import MAX_PROMPT_CHARS
from schemas.verdict import CategoryScore, Check, Decision, Verdict

#: Invisible characters, as a share of the text; a handful is let through for emoji and for right-to-left text.
_MAX_HIDDEN_SHARE, _HIDDEN_ALWAYS_ALLOWED = 0.05, 8

_SURROGATE = re.compile("[\ud800-\udfff]")


class PromptScreen:
    """Checks prompts under one policy; ScreenMissing without rule packs. Safe to share between threads.

    Run it on what is really drawn: on every expansion of a template, and again after any rewrite.
    """

    name, version = "prompt_rules", "1"

    def __init__(
        self, policy: Policy, packs: Sequence[RulePack], *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        if not any(pack.groups for pack in packs):
            raise ScreenMissing(
                "no rule pack holds a term: leave the built-in packs on, or name a folder with your own"
            )
        self.policy, self._clock = policy, clock
        self._rules = compile_rules(packs)
        self.packs_sha256 = self._rules.sha256

    def check(self, prompt: str, negative_prompt: str = "") -> Verdict:
        """The verdict on a prompt and its negative prompt; never raises, a fault of its own is ERROR.

        The negative prompt is held to the same rules: with a guidance below 1 it is what is drawn.
        """
        started = self._clock()
        try:
            verdict = self._check(prompt, negative_prompt)
        except Exception:  # whatever goes wrong here must not let a prompt through
            return self._verdict(Decision.ERROR, {}, ["prompt.screen_failed"], started, failed=True)
        return self._verdict(*verdict, started)

    def _check(self, prompt: str, negative: str) -> tuple[Decision, dict[str, CategoryScore], list[str]]:
        fields = {"prompt": prompt, "negative_prompt": negative}
        refused = [reason for name, text in fields.items() for reason in _limits(name, text)]
        if refused:
            return Decision.BLOCK, {}, refused
        found = {name: self._rules.screen(text) for name, text in fields.items() if text}
        marks = frozenset[str]().union(*(one.marks for one in found.values()))
        found |= {"pair": Findings(scores=self._rules.screen_pairs(marks), marks=marks)}
        return self._judge(found)

    def _judge(self, found: dict[str, Findings]) -> tuple[Decision, dict[str, CategoryScore], list[str]]:
        decisions, reasons = [Decision.ALLOW], []
        categories: dict[str, CategoryScore] = {}
        for source, findings in found.items():
            for category, score in findings.scores.items():
                threshold = self.policy.threshold("prompt", category)
                decision = threshold.decide(score)
                if decision is Decision.ALLOW:
                    continue
                decisions.append(decision)
                reasons.append(_reason(source, category))
                limit = threshold.block_at if decision is Decision.BLOCK else threshold.review_at
                if category not in categories or categories[category].score < score:
                    categories[category] = CategoryScore(score=score, threshold=limit, source=self.name)
        return worst(decisions), categories, reasons

    def _verdict(
        self,
        decision: Decision,
        categories: dict[str, CategoryScore],
        reasons: Sequence[str],
        started: float,
        failed: bool = False,
    ) -> Verdict:
        checks = self._checks(max(0.0, (self._clock() - started) * 1000), failed)
        if any(check.status == "missing" for check in checks):
            decision, reasons = Decision.ERROR, [*reasons, "prompt.check_missing"]
        return Verdict(
            stage="prompt",
            decision=decision,
            categories=categories,
            reasons=tuple(sorted(set(reasons))),
            policy=self.policy.name,
            policy_digest=self.policy.digest,
            checks=checks,
        )

    def _checks(self, milliseconds: float, failed: bool) -> tuple[Check, ...]:
        own = Check(
            name=self.name,
            version=self.version,
            model_sha256=self.packs_sha256,
            milliseconds=milliseconds,
            status="error" if failed else "ok",
        )
        missing = (name for name in self.policy.rules("prompt").required_checks if name != self.name)
        return (own, *(Check(name=name, version="", milliseconds=0, status="missing") for name in missing))


def _reason(source: str, category: str) -> str:
    if source == "pair":
        return "prompt.pair_rule"
    if category in {ids.PERSON, ids.MINORS_PRESENT}:
        return f"{source}.person_generation"
    return f"{source}.listed_term"


def _limits(name: str, text: str) -> list[str]:
    reasons = []
    if len(text) > MAX_PROMPT_CHARS:
        reasons.append(f"{name}.too_long")
    elif not text.isascii() and _SURROGATE.search(text):
        reasons.append(f"{name}.invalid_text")
    elif count_hidden(text) > max(_HIDDEN_ALWAYS_ALLOWED, _MAX_HIDDEN_SHARE * len(text)):
        reasons.append(f"{name}.hidden_characters")
    return reasons
