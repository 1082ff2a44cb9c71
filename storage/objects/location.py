"""A store from where it is: a folder, ``s3://bucket`` or ``s3://bucket/prefix``."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from schemas.errors import BadSettings
from schemas.object_event import ObjectCreated
from storage.objects.directory import DirectoryStore
from storage.objects.prefixed import PrefixedStore
from storage.objects.signed_link import LinkSigner
from storage.objects.store import ObjectStore


def is_s3(location: str) -> bool:
    return location.startswith("s3://")


def refuse_loop(*, uploads: str, results: str) -> None:
    """Raises BadSettings when results would land among the uploads: each image would be announced as an upload."""
    watched, written = _parts(uploads), _parts(results)
    if written[: len(watched)] == watched:
        raise BadSettings(
            f"results_store {results} lies inside uploads_store {uploads}: every image would come back as an upload",
            field="results_store",
        )


def localised(event: ObjectCreated, *, location: str, bucket: str) -> ObjectCreated | None:
    """The upload as the store that was opened with `location` and `bucket` knows it, or None when it lies elsewhere.

    Notifications name the S3 bucket and the whole key; the store below a prefix has keys without it, and everybody
    inside says `bucket`.
    """
    if not is_s3(location):
        return event if event.bucket == bucket else None
    name, prefix = _bucket_and_prefix(location)
    if event.bucket != name or not event.key.startswith(prefix) or event.key == prefix:
        return None
    return event.model_copy(update={"bucket": bucket, "key": event.key.removeprefix(prefix)})


def _bucket_and_prefix(location: str) -> tuple[str, str]:
    """The prefix is empty or ends in a slash."""
    name, _, rest = location.removeprefix("s3://").partition("/")
    below = rest.strip("/")
    if not name:
        raise BadSettings("an S3 store is s3://bucket or s3://bucket/prefix")
    return name, f"{below}/" if below else ""


def _parts(location: str) -> tuple[str, ...]:
    if is_s3(location):
        return ("s3:", *(part for part in location.removeprefix("s3://").split("/") if part))
    return Path(location).expanduser().resolve().parts


def open_store(
    location: str,
    *,
    bucket: str,
    signer: LinkSigner | None = None,
    drop_folder: bool = False,
    endpoint_url: str = "",
    region: str = "",
    max_connections: int = 32,
) -> ObjectStore:
    """The store at `location`; `bucket` names a folder store in links and events, S3 has its own name.

    Raises BadSettings for a location of another kind, and StoreDenied, StoreFull or StoreUnfit for a bad folder.
    """
    if is_s3(location):
        return _open_s3(location, endpoint_url, region, max_connections)
    if "://" in location:
        raise BadSettings(f"a store is a folder or s3://bucket/prefix, not {urlsplit(location).scheme}://")
    opened = DirectoryStore.open_drop_folder if drop_folder else DirectoryStore.open
    return opened(Path(location).expanduser(), bucket=bucket, signer=signer)


def _open_s3(location: str, endpoint_url: str, region: str, max_connections: int) -> ObjectStore:
    # The AWS library takes half a second to load; installations without S3 never pay for it.
    from storage.objects.s3 import S3Store, connect

    name, prefix = _bucket_and_prefix(location)
    client = connect(
        endpoint_url=endpoint_url or None, region=region or None, max_connections=max_connections
    )
    store = S3Store(bucket=name, client=client, probe_prefix=prefix)
    return PrefixedStore(store, prefix) if prefix else store
