"""What a failed file operation means, in terms of who can act."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from schemas.errors import (
    AquatintError,
    ObjectMissing,
    StoreDenied,
    StoreFull,
    StoreUnavailable,
    StoreUnfit,
    Unsupported,
)

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
#: ELOOP: the name is a symbolic link, and those are not followed.
_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
#: While writing: something of the other kind (file or folder) is in the way.
_IN_THE_WAY = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST}


@contextmanager
def writing(place: str) -> Iterator[None]:
    """Turns an OSError while writing to `place` into a typed error."""
    try:
        yield
    except OSError as error:
        raise _write_error(error, place) from error


@contextmanager
def opening(place: str) -> Iterator[None]:
    """Turns an OSError while the store's own folder `place` is made ready into a typed error."""
    try:
        yield
    except OSError as error:
        if error.errno in _MISSING | _IN_THE_WAY:
            raise StoreUnfit(f"{place} is no folder and cannot become one") from error
        raise _store_error(error, place) from error


@contextmanager
def reading(place: str) -> Iterator[None]:
    """Turns an OSError while reading from `place` into a typed error."""
    try:
        yield
    except OSError as error:
        if error.errno in _MISSING:
            raise ObjectMissing(f"there is no object {place}", field="key") from error
        raise _store_error(error, place) from error


def _write_error(error: OSError, place: str) -> AquatintError:
    if error.errno in _IN_THE_WAY:
        return Unsupported(
            f"{place}: a folder store cannot hold an object and other objects below its name", field="key"
        )
    return _store_error(error, place)


def _store_error(error: OSError, place: str) -> AquatintError:
    reason = errno.errorcode.get(error.errno or 0, type(error).__name__)
    if error.errno in _FULL:
        return StoreFull(f"no space left for {place} ({reason})")
    if error.errno in _DENIED:
        return StoreDenied(f"no permission for {place} ({reason})")
    return StoreUnavailable(f"{place} cannot be used ({reason})")
