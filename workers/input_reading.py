"""The pictures that specs name by digest, verified and decoded where hostile bytes can do no harm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from safety.input_image import PictureReader
from schemas.input_limits import MAX_KEPT_BYTES
from storage.kept_inputs import KeptInputs
from workers.ports import Stores
from workers.shelf import patiently

#: (height, width, 3), RGB in sRGB, on white.
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class InputReader:
    """Reads a tenant's kept pictures; thread-safe.

    InputMissing when one is gone, BadImage when it is another than was planned with, and the store's own errors.
    """

    stores: Stores
    #: Decodes; in this process, unless whoever composes it says otherwise.
    reader: PictureReader = field(default_factory=PictureReader)
    #: The key under which a tenant's records are sealed: without it only files from before there were records are read.
    key: Callable[[str], bytes] = lambda _tenant: b""
    most_bytes: int = MAX_KEPT_BYTES

    def read(self, tenant: str, sha256: str) -> Pixels:
        """The picture whose original bytes had this digest."""
        kept = KeptInputs(store=self.stores(tenant), key=self.key(tenant))
        return self.reader.decode(patiently(lambda: kept.read(sha256, most_bytes=self.most_bytes)))
