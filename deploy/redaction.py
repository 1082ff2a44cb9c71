"""What must never leave in a log line or an error report, and what stands in its place.

Words of customers by the names of their fields, and in any text: links that grant access, tokens and keys, addresses for
mail, phone numbers in international form, and numbers of cards and accounts whose check digits are right. Texts are
looked at up to a bounded length, so that a line costs bounded time; what lies behind it is cut off.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

from schemas.errors import BadInput
from storage.sealing import derive_key

#: Fields that never reach a log in clear, whoever logs them.
SECRET_FIELDS = frozenset(
    {"prompt", "negative_prompt", "alt", "body", "secret", "secret_key", "authorization", "token", "password", "signature", "url", "link", "data", "payload"}
    | {"descriptions", "long_description", "caption", "metadata", "row_key", "api_key", "cookie", "headers", "input"}
)
#: Of these fields a keyed hash is left, by which lines about the same prompt are found.
PROMPT_FIELDS = frozenset({"prompt", "negative_prompt"})
MASK = "[redacted]"
#: Longest text that is looked through; nothing is logged of what lies behind.
MAX_TEXT_CHARS = 16_000
_MAX_DEPTH, _MAX_ITEMS = 6, 200

#: Exceptions of these types quote what they were given; others say what happened.
_QUOTING = ("ValueError", "LookupError", "AssertionError", "SyntaxError")
_Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]


def _digits(text: str) -> list[int]:
    return [int(character) for character in text if character.isascii() and character.isdigit()]


def is_card(text: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, Luhn)."""
    digits = _digits(text)
    doubled = [sum(divmod(2 * one, 10)) for one in digits[-2::-2]]
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and (sum(digits[::-2]) + sum(doubled)) % 10 == 0


def is_iban(text: str) -> bool:
    """Whether the check digits are those of the account (ISO 13616, modulo 97)."""
    plain = text.replace(" ", "").upper()
    number = "".join(str(int(character, 36)) for character in plain[4:] + plain[:4])
    return 15 <= len(plain) <= 34 and int(number) % 97 == 1


def _if(check: Callable[[str], bool], mask: str) -> Callable[[re.Match[str]], str]:
    return lambda found: mask if check(found[0]) else found[0]


_GRANTS = re.compile(r"[?&](?:[\w-]{0,40}signature|sig|token|key|code)=", re.IGNORECASE)


def _without_query(link: re.Match[str]) -> str:
    """A link that grants access goes whole; of another its query, which may hold anything, goes."""
    place, mark, _ = link[0].partition("?")
    if not mark:
        return place
    return "[signed link]" if _GRANTS.search(link[0]) else f"{place}?[query]"


#: Each is linear in the length of the text.
_RULES: tuple[_Rule, ...] = (
    (re.compile(r"https?://[^\s\"'<>]+", re.IGNORECASE), _without_query),
    (re.compile(r"(\w{1,20}://[^:/@\s]{0,200}:)[^@/\s]{1,500}@"), rf"\1{MASK}@"),
    (re.compile(r"\bBearer\s+[\w.~+/=-]{8,}", re.IGNORECASE), f"Bearer {MASK}"),
    (re.compile(r"\bBasic\s+[A-Za-z0-9+/]{12,}={0,2}"), f"Basic {MASK}"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), "[token]"),
    (re.compile(r"\b(?:whsec_[\w+/=-]{8,}|sk-[\w-]{16,}|gh[pousr]_\w{20,}|hf_\w{20,}|xox[abprs]-[\w-]{10,}|A[KS]IA[A-Z0-9]{16})"), "[token]"),
    (re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|$)", re.DOTALL), "[private key]"),
    (re.compile(r"[\w.%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,4}\.[A-Za-z]{2,24}\b"), "[email]"),
    (re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{1,4}){3,8}\b"), _if(is_iban, "[iban]")),
    (re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w.-]?\d)"), _if(is_card, "[card]")),
    (re.compile(r"(?<![\w+])\+\d(?:[ ().-]{0,2}\d){7,14}(?!\d)"), "[phone]"),
)  # fmt: skip


