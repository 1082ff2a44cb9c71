"""From prompt to token ids, with the words the model does not know."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tokenizers import Tokenizer

from models.errors import ModelCorrupt, PromptTooLong

TOKENIZER_FILE = "tokenizer/tokenizer.json"
UNKNOWN_WORD = "<unk>"


@dataclass(frozen=True)
class Tokens:
    """Token ids with the end token, and the words of the prompt that are not in the vocabulary."""

    ids: tuple[int, ...]
    unknown_words: tuple[str, ...]


class PromptTokenizer:
    """Reads the tokenizer of a model folder; needs the package `tokenizers`, not transformers."""

    def __init__(self, tokenizer: Tokenizer, max_tokens: int) -> None:
        self._tokenizer = tokenizer
        self.max_tokens = max_tokens

    @classmethod
    def open(cls, folder: Path, max_tokens: int) -> Self:
        """Raises `ModelCorrupt` where the file cannot be read."""
        try:
            tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
        except Exception as error:  # tokenizers raises bare Exception
            raise ModelCorrupt(TOKENIZER_FILE, str(error)) from error
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return cls(tokenizer, max_tokens)

    def count(self, text: str) -> int:
        """Tokens of a prompt, end token included."""
        return len(self._tokenizer.encode(text).ids)

    def encode(self, text: str, field: str = "prompt") -> Tokens:
        """Tokens of a prompt.

        Raises:
            PromptTooLong: more than `max_tokens`; nothing is cut off silently.
        """
        encoding = self._tokenizer.encode(text)
        if len(encoding.ids) > self.max_tokens:
            raise PromptTooLong(field, f"at most {self.max_tokens} tokens", len(encoding.ids))
        pairs = zip(encoding.tokens, encoding.offsets, strict=True)
        unknown = tuple(text[start:end] for token, (start, end) in pairs if token == UNKNOWN_WORD)
        return Tokens(tuple(encoding.ids), unknown)
