"""Why an input did not become a training sample: every one that is left out has exactly one of these."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Reason(StrEnum):
    """Stable names; the sentences are in `SENTENCES`."""

    # reading
    OUTSIDE_SOURCE = "outside_source"
    LINK_TO_FOLDER = "link_to_folder"
    NOT_A_FILE = "not_a_file"
    BAD_NAME = "bad_name"
    UNREADABLE = "unreadable"
    MISSING_FILE = "missing_file"
    NAMED_TWICE = "named_twice"
    CAPTION_WITHOUT_PICTURE = "caption_without_picture"
    BROKEN_ARCHIVE = "broken_archive"
    EMPTY_FILE = "empty_file"
    NOT_A_PICTURE = "not_a_picture"
    FORMAT_NOT_ALLOWED = "format_not_allowed"
    MISLABELLED = "mislabelled"
    TOO_MANY_BYTES = "too_many_bytes"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_ELONGATED = "too_elongated"
    TOO_SMALL = "too_small"
    ANIMATED = "animated"
    CORRUPT = "corrupt"
    BLANK = "blank"
    DECODER_CRASHED = "decoder_crashed"
    # choosing
    DUPLICATE = "duplicate"
    NO_CAPTION = "no_caption"
    CAPTION_MISMATCH = "caption_mismatch"
    MOSTLY_TEXT = "mostly_text"
    # writing
    SOURCE_CHANGED = "source_changed"


SENTENCES: Mapping[Reason, str] = MappingProxyType(
    {
        Reason.OUTSIDE_SOURCE: "The path leads out of the source.",
        Reason.LINK_TO_FOLDER: "Symbolic links to folders are not followed.",
        Reason.NOT_A_FILE: "Not an ordinary file.",
        Reason.BAD_NAME: "The name is not valid UTF-8.",
        Reason.UNREADABLE: "The file cannot be read.",
        Reason.MISSING_FILE: "The listing names a file that is not there.",
        Reason.NAMED_TWICE: "The listing names this file more than once.",
        Reason.CAPTION_WITHOUT_PICTURE: "A caption file with no picture beside it.",
        Reason.BROKEN_ARCHIVE: "The tar archive is damaged or compressed.",
        Reason.EMPTY_FILE: "The file has no bytes.",
        Reason.NOT_A_PICTURE: "The content is no picture.",
        Reason.FORMAT_NOT_ALLOWED: "A kind of picture that is not read here.",
        Reason.MISLABELLED: "The name says one format, the content is another.",
        Reason.TOO_MANY_BYTES: "The file is larger than allowed.",
        Reason.TOO_MANY_PIXELS: "The picture has more pixels than allowed.",
        Reason.TOO_ELONGATED: "One side is too many times longer than the other.",
        Reason.TOO_SMALL: "The picture would have to be enlarged more than allowed.",
        Reason.ANIMATED: "The file holds more than one frame.",
        Reason.CORRUPT: "The picture is damaged or cut short.",
        Reason.BLANK: "The picture is one flat colour.",
        Reason.DECODER_CRASHED: "The decoder crashed on this file.",
        Reason.DUPLICATE: "A better copy of the same picture is kept.",
        Reason.NO_CAPTION: "Nothing is left of the caption, or there was none.",
        Reason.CAPTION_MISMATCH: "Picture and caption do not belong together.",
        Reason.MOSTLY_TEXT: "Most of the picture is covered by text.",
        Reason.SOURCE_CHANGED: "The file changed or vanished while the source was being curated.",
    }
)


class Refused(Exception):
    """One input is left out; never stops a run."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason, self.detail = reason, detail
