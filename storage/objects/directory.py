"""The object store in a folder: objects are plain files, created whole and at most once.

Beside them the folder holds ``.partial/`` (files being written), ``.about/`` (media type, metadata and SHA-256 of each
object, named after the file's etag) and ``.store.json`` (how names are escaped).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from schemas.errors import ObjectMissing, OutOfRange, StoreUnfit
from storage.objects.durable_file import ensure_directory, sync_directory, write_durably
from storage.objects.file_errors import opening, reading, writing
from storage.objects.file_names import EscapedNames, FileNames, PlainNames
from storage.objects.signed_link import LinkSigner
from storage.objects.store import (
    DEFAULT_MEDIA_TYPE,
    Capabilities,
    ObjectEntry,
    ObjectInfo,
    PutResult,
    require_description,
    require_key,
)

#: Files of writers that died are removed when the store is opened this long after their last change.
STRAY_AGE_SECONDS = 3600.0

PARTIAL, ABOUT, MARKER = ".partial", ".about", ".store.json"
#: Media types of files that were dropped in, or whose description is lost.
MEDIA_TYPES = {
    ".avif": "image/avif",
    ".csv": "text/csv",
    ".html": "text/html",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".parquet": "application/vnd.apache.parquet",
    ".png": "image/png",
    ".txt": "text/plain",
    ".webp": "image/webp",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _About:
    """What a file does not say about itself."""

    media_type: str
    sha256: str | None = None
    metadata: Mapping[str, str]


class DirectoryStore:
    """Objects as files below `root`, for one machine or a shared POSIX file system; safe between processes."""

    def __init__(
        self, root: Path, *, bucket: str, names: FileNames, signer: LinkSigner | None = None
    ) -> None:
        self._root, self._bucket, self._names, self._signer = root, bucket, names, signer

    @classmethod
    def open(cls, root: Path, *, bucket: str, signer: LinkSigner | None = None) -> Self:
        """The store in `root`, made if need be, for any key; clears what killed writers left long ago."""
        root = root.absolute()
        with opening(str(root)):
            ensure_directory(root / PARTIAL)
            names = EscapedNames(escape_capitals=_settled_case(root))
            _remove_strays(root / PARTIAL)
        return cls(root, bucket=bucket, names=names, signer=signer)

    @classmethod
    def open_drop_folder(cls, root: Path, *, bucket: str, signer: LinkSigner | None = None) -> Self:
        """A folder that people drop files in: file names are keys."""
        root = root.absolute()
        with opening(str(root)):
            ensure_directory(root)
            _remove_strays(root / PARTIAL)
        return cls(root, bucket=bucket, names=PlainNames(), signer=signer)

    @property
    def bucket(self) -> str:
        return self._bucket

    @property
    def root(self) -> Path:
        return self._root

    def probe(self) -> Capabilities:
        with opening(str(self._root)):
            ensure_directory(self._root / PARTIAL)
            first = self._root / PARTIAL / f"probe-{uuid.uuid4().hex}"
            second = first.with_suffix(".link")
            try:
                write_durably(first, b"probe")
                _link(first, second)
                exclusive = not _link(first, second)
            finally:
                first.unlink(missing_ok=True)
                second.unlink(missing_ok=True)
        return Capabilities(conditional_create=exclusive, conditional_replace="no", delete=True)

    def put(
        self,
        key: str,
        data: bytes,
        *,
        media_type: str = DEFAULT_MEDIA_TYPE,
        metadata: Mapping[str, str] | None = None,
        if_absent: bool = True,
    ) -> PutResult:
        path = self._writable_path(key)
        require_description(media_type, metadata or {})
        if if_absent and (present := self.head(key)):
            return self._present(path, present)
        sha256 = hashlib.sha256(data).hexdigest()
        about = _About(media_type=media_type, sha256=sha256, metadata=metadata or {})
        with writing(f"{self._bucket}/{key}"):
            etag = self._create(path, data, about) if if_absent else self._replace(path, data, about)
        if etag is None:
            # Another writer was faster; were it a folder that is in the way, there would be no object now.
            if present := self.head(key):
                return self._present(path, present)
            with writing(f"{self._bucket}/{key}"):
                raise IsADirectoryError(errno.EISDIR, "is a directory")
        return PutResult(created=True, etag=etag, sha256=sha256)

    def _present(self, path: Path, present: ObjectInfo) -> PutResult:
        # Its writer may not have come to this yet, and whoever hears "it is there" relies on it.
        with writing(str(path)):
            sync_directory(path.parent)
        return PutResult(created=False, etag=present.etag, sha256=present.sha256)

    def _create(self, path: Path, data: bytes, about: _About) -> str | None:
        """The etag of the new object, or None when the name is taken."""
        with self._partial(data) as partial:
            etag = self._describe(partial, about)
            ensure_directory(path.parent)
            if not _link(partial, path):
                self._about_path(etag).unlink(missing_ok=True)
                return None
            sync_directory(path.parent)
        return etag

    def _replace(self, path: Path, data: bytes, about: _About) -> str:
        with self._partial(data) as partial:
            etag = self._describe(partial, about)
            ensure_directory(path.parent)
            replaced = _etag(path.stat()) if path.exists() else None
            partial.replace(path)
            sync_directory(path.parent)
        if replaced:
            self._about_path(replaced).unlink(missing_ok=True)
        return etag

    @contextlib.contextmanager
    def _partial(self, data: bytes) -> Iterator[Path]:
        """A durable file with `data` under a name that is no object's; gone afterwards, whatever happened."""
        partial = self._root / PARTIAL / uuid.uuid4().hex
        ensure_directory(partial.parent)
        try:
            write_durably(partial, data)
            yield partial
        finally:
            partial.unlink(missing_ok=True)

    def _describe(self, partial: Path, about: _About) -> str:
        """Writes the description before the object appears; its name binds it to this very file."""
        etag = _etag(partial.stat())
        place = self._about_path(etag)
        ensure_directory(place.parent)
        # Possible only where the same inode, size and time came back after a removal that was cut short.
        place.unlink(missing_ok=True)
        facts = {"media_type": about.media_type, "sha256": about.sha256, "metadata": dict(about.metadata)}
        text = json.dumps(facts).encode()
        if about.metadata:
            write_durably(place, text)
        else:
            # Worth no second wait for the disk: what a power cut takes can be told from the object itself.
            place.write_bytes(text)
        return etag

    def get(self, key: str) -> bytes:
        with self._reading(key) as (descriptor, _), open(descriptor, "rb", closefd=False) as file:
            return file.read()

    def get_range(self, key: str, start: int, length: int, *, etag: str | None = None) -> bytes:
        with self._reading(key) as (descriptor, status):
            if etag not in (None, _etag(status)):
                raise ObjectMissing(f"the object {key!r} was replaced while it was being read", field="key")
            return os.pread(descriptor, length, start)

    def head(self, key: str) -> ObjectInfo | None:
        try:
            with self._reading(key) as (_, status):
                etag = _etag(status)
        except ObjectMissing:
            return None
        about = self._about(key, etag)
        return ObjectInfo(
            key=key,
            size=status.st_size,
            etag=etag,
            media_type=about.media_type,
            sha256=about.sha256,
            metadata=about.metadata,
        )

    def _about(self, key: str, etag: str) -> _About:
        try:
            facts: dict[str, Any] = json.loads(self._about_path(etag).read_bytes())
            return _About(media_type=facts["media_type"], sha256=facts["sha256"], metadata=facts["metadata"])
        except (OSError, ValueError, KeyError):
            suffix = Path(key).suffix.lower()
            return _About(media_type=MEDIA_TYPES.get(suffix, DEFAULT_MEDIA_TYPE), metadata={})

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectEntry]:
        folder, after = prefix.rpartition("/")[0], start_after.encode()
        start = self._names.path(folder) if folder else ""
        found = [] if start is None else list(self._walk(start))
        for entry in sorted(found, key=lambda entry: entry.key.encode()):
            if entry.key.startswith(prefix) and entry.key.encode() > after:
                yield entry

    def _walk(self, folder: str) -> Iterator[ObjectEntry]:
        with reading(f"{self._bucket}/{folder}"), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            with os.scandir(self._root / folder) as found:
                names = [item for item in found if not item.name.startswith(".")]
            for item in names:
                path = f"{folder}/{item.name}" if folder else item.name
                if item.is_dir(follow_symlinks=False):
                    yield from self._walk(path)
                elif item.is_file(follow_symlinks=False):
                    yield from self._entry(path, item)

    def _entry(self, path: str, item: os.DirEntry[str]) -> Iterator[ObjectEntry]:
        key = self._names.key(path)
        with contextlib.suppress(FileNotFoundError):
            if key is not None:
                status = item.stat(follow_symlinks=False)
                modified = datetime.fromtimestamp(status.st_mtime, UTC)
                yield ObjectEntry(key=key, size=status.st_size, etag=_etag(status), modified=modified)

    def presign(self, key: str, *, expires_seconds: int) -> str:
        if self._signer is None:
            raise StoreUnfit(f"the store {self._bucket} has no secret to sign links with")
        return self._signer.link(self._bucket, key, expires_seconds)

    def delete(self, key: str) -> None:
        relative = self._names.path(key)
        if relative is None:
            return
        path = self._root / relative
        with writing(f"{self._bucket}/{key}"), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            etag = _etag(path.lstat())
            path.unlink()
            sync_directory(path.parent)
            self._about_path(etag).unlink(missing_ok=True)

    def _writable_path(self, key: str) -> Path:
        require_key(key)
        relative = self._names.path(key)
        if relative is None:
            raise OutOfRange(
                "this key is no visible file name", field="key", limit="255 bytes, no leading dot"
            )
        return self._root / relative

    @contextlib.contextmanager
    def _reading(self, key: str) -> Iterator[tuple[int, os.stat_result]]:
        relative = self._names.path(key)
        if relative is None:
            raise ObjectMissing(f"there is no object {key!r} in {self._bucket}", field="key")
        path = self._root / relative
        with reading(f"{self._bucket}/{key}"):
            # Nobody who may write into the folder can make us read outside it through a symbolic link.
            if not path.parent.resolve().is_relative_to(self._root.resolve()):
                raise FileNotFoundError(errno.ENOENT, "outside the store")
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise FileNotFoundError(errno.ENOENT, "not a file")
                yield descriptor, status
            finally:
                os.close(descriptor)

    def _about_path(self, etag: str) -> Path:
        return self._root / ABOUT / etag[-2:] / f"{etag}.json"


