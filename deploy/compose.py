"""The composition root: settings in, concrete parts out. Only here do the rooms meet."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.home import Home, master_secret, prepare_home, previous_secret
from deploy.recipe_book import RecipeBook, load_recipes
from schemas.errors import BadSettings, ScreenMissing
from schemas.model_offer import ModelOffer
from schemas.request import Webhook
from schemas.settings import Settings

if TYPE_CHECKING:
    from handlers.finetunes import FinetunePlanner
    from handlers.input_book import InputCleaner
    from handlers.inputs import Inputs
    from handlers.intake import Intake
    from handlers.picture_fetch import PictureFetcher
    from handlers.planner import Planner
    from handlers.reviewing import ReviewTerms
    from handlers.standing import AbuseParams, Gate
    from handlers.triggers import Trigger
    from handlers.variations import Variations
    from handlers.webhooks.address_guard import AddressGuard
    from models.card import ModelCard
    from models.text import PromptTokenizer
    from safety.decoding.pool import DecoderPool
    from safety.image_screen import ImageScreen
    from safety.input_image import PictureReader
    from safety.policy import Policy
    from safety.policy_book import PolicyBook
    from safety.prompt_reading import PromptReader
    from safety.prompt_screen import PromptScreen
    from safety.provenance.signing import CredentialSigner
    from safety.provenance.watermark import Watermarker
    from safety.rule_pack import RulePack
    from safety.upload_judge import UploadJudge
    from safety.upload_screen import UploadScreening
    from schemas.verdict import Verdict
    from storage.broker.connection import BrokerSettings
    from storage.kept_inputs import KeptInputs
    from storage.ledger.adapters import AdapterRow
    from storage.ledger.engine import Ledger
    from storage.objects.signed_link import LinkSigner
    from storage.objects.store import ObjectStore
    from storage.quarantine import Vault
    from storage.sealing import MasterKeys
    from workers.brand_pictures import Stores as BrandStores
    from workers.finishing import WayOut
    from workers.input_reading import InputReader
    from workers.ports import OutputScreen, Renderer
    from workers.quarantine import Quarantine
    from workers.tuning import Tuner

#: The model that comes with Aquatint.
STARTER = Path(__file__).parent.parent / "models" / "starter"
RESULTS, UPLOADS, RESTRICTED = "results", "uploads", "restricted"
DEFAULT_TENANT = "default"


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Builds each part when it is first needed; a process pays only for what it uses."""

    settings: Settings

    @cached_property
    def home(self) -> Home:
        return prepare_home(self.settings)

    @cached_property
    def secret(self) -> bytes:
        return master_secret(self.settings, self.home)

    @cached_property
    def ledger(self) -> Ledger:
        return open_ledger(self.settings)

    @cached_property
    def broker(self) -> BrokerSettings:
        from storage.broker.connection import BrokerSettings
        from storage.sealing import derive_key

        prepare_home(self.settings)
        return BrokerSettings(
            url=self.settings.resolved_broker_url,
            message_key=derive_key(self.secret, "messages"),
            lease_seconds=max(6.0, 6 * self.settings.heartbeat_seconds),
        )

    @cached_property
    def links(self) -> LinkSigner:
        from storage.objects.signed_link import LinkSigner

        return LinkSigner(secret=self.secret, base_url=f"{self.settings.resolved_public_url}/v1/objects")

    @cached_property
    def results(self) -> ObjectStore:
        return self._store(self.settings.resolved_results_store, RESULTS)

    @cached_property
    def uploads(self) -> ObjectStore:
        return self._store(self.settings.resolved_uploads_store, UPLOADS, drop_folder=True)

    @cached_property
    def restricted(self) -> ObjectStore:
        """What no tenant can reach: no signed link leads here, and the API does not serve it."""
        return self._store(self.settings.resolved_restricted_store, RESTRICTED)

    @cached_property
    def vault(self) -> Vault:
        from storage.quarantine import Vault

        return Vault(self.restricted, self.secret, previous_secret(self.settings, self.home))

    @cached_property
    def quarantine(self) -> Quarantine:
        from workers.quarantine import Quarantine

        return Quarantine(self.vault)

    def _store(self, location: str, bucket: str, *, drop_folder: bool = False) -> ObjectStore:
        from storage.objects.location import open_store

        settings = self.settings
        return open_store(
            location,
            bucket=bucket,
            signer=self.links,
            drop_folder=drop_folder,
            endpoint_url=settings.s3_endpoint_url,
            region=settings.s3_region,
        )

    def results_of(self, tenant: str) -> ObjectStore:
        """The results of one tenant: nobody else's can be named through it."""
        from storage.objects.prefixed import PrefixedStore

        return self.results if tenant == DEFAULT_TENANT else PrefixedStore(self.results, f"tenants/{tenant}")

    def uploads_of(self, tenant: str) -> ObjectStore:
        """The uploads of one tenant: the store belongs to the tenant of its manifests, others have a folder in it."""
        from storage.objects.prefixed import PrefixedStore

        owner = self.settings.upload_tenant
        return self.uploads if tenant == owner else PrefixedStore(self.uploads, f"tenants/{tenant}")

    @cached_property
    def decoders(self) -> DecoderPool:
        """Where customers' pictures are decoded; its processes start with the first picture."""
        from safety.decoding.pool import DecoderPool

        return DecoderPool(at_once=self.settings.decoders, avif=self.settings.avif_inputs)

    @cached_property
    def origin_notes(self) -> DecoderPool:
        """Where the marks of an original are read, which takes other libraries than its pixels."""
        from safety.decoding.pool import DecoderPool

        return DecoderPool(at_once=1, avif=self.settings.avif_inputs, origin="safety.decoding.origin:note_origin")

    @cached_property
    def picture_reader(self) -> PictureReader:
        from safety.input_image import PictureReader

        return PictureReader(open=self.decoders.open, avif=self.settings.avif_inputs)

    @cached_property
    def input_reader(self) -> InputReader:
        """How workers read the pictures that requests brought."""
        from workers.input_reading import InputReader

        return InputReader(stores=self.results_of, reader=self.picture_reader, key=self.input_record_key)

    def brand_stores(self, tenant: str) -> BrandStores:
        """Where a trainer finds a tenant's pictures, and how it looks at them."""
        from safety.upload_verdict import require_allowed
        from workers.brand_pictures import Stores

        # With what is installed: an installation without classifiers may fine-tune, and its outputs are screened as ever.
        judge = self._upload_judge("installed")
        return Stores(
            uploads=self.uploads_of(tenant),
            results=self.results_of(tenant),
            key=self.input_record_key(tenant),
            clean=lambda data: self.picture_reader.clean(data).png,
            judge=lambda png: require_allowed(judge.check(png, None)),
            check_words=self.prompt_screens[self.policy].insist,
        )

    def input_record_key(self, tenant: str) -> bytes:
        from storage.sealing import derive_key

        return derive_key(self.secret, "input-record", tenant)

    def kept_inputs_of(self, tenant: str) -> KeptInputs:
        from storage.kept_inputs import KeptInputs

        return KeptInputs(store=self.results_of(tenant), key=self.input_record_key(tenant))

    @cached_property
    def input_cleaner(self) -> InputCleaner:
        from handlers.input_book import InputCleaner

        return InputCleaner(ledger=self.ledger, kept=self.kept_inputs_of, keep_seconds=self.settings.input_days * 86400.0)

    @cached_property
    def inputs(self) -> Inputs:
        from handlers.input_book import LedgerBook
        from handlers.inputs import InputPorts, Inputs
        from storage.ledger.kept_inputs import Quota

        settings = self.settings
        quota = Quota(count=settings.input_quota_count, bytes=settings.input_quota_bytes)
        ports = InputPorts(
            results=self.results_of,
            uploads=self.uploads_of,
            clean=self.picture_reader.clean,
            judge=self.upload_judge,
            book=LedgerBook(ledger=self.ledger, quota=quota),
            key=self.input_record_key,
            origin=self._origin_of,
            refused=self._note_refused_input,
            **({} if settings.fetch_inputs == "off" else {"fetch": self.picture_fetcher.fetch}),
        )
        return Inputs(ports)

    @cached_property
    def picture_fetcher(self) -> PictureFetcher:
        from handlers.picture_fetch import PictureFetcher
        from handlers.webhooks.address_guard import AddressGuard, AllowedNetwork

        # Networks of its own: what webhooks may reach inside is not thereby for customers to read.
        allow = tuple(AllowedNetwork.parse(text, field="fetch_allow") for text in self.settings.fetch_allow)
        return PictureFetcher(guard=AddressGuard(allow=allow))

    def _note_refused_input(self, tenant: str, verdict: Verdict) -> None:
        from handlers.refusals import input_refused

        input_refused(self.ledger, tenant, verdict, time.time())

    def _origin_of(self, data: bytes) -> bytes:
        from safety.decoding.origin import may_have_marks

        return self.origin_notes.note_origin(data) if may_have_marks(data) else b""

    @cached_property
    def upload_judge(self) -> UploadJudge:
        return self._upload_judge(self.settings.upload_screening)

    def _upload_judge(self, mode: UploadScreening) -> UploadJudge:
        from safety.upload_judge import UploadJudge, installed
        from safety.upload_screen import UploadScreen

        screens = self.image_screens
        judged = {
            policy.digest: UploadScreen(policy=policy, screens=screens, screening=mode) for policy in self.policies.all
        }
        return UploadJudge(screens=judged, default=self.policy.digest, installed=installed(screens, mode))

    def find_adapter(self, tenant: str, name: str) -> AdapterRow | None:
        """The tenant's own adapter of that name, or one that comes with the model."""
        from deploy.installed_adapters import installed_adapter
        from storage.ledger import adapters

        with self.ledger.read() as conn:
            own = adapters.find(conn, tenant, name)
        return own or installed_adapter(self.model_folder, name, tenant, self.results_of(tenant))

    @cached_property
    def model_folder(self) -> Path:
        return Path(self.settings.model).expanduser() if self.settings.model else STARTER

    @cached_property
    def card(self) -> ModelCard:
        from models.card import load_card

        with _model_errors():
            return load_card(self.model_folder, verify=False)  # the worker hashes the weights before it renders with them

    @cached_property
    def tokenizer(self) -> PromptTokenizer:
        from models.text import PromptTokenizer

        with _model_errors():
            return PromptTokenizer.open(self.model_folder, self.card.max_prompt_tokens)

    @cached_property
    def offer(self) -> ModelOffer:
        card = self.card
        return ModelOffer(
            name=card.name,
            digest=card.digest,
            sizes=card.sizes,
            default_steps=card.steps.default,
            max_steps=int(card.steps.maximum),
            default_guidance=card.guidance.default,
            max_prompt_tokens=card.max_prompt_tokens,
            domain=card.domain,
            domain_note=card.domain_note,
            features=card.features,
            max_adapters=card.adapters.max_count if card.adapters else 0,
            max_adapter_rank=card.adapters.max_rank if card.adapters else 0,
            base_digest=card.base_digest,
            fixed_seconds=card.costs.fixed_seconds,
            seconds_per_image=card.costs.image_seconds,
        )

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
    def guard(self) -> AddressGuard:
        from handlers.webhooks.address_guard import AddressGuard, AllowedNetwork

        return AddressGuard(allow=tuple(AllowedNetwork.parse(text) for text in self.settings.webhook_allow))

    @cached_property
    def rule_packs(self) -> tuple[RulePack, ...]:
        from safety.rule_pack import active_packs, built_in_packs, load_packs

        folder = self.settings.rule_packs
        if folder is not None and not folder.is_dir():
            raise BadSettings(f"{folder} is not a folder", field="AQUATINT_RULE_PACKS")
        packs = built_in_packs() + (load_packs(folder) if folder else ())
        return active_packs(packs, datetime.now(UTC).date())

    @cached_property
    def planner(self) -> Planner:
        """Plans each request under the policy that it names, or that its tenant is tied to."""
        base = self._planner_of_the_default_policy()
        planners = {
            policy.name: replace(base, screen=screen, policy=policy.name, policy_digest=policy.digest)
            for policy, screen in self.prompt_screens.items()
        }
        return replace(base, by_policy=lambda tenant, name: planners[self.policies.choose(tenant, name).name])

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

    def _planner_of_the_default_policy(self) -> Planner:
        from handlers.planner import Planner
        from safety.descriptions import describe
        from safety.fairness.tables import main_language

        return Planner(
            offers={self.offer.name: self.offer},
            default_model=self.offer.name,
            screen=self.prompt_screens[self.policy],
            look_ahead=self.prompt_screens[self.policy].prepare,
            policy=self.policy.name,
            policy_digest=self.policy.digest,
            check_webhook=lambda url: self.guard.check(url, field="webhook.url"),
            describe=partial(describe, read=self.prompt_reader, detect=main_language),
            variations=self.variations,
            count_tokens=lambda _model, prompt: self.tokenizer.count(prompt),
            resolve_input=self.inputs.resolve,
            find_adapter=self.find_adapter,
        )

    @cached_property
    def prompt_reader(self) -> PromptReader | None:
        """Tells what a closed-domain model will draw; None for an open one, which draws more than words can be listed for."""
        from safety.prompt_reading import PromptReader

        return PromptReader(self.card.vocabulary) if self.card.domain == "closed" else None

    @cached_property
    def variations(self) -> Variations | None:
        """What fairness adds to prompts; None where no tenant has turned it on."""
        from deploy.fairness_rules import load_rules
        from handlers.turns import Turns
        from handlers.variations import Variations
        from storage.sealing import derive_key

        rules = load_rules(self.settings.fairness)
        return Variations(rules=rules, turns=Turns(self.ledger, derive_key(self.secret, "rotation"))) if rules else None

    @cached_property
    def trains_here(self) -> bool:
        """Whether trainers of this host are to run: fine-tunes are wanted, and the [train] extra is installed."""
        from deploy.training_extra import missing_for_training

        return self.settings.finetuning != "off" and not missing_for_training()

    @property
    def finetuning_unavailable(self) -> str:
        """Why no fine-tune is accepted here, and what would change that; empty when they are."""
        from deploy.training_extra import INSTALL

        if self.settings.finetuning == "off":
            return "fine-tuning is off in this installation (AQUATINT_FINETUNING)"
        if self.settings.finetuning == "on" or self.trains_here:
            return ""
        return (
            f"fine-tuning needs the [train] extra, which is not installed here: {INSTALL}; "
            "or set AQUATINT_FINETUNING=on where trainers run on other hosts"
        )

    @cached_property
    def finetunes(self) -> FinetunePlanner:
        from handlers.finetunes import FinetunePlanner

        return FinetunePlanner(
            offers={self.offer.name: self.offer},
            default_model=self.offer.name,
            uploads=self.uploads_of,
            check_webhook=lambda url: self.guard.check(url, field="webhook.url"),
            check_words=self.prompt_screens[self.policy].insist,
            unavailable=self.finetuning_unavailable,
        )

    def tuner(self) -> Tuner:
        """Fine-tunes the model in force; BadSettings where the [train] extra is missing."""
        from deploy.training_extra import INSTALL, missing_for_training
        from workers.model_tuner import ModelTuner

        if missing := missing_for_training():
            raise BadSettings(f"a trainer needs the [train] extra: {INSTALL} ({', '.join(missing)} not found)")
        return ModelTuner(self.model_folder, self.card)

    @cached_property
    def recipes(self) -> RecipeBook:
        return load_recipes(self.settings.recipes)

    @cached_property
    def triggers(self) -> tuple[Trigger, ...]:
        from handlers.triggers import Trigger

        settings = self.settings
        webhook = None
        if settings.upload_webhook_url:
            # Refused now, with the setting's name, instead of once per batch.
            self.guard.check(settings.upload_webhook_url, field="AQUATINT_UPLOAD_WEBHOOK_URL")
            webhook = Webhook(url=settings.upload_webhook_url, events=settings.upload_webhook_events)
        recipe = self.recipes.get(settings.upload_recipe).name if settings.upload_recipe else None
        return (Trigger(bucket=self.uploads.bucket, recipe=recipe, tenant=settings.upload_tenant, webhook=webhook),)

    @cached_property
    def intake(self) -> Intake:
        from handlers.intake import Intake
        from storage.objects.location import localised

        place = partial(localised, location=self.settings.resolved_uploads_store, bucket=self.uploads.bucket)
        return Intake(
            ledger=self.ledger,
            planner=self.planner,
            recipes=self.recipes,
            triggers=self.triggers,
            finetunes=self.finetunes,
            localise=place,
            admit=self.gate.admit,
        )

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

    def secrets_of(self, tenant: str) -> tuple[str, ...]:
        from handlers.webhooks.signature import tenant_secret

        return (tenant_secret(self.secret, tenant),)

    def renderer(self) -> Renderer:
        """Opens the model and verifies every weight file; takes a moment."""
        from models.pipeline import TextToImage
        from schemas.receipt import RenderedWith
        from workers.model_renderer import ModelRenderer

        settings = self.settings
        with _model_errors():
            model = TextToImage.open(self.model_folder, runtime=settings.runtime, precision=settings.precision)
        made_by = RenderedWith(aquatint=version(), runtime=settings.runtime, precision=settings.precision, device="cpu")
        return ModelRenderer([model], made_by)


@contextmanager
def _model_errors() -> Iterator[None]:
    """A model that cannot be opened is the operator's to repair."""
    from models.errors import ModelUnusable

    try:
        yield
    except ModelUnusable as error:
        raise BadSettings(f"the model cannot be used: {error}", field="AQUATINT_MODEL") from error


def open_ledger(settings: Settings) -> Ledger:
    """The ledger with its tables at the newest version."""
    from storage.ledger.engine import Ledger

    ledger = Ledger.open(settings.resolved_ledger_url, keys=master_keys(settings))
    ledger.migrate()
    return ledger


def master_keys(settings: Settings) -> MasterKeys:
    """What the tenants' keys are wrapped under."""
    from storage.sealing import MasterKeys

    home = prepare_home(settings)
    return MasterKeys(master_secret(settings, home), previous_secret(settings, home))


def tenant_webhook_secret(settings: Settings, tenant: str) -> str:
    return Parts(settings=settings).secrets_of(tenant)[0]


def version() -> str:
    return importlib.metadata.version("aquatint")