class Redactor:
    """Cleans log events and texts; `secrets` are masked wherever they turn up."""

    def __init__(self, key: bytes, secrets: Iterable[str] = ()) -> None:
        """`key` is the master secret, under which prompts are hashed per tenant."""
        self._key = key
        self._tenant_keys: dict[str, bytes] = {}
        long_enough = sorted({one for one in secrets if len(one) >= 8}, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, long_enough))) if long_enough else None

    def event(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a log line as they may be written."""
        cleaned: dict[str, Any] = {}
        for name, value in fields.items():
            if name in PROMPT_FIELDS and isinstance(value, str) and value:
                cleaned |= self.mark(str(fields.get("tenant", "")), name, value)
            elif name in SECRET_FIELDS:
                cleaned[name] = MASK if value else value
            else:
                cleaned[name] = self._clean(value, 0)
        return cleaned

    def mark(self, tenant: str, name: str, words: str) -> dict[str, Any]:
        """What a line may say of a prompt: its keyed hash, equal for equal prompts of one tenant alone, and its length."""
        if tenant not in self._tenant_keys:
            self._tenant_keys[tenant] = derive_key(self._key, "prompt-hmac", tenant)
        hashed = hmac.new(self._tenant_keys[tenant], words.encode(errors="replace"), hashlib.sha256).hexdigest()
        return {name: MASK, f"{name}_hmac": hashed[:24], f"{name}_chars": len(words)}

    def text(self, text: str) -> str:
        """A text without what the rules know."""
        cut = text[:MAX_TEXT_CHARS]
        if self._secrets is not None:
            cut = self._secrets.sub(MASK, cut)
        for pattern, mask in _RULES:
            cut = pattern.sub(mask, cut)
        return cut if len(text) <= MAX_TEXT_CHARS else f"{cut} [{len(text) - MAX_TEXT_CHARS} characters cut]"

    def _clean(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return f"[{len(value)} bytes]"
        if depth == _MAX_DEPTH and isinstance(value, Mapping | Sequence | set | frozenset):
            return "[...]"
        if isinstance(value, Mapping):
            some = list(value.items())[:_MAX_ITEMS]
            return {
                self.text(str(name)): MASK if name in SECRET_FIELDS and one else self._clean(one, depth + 1)
                for name, one in some
            }
        if isinstance(value, Sequence | set | frozenset):
            return [self._clean(one, depth + 1) for one in list(value)[:_MAX_ITEMS]]
        if value is None or isinstance(value, bool | int | float):
            return value
        return self.text(str(value))


def is_quoting(kind: type[BaseException]) -> bool:
    """Whether exceptions of this type may quote what a customer sent."""
    return any(base.__module__ == "builtins" and base.__name__ in _QUOTING for base in kind.__mro__)


def message_of(error: BaseException) -> str:
    """What an exception says, unless it may quote a customer."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"[Errno {error.errno}] {error.strerror}"  # the name may be a customer's
    if isinstance(error, BadInput):
        return error.code
    return f"[message of {len(str(error))} characters withheld]" if is_quoting(type(error)) else str(error)


def exception_text(
    exc_info: tuple[type[BaseException], BaseException, TracebackType | None] | BaseException,
) -> str:
    """A traceback with the places, the types, and the messages that quote nobody, causes first."""
    error: BaseException | None = exc_info if isinstance(exc_info, BaseException) else exc_info[1]
    parts: list[str] = []
    while error is not None and len(parts) < 8:
        lines = traceback.format_list(traceback.extract_tb(error.__traceback__)[-40:])
        parts.append("".join([*lines, f"{type(error).__qualname__}: {message_of(error)}"]))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n\nwhile:\n".join(reversed(parts))
