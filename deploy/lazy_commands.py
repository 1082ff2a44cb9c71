"""Commands whose modules are loaded when they are called: `aquatint status` should not wait for what `evaluate` needs."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

#: Command to where it is: a function, or an application with commands of its own.
COMMANDS = {
    "train": "deploy.commands.train:train",
    "finetune": "deploy.commands.finetune:finetune_brand",
    "curate": "deploy.commands.curate:curate",
    "evaluate": "deploy.commands.evaluate:evaluate_model",
    "adapters": "deploy.commands.adapters:app",
    "safety": "deploy.commands.safety:app",
    "verify": "deploy.commands.verify:verify",
    "erase": "deploy.commands.erase:erase",
    "keys": "deploy.commands.keys:app",
    "review": "deploy.commands.review:app",
    "describe": "deploy.commands.describe:describe_batch",
    "fairness": "deploy.commands.fairness:app",
    "audit": "deploy.commands.audit:app",
    "tenant": "deploy.commands.tenant:app",
}


class LazyCommands(TyperGroup):
    """The commands of an application, then those above. Typer brings a click of its own, hence no types of it."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        place = COMMANDS.get(cmd_name)
        if place is None:
            return super().get_command(ctx, cmd_name)
        module, _, name = place.partition(":")
        found = getattr(import_module(module), name)
        return get_command(found if isinstance(found, typer.Typer) else _application(cmd_name, found))


def _application(name: str, function: Any) -> typer.Typer:
    """One command as Typer wants it."""
    application = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    application.command(name)(function)
    return application
