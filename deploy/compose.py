"""The composition root: settings in, concrete parts out. Only here do the rooms meet."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.home import Home, master_secret, prepare_home
from deploy.recipe_book import RecipeBook, load_recipes
from schemas.errors import BadSettings
from schemas.model_offer import ModelOffer
from schemas.request import Webhook
from schemas.settings import Settings

if TYPE_CHECKING:
    from handlers.finetunes import FinetunePlanner
    from handlers.inputs import Inputs
    from handlers.intake import Intake
    from handlers.planner import Planner
    from handlers.triggers import Trigger
    from handlers.webhooks.address_guard import AddressGuard
    from models.card import ModelCard
    from models.text import PromptTokenizer
    from safety.image_screen import ImageScreen
    from safety.policy import Policy
    from safety.rule_pack import RulePack
    from storage.broker.connection import BrokerSettings
    from storage.ledger.adapters import AdapterRow
    from storage.ledger.engine import Ledger
    from storage.objects.signed_link import LinkSigner
    from storage.objects.store import ObjectStore
    from workers.ports import OutputScreen, Renderer
    from workers.tuning import Tuner

#: The model that comes with Aquatint.
STARTER = Path(__file__).parent.parent / "models" / "starter"
RESULTS, UPLOADS = "results", "uploads"
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

        prepare_home(self.settings)
        return BrokerSettings(url=self.settings.resolved_broker_url, lease_seconds=max(6.0, 6 * self.settings.heartbeat_seconds))

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
    def inputs(self) -> Inputs:
        from handlers.inputs import Inputs
        from safety.input_image import inspect

        return Inputs(results=self.results_of, uploads=self.uploads_of, inspect=inspect)

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
    def policy(self) -> Policy:
        from safety.policy import built_in

        return built_in(self.settings.policy)

    @cached_property
    def image_screens(self) -> tuple[ImageScreen, ...]:
        if not self.settings.image_screen:
            return ()
        from safety.onnx_screen import open_screen

        if not self.settings.image_screen_sha256:
            raise BadSettings("the classifier needs its digest as well", field="AQUATINT_IMAGE_SCREEN_SHA256")
        return (open_screen(Path(self.settings.image_screen), sha256=self.settings.image_screen_sha256),)

    @cached_property
    def output_screen(self) -> OutputScreen:
        """Screens each picture under the policy it was asked under; ScreenMissing when that cannot be done here."""
        from workers.policy_screens import PolicyScreens

        return PolicyScreens({self.policy.digest: self._screen_under(self.policy)})

    def _screen_under(self, policy: Policy) -> OutputScreen:
        from safety.output_screen import OutputScreen
        from safety.readiness import ensure_ready

        ensure_ready(policy, self.image_screens, self.offer)
        domain, digest = self.offer.domain, self.offer.digest
        return OutputScreen(policy=policy, screens=self.image_screens, domain=domain, card_digest=digest).check

    @cached_property
    def guard(self) -> AddressGuard:
        from handlers.webhooks.address_guard import AddressGuard, AllowedNetwork

        return AddressGuard(allow=tuple(AllowedNetwork.parse(text) for text in self.settings.webhook_allow))

    @cached_property
    def rule_packs(self) -> tuple[RulePack, ...]:
        from safety.rule_pack import built_in_packs, load_packs

        folder = self.settings.rule_packs
        if folder is not None and not folder.is_dir():
            raise BadSettings(f"{folder} is not a folder", field="AQUATINT_RULE_PACKS")
        return built_in_packs() + (load_packs(folder) if folder else ())

    @cached_property
    def planner(self) -> Planner:
        from handlers.planner import Planner
        from safety.alt_text import alt_from_prompt, alt_from_template
        from safety.prompt_screen import PromptScreen

        return Planner(
            offers={self.offer.name: self.offer},
            default_model=self.offer.name,
            screen=PromptScreen(self.policy, self.rule_packs),
            policy=self.policy.name,
            policy_digest=self.policy.digest,
            check_webhook=lambda url: self.guard.check(url, field="webhook.url"),
            describe=alt_from_prompt,
            finish_alt=alt_from_template,
            count_tokens=lambda _model, prompt: self.tokenizer.count(prompt),
            resolve_input=self.inputs.resolve,
            find_adapter=self.find_adapter,
        )

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
        )

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

    prepare_home(settings)
    ledger = Ledger.open(settings.resolved_ledger_url)
    ledger.migrate()
    return ledger


def tenant_webhook_secret(settings: Settings, tenant: str) -> str:
    return Parts(settings=settings).secrets_of(tenant)[0]


def version() -> str:
    return importlib.metadata.version("aquatint")


