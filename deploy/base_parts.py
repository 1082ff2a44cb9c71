"""What every part of an installation stands on: home, ledger, broker, stores, and the model in words."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.home import Home, master_secret, prepare_home, previous_secret
from schemas.errors import BadSettings
from schemas.model_offer import ModelOffer
from schemas.settings import Settings

if TYPE_CHECKING:
    from handlers.webhooks.address_guard import AddressGuard
    from models.card import ModelCard
    from models.text import PromptTokenizer
    from storage.broker.connection import BrokerSettings
    from storage.ledger.adapters import AdapterRow
    from storage.ledger.engine import Ledger
    from storage.objects.signed_link import LinkSigner
    from storage.objects.store import ObjectStore
    from storage.quarantine import Vault
    from storage.sealing import MasterKeys
    from workers.quarantine import Quarantine



#: The model that comes with Aquatint.
STARTER = Path(__file__).parent.parent / "models" / "starter"
RESULTS, UPLOADS, RESTRICTED = "results", "uploads", "restricted"
DEFAULT_TENANT = "default"


@dataclass(frozen=True, kw_only=True)
class BaseParts:
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

        with model_errors():
            return load_card(self.model_folder, verify=False)  # the worker hashes the weights before it renders with them

    @cached_property
    def tokenizer(self) -> PromptTokenizer:
        from models.text import PromptTokenizer

        with model_errors():
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
    def guard(self) -> AddressGuard:
        from handlers.webhooks.address_guard import AddressGuard, AllowedNetwork

        return AddressGuard(allow=tuple(AllowedNetwork.parse(text) for text in self.settings.webhook_allow))

    def secrets_of(self, tenant: str) -> tuple[str, ...]:
        from handlers.webhooks.signature import tenant_secret

        return (tenant_secret(self.secret, tenant),)


@contextmanager
def model_errors() -> Iterator[None]:
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


def version() -> str:
    return importlib.metadata.version("aquatint")
