"""The composition root: settings in, concrete parts out. Only here do the rooms meet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from deploy.base_parts import model_errors, version
from deploy.input_parts import InputParts
from deploy.recipe_book import RecipeBook, load_recipes
from schemas.errors import BadSettings
from schemas.request import Webhook
from schemas.settings import Settings

if TYPE_CHECKING:
    from handlers.finetunes import FinetunePlanner
    from handlers.intake import Intake
    from handlers.planner import Planner
    from handlers.triggers import Trigger
    from workers.ports import Renderer
    from workers.tuning import Tuner


@dataclass(frozen=True, kw_only=True)
class Parts(InputParts):
    """All that the processes of an installation are made of."""

    @cached_property
    def planner(self) -> Planner:
        """Plans each request under the policy that it names, or that its tenant is tied to."""
        base = self._planner_of_the_default_policy()
        planners = {
            policy.name: replace(base, screen=screen, policy=policy.name, policy_digest=policy.digest)
            for policy, screen in self.prompt_screens.items()
        }
        return replace(base, by_policy=lambda tenant, name: planners[self.policies.choose(tenant, name).name])

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

    def renderer(self) -> Renderer:
        """Opens the model and verifies every weight file; takes a moment."""
        from models.pipeline import TextToImage
        from schemas.receipt import RenderedWith
        from workers.model_renderer import ModelRenderer

        settings = self.settings
        with model_errors():
            model = TextToImage.open(self.model_folder, runtime=settings.runtime, precision=settings.precision)
        made_by = RenderedWith(aquatint=version(), runtime=settings.runtime, precision=settings.precision, device="cpu")
        return ModelRenderer([model], made_by)


def tenant_webhook_secret(settings: Settings, tenant: str) -> str:
    return Parts(settings=settings).secrets_of(tenant)[0]
