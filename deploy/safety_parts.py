"""The parts that decide what may pass: policies, screens, permission, signatures, standing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from deploy.base_parts import BaseParts, version
from schemas.errors import BadSettings, ScreenMissing

if TYPE_CHECKING:
    from handlers.reviewing import ReviewTerms
    from handlers.standing import AbuseParams, Gate
    from handlers.variations import Variations
    from safety.image_screen import ImageScreen
    from safety.policy import Policy
    from safety.policy_book import PolicyBook
    from safety.prompt_reading import PromptReader
    from safety.prompt_screen import PromptScreen
    from safety.provenance.signing import CredentialSigner
    from safety.provenance.watermark import Watermarker
    from safety.rule_pack import RulePack
    from workers.finishing import WayOut
    from workers.ports import OutputScreen


@dataclass(frozen=True, kw_only=True)
class SafetyParts(BaseParts):
    """What an installation lets through, and under which policy."""

    @cached_property
    def policies(self) -> PolicyBook:
        """Every policy that requests may name."""
        from safety.policy_book import open_book, read_tenants
        from safety.policy_files import load_policies

        settings = self.settings
        return open_book(
            load_policies(settings.policies) if settings.policies else (),
            default=settings.policy,
            floor=settings.policy_floor,
            tenants=read_tenants(settings.tenant_policies) if settings.tenant_policies else None,
        )

    @property
    def policy(self) -> Policy:
        """That of requests that name none."""
        return self.policies.default

    @cached_property
    def rule_packs(self) -> tuple[RulePack, ...]:
        from safety.rule_pack import active_packs, built_in_packs, load_packs

        folder = self.settings.rule_packs
        if folder is not None and not folder.is_dir():
            raise BadSettings(f"{folder} is not a folder", field="AQUATINT_RULE_PACKS")
        packs = built_in_packs() + (load_packs(folder) if folder else ())
        return active_packs(packs, datetime.now(UTC).date())

    @cached_property
    def prompt_screens(self) -> dict[Policy, PromptScreen]:
        """The prompt rules under each policy, compiled once, with the guards that the settings name."""
        from deploy.prompt_guards import open_desk, open_similarity
        from safety.prompt_screen import PromptScreen
        from storage.sealing import derive_key

        screen = PromptScreen(
            self.policy,
            self.rule_packs,
            desk=open_desk(self.settings, derive_key(self.secret, "prompt-guards")),
            similarity=open_similarity(self.settings),
        )
        return {policy: screen.under(policy) for policy in self.policies.all}

    @cached_property
    def prompt_reader(self) -> PromptReader | None:
        """Tells what a closed-domain model will draw; None for an open one, which draws more than words can be listed for."""
        from safety.prompt_reading import PromptReader

        return PromptReader(self.card.vocabulary) if self.card.domain == "closed" else None

    @cached_property
    def image_screens(self) -> tuple[ImageScreen, ...]:
        from deploy.screen_book import open_screens

        return open_screens(self.settings, self.home.path) + self.hash_screens

    @cached_property
    def hash_screens(self) -> tuple[ImageScreen, ...]:
        """One over all hash lists of the operator; none without a list."""
        from safety.hash_match import HashScreen, read_lists

        listed = read_lists(self.settings.hash_lists) if self.settings.hash_lists else ()
        return (HashScreen(listed),) if listed else ()

    @cached_property
    def output_screen(self) -> OutputScreen:
        """Screens each picture under the policy it was asked under; ScreenMissing when that cannot be done here."""
        from safety.readiness import ensure_ready
        from workers.policy_screens import PolicyScreens

        for policy in self.policies.needed:
            ensure_ready(policy, self.image_screens, self.offer)
        ready, unready = {}, {}
        for policy in self.policies.all:
            try:
                ready[policy.digest] = self._screen_under(policy)
            except ScreenMissing as error:  # a built-in policy that nobody uses need not be served
                unready[policy.digest] = error
        return PolicyScreens(ready, unready=unready)

    def _screen_under(self, policy: Policy) -> OutputScreen:
        from safety.output_screen import OutputScreen
        from safety.readiness import ensure_covered

        ensure_covered(policy, self.image_screens, self.offer)
        return OutputScreen(
            policy=policy,
            screens=self.image_screens,
            domain=self.offer.domain,
            card_digest=self.offer.digest,
            upload_screening=self.settings.upload_screening,
        ).check

    @cached_property
    def way_out(self) -> WayOut:
        """What a worker's pictures pass on their way to the store."""
        from workers.encode import Encoder
        from workers.finishing import WayOut

        encoder = Encoder(stores=self.results_of, signer=self.signer)
        return WayOut(encode=encoder.encode, watermarker=self.watermarker, quarantine=self.quarantine)

    @cached_property
    def signer(self) -> CredentialSigner | None:
        """What signs each picture; None only where the operator turned that off."""
        from deploy.signing import signing_identity
        from safety.provenance.signing import CredentialSigner

        if self.settings.c2pa == "off":
            return None
        return CredentialSigner(
            signing_identity(self.settings, self.home),
            version=version(),
            timestamp_url=self.settings.c2pa_timestamp_url,
            training_use=self.settings.c2pa_training,
        )

    @cached_property
    def watermarker(self) -> Watermarker | None:
        """What hides a mark in each picture; None where the operator brings no weights for one."""
        from deploy.signing import open_watermarker

        return open_watermarker(self.settings)

    @cached_property
    def variations(self) -> Variations | None:
        """What fairness adds to prompts; None where no tenant has turned it on."""
        from deploy.fairness_rules import load_rules
        from handlers.turns import Turns
        from handlers.variations import Variations
        from storage.sealing import derive_key

        rules = load_rules(self.settings.fairness)
        return Variations(rules=rules, turns=Turns(self.ledger, derive_key(self.secret, "rotation"))) if rules else None

    @property
    def abuse(self) -> AbuseParams | None:
        """None where tenants are not judged by what is refused to them."""
        from handlers.standing import AbuseParams

        settings = self.settings
        if settings.abuse == "off" or (settings.abuse == "auto" and not settings.api_tokens):
            return None
        return AbuseParams(
            window_seconds=settings.abuse_window_minutes * 60.0,
            throttle_refusals=settings.abuse_throttle_refusals,
            throttle_rate=settings.abuse_throttle_rate,
            suspend_refusals=settings.abuse_suspend_refusals,
            suspend_rate=settings.abuse_suspend_rate,
            throttled_per_minute=settings.abuse_throttled_per_minute,
        )

    @cached_property
    def gate(self) -> Gate:
        from handlers.standing import AbuseParams, Gate

        # Without judging by rates, too: what an operator says holds everywhere.
        return Gate(self.ledger, self.abuse or AbuseParams(), time.time)

    @cached_property
    def review_terms(self) -> ReviewTerms:
        from handlers.reviewing import ReviewTerms

        def keep_seconds(policy_digest: str) -> float:
            policy = self.policies.of_digest(policy_digest)
            own = policy.keep_quarantine_days if policy else None
            return 86400.0 * (self.settings.quarantine_days if own is None else own)

        return ReviewTerms(review_seconds=self.settings.review_hours * 3600.0, keep_seconds=keep_seconds)
