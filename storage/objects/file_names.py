"""How the keys of a directory store become file names and back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol
from urllib.parse import unquote

from storage.objects.store import is_storable

#: Common limit of one file name in bytes.
MAX_NAME_BYTES = 255
#: Longest piece of an escaped segment: leaves room for the continuation mark.
PIECE_CHARACTERS = 200
#: Ends a piece that goes on in the next path component; no escape starts like this.
CONTINUED = "%~"

_ESCAPED_NAME = re.compile(r"(?:%[0-9A-F]{2}|[^%/])+(?:%~)?")
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-+=@,~() ")
_CAPITALS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


class FileNames(Protocol):
    """Two keys never share a path, and no path leaves the folder or starts a component with a dot."""

    def path(self, key: str) -> str | None:
        """The path relative to the store's folder, or None when no such object can exist."""
        ...

    def key(self, path: str) -> str | None:
        """The key of a file that was found, or None when it is none of the store's."""
        ...


class PlainNames:
    """File names are keys, as in a folder that people drop files in; names that start with a dot are not objects."""

    def path(self, key: str) -> str | None:
        return key if self.key(key) is not None else None

    def key(self, path: str) -> str | None:
        if not is_storable(path):
            return None
        fits = all(
            not name.startswith(".") and len(name.encode()) <= MAX_NAME_BYTES for name in path.split("/")
        )
        return path if fits else None


class EscapedNames:
    """Any key on any file system: what is not plain in a segment becomes ``%XX``, a long segment several folders.

    With `escape_capitals`, for file systems that take ``A.png`` and ``a.png`` for one file, capitals are escaped too.
    Anything outside ASCII is escaped because some file systems change its Unicode form.
    """

    def __init__(self, *, escape_capitals: bool) -> None:
        self._plain = _PLAIN if escape_capitals else _PLAIN | _CAPITALS

    def path(self, key: str) -> str | None:
        if not is_storable(key):
            return None
        return "/".join(piece for segment in key.split("/") for piece in self._pieces(segment))

    def key(self, path: str) -> str | None:
        names = path.split("/")
        if not all(_ESCAPED_NAME.fullmatch(name) for name in names):
            return None
        key = unquote(path.replace(CONTINUED + "/", ""), errors="replace")
        # Only a name that we would write ourselves is an object: anything else would be two names for one key.
        return key if self.path(key) == path else None

    def _pieces(self, segment: str) -> Iterator[str]:
        piece = ""
        last = len(segment) - 1
        for index, character in enumerate(segment):
            escaped = self._escaped(character, first=not piece, last=index == last)
            if len(piece) + len(escaped) > PIECE_CHARACTERS:
                yield piece + CONTINUED
                piece, escaped = "", self._escaped(character, first=True, last=index == last)
            piece += escaped
        yield piece

    def _escaped(self, character: str, *, first: bool, last: bool) -> str:
        # A leading dot would hide the file or leave the folder; a trailing dot or space is dropped by some file systems.
        awkward = (first and character in ". ") or (last and character in ". ")
        if character in self._plain and not awkward:
            return character
        return "".join(f"%{byte:02X}" for byte in character.encode())
