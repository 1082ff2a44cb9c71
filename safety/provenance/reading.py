"""What a picture file says about itself, and whether that can be believed. For anybody's files: bounded, offline."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image
from pydantic import ValidationError

from safety.provenance.certificates import ORGANISATION
from safety.provenance.containers import file_kind, xmp_of
from safety.provenance.content_credentials import library
from safety.provenance.watermark import Watermarker
from safety.provenance.xmp import read_packet
from schemas.base import Frozen
from schemas.input_image import MAX_INPUT_PIXELS
from schemas.provenance import SOURCE_TYPES, Credentials, Provenance, SourceType, Watermark

#: Of the C2PA manifest: absent; broken, or the picture changed; whole, but its certificate has ended and no time stamp shows
#: that it was signed before; intact, but signed by nobody known; intact and by somebody trusted.
State = Literal["none", "invalid", "expired", "valid", "trusted"]

#: What is shown of a stranger's text, and how many of a stranger's ingredients.
MAX_TEXT, MAX_INGREDIENTS = 300, 32
_AI_SOURCES = frozenset(
    SOURCE_TYPES + one
    for one in (*get_args(SourceType), "algorithmicMedia", "compositeSynthetic", "trainedAlgorithmicData")
)
_UNTRUSTED, _EXPIRED = "signingCredential.untrusted", "signingCredential.expired"


class IngredientFacts(Frozen):
    """A picture that went into this one, as the manifest tells it."""

    title: str
    #: "parentOf": it was changed into this one; "inputTo": it only guided.
    relationship: str
    sha256: str = ""
    #: Of its own manifest, when it went in.
    state: State


class ManifestFacts(Frozen):
    """The C2PA manifest of a file."""

    state: State = "none"
    #: Codes of what is wrong with it (C2PA 2.2, section 15).
    problems: tuple[str, ...] = ()
    issuer: str = ""
    signer: str = ""
    generator: str = ""
    #: What made the picture, by the manifest: model and version.
    made_with: str = ""
    #: ISO 8601, from a time stamp authority; empty without one.
    signed_at: str = ""
    source_types: tuple[str, ...] = ()
    ingredients: tuple[IngredientFacts, ...] = ()
    #: By use, e.g. {"cawg.data_mining": "notAllowed"}.
    training: Mapping[str, str] = {}
    #: Claimed, not looked for in the pixels.
    watermark: Watermark | None = None
    #: Where the file says that its manifest lies; it is never fetched.
    remote_url: str = ""


class PictureFacts(Frozen):
    """All of it."""

    sha256: str
    bytes: int
    #: None for a file that is no PNG, JPEG, WebP or AVIF.
    media_type: str | None
    manifest: ManifestFacts = ManifestFacts()
    #: By the XMP packet, which anybody can write or change when no manifest covers it.
    xmp_source_type: str = ""
    alt: Mapping[str, str] = {}
    long_description: Mapping[str, str] = {}
    #: Found in the pixels.
    watermark: Watermark | None = None

    @property
    def says_ai(self) -> bool:
        """Whether anything in it says that a machine made it or took part."""
        claimed = {self.xmp_source_type, *self.manifest.source_types}
        return self.watermark is not None or not claimed.isdisjoint(_AI_SOURCES)

    @property
    def is_intact(self) -> bool:
        """Whether a signature covers it and nothing was changed since."""
        return self.manifest.state in ("valid", "trusted")

    @property
    def says_anything(self) -> bool:
        return bool(self.manifest.state != "none" or self.xmp_source_type or self.alt or self.watermark)


def read_picture(data: bytes, *, anchors: str = "", detector: Watermarker | None = None) -> PictureFacts:
    """What the file says; `anchors` are PEM roots that the reader trusts. A strange file gives few facts, never an error.

    Pixels are decoded only where there is a watermark detector, and then at most 40 million.
    """
    kind = file_kind(data)
    sha256 = hashlib.sha256(data).hexdigest()
    if kind is None:
        return PictureFacts(sha256=sha256, bytes=len(data), media_type=None)
    packet = xmp_of(data, kind)
    xmp = read_packet(packet) if packet is not None else None
    return PictureFacts(
        sha256=sha256,
        bytes=len(data),
        media_type=kind,
        manifest=read_manifest(data, kind, anchors=anchors),
        xmp_source_type=_shown(xmp.digital_source_type) if xmp else "",
        alt=_texts(xmp.alt) if xmp else {},
        long_description=_texts(xmp.long_description) if xmp else {},
        watermark=_found(data, detector) if detector else None,
    )


def provenance_of(data: bytes) -> Provenance | None:
    """For the receipt of a picture of ours that lies in the store already; None when it bears no marking, or a broken one.

    The certificate's digest is left out: the file names its issuer, and the chain is inside it.
    """
    facts = read_picture(data)
    intact = facts.is_intact
    claimed = facts.manifest.source_types if intact else (facts.xmp_source_type,)
    source = next((one for one in get_args(SourceType) if SOURCE_TYPES + one in claimed), None)
    if source is None or facts.manifest.state in ("invalid", "expired"):
        return None
    own = facts.manifest.issuer == ORGANISATION
    credentials = Credentials(
        signed=True,
        issuer=facts.manifest.issuer,
        trust="integrity, not identity" if own else "operator certificate",
        time_stamped=bool(facts.manifest.signed_at),
    )
    return Provenance(
        digital_source_type=source,
        c2pa=credentials if intact else Credentials(),
        watermark=facts.manifest.watermark if intact else None,
    )


def read_manifest(data: bytes, kind: str, *, anchors: str = "") -> ManifestFacts:
    """The file's own manifest, verified against its bytes; nothing is fetched."""
    import c2pa

    try:
        with (
            library(anchors=anchors) as context,
            c2pa.Reader(kind, io.BytesIO(data), context=context) as reader,
        ):
            return _manifest(json.loads(reader.json()))
    except c2pa.C2paError.ManifestNotFound:
        return ManifestFacts()
    except c2pa.C2paError as error:
        remote = _remote(str(error))
        return (
            ManifestFacts(remote_url=remote)
            if remote
            else ManifestFacts(state="invalid", problems=("unreadable",))
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        # A manifest is a stranger's tree of anything.
        return ManifestFacts(state="invalid", problems=("unreadable",))


def _remote(message: str) -> str:
    """The address in the library's refusal to fetch; it has no class for that."""
    kind, _, told = message.partition(":")
    return _shown(told.rpartition(" ")[2]) if kind.startswith("Remote") else ""


def _manifest(told: Mapping[str, Any]) -> ManifestFacts:
    active = told["manifests"][told["active_manifest"]]
    signature = active.get("signature_info") or {}
    generators = active.get("claim_generator_info") or [{}]
    actions = list(_actions(active))
    agents = [one["softwareAgent"] for one in actions if one.get("softwareAgent")]
    problems = tuple(_problems(told))
    return ManifestFacts(
        state="expired" if problems == (_EXPIRED,) else _state(told.get("validation_state")),
        problems=problems,
        issuer=_shown(signature.get("issuer")),
        signer=_shown(signature.get("common_name")),
        generator=_named(generators[0]),
        made_with=_named(agents[0]) if agents else "",
        signed_at=_shown(signature.get("time")),
        source_types=tuple(
            dict.fromkeys(_shown(one["digitalSourceType"]) for one in actions if "digitalSourceType" in one)
        ),
        ingredients=tuple(_ingredient(one) for one in (active.get("ingredients") or [])[:MAX_INGREDIENTS]),
        training=_training(active),
        watermark=_claimed_watermark(active),
    )


def _state(state: object) -> State:
    return {"Valid": "valid", "Trusted": "trusted"}.get(str(state), "invalid")  # type: ignore[return-value]


def _problems(told: Mapping[str, Any]) -> Iterator[str]:
    """Codes of failures; an unknown signer is no fault of the picture."""
    failures = ((told.get("validation_results") or {}).get("activeManifest") or {}).get("failure") or []
    codes = dict.fromkeys(_shown(one.get("code")) for one in failures)
    return (code for code in list(codes)[:MAX_INGREDIENTS] if code != _UNTRUSTED)


def _assertions(active: Mapping[str, Any], label: str) -> Iterator[Mapping[str, Any]]:
    return (
        one.get("data") or {}
        for one in active.get("assertions") or []
        if str(one.get("label")).startswith(label)
    )


def _actions(active: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for data in _assertions(active, "c2pa.actions"):
        yield from data.get("actions") or []


def _ingredient(one: Mapping[str, Any]) -> IngredientFacts:
    results = ((one.get("validation_results") or {}).get("activeManifest") or {}).get("failure") or []
    failures = {str(each.get("code")) for each in results} | {
        str(each.get("code")) for each in one.get("validation_status") or []
    }
    state: State = (
        "none" if not one.get("active_manifest") else "invalid" if failures - {_UNTRUSTED} else "valid"
    )
    prefix, _, digest = _shown(one.get("instance_id")).rpartition(":")
    return IngredientFacts(
        title=_shown(one.get("title")),
        relationship=_shown(one.get("relationship")),
        sha256=digest if prefix == "urn:sha256" else "",
        state=state,
    )


def _training(active: Mapping[str, Any]) -> dict[str, str]:
    return {
        _shown(name): _shown(entry.get("use"))
        for data in _assertions(active, "cawg.training-mining")
        for name, entry in list((data.get("entries") or {}).items())[:MAX_INGREDIENTS]
    }


def _claimed_watermark(active: Mapping[str, Any]) -> Watermark | None:
    for data in _assertions(active, "c2pa.soft-binding"):
        blocks = data.get("blocks") or [{}]
        try:
            return Watermark(name=_shown(data.get("alg")), payload=str(blocks[0].get("value")))
        except ValidationError:
            continue  # a notation that is none of those known here
    return None


def _named(agent: object) -> str:
    if not isinstance(agent, Mapping):
        return _shown(agent)
    return _shown(" ".join(str(agent[part]) for part in ("name", "version") if agent.get(part)))


def _texts(texts: Mapping[str, str]) -> dict[str, str]:
    return {_shown(lang): _printable(text) for lang, text in texts.items()}


def _shown(value: object) -> str:
    return _printable(str(value))[:MAX_TEXT] if value is not None else ""


def _printable(text: str) -> str:
    """On one line and without control characters: a terminal would obey some of them."""
    return "".join(char if char.isprintable() else " " for char in text).strip()


def _found(data: bytes, detector: Watermarker) -> Watermark | None:
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP", "AVIF")) as picture:
            if picture.width * picture.height > MAX_INPUT_PIXELS:
                return None
            return detector.read(np.asarray(picture.convert("RGB")))
    except Exception:  # a decoder meets hostile bytes with whatever class comes to it
        return None
