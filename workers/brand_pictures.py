"""Fetching the pictures of a fine-tune into a folder, each with its caption beside it, under names of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from schemas.errors import BadImage, BadInput, InputMissing, InputRefused, ObjectMissing, OutOfRange
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
from storage.kept_inputs import KeptInputs
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
    """A tenant's own two stores, and how pictures from them are looked at before anything else touches them."""

    uploads: ObjectStore
    results: ObjectStore
    #: The key under which the tenant's records of kept pictures are sealed.
    key: bytes = b""
    #: A clean copy of a picture; raises BadImage.
    clean: Callable[[bytes], bytes] = lambda data: data
    #: Raises InputRefused for a clean picture that may not be learnt from.
    judge: Callable[[bytes], object] = lambda _png: None
    #: Raises PromptRefused for a caption that the policy does not allow.
    check_words: Callable[[Mapping[str, str]], object] = lambda _texts: None


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
    checked: set[str] = set()
    total = 0
    for number, (reference, sidecar) in enumerate(_wanted(spec, stores.uploads), 1):
        if cancelled():
            raise Called
        data = _read(reference, stores, number, MAX_TOTAL_BYTES - total)
        total += len(data)
        data = _looked_at(data, stores, f"images.{number - 1}")
        name = f"{number:05d}{_suffix(data)}"
        (folder / name).write_bytes(data)
        caption = _caption(spec, listing, reference, sidecar, stores.uploads)
        if caption not in checked:
            stores.check_words({"captions": caption})
            checked.add(caption)
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
    if place.place == "inputs":
        data = _kept(stores, place.key, field_name)
    else:
        store = stores.uploads if place.place == "uploads" else stores.results
        data = _limited(store, place.key, MAX_IMAGE_BYTES, field=field_name)
    if len(data) > room:
        raise OutOfRange("the pictures are too many bytes altogether", field="images", limit=MAX_TOTAL_BYTES)
    return data


def _kept(stores: Stores, sha256: str, field: str) -> bytes:
    """A picture that was sent before, verified."""
    kept = KeptInputs(store=stores.results, key=stores.key)
    try:
        return patiently(lambda: kept.read(sha256))
    except (InputMissing, BadImage) as error:
        raise type(error)(error.detail, field=field, limit=error.limit) from None


def _looked_at(data: bytes, stores: Stores, field: str) -> bytes:
    """A clean copy; nothing of one that cannot be read, which curation then counts among the dropped."""
    try:
        png = stores.clean(data)
    except BadImage:
        return b""
    try:
        stores.judge(png)
    except InputRefused as error:
        raise InputRefused(error.detail, field=field, limit=error.limit) from None
    return png


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
