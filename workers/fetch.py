"""What a spec names by digest, from the tenant's results store to arrays that the renderer takes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from threading import Condition
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
from cachetools import LRUCache, cached
from PIL import Image

from models.adapters import ADAPTER_FILE, WEIGHTS_FILE, Adapter
from models.inputs import fit_lines, fit_to
from schemas.errors import AquatintError, BadImage, InputMissing, ObjectMissing
from schemas.microbatch import ImageTask
from schemas.object_keys import adapter_key
from storage.objects.store import ObjectStore
from workers.input_reading import InputReader
from workers.ports import Fetched, Renderer, Stores
from workers.shelf import patiently

#: Fitted pictures are small, so this holds hundreds; adapters of large models take some ten megabytes each.
PICTURE_CACHE_BYTES = 128 * 1024**2
ADAPTER_CACHE_BYTES = 512 * 1024**2
#: Files of an adapter; larger ones are none of ours.
MAX_DESCRIPTION_BYTES = 1024**2
MAX_WEIGHTS_BYTES = 512 * 1024**2

Role = Literal["picture", "mask", "drawing"]
Result = TypeVar("Result")
_Bytes = npt.NDArray[np.uint8]


class Fetcher:
    """Reads pictures and adapters once for as long as they are in use; safe to share between threads.

    Raises BadImage, InputMissing or the model's AdapterUnusable for what a repeat would not change, and the store's
    own errors, whose field is that of the request.
    """

    def __init__(self, stores: Stores, renderer: Renderer, inputs: InputReader | None = None) -> None:
        self._stores, self._renderer = stores, renderer
        self._inputs = inputs or InputReader(stores=stores)
        # With a condition, the images of one microbatch wait for the first to read what they share.
        pictures: LRUCache[object, _Bytes] = LRUCache(PICTURE_CACHE_BYTES, getsizeof=lambda one: one.nbytes)
        adapters: LRUCache[object, Adapter] = LRUCache(
            ADAPTER_CACHE_BYTES, getsizeof=lambda one: one.size_bytes
        )
        self._picture = cached(pictures, condition=Condition())(self._read_picture)
        self._adapter = cached(adapters, condition=Condition())(self._read_adapter)

    def fetch(self, task: ImageTask) -> Fetched:
        """Everything beyond words that the image is made of, pictures at its size."""
        spec, tenant = task.spec, task.tenant
        roles: dict[str, Role] = {"mask": "mask"}
        for place, one in enumerate(spec.control):
            if one.kind == "sketch":
                roles[f"control.{place}.image"] = "drawing"

        def picture(field: str, sha256: str) -> _Bytes:
            role = roles.get(field, "picture")
            return _named(field, lambda: self._picture(tenant, sha256, role, spec.width, spec.height))

        def adapter(field: str, digest: str) -> Adapter:
            return _named(field, lambda: self._adapter(tenant, spec.model, digest))

        pictures = {field: picture(field, sha256) for field, sha256 in spec.inputs.items()}
        return Fetched(
            image=pictures.pop("image", None),
            mask=pictures.pop("mask", None),
            control=tuple(pictures.values()),
            adapters=tuple(
                adapter(f"adapters.{place}", one.digest) for place, one in enumerate(spec.adapters)
            ),
        )

    def _read_picture(self, tenant: str, sha256: str, role: Role, width: int, height: int) -> _Bytes:
        pixels = self._inputs.read(tenant, sha256)
        if role == "drawing":
            return fit_lines(pixels, width, height)  # ordinary resampling would wash thin strokes out
        if role == "mask":
            pixels = np.asarray(Image.fromarray(pixels).convert("L"))
        return fit_to(pixels, width, height)

    def _read_adapter(self, tenant: str, model: str, digest: str) -> Adapter:
        store = self._stores(tenant)
        description = _verified(store, adapter_key(digest, ADAPTER_FILE), MAX_DESCRIPTION_BYTES, digest)
        weights = _bounded(store, adapter_key(digest, WEIGHTS_FILE), MAX_WEIGHTS_BYTES)
        return self._renderer.read_adapter(model, description, weights)


def _named(field: str, read: Callable[[], Result]) -> Result:
    """The result; an error of ours says which field of the request it is about."""
    try:
        return read()
    except AquatintError as error:
        raise type(error)(error.detail, field=field, limit=error.limit) from error


def _verified(store: ObjectStore, key: str, limit: int, sha256: str) -> bytes:
    """The object's bytes, which must be those that were planned with."""
    data = _bounded(store, key, limit)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BadImage(f"{key} no longer holds what was planned with")
    return data


def _bounded(store: ObjectStore, key: str, limit: int) -> bytes:
    try:
        data = patiently(lambda: store.get_range(key, 0, limit + 1))
    except ObjectMissing:
        raise InputMissing(f"{key} is no longer there") from None
    if len(data) > limit:
        raise BadImage(f"{key} is larger than what was planned with", limit=limit)
    return data
