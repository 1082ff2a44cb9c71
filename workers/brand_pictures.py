"""Fetching the pictures of a fine-tune into a folder, each with its caption beside it, under names of ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from schemas.errors import BadInput, InputMissing, ObjectMissing, OutOfRange
from schemas.finetune import (
    MAX_IMAGE_BYTES,
    MAX_IMAGES,
    MAX_LISTING_BYTES,
    MAX_TOTAL_BYTES,
    MIN_IMAGES,
    TRIGGER_SLOT,
    FinetuneSpec,
    is_picture,
)
from schemas.input_reference import InputReference
from schemas.object_keys import input_key
from storage.objects.store import ObjectStore
from workers.captions import caption_of, checked_caption, read_listing
from workers.shelf import patiently
from workers.tuning import Called, Cancelled

_FOLDER = "uploads/"
#: A caption of the longest kind, in the bytes of any script.
_MAX_SIDECAR_BYTES = 4096
#: How files of each kind begin; names are made from what a file is, not from what it claims to be.
_MAGIC = ((b"\x89PNG\r\n\x1a\n", ".png"), (b"\xff\xd8\xff", ".jpg"), (b"RIFF", ".webp"))


@dataclass(frozen=True, kw_only=True)
class Stores:
    """A tenant's own two stores."""

    uploads: ObjectStore
    results: ObjectStore


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """Local file name to the picture's reference, so that errors can be told in the customer's words."""

    references: Mapping[str, str] = field(default_factory=dict)

    def in_words_of_the_request(self, text: str) -> str:
        for name, reference in self.references.items():
            text = text.replace(name, reference)
        return text


def fetch_pictures(spec: FinetuneSpec, stores: Stores, folder: Path, *, cancelled: Cancelled) -> Fetched:
    """Every picture of the request and its caption, within the limits; typed errors name the field and the limit."""
    listing = _listing(spec, stores.uploads)
    references: dict[str, str] = {}
    total = 0
    for number, (reference, sidecar) in enumerate(_wanted(spec, stores.uploads), 1):
        if cancelled():
            raise Called
        data = _read(reference, stores, number, MAX_TOTAL_BYTES - total)
        total += len(data)
        name = f"{number:05d}{_suffix(data)}"
        (folder / name).write_bytes(data)
        caption = _caption(spec, listing, reference, sidecar, stores.uploads)
        (folder / name).with_suffix(".txt").write_text(caption, encoding="utf-8")
        references[name] = reference
    if not MIN_IMAGES <= len(references) <= MAX_IMAGES:
        raise OutOfRange(f"{len(references)} pictures", field="images", limit=[MIN_IMAGES, MAX_IMAGES])
    return Fetched(references=references)


def _listing(spec: FinetuneSpec, uploads: ObjectStore) -> Mapping[str, str]:
    if spec.captions is None:
        return {}
    key = InputReference.parse(spec.captions).key
    return read_listing(key, _limited(uploads, key, MAX_LISTING_BYTES, field="captions"))


def _wanted(spec: FinetuneSpec, uploads: ObjectStore) -> Iterator[tuple[str, str | None]]:
    """References, each with the key of the caption beside it, if there is one."""
    if not spec.images[0].endswith("/"):
        yield from ((reference, None) for reference in spec.images)
        return
    # A tenant's folder, listed whole: at most a few thousand names, as intake has seen.
    keys = [entry.key for entry in uploads.list(spec.images[0].removeprefix(_FOLDER))]
    texts = {key for key in keys if key.endswith(".txt")}
    for key in filter(is_picture, keys):
        sidecar = f"{key.rpartition('.')[0]}.txt"
        yield f"{_FOLDER}{key}", sidecar if sidecar in texts else None


def _read(reference: str, stores: Stores, number: int, room: int) -> bytes:
    place, field_name = InputReference.parse(reference), f"images.{number - 1}"
    if place.place == "uploads":
        store, key = stores.uploads, place.key
    else:
        store, key = stores.results, input_key(place.key) if place.place == "inputs" else place.key
    data = _limited(store, key, MAX_IMAGE_BYTES, field=field_name)
    if len(data) > room:
        raise OutOfRange("the pictures are too many bytes altogether", field="images", limit=MAX_TOTAL_BYTES)
    return data


def _limited(store: ObjectStore, key: str, limit: int, *, field: str) -> bytes:
    """The object, looked at before it is loaded; one that was replaced in between counts as missing."""
    info = patiently(lambda: store.head(key))
    if info is None:
        raise InputMissing("it is not there", field=field)
    if info.size > limit:
        raise OutOfRange(f"it has {info.size} bytes", field=field, limit=limit)
    try:
        return patiently(lambda: store.get_range(key, 0, info.size, etag=info.etag))
    except ObjectMissing:
        raise InputMissing("it is not there any more", field=field) from None


def _suffix(data: bytes) -> str:
    return next((suffix for magic, suffix in _MAGIC if data.startswith(magic)), ".png")


def _caption(
    spec: FinetuneSpec, listing: Mapping[str, str], reference: str, sidecar: str | None, uploads: ObjectStore
) -> str:
    """From the listing, else from beside the picture, else the request's own; the trigger word in its slot."""
    caption = caption_of(listing, InputReference.parse(reference).key)
    if not caption and sidecar is not None:
        caption = _beside(uploads, sidecar)
    return (caption or spec.caption).replace(TRIGGER_SLOT, spec.trigger).strip() or spec.name


def _beside(uploads: ObjectStore, key: str) -> str:
    data = _limited(uploads, key, _MAX_SIDECAR_BYTES, field="captions")
    try:
        return checked_caption(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise BadInput(f"the caption {key.rpartition('/')[2]!r} is not UTF-8", field="captions") from None
