"""What pictures went into a picture, and what their own manifests said."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as attribute
from typing import Literal

from safety.provenance.content_credentials import MEDIA_TYPES, library

#: A manifest with thumbnails can be as large as its picture; beyond this the picture is named and its manifest left out.
MAX_RECORD_BYTES = 1_000_000

#: The picture that was changed, or one that only guided (C2PA 2.2, section 10.3.2.5).
Relationship = Literal["parentOf", "inputTo"]


@dataclass(frozen=True, kw_only=True)
class Ingredient:
    """One of the pictures that a request brought."""

    #: Its field in the request, e.g. "image" or "control.0.image".
    field: str
    #: Of the bytes as they came.
    sha256: str
    relationship: Relationship
    #: What `ingredient_record` made of them; empty where the picture brought no manifest.
    record: bytes = attribute(default=b"", repr=False)

    @property
    def definition(self) -> Mapping[str, str]:
        """In the library's words. The field stands for the file's name, which could name a person."""
        return {
            "title": self.field,
            "label": self.field,
            "relationship": self.relationship,
            "instance_id": f"urn:sha256:{self.sha256}",
        }


def ingredient_record(data: bytes, media_type: str) -> bytes:
    """The manifest of a picture file as a C2PA ingredient archive, with how it was found: intact, changed, by whom signed.

    Holds no pixels beyond what that manifest holds. Empty when there is none, or none that can be read or is within
    `MAX_RECORD_BYTES`; a strange file never raises.
    """
    import c2pa

    if media_type not in MEDIA_TYPES:
        return b""
    archive = io.BytesIO()
    try:
        with library() as context:
            with c2pa.Reader(media_type, io.BytesIO(data), context=context):
                pass  # raises where there is no manifest
            with c2pa.Builder({"assertions": []}, context=context) as builder:
                definition = {"title": "input", "label": "input", "relationship": "inputTo"}
                builder.add_ingredient(definition, media_type, io.BytesIO(data))
                builder.write_ingredient_archive("input", archive)
    except c2pa.C2paError:
        return b""
    record = archive.getvalue()
    return record if len(record) <= MAX_RECORD_BYTES else b""
