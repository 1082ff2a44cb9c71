"""`aquatint safety`: what is checked here, and how well."""

from __future__ import annotations

import typer

from deploy.commands.safety_evaluate import evaluate_safety
from deploy.commands.safety_install import install_screen, list_screens
from deploy.commands.safety_policies import show_policies
from deploy.commands.safety_sample import sample_released

app = typer.Typer(
    name="safety",
    help="The safety layer: classifiers of pictures, policies, and figures that show how well it works.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("install")(install_screen)
app.command("screens")(list_screens)
app.command("policies")(show_policies)
app.command("evaluate")(evaluate_safety)
app.command("sample")(sample_released)
