"""Second step: every input is read, judged by itself, and given its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from models.curation.buckets import plan_fit
from models.curation.caption_rules import CleanCaption, clean_caption
from models.curation.caption_tables import caption_in_json
from models.curation.decode import HEAD_BYTES, decode, sniff
from models.curation.fingerprint import HASHED_SIDE, Fingerprint, fingerprint
from models.curation.index import COMMIT_EVERY, Item, Piece
from models.curation.places import Place
from models.curation.pool import Crashed
from models.curation.reasons import Reason, Refused
from models.curation.run import Run
from models.curation.settings import CurationSettings

STEP = "inspect"
MAX_CAPTION_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What reading one input brought: a refusal, or all the rest."""

    reason: Reason | None = None
    detail: str = ""
    digest: str = ""
    format: str = ""
    width: int = 0
    height: int = 0
    fingerprint: Fingerprint | None = None
    caption_original: str = ""
    caption: CleanCaption = field(default_factory=lambda: CleanCaption(text="", changes=()))
    caption_source: str = "none"


@dataclass(frozen=True, kw_only=True)
class Inspector:
    """Reads one input; runs in any process."""

    place: Place
    settings: CurationSettings

    def __call__(self, item: Item) -> Seen:
        try:
            data = read_picture(self.place, item.piece, self.settings.read.max_bytes)
            decoded = decode(data, item.name, self.settings.read, within=HASHED_SIDE)
            self._check_size(decoded.width, decoded.height)
            copies = self.settings.duplicates
            marks = fingerprint(decoded.pixels, hashes=copies.near, mirror=copies.near and copies.mirrored)
            if marks.spread < self.settings.read.min_spread:
                raise Refused(Reason.BLANK)
        except Refused as refused:
            return Seen(reason=refused.reason, detail=refused.detail)
        original, source = self._caption(item)
        return Seen(
            digest=hashlib.sha256(data).hexdigest(),
            format=decoded.format,
            width=decoded.width,
            height=decoded.height,
            fingerprint=marks,
            caption_original=original,
            caption=clean_caption(original, self.settings.captions),
            caption_source=source,
        )

    def _check_size(self, width: int, height: int) -> None:
        fit = plan_fit(width, height, self.settings.buckets)
        if fit.enlarged > self.settings.buckets.max_upscale + 1e-9:
            raise Refused(Reason.TOO_SMALL, f"{width}x{height} into {fit.bucket[0]}x{fit.bucket[1]}")

    def _caption(self, item: Item) -> tuple[str, str]:
        """The caption as it came, and where from; a table's goes before the file beside the picture."""
        if item.caption_original or item.caption_piece is None:
            return item.caption_original, item.caption_source
        suffix = item.caption_name.rpartition(".")[2].lower()
        piece = item.caption_piece
        try:
            text = _text(self.place.read(piece.file, piece.start, min(piece.length, MAX_CAPTION_BYTES)))
        except Refused:
            return "", "none"
        said = caption_in_json(text) if suffix == "json" else text.strip()
        return said, f"{suffix} file" if said else "none"


def read_picture(place: Place, piece: Piece, max_bytes: int) -> bytes:
    """All bytes of a picture; of a file that is too long, only enough to say whether it is a picture at all."""
    if piece.length > max_bytes:
        kind = sniff(place.read(piece.file, piece.start, HEAD_BYTES))
        raise Refused(
            Reason.NOT_A_PICTURE if kind is None else Reason.TOO_MANY_BYTES, f"{piece.length} bytes"
        )
    wanted = max_bytes + 1 if piece.length < 0 else piece.length
    data = place.read(piece.file, piece.start, wanted)
    if piece.length >= 0 and len(data) != piece.length:
        raise Refused(Reason.SOURCE_CHANGED, f"{len(data)} of {piece.length} bytes")
    return data


def _text(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    return data.decode("utf-8-sig", "replace")


def inspect_items(run: Run) -> None:
    """Goes on behind the last commit of an earlier run."""
    with run.step(STEP) as needed:
        if not needed:
            return
        total = run.index.one("SELECT count(*) FROM item WHERE reason IS NULL")
        done = total - run.index.one("SELECT count(*) FROM item WHERE reason IS NULL AND step = 'listed'")
        inspector = Inspector(place=run.source.place, settings=run.settings)
        waiting = run.index.items("reason IS NULL AND step = 'listed'")
        batch: list[tuple[Item, Seen]] = []
        for item, result in run.pool.map(inspector, waiting):
            seen = Seen(reason=Reason.DECODER_CRASHED) if isinstance(result, Crashed) else result
            batch.append((item, seen))
            done += 1
            if len(batch) >= COMMIT_EVERY:
                _record(run, batch)
                batch = []
            run.at(STEP, done, total)
        _record(run, batch)


def _record(run: Run, batch: list[tuple[Item, Seen]]) -> None:
    with run.index.transaction():
        for item, seen in batch:
            if seen.reason is not None:
                run.index.drop(item.id, seen.reason, seen.detail)
            else:
                run.index.execute(_UPDATE, tuple(_values(item, seen)))


_UPDATE = """
UPDATE item SET step = 'inspected', digest = ?, exact = ?, format = ?, width = ?, height = ?, quality = ?, sharpness = ?, record = ?,
    caption_original = ?, caption = ?, caption_source = ?, changes = ? WHERE id = ?
"""


def _values(item: Item, seen: Seen) -> Iterator[object]:
    marks = seen.fingerprint
    assert marks is not None
    yield from (
        seen.digest,
        marks.exact,
        seen.format,
        seen.width,
        seen.height,
        marks.quality,
        marks.sharpness,
        marks.record,
    )
    yield from (
        seen.caption_original,
        seen.caption.text,
        seen.caption_source,
        ",".join(seen.caption.changes),
        item.id,
    )
