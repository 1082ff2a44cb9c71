"""One image of a contact sheet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is shown of it; `picture` is None when none was published."""

    title: str
    prompt: str
    alt: str
    #: "rendered", "blocked" and so on.
    state: str
    #: What the screens said, in words.
    verdict: str
    picture: bytes | None
    digest: str
    #: The alt text in each language, as it was read back from the file.
    languages: Mapping[str, str] = field(default_factory=dict)
    #: What the file's marking and signature were found to be, in words; empty without a picture.
    credentials: str = ""
    #: Whether it is marked as made by a model under a signature that is intact.
    intact: bool = False

    @property
    def allowed(self) -> bool:
        return self.state == "rendered"

    @property
    def alts(self) -> Mapping[str, str]:
        """By language; "" where it is not known."""
        return self.languages or ({"": self.alt} if self.alt else {})
