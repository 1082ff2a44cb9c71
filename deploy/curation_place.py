"""An object store as the source of a curation, and as its destination."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from models.curation import archives, caption_tables
from models.curation.places import FoundFile
from models.curation.reasons import Reason, Refused
from models.curation.source import Source
from schemas.errors import BadSettings, ObjectMissing, OutOfRange
from storage.objects.location import is_s3, open_store

if TYPE_CHECKING:
    from storage.objects.store import ObjectStore

FILE = "file://"


@dataclass(frozen=True, kw_only=True)
class StorePlace:
    """Objects below an `s3://bucket/prefix`; each process opens its own connection.

    A store that cannot be reached stops the run, which goes on later: only what is wrong with an object drops it.
    """

    location: str
    endpoint_url: str = ""
    region: str = ""

    @property
    def title(self) -> str:
        return self.location

    def files(self) -> Iterator[FoundFile]:
        for entry in self._store.list():
            if not (entry.key.endswith("/") and entry.size == 0):  # how consoles mark a folder
                yield FoundFile(name=entry.key, size=entry.size)

    def read(self, name: str, offset: int, length: int) -> bytes:
        try:
            return self._store.get_range(name, offset, length) if length else b""
        except ObjectMissing:
            raise Refused(Reason.MISSING_FILE) from None
        except OutOfRange:
            raise Refused(Reason.BAD_NAME) from None

    @property
    def _store(self) -> ObjectStore:
        return _opened(self.location, self.endpoint_url, self.region)


@lru_cache(maxsize=4)
def _opened(location: str, endpoint_url: str, region: str) -> ObjectStore:
    return open_store(location, bucket="curation", endpoint_url=endpoint_url, region=region)


def open_source(location: str, *, endpoint_url: str, region: str) -> Source:
    """A folder, listing or archive here, as a path or file:// address, or on S3; CurationUnusable or BadSettings."""
    if not is_s3(location):
        return Source.open(local_path(location))
    folder, _, name = location.rpartition("/")
    if PurePosixPath(name).suffix.lower() in (*caption_tables.SUFFIXES, archives.SUFFIX):
        place = StorePlace(location=folder, endpoint_url=endpoint_url, region=region)
        return Source.within(place, name)
    return Source(place=StorePlace(location=location, endpoint_url=endpoint_url, region=region))


def local_path(location: str) -> Path:
    """A path, also when written as file:// address."""
    if "://" in location and not location.startswith(FILE):
        raise BadSettings(f"{location}: a folder, s3://bucket/prefix or file:///folder is needed")
    return Path(location.removeprefix(FILE)).expanduser()


def publish(folder: Path, location: str, *, endpoint_url: str, region: str) -> int:
    """Copies a finished curation to S3, its index last, so that whoever sees the index finds all shards; files copied."""
    store = open_store(location, bucket="curation", endpoint_url=endpoint_url, region=region)
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    for name in sorted(names, key=lambda name: name == "index.json"):
        store.put(name, (folder / name).read_bytes(), if_absent=False)
    return len(names)
