"""Text that was written in another notation: percent, HTML, backslash, hexadecimal, base64, letters drawn with signs, upside down."""

from __future__ import annotations

import base64
import binascii
import html
import re
from urllib.parse import unquote

_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z]{2,31});")
_BACKSLASH = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]{1,6})\})")
_HEXADECIMAL = re.compile(r"(?<![0-9A-Za-z])(?:[0-9A-Fa-f]{2}){4,}(?![0-9A-Za-z])")
#: Not words in one case and numbers, which are not worth the attempt.
_BASE64 = re.compile(
    r"(?<![0-9A-Za-z+/])(?!(?:[a-z]+|[A-Z]+|[0-9]+)(?![0-9A-Za-z+/_=-]))[0-9A-Za-z+/_-]{6,}={0,2}(?![0-9A-Za-z+/=])"
)
#: What both notations have, and lower-case text has not.
_CODED = re.compile("[0-9A-Z=]")
_PRINTED = re.compile(r"[\w\s.,;:!?'\"-]+")

#: Letters drawn with several signs, longest first.
_DRAWN = {
    r"|\/|": "m", r"/\/\ ".strip(): "m", r"\/\/": "w", r"|-|": "h", "]-[": "h", "|_|": "u", "(_)": "u", r"|\|": "n", r"/\/": "n",
    "|<": "k", "|)": "d", "|>": "p", "|*": "p", "|3": "b", "|2": "r", "|=": "f", "|_": "l", r"/\ ".strip(): "a", r"\/": "v",
    "()": "o", "[]": "o", "><": "x", "}{": "x",
}  # fmt: skip
_DRAWN_LETTER = re.compile("|".join(re.escape(drawn) for drawn in sorted(_DRAWN, key=len, reverse=True)))

#: Text that was turned upside down: its letters are turned and stand in the other order.
_TURNED = dict(
    zip("ɐqɔpǝɟƃɥᴉıɾʞlןɯuodbɹʇnʌʍʎ∀ƎℲ⅁Ʞ˥Ԁ┴∩Λ⅄", "abcdefghiijkllmnopqrtuvwyaefgklptuvy", strict=True)
)
_TURNED_LETTER = re.compile("[" + "".join(turned for turned in _TURNED if not turned.isascii()) + "]")
_TURN = str.maketrans(_TURNED)

#: Nested encodings are undone this often; deeper ones no image model reads.
_ROUNDS = 2


def decoded(text: str) -> tuple[str, ...]:
    """What `text` says when its encodings are undone, without `text` itself; empty for ordinary text."""
    found: dict[str, None] = {}
    plain = text
    for _ in range(_ROUNDS):
        undone = _undo(plain)
        if undone == plain:
            break
        found[undone], plain = None, undone
    drawn = _DRAWN_LETTER.sub(lambda match: _DRAWN[match[0]], text) if _may_be_drawn(text) else text
    if drawn != text:
        found[drawn] = None
    if not text.isascii() and _TURNED_LETTER.search(text):
        found[text[::-1].translate(_TURN)] = None
    return tuple(found)


def _undo(text: str) -> str:
    if "%" in text and _PERCENT.search(text):
        text = unquote(text, errors="replace")
    if "&" in text and _ENTITY.search(text):
        text = html.unescape(text)
    if "\\" in text:
        text = _BACKSLASH.sub(_unescaped, text)
    if _CODED.search(text):
        text = _BASE64.sub(_from_base64, _HEXADECIMAL.sub(_from_hexadecimal, text))
    return text


def _unescaped(match: re.Match[str]) -> str:
    code = int(match[1] or match[2] or match[3], 16)
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else match[0]


def _from_hexadecimal(match: re.Match[str]) -> str:
    return _printed(bytes.fromhex(match[0])) or match[0]


def _from_base64(match: re.Match[str]) -> str:
    plain = match[0].rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        raw = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except binascii.Error:
        return match[0]
    return _printed(raw) or match[0]


def _printed(raw: bytes) -> str | None:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if _PRINTED.fullmatch(text) else None


def _may_be_drawn(text: str) -> bool:
    return "|" in text or "\\" in text or "/\\" in text or "()" in text or "[]" in text
