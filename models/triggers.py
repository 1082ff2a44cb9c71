"""A trigger phrase as a token of its own, so that an adapter can tell it from every other word.

A model with a small vocabulary reads a brand's name as just another unknown word, and has learnt to ignore those. So a
prompt that holds the trigger of an adapter in use gets one more hidden state beside those of its words: a direction drawn
from the phrase itself, which only an adapter trained with that phrase knows what to do with.
"""

import hashlib
import re
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from models.noise import latent_noise

Floats = npt.NDArray[np.float32]


def with_triggers(prompt: str, hidden: Floats, phrases: Iterable[str]) -> Floats:
    """Hidden states (T, D) of a prompt with one more, (T + 1, D), for each phrase it holds as whole words, in any case."""
    tokens = [trigger_token(phrase, hidden) for phrase in phrases if holds_trigger(prompt, phrase)]
    return np.concatenate([hidden, *tokens]) if tokens else hidden


def holds_trigger(prompt: str, phrase: str) -> bool:
    """Whether a prompt holds a phrase as whole words, in any case and spacing."""
    words = r"\s+".join(re.escape(word) for word in phrase.split())
    return bool(words) and re.search(rf"(?<!\w){words}(?!\w)", prompt, re.IGNORECASE) is not None


def trigger_token(phrase: str, hidden: Floats) -> Floats:
    """The state (1, D) of a phrase, as large as those of the prompt (T, D); the same phrase has the same direction everywhere."""
    digest = hashlib.sha256(" ".join(phrase.lower().split()).encode()).digest()
    direction = latent_noise(int.from_bytes(digest[:8], "big"), 1, 1, hidden.shape[1]).reshape(1, -1)
    size = np.sqrt(np.square(hidden, dtype=np.float64).mean() / np.square(direction, dtype=np.float64).mean())
    return np.asarray(direction * np.float32(size), np.float32)
