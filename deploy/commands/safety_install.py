"""`aquatint safety install` and `aquatint safety screens`: the classifiers that look at pictures."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from deploy.compose import Parts
from deploy.environment import load_settings
from deploy.screen_book import GUARD, InstalledScreen, entries, installed_screens, keep_screen
from safety.image_screen import ImageScreen
from safety.onnx_screen import ScreenFiles
from schemas.errors import AquatintError, BadSettings

NPM_SECONDS = 600
CLASSIFIERS = ("nsfwjs", "marqo", "falconsai")
out = Console(highlight=False, soft_wrap=True)


def install_screen(
    classifier: Annotated[str, typer.Argument(help=f"One of {', '.join(CLASSIFIERS)}.")],
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="nsfwjs: the package as a .tgz file; others: a folder with config.json and model.safetensors.",
        ),
    ] = None,
    version: Annotated[str | None, typer.Option(help="nsfwjs: release of the npm package.")] = None,
    revision: Annotated[
        str | None, typer.Option(help="Others: commit of the hub repository, 40 hex digits.")
    ] = None,
    sha256: Annotated[str | None, typer.Option(help="Others: digest of model.safetensors.")] = None,
) -> None:
    """Fetch a classifier, turn it into a file of ours, test it, and keep it below the home folder."""
    if classifier not in CLASSIFIERS:
        raise BadSettings(
            f"there is no classifier {classifier!r}", field="classifier", limit=list(CLASSIFIERS)
        )
    parts = Parts(settings=load_settings())
    if classifier == "nsfwjs":
        files = _nsfwjs(source, version)
    else:
        files = _from_hub(classifier, source, revision, sha256)
    screen = files.open()
    kept = keep_screen(parts.home.path, classifier, files)
    out.print(f"{classifier} is installed in {kept.folder}")
    out.print(f"  finds      {', '.join(screen.categories)}; recall {files.card.recall}")
    out.print(f"  licence    {files.card.licence}; {files.card.provenance}", markup=False)
    out.print(f"  self-test  {len(files.card.known_answers)} known answers given")
    if classifier not in entries(parts.settings):
        named = [*entries(parts.settings), f"{classifier}@{kept.model_sha256}"]
        out.print(f"Use it with AQUATINT_IMAGE_SCREENS={','.join(named)}")


def list_screens() -> None:
    """Show which classifiers look at pictures here, what they cover, and whether they pass their self-test."""
    parts = Parts(settings=load_settings())
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("screen", "in use", "covers", "self-test", "digest"):
        table.add_column(title)
    used = [entry.partition("@")[0] for entry in entries(parts.settings)]
    kept = {one.name: one for one in installed_screens(parts.home.path)}
    for one in kept.values():
        table.add_row(*_row(one, "yes" if one.name in used else "no"))
    try:
        opened, fault = parts.image_screens, None
    except AquatintError as error:
        opened, fault = (), error
    for screen in opened:
        if screen.name not in kept:
            table.add_row(
                screen.name, "yes", ", ".join(screen.categories), _tested(screen), screen.model_sha256[:16]
            )
    if table.row_count:
        out.print(table)
    else:
        out.print("No image screen is installed: `aquatint safety install nsfwjs` is a start.")
    if fault is not None:
        raise fault
    for line in _coverage(parts):
        out.print(line)


def _nsfwjs(source: Path | None, version: str | None) -> ScreenFiles:
    from safety.screens import nsfwjs

    release = version or nsfwjs.LATEST
    if source is None and release not in nsfwjs.RELEASES:
        raise BadSettings(
            f"release {release} was never compared with the original",
            field="version",
            limit=list(nsfwjs.RELEASES),
        )
    return nsfwjs.convert(_packed(release) if source is None else _file(source))


def _file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadSettings(f"{path} cannot be read: {error.strerror}", field="--from") from error


def _packed(release: str) -> bytes:
    """The package, fetched by the npm client and never run; who reads it compares its digest."""
    npm = shutil.which("npm")
    if npm is None:
        raise BadSettings(
            f"there is no npm client here: fetch nsfwjs-{release}.tgz elsewhere with `npm pack nsfwjs@{release}`, then use --from FILE",
            field="--from",
        )
    with tempfile.TemporaryDirectory(prefix="aquatint-") as folder:
        command = [npm, "pack", f"nsfwjs@{release}", "--ignore-scripts", "--pack-destination", folder]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=NPM_SECONDS, check=False)  # noqa: S603  # fixed arguments
        except subprocess.TimeoutExpired:
            raise BadSettings(f"npm took longer than {NPM_SECONDS} s", field="classifier") from None
        packed = sorted(Path(folder).glob("*.tgz"))
        if done.returncode or len(packed) != 1:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise BadSettings(f"npm could not fetch nsfwjs {release}: {last}", field="classifier")
        return packed[0].read_bytes()


def _from_hub(classifier: str, source: Path | None, revision: str | None, sha256: str | None) -> ScreenFiles:
    from deploy.hub_files import fetch_classifier
    from safety.screens import vit_classifier

    model = vit_classifier.KNOWN[classifier]
    folder = source if source is not None else fetch_classifier(model.repository, revision)
    if source is None and sha256 is None:
        raise BadSettings(
            f"say which weights you mean: --sha256, as the page of {model.repository} shows it for model.safetensors",
            field="--sha256",
        )
    return vit_classifier.convert(
        model,
        config=_file(folder / "config.json"),
        weights=_file(folder / "model.safetensors"),
        sha256=sha256,
    )


def _row(one: InstalledScreen, used: str) -> tuple[str, ...]:
    try:
        screen = one.open(None)
    except AquatintError as error:
        return one.name, used, "-", str(error.detail), one.model_sha256[:16]
    return one.name, used, ", ".join(screen.categories), "passed", one.model_sha256[:16]


def _tested(screen: ImageScreen) -> str:
    try:
        screen.self_test()
    except Exception as error:  # the operator wants to read about it
        return f"failed: {error}"
    return "passed"


def _coverage(parts: Parts) -> list[str]:
    """What the policy in force still lacks, for outputs of open-domain models and for uploads."""
    from safety.screen_runner import missing_categories

    screens, policy = parts.image_screens, parts.policy
    lacking = missing_categories(policy, "output", screens)
    told = ", ".join(lacking) if lacking else "nothing"
    lines = [
        f"Policy {policy.name!r} still lacks for pictures of open-domain models and for uploads: {told}."
    ]
    if lacking and GUARD not in entries(parts.settings):
        lines.append(
            "A vision-language guard covers any category: AQUATINT_IMAGE_GUARD_URL, and `guard` in AQUATINT_IMAGE_SCREENS."
        )
    return lines
