"""The command line: `aquatint --help`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from deploy.environment import effective, load_settings, settings_table
from deploy.lazy_commands import LazyCommands
from schemas.errors import AquatintError
from schemas.settings import Settings

app = typer.Typer(
    name="aquatint",
    cls=LazyCommands,
    help="Event-driven image generation: a product list, an upload or a prompt in; checked images and signed webhooks out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
out = Console(highlight=False, soft_wrap=True)


@app.command()
def run(
    manifest: Annotated[Path, typer.Argument(help="Product list: CSV or JSONL.")],
    keep: Annotated[bool, typer.Option(help="Leave the stack running afterwards, until Ctrl-C.")] = False,
) -> None:
    """Start everything on this machine, drop MANIFEST into the watched folder, and show what comes out."""
    from deploy.run_manifest import run_manifest

    raise typer.Exit(run_manifest(settings(), manifest, out, keep=keep))


@app.command()
def up() -> None:
    """Start the whole stack on this machine and leave it running until Ctrl-C."""
    from deploy.stack import run_until_interrupted

    raise typer.Exit(run_until_interrupted(settings(), out))


@app.command()
def serve(
    role: Annotated[str, typer.Argument(help="api, intake, recorder, releaser, worker, trainer, webhooks, or embedded (api + intake + recorder).")],
) -> None:
    """Run one process of the stack in the foreground; logs are JSON on standard error."""
    from deploy.roles import run_role

    run_role(role, settings())


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="What to draw.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write: .png, .jpg, .webp or .avif.")] = Path("image.png"),
    size: Annotated[str | None, typer.Option(help="Width x height in pixels, e.g. 128x128.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Same seed and prompt, same picture.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps.")] = None,
    guidance: Annotated[float | None, typer.Option(min=0, help="How closely to follow the prompt.")] = None,
    negative: Annotated[str, typer.Option(help="What to keep out of the picture.")] = "",
    image: Annotated[Path | None, typer.Option(help="Picture to start from: PNG, JPEG or WebP.")] = None,
    mask: Annotated[Path | None, typer.Option(help="Where to paint that picture anew: white is painted, black is kept.")] = None,
    strength: Annotated[float | None, typer.Option(help="How far from the picture to go, above 0 and up to 1.")] = None,
    control_edges: Annotated[Path | None, typer.Option(help="Picture whose outlines to follow.")] = None,
    control_sketch: Annotated[Path | None, typer.Option(help="Drawing whose lines to follow.")] = None,
    control_weight: Annotated[float | None, typer.Option(help="How closely to follow them, 0 to 2.")] = None,
    adapter: Annotated[list[str] | None, typer.Option(help="Adapter as NAME or NAME:WEIGHT; may be repeated.")] = None,
) -> None:
    """Draw one picture here and now: same worker, no server."""
    from deploy.generate_one import Brought, generate_one

    asked = {"size": size, "seed": seed, "steps": steps, "guidance": guidance, "negative_prompt": negative, "strength": strength}
    control = {kind: path for kind, path in (("edges", control_edges), ("sketch", control_sketch)) if path is not None}
    brought = Brought(image=image, mask=mask, control=control, control_weight=control_weight, adapters=adapter or ())
    given = {name: value for name, value in asked.items() if value not in (None, "")}
    generate_one(settings(), prompt, output, given, brought, out)


@app.command()
def submit(
    event: Annotated[Path, typer.Argument(help="A CloudEvent as JSON, or - for standard input.")],
    wait: Annotated[bool, typer.Option(help="Wait until the job has ended.")] = False,
) -> None:
    """Send an event to the running stack."""
    from deploy.client import submit_event

    raise typer.Exit(submit_event(settings(), event, out, wait=wait))


@app.command()
def status(job: Annotated[str, typer.Argument(help="Id of a job, batch, image or fine-tune.")]) -> None:
    """Show where a job, batch, image or fine-tune stands."""
    from deploy.client import show_status

    show_status(settings(), job, out)


@app.command()
def doctor() -> None:
    """Say what is installed, what is ready and what is missing."""
    from deploy.doctor import examine

    raise typer.Exit(examine(settings(), out))


@app.command()
def config(
    table: Annotated[bool, typer.Option(help="Print all settings as a Markdown table instead.")] = False,
) -> None:
    """Print the effective settings; secrets are masked."""
    if table:
        print(settings_table(), end="")
        return
    for name, value in effective(settings()).items():
        print(f"{name}={value}")


@app.command("webhook-secret")
def webhook_secret(tenant: Annotated[str, typer.Argument(help="Tenant name.")] = "default") -> None:
    """Print the secret with which a tenant verifies our webhooks (Standard Webhooks, whsec_...)."""
    from deploy.compose import tenant_webhook_secret

    print(tenant_webhook_secret(settings(), tenant))


@app.command()
def migrate() -> None:
    """Bring the ledger's tables to the newest version."""
    from deploy.base_parts import open_ledger

    with open_ledger(settings()):
        print("The ledger is up to date.")


def settings() -> Settings:
    return load_settings()


def main() -> NoReturn:
    """Entry point: a person's mistake gets one plain sentence, never a traceback."""
    try:
        app(standalone_mode=True)
    except AquatintError as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("interrupted", code=130)
    except BrokenPipeError:  # e.g. `aquatint config | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(0)


def fail(sentence: str, code: int = 2) -> NoReturn:
    print(f"aquatint: {sentence}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
