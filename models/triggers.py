"""A trigger phrase as tokens of its own, so that an adapter can tell it from every other word.

A model with a small vocabulary reads a brand's name as just another unknown word, and has learnt to ignore those. So a
prompt that holds the trigger of an adapter in use gets a few more hidden states beside those of its words: directions drawn
from the phrase itself, which only an adapter trained with that phrase knows what to do with.
"""

import hashlib
import re
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from models.noise import latent_noise

Floats = npt.NDArray[np.float32]

#: states of one phrase: with four of them a look is learnt in half the steps that it takes with one
TOKENS = 4


def with_triggers(prompt: str, hidden: Floats, phrases: Iterable[str]) -> Floats:
    """Hidden states (T, D) of a prompt with `TOKENS` more for each phrase it holds as whole words, in any case."""
    tokens = [trigger_tokens(phrase, hidden) for phrase in phrases if holds_trigger(prompt, phrase)]
    return np.concatenate([hidden, *tokens]) if tokens else hidden


def holds_trigger(prompt: str, phrase: str) -> bool:
    """Whether a prompt holds a phrase as whole words, in any case and spacing."""
    words = r"\s+".join(re.escape(word) for word in phrase.split())
    return bool(words) and re.search(rf"(?<!\w){words}(?!\w)", prompt, re.IGNORECASE) is not None


def trigger_tokens(phrase: str, hidden: Floats) -> Floats:
    """The states (TOKENS, D) of a phrase, as large as those of the prompt (T, D), in the same directions for every prompt."""
    digest = hashlib.sha256(" ".join(phrase.lower().split()).encode()).digest()
    directions = latent_noise(int.from_bytes(digest[:8], "big"), 1, TOKENS, hidden.shape[1])[0]
    size = np.sqrt(
        np.square(hidden, dtype=np.float64).mean() / np.square(directions, dtype=np.float64).mean()
    )
    return np.asarray(directions * np.float32(size), np.float32)