def _etag(status: os.stat_result) -> str:
    # The inode tells apart files of equal size that were written within one tick of the file system's clock.
    return f"{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ino:02x}"


def _link(source: Path, target: Path) -> bool:
    """Gives `source` a second name unless that is taken: the one operation that creates atomically and exclusively."""
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EOPNOTSUPP, errno.EXDEV, errno.ENOSYS, errno.EMLINK):
            raise StoreUnfit(f"the file system of {target.parent} has no hard links") from error
        raise
    return True


def _settled_case(root: Path) -> bool:
    """Whether capitals are escaped: found out when the store is made, and kept in it for ever after."""
    marker = root / MARKER
    if not marker.exists():
        settled = {"format": 1, "escape_capitals": _takes_capitals_for_small(root / PARTIAL)}
        fresh = root / PARTIAL / f"marker-{uuid.uuid4().hex}"
        try:
            write_durably(fresh, json.dumps(settled).encode())
            _link(fresh, marker)
        finally:
            fresh.unlink(missing_ok=True)
        sync_directory(root)
    try:
        known = json.loads(marker.read_bytes())
        escape_capitals = bool(known["escape_capitals"]) if known["format"] == 1 else None
    except (ValueError, KeyError, TypeError):
        escape_capitals = None
    if escape_capitals is None:
        raise StoreUnfit(f"{marker} is not of a version that this program knows")
    if not escape_capitals and _takes_capitals_for_small(root / PARTIAL):
        raise StoreUnfit(f"{root} was moved to a file system that does not tell capital from small letters")
    return escape_capitals


def _takes_capitals_for_small(folder: Path) -> bool:
    probe = folder / f"case-{uuid.uuid4().hex}"
    probe.touch()
    try:
        return probe.with_name(probe.name.upper()).exists()
    finally:
        probe.unlink(missing_ok=True)


def _remove_strays(folder: Path) -> None:
    oldest = time.time() - STRAY_AGE_SECONDS
    for stray in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):
            if stray.stat().st_mtime < oldest:
                stray.unlink()
