"""Every message that crosses a process or a company border, by name."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from schemas.cloudevent import CloudEvent
from schemas.finetune import FinetuneRequest, TrainerMessage
from schemas.microbatch import Microbatch
from schemas.object_event import ObjectCreated
from schemas.outcome import Report
from schemas.problem import Problem
from schemas.receipt import Receipt
from schemas.recipe import Recipe
from schemas.request import GenerationRequest, RecipeInvocation
from schemas.webhook import WebhookBody

#: Name to type. A sample `schemas/samples/NAME.*.json` exists for each, and for each member of a union.
MESSAGES: dict[str, TypeAdapter[Any]] = {
    "cloudevent": TypeAdapter(CloudEvent),
    "generation_request": TypeAdapter(GenerationRequest),
    "recipe_invocation": TypeAdapter(RecipeInvocation),
    "finetune_request": TypeAdapter(FinetuneRequest),
    "object_created": TypeAdapter(ObjectCreated),
    "recipe": TypeAdapter(Recipe),
    "microbatch": TypeAdapter(Microbatch),
    "trainer_message": TypeAdapter(TrainerMessage),
    "report": TypeAdapter(Report),
    "receipt": TypeAdapter(Receipt),
    "webhook": TypeAdapter(WebhookBody),
    "problem": TypeAdapter(Problem),
}
