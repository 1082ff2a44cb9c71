"""What is curated: a place with its captions, as one stream of entries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

from models.curation import archives, caption_tables
from models.curation.archives import open_file
from models.curation.caption_tables import CaptionRow, read_rows
from models.curation.places import FolderPlace, FoundFile, MemoryPlace, Place
from models.curation.reasons import Reason
from models.errors import CurationUnusable


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A picture, a caption file or neither, known by its name: `length` bytes from `offset` of the place's `file`."""

    name: str
    file: str
    offset: int = 0
    length: int = 0
    refusal: Reason | None = None
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A place, all of it, or only what one `listing` names, or only one `archive` in it."""

    place: Place
    listing: str = ""
    archive: str = ""

    @classmethod
    def open(cls, path: Path) -> Self:
        """A folder, a CSV/TSV/JSONL listing or a tar archive; raises CurationUnusable for anything else."""
        path = path.expanduser()
        if path.is_dir():
            return cls(place=FolderPlace(path))
        if not path.is_file():
            raise CurationUnusable(f"{path}: there is no such folder, listing or archive")
        return cls.within(FolderPlace(path.parent), path.name)

    @classmethod
    def within(cls, place: Place, name: str) -> Self:
        """One listing or one archive of a place."""
        suffix = PurePosixPath(name).suffix.lower()
        if suffix in caption_tables.SUFFIXES:
            return cls(place=place, listing=name)
        if suffix == archives.SUFFIX:
            return cls(place=place, archive=name)
        raise CurationUnusable(
            f"{name}: a source is a folder, a .csv, .tsv or .jsonl listing, or a .tar archive"
        )

    @classmethod
    def of_bytes(cls, pictures: Mapping[str, tuple[bytes, str]]) -> Self:
        """A small set from memory: name to picture file and caption."""
        files = {name: data for name, (data, _) in pictures.items()}
        captions = {f"{name}.txt": said.encode() for name, (_, said) in pictures.items() if said}
        return cls(place=MemoryPlace(files | captions))

    @property
    def title(self) -> str:
        named = self.listing or self.archive
        return f"{self.place.title}/{named}" if named else self.place.title

    def entries(self) -> Iterator[Entry]:
        """Every entry once, in any order; archives are looked into. A listing's own rows are in `rows`."""
        for found in self.place.files():
            if self.archive and found.name != self.archive:
                continue
            if found.refusal is None and found.name.lower().endswith(archives.SUFFIX):
                yield from self._members(found)
            else:
                yield Entry(name=found.name, file=found.name, length=found.size, refusal=found.refusal)

    def _members(self, found: FoundFile) -> Iterator[Entry]:
        for member in archives.members(self.place, found.name, found.size):
            name = f"{found.name}/{member.name}" if member.name else found.name
            yield Entry(
                name=name, file=found.name, offset=member.offset, length=member.size, refusal=member.refusal
            )

    def rows(self, table: Entry) -> Iterator[CaptionRow]:
        """Captions of one table, with picture names as `entries` has them; the last row about a picture counts."""
        folder = table.name.rpartition("/")[0]
        with open_file(self.place, table.file, table.offset + table.length) as file:
            file.seek(table.offset)
            for row in read_rows(file, table.name):
                yield CaptionRow(picture=_below(folder, row.picture, self._root), caption=row.caption)

    @property
    def _root(self) -> Path | None:
        return self.place.root.absolute() if isinstance(self.place, FolderPlace) else None


def _below(folder: str, picture: str, root: Path | None) -> str:
    """The name of a picture that a table in `folder` speaks of; one that leads out of the place stays as it is written."""
    if root is not None and picture.startswith("/") and Path(picture).is_relative_to(root):
        return str(Path(picture).relative_to(root))
    parts: list[str] = folder.split("/") if folder else []
    for part in picture.replace("\\", "/").removeprefix("file://").split("/"):
        if part == "..":
            if not parts:
                return picture
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return picture if picture.startswith("/") else "/".join(parts)
