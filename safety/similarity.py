"""What a prompt resembles: closeness to exemplars of a category, less its closeness to harmless look-alikes.

Sentence embeddings alone cannot block: measured on an English MiniLM, a friendly portrait of a surgeon scores 0.52 against
a rule about surgery, and a Spanish prompt about a small girl 0.13 against one about children. A resemblance is therefore
only a reason to look: a guard is asked, or a person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, field_validator

from safety import categories as ids
from safety.hashed import Hashed
from schemas.errors import BadSettings
from schemas.verdict import CategoryScore

Vectors = NDArray[np.float32]


class SentenceEncoder(Protocol):
    """Turns texts into unit vectors."""

    name: str
    #: SHA-256 of the weights.
    sha256: str

    def encode(self, texts: Sequence[str]) -> Vectors:
        """(texts, dimensions), each row of length 1."""
        ...


class Exemplars(Hashed):
    """Sentences that stand for categories, and harmless ones that come close to them."""

    version: str
    #: A prompt resembles a category from this cosine on, and by this much more than anything harmless.
    at_least: float = Field(gt=0, lt=1)
    margin: float = Field(ge=0, lt=1)
    categories: dict[str, tuple[str, ...]]
    harmless: tuple[str, ...] = ()

    @field_validator("categories")
    @classmethod
    def _known(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for category, texts in value.items():
            if not ids.is_category(category) or not texts:
                raise ValueError(f"{category!r} is not a category with exemplars")
        return value


class Similarity:
    """Finds the categories that a text resembles; safe to share between threads."""

    def __init__(self, encoder: SentenceEncoder, exemplars: Exemplars) -> None:
        self.version = f"{encoder.name}/{exemplars.version}"
        self.model_sha256 = encoder.sha256
        self._encoder, self._exemplars = encoder, exemplars
        self._known = {name: encoder.encode(texts) for name, texts in exemplars.categories.items()}
        self._harmless = encoder.encode(exemplars.harmless) if exemplars.harmless else None

    def resembles(self, text: str) -> Mapping[str, CategoryScore]:
        """Category to cosine and threshold, for each category that `text` resembles."""
        vector = self._encoder.encode([text])[0]
        harmless = float((self._harmless @ vector).max()) if self._harmless is not None else -1.0
        at_least = max(self._exemplars.at_least, harmless + self._exemplars.margin)
        found = {name: float((known @ vector).max()) for name, known in self._known.items()}
        return {
            name: CategoryScore(score=min(1.0, cosine), threshold=at_least, source="prompt_similarity")
            for name, cosine in found.items()
            if cosine >= at_least
        }


def read_exemplars(path: Path | None = None) -> Exemplars:
    """The exemplars that ship with the code, or those of a JSON file; BadSettings that names file and fault."""
    source = path if path is not None else files("safety") / "exemplars.json"
    try:
        return Exemplars.model_validate_json(source.read_text("utf-8"))
    except (OSError, ValidationError) as error:
        fault = error.errors()[0]["msg"] if isinstance(error, ValidationError) else type(error).__name__
        raise BadSettings(f"exemplars {source.name}: {fault}", field="prompt_exemplars") from None
