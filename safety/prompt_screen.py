"""Screening a prompt: limits, then terms and pairs of terms in every normalised view, then guards that read it whole."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from safety import categories as ids
from safety.guards.desk import GuardDesk
from safety.policy import Policy
from safety.rule_pack import RulePack
from safety.rules import Findings, RuleSet, compile_rules
from safety.severity import worst
from safety.visible_text import count_hidden
from schemas.errors import PromptRefused, ScreenMissing
from schemas.request import MAX_PROMPT_CHARS
from schemas.verdict import CategoryScore, Check, Decision, Verdict

if TYPE_CHECKING:
    from safety.similarity import Similarity

#: Names under which a policy requires the checks that an installation may have or not.
GUARD_CHECK, SIMILARITY_CHECK = "prompt_guard", "prompt_similarity"

#: Invisible characters, as a share of the text; a handful is let through for emoji and for right-to-left text.
_MAX_HIDDEN_SHARE, _HIDDEN_ALWAYS_ALLOWED = 0.05, 8

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(kw_only=True)
class _Judgement:
    """What has been found so far under one policy."""

    policy: Policy
    decisions: list[Decision] = field(default_factory=list)
    categories: dict[str, CategoryScore] = field(default_factory=dict)
    reasons: set[str] = field(default_factory=set)
    checks: list[Check] = field(default_factory=list)
    degraded: bool = False

    @property
    def decision(self) -> Decision:
        return worst(self.decisions)

    def weigh(self, category: str, score: float, source: str, reason: str) -> None:
        """Add a finding, if the policy minds it."""
        threshold = self.policy.threshold("prompt", category)
        decision = threshold.decide(score)
        if decision is Decision.ALLOW:
            return
        limit = threshold.block_at if decision is Decision.BLOCK else threshold.review_at
        self.add(decision, category, CategoryScore(score=score, threshold=limit, source=source), reason)

    def add(self, decision: Decision, category: str, score: CategoryScore, reason: str) -> None:
        self.decisions.append(decision)
        self.reasons.add(reason)
        known = self.categories.get(category)
        if known is None or known.score < score.score:
            self.categories[category] = score

    def fail(self, reason: str) -> None:
        self.decisions.append(Decision.ERROR)
        self.reasons.add(reason)


class PromptScreen:
    """Checks prompts under one policy; ScreenMissing without rule packs. Safe to share between threads.

    Run it on what is really drawn: on every expansion of a template, and again after any rewrite.
    """

    name, version = "prompt_rules", "2"

    def __init__(
        self,
        policy: Policy,
        packs: Sequence[RulePack] | RuleSet,
        *,
        desk: GuardDesk | None = None,
        similarity: Similarity | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """With a `similarity`, guards of the `desk` are asked only about what resembles an exemplar or is in doubt."""
        if not isinstance(packs, RuleSet):
            if not any(pack.groups for pack in packs):
                raise ScreenMissing(
                    "no rule pack holds a term: leave the built-in packs on, or name a folder with your own"
                )
            packs = compile_rules(packs)
        self.policy, self._rules, self._clock = policy, packs, clock
        self._desk = desk if desk is not None and len(desk) else None
        self._similarity = similarity
        self.packs_sha256 = packs.sha256

    def under(self, policy: Policy) -> PromptScreen:
        """The screen of another policy over the same compiled rules, guards and their memory."""
        return PromptScreen(
            policy, self._rules, desk=self._desk, similarity=self._similarity, clock=self._clock
        )

    def check(self, prompt: str, negative_prompt: str = "") -> Verdict:
        """The verdict on a prompt and its negative prompt; never raises, a fault of its own is ERROR.

        The negative prompt is held to the same rules: with a guidance below 1 it is what is drawn.
        """
        return self.check_texts({"prompt": prompt, "negative_prompt": negative_prompt})

    def check_texts(self, texts: Mapping[str, str]) -> Verdict:
        """The verdict on several texts that belong together, by the names that its reasons give them; never raises."""
        started = self._clock()
        judged = _Judgement(policy=self.policy)
        status = "ok"
        try:
            self._judge(judged, texts)
        except Exception:  # whatever goes wrong here must not let a prompt through
            judged = _Judgement(policy=self.policy)
            judged.fail("prompt.screen_failed")
            status = "error"
        own = Check(
            name=self.name,
            version=self.version,
            model_sha256=self.packs_sha256,
            milliseconds=max(0.0, (self._clock() - started) * 1000),
            status=status,
        )
        return self._verdict(judged, own)

    def insist(self, texts: Mapping[str, str]) -> None:
        """Raise PromptRefused when the policy does not allow the texts, named by the field of the first reason.

        ScreenMissing when they could not be checked.
        """
        verdict = self.check_texts(texts)
        field = verdict.reasons[0].partition(".")[0] if verdict.reasons else None
        if verdict.decision is Decision.ERROR:
            raise ScreenMissing("the words could not be checked", field=next(iter(texts), None))
        if verdict.decision is not Decision.ALLOW:
            raise PromptRefused(
                f"not allowed by policy {verdict.policy}: {', '.join(verdict.reasons)}",
                field=field if field in texts else next(iter(texts), None),
                limit=verdict.policy,
                reasons=verdict.reasons,
            )

    def prepare(self, prompts: Iterable[tuple[str, str]]) -> None:
        """Ask the guards about many prompts and negative prompts at the same time; their answers are remembered.

        Without it each check asks by itself, one after the other. Never raises; nothing to do without guards.
        """
        if self._desk is None:
            return
        wanted = [text for pair in prompts for text in pair if text and self._concerns_guards(text)]
        self._desk.prepare(wanted)

    def _concerns_guards(self, text: str) -> bool:
        judged = _Judgement(policy=self.policy)
        try:
            self._judge_by_rules(judged, {"prompt": text})
            return judged.decision is not Decision.BLOCK and self._is_for_guards(
                judged, self._resembling(judged, {"prompt": text})
            )
        except Exception:  # the check itself will say so
            return False

    def _judge(self, judged: _Judgement, texts: Mapping[str, str]) -> None:
        self._judge_by_rules(judged, texts)
        if judged.decision is Decision.BLOCK:
            return  # nothing that follows could make it more than that
        resembling = self._resembling(judged, texts)
        if self._desk is not None and self._is_for_guards(judged, resembling):
            self._ask_guards(judged, self._desk, texts)
            return  # who reads the whole text knows better than a resemblance
        for category, score in resembling.items():
            judged.add(Decision.REVIEW, category, score, "prompt.resembles")

    def _judge_by_rules(self, judged: _Judgement, texts: Mapping[str, str]) -> None:
        refused = [reason for name, text in texts.items() for reason in _limits(name, text)]
        if refused:
            judged.decisions.append(Decision.BLOCK)
            judged.reasons.update(refused)
            return
        found = {name: self._rules.screen(text) for name, text in texts.items() if text}
        marks = frozenset[str]().union(*(one.marks for one in found.values()))
        found |= {"pair": Findings(scores=self._rules.screen_pairs(marks), marks=marks)}
        for source, findings in found.items():
            for category, score in findings.scores.items():
                judged.weigh(category, score, self.name, _reason(source, category))

    def _resembling(self, judged: _Judgement, texts: Mapping[str, str]) -> dict[str, CategoryScore]:
        if self._similarity is None:
            return {}
        started = self._clock()
        found: dict[str, CategoryScore] = {}
        for text in filter(None, texts.values()):
            for category, score in self._similarity.resembles(text).items():
                # What a policy never minds is not worth a look either.
                if self.policy.threshold("prompt", category).review_at <= 1.0:
                    found[category] = score
        judged.checks.append(
            Check(
                name=SIMILARITY_CHECK,
                version=self._similarity.version,
                model_sha256=self._similarity.model_sha256,
                milliseconds=max(0.0, (self._clock() - started) * 1000),
                status="ok",
            )
        )
        return found

    def _is_for_guards(self, judged: _Judgement, resembling: Mapping[str, CategoryScore]) -> bool:
        """Guards see everything, unless a similarity stands before them that picks, and the policy leaves it to that."""
        required = GUARD_CHECK in self.policy.rules("prompt").required_checks
        return required or self._similarity is None or bool(resembling) or judged.decision is Decision.REVIEW

    def _ask_guards(self, judged: _Judgement, desk: GuardDesk, texts: Mapping[str, str]) -> None:
        for name, text in texts.items():
            if not text:
                continue
            opinion = desk.opinion(text)
            judged.checks += opinion.checks
            for category, (score, guard) in opinion.scores.items():
                judged.weigh(category, score, guard, f"{name}.guard")
            judged.degraded |= not opinion.complete

    def _verdict(self, judged: _Judgement, own: Check) -> Verdict:
        checks = [own, *_once_each(judged.checks)]
        self._require(judged, checks)
        return Verdict(
            stage="prompt",
            decision=judged.decision,
            categories=judged.categories,
            reasons=tuple(sorted(judged.reasons)),
            policy=self.policy.name,
            policy_digest=self.policy.digest,
            checks=tuple(checks),
            degraded=judged.degraded,
        )

    def _require(self, judged: _Judgement, checks: list[Check]) -> None:
        """ERROR for a check that the policy requires and that gave no answer; what is blocked already stays blocked."""
        for name in self.policy.rules("prompt").required_checks:
            if name == self.name:
                continue
            if not self._has(name):
                checks.append(Check(name=name, version="", milliseconds=0, status="missing"))
                judged.fail("prompt.check_missing")
            elif name == GUARD_CHECK and judged.degraded:
                judged.fail("prompt.guard_failed")

    def _has(self, name: str) -> bool:
        return {GUARD_CHECK: self._desk is not None, SIMILARITY_CHECK: self._similarity is not None}.get(
            name, False
        )


def _once_each(checks: Sequence[Check]) -> list[Check]:
    """One line per check over all texts: its time is the sum, its status the worst."""
    found: dict[str, Check] = {}
    for check in checks:
        known = found.get(check.name)
        if known is None:
            found[check.name] = check
            continue
        status = known.status if known.status != "ok" else check.status
        spent = known.milliseconds + check.milliseconds
        found[check.name] = known.model_copy(update={"milliseconds": spent, "status": status})
    return list(found.values())


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
