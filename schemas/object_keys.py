"""Where things lie in a tenant's results store."""

from __future__ import annotations

#: Amazon S3's limit on a key, in UTF-8 bytes.
MAX_KEY_BYTES = 1024

#: Kept for what is named by a digest, for batch results, for other tenants and for what no tenant may reach: no
#: customer's copy is written there.
RESERVED_PREFIXES = ("images/", "receipts/", "batches/", "inputs/", "adapters/", "tenants/", "restricted/")


def image_key(digest: str, extension: str) -> str:
    return f"images/{digest[:2]}/{digest}.{extension}"


def receipt_key(digest: str) -> str:
    return f"receipts/{digest[:2]}/{digest}.json"


def input_key(sha256: str) -> str:
    """A picture that a request brought, cleaned, under the SHA-256 of its bytes as they came."""
    return f"inputs/{sha256[:2]}/{sha256}"


def input_record_key(sha256: str) -> str:
    """What is known of that picture (`schemas.input_record`)."""
    return f"{input_key(sha256)}.json"


def ingredient_key(sha256: str) -> str:
    """What such a picture said about its own origin, before that was stripped."""
    return f"{input_key(sha256)}.c2pa"


def adapter_key(digest: str, name: str) -> str:
    """A file of an adapter's folder."""
    return f"adapters/{digest}/{name}"
