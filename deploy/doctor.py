"""`aquatint doctor`: what is installed, what is ready, what is missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.compose import Parts
from schemas.errors import AquatintError
from schemas.settings import Settings

Mark = Literal["ready", "missing", "optional"]
_STYLE = {"ready": "green", "missing": "bold red", "optional": "dim"}

#: Below this, a run of any size may end in a full disk.
LEAST_FREE_BYTES = 1 << 30
EXTRAS = {
    "torch": "[gpu] or [train]: the torch runtime",
    "tensorrt": "[gpu]: TensorRT engines",
    "modal": "[modal]: GPU containers by the second",
    "psycopg": "[postgres]: PostgreSQL as the ledger",
    "redis": "[redis]: Redis as the broker",
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the report."""

    part: str
    mark: Mark
    note: str


def examine(settings: Settings, out: Console) -> int:
    """Print the report; 0 when everything that these settings need is ready."""
    findings = list(_findings(Parts(settings=settings)))
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for finding in findings:
        table.add_row(Text(finding.mark, style=_STYLE[finding.mark]), Text(finding.part), Text(finding.note))
    out.print(table)
    missing = [finding.part for finding in findings if finding.mark == "missing"]
    out.print(f"\n{'missing: ' + ', '.join(missing) if missing else 'Everything these settings need is ready.'}")
    return 1 if missing else 0


def _findings(parts: Parts) -> Iterator[Finding]:
    yield Finding(part="python", mark="ready", note=f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield _try("home", lambda: f"{parts.home.path}, {_free(parts)}")
    yield _try("ledger", lambda: _ledger(parts))
    yield _try("broker", lambda: _broker(parts))
    yield _try("results store", lambda: _store(parts, "results"))
    yield _try("uploads store", lambda: _store(parts, "uploads"))
    yield _try("model", lambda: _model(parts))
    yield _try("runtime", lambda: _runtime(parts))
    yield from _safety(parts)
    yield _signature(parts)
    yield _watermark(parts)
    yield _try("recipes", lambda: ", ".join(recipe.ref for recipe in parts.recipes))
    yield _finetuning(parts)
    yield from (_extra(name, what) for name, what in EXTRAS.items())


def _try(part: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(part=part, mark="ready", note=look())
    except AquatintError as error:
        return Finding(part=part, mark="missing", note=str(error))
    except Exception as error:  # a broken part must not hide the others
        return Finding(part=part, mark="missing", note=f"{type(error).__name__}: {error}")


def _free(parts: Parts) -> str:
    free = shutil.disk_usage(parts.home.path).free
    if free < LEAST_FREE_BYTES:
        raise AquatintError(f"only {free >> 20} MiB are free at {parts.home.path}")
    return f"{free >> 30} GiB free"


def _ledger(parts: Parts) -> str:
    with parts.ledger.read():
        return f"{parts.ledger.dialect}, tables at the newest version"


def _broker(parts: Parts) -> str:
    from storage.broker.connection import connect

    with connect(parts.broker) as connection:
        connection.ensure_connection(max_retries=1, timeout=5)
        return parts.broker.scheme


def _store(parts: Parts, name: Literal["results", "uploads"]) -> str:
    store = parts.results if name == "results" else parts.uploads
    found = store.probe()
    create = "creates once" if found.conditional_create else "no conditional create: last writer wins"
    return f"bucket {store.bucket}, {create}"


def _model(parts: Parts) -> str:
    from models.card import load_card

    card = load_card(parts.model_folder)
    sizes = ", ".join(f"{width}x{height}" for width, height in card.sizes)
    return f"{card.name} {card.version}, {card.domain} domain, {sizes}, digest {card.digest[:12]}, files intact"


def _runtime(parts: Parts) -> str:
    parts.renderer()
    if parts.settings.runtime == "onnx":
        import onnxruntime

        return f"ONNX Runtime {onnxruntime.__version__}, {parts.settings.precision}, on the CPU"
    return f"torch {importlib.metadata.version('torch')}"


def _safety(parts: Parts) -> Iterator[Finding]:
    from safety.report import describe

    try:
        told = describe(parts.policies.needed, parts.rule_packs, parts.image_screens)
    except AquatintError as error:
        yield Finding(part="safety", mark="missing", note=str(error))
        return
    for part in told:
        yield Finding(part=part.name, mark="ready" if part.ready else "missing", note=f"version {part.version}, {part.note}")
    yield _try("output screen", lambda: _output_screen(parts))
    yield _upload_screen(parts)
    yield _try("uploads decoder", lambda: _decoder(parts))


def _decoder(parts: Parts) -> str:
    """Customers' pictures are decoded in processes that are confined as far as this system can."""
    from safety.decoding.wire import Limits

    try:
        missing = [one.name or "" for one in Limits if one in parts.decoders.missing_limits]
    finally:
        parts.decoders.close()
    names = ", ".join(name.lower().replace("_", " ") for name in missing)
    return f"confined processes, {parts.settings.decoders} at once" + (f"; not limited on this system: {names}" if names else "")


def _output_screen(parts: Parts) -> str:
    assert parts.output_screen is not None
    return "covered by the model's closed domain" if parts.offer.domain == "closed" else "covered by classifiers"


def _signature(parts: Parts) -> Finding:
    if parts.settings.c2pa == "off":
        return Finding(part="signature", mark="optional", note="off (AQUATINT_C2PA): pictures are marked in XMP alone, which anybody can change")
    return _try("signature", lambda: _certificate(parts))


def _certificate(parts: Parts) -> str:
    assert parts.signer is not None
    found = parts.signer.identity()
    meaning = "integrity, not identity" if found.trust == "integrity, not identity" else f"issued by {found.issuer}"
    until = f"certificate {found.certificate_sha256[:12]} until {found.not_after:%Y-%m-%d}"
    stamped = "" if parts.settings.c2pa_timestamp_url else "; without time stamps (AQUATINT_C2PA_TIMESTAMP_URL) signatures count until then"
    return f"C2PA, {meaning}, {until}{stamped}"


def _watermark(parts: Parts) -> Finding:
    if not parts.settings.watermark_encoder:
        note = "none: of the two machine-readable marks that the EU's Code of Practice asks for, signed metadata is there and the watermark is missing"
        return Finding(part="watermark", mark="optional", note=note)
    return _try("watermark", lambda: f"{parts.watermarker.name if parts.watermarker else ''}, weights as named by their digests")


def _upload_screen(parts: Parts) -> Finding:
    """Optional: without it everything works but requests that bring pictures."""
    from safety.upload_screen import uncovered, what_to_install

    missing = uncovered(parts.policy, parts.image_screens)
    if missing and parts.settings.upload_screening == "installed":
        return Finding(part="upload screen", mark="ready", note="the operator makes do with the screens that are installed")
    if missing:
        return Finding(part="upload screen", mark="optional", note=what_to_install(parts.policy, missing))
    return Finding(part="upload screen", mark="ready", note="covered by classifiers")


def _finetuning(parts: Parts) -> Finding:
    if parts.finetuning_unavailable:
        return Finding(part="fine-tuning", mark="optional", note=parts.finetuning_unavailable)
    where = "by trainers of `aquatint up`" if parts.trains_here else "by trainers on other hosts"
    return Finding(part="fine-tuning", mark="ready", note=where)


def _extra(name: str, what: str) -> Finding:
    if importlib.util.find_spec(name) is None:
        return Finding(part=name, mark="optional", note=f"not installed; {what}")
    return Finding(part=name, mark="ready", note=f"{_version(name)}; {what}")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return str(getattr(sys.modules.get(name), "__version__", "installed"))
