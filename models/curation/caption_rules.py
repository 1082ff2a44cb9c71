"""Cleans captions by rules that hold in any language; what is left is never reworded or translated."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from models.curation.settings import CaptionSettings

_TAG = re.compile(r"<(?:!--.*?--|/?[a-zA-Z][^<>]{0,500})>", re.DOTALL)
_URL = re.compile(r"(?:\b(?:https?|ftp)://|\bwww\.)\S+", re.IGNORECASE)
_DOMAIN = re.compile(r"\b(?:[a-z0-9-]{2,63}\.)+(?:com|net|org|shop|store|co\.uk)\b(?:/\S*)?", re.IGNORECASE)
_EMAIL = re.compile(r"\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}\b")
_HASHTAGS = re.compile(r"(?<!\w)#[^\W\d_]\w*")
_PRICE = re.compile(
    r"(?:\b(?:only|just|now|from|price|was|save)\b:?\s*)?"
    r"(?:(?:[$€£¥]|\b(?:usd|eur|gbp|chf)\b)\s?\d[\d.,]*\d?|\b\d[\d.,]*\s?(?:[€£¥$]|(?:usd|eur|gbp|chf)\b))(?:\s?(?:each|off))?",
    re.IGNORECASE,
)
_DISCOUNT = re.compile(r"[-–]?\b\d{1,2}\s?%\s?(?:off|rabatt|discount|sale)\b", re.IGNORECASE)
_CODE = re.compile(
    r"(?:\b(?:sku|ean|upc|gtin|asin|mpn|ref|art(?:icle|ikel)?|item|model|style|product)\b\.?\s*(?:no|nr|number|id|code)?\.?\s*[#:]\s*[\w./-]*\d[\w./-]*)"
    r"|(?:\b(?:sku|ean|upc|gtin|asin|mpn)[\s-]*[\w-]*\d[\w-]*)",
    re.IGNORECASE,
)
_CAMERA_FILE = re.compile(
    r"\b(?:(?:img|dsc|dscn|dscf|dcim|pict|pxl|mvi|gopr)[-_ ]?|(?:photo|image|bild|screenshot|untitled|scan)[-_]?)\d{2,}[\w-]*(?:\.\w{3,4})?\b"
    r"|^(?:photo|image|bild|screenshot|untitled|scan)\s?\(?\d*\)?$",
    re.IGNORECASE,
)
_FILE_NAME = re.compile(r"\b[\w-]{1,100}\.(?:jpe?g|png|gif|webp|tiff?|bmp|heic|psd|pdf)\b", re.IGNORECASE)
_BOILERPLATE = re.compile(
    "|".join(
        (
            r"(?:\b(?:an?|the)\s+)?\b(?:royalty[- ]free\b\s*(?:stock\s+)?|stock\s+)(?:photo|photography|image|picture|illustration|vector|footage)s?\b(?:\s+of\b)?",
            r"\broyalty[- ]free\b",
            r"\b(?:shutterstock|getty ?images|istock(?:photo)?|alamy|adobe ?stock|dreamstime|depositphotos|123rf|unsplash|pexels|pixabay)\b(?:\s+id)?",
            r"\b(?:image|photo|picture) (?:credit|courtesy)(?: of)?:?[^.,;|]*",
            r"\ball rights reserved\b",
            r"(?:©|\(c\)|\bcopyright\b)\s*(?:©|\(c\))?\s*(?:\d{4})?(?:\s*[-–]\s*\d{4})?",
            r"\b(?:click (?:here|to (?:enlarge|zoom|view|buy))|buy now|shop now|add to (?:cart|basket)|free shipping|in stock|out of stock|sold out|best ?seller|new arrivals?|hot sale|high quality|best price|limited offer)\b!*",
            r"\b(?:image|picture|photo) (?:may contain|might contain)\b:?",
            r"\b(?:download|free download)\b\s*(?:now|here)?",
            r"\b(?:high|hi)[- ]?res(?:olution)?\b",
        )
    ),
    re.IGNORECASE,
)
_SEPARATORS = re.compile(r"\s*[|•·»«▪►★☆✓✔~_=]+\s*|\s[-–—]{1,3}\s")
_PUNCTUATION = re.compile(r"\s+([,.;:!?])")
_REPEATED_PUNCTUATION = re.compile(r"([,.;:!?])(?:\s*[,.;:!?])+")
_EMPTY_BRACKETS = re.compile(r"[(\[{]\s*[,.;:]*\s*[)\]}]")
_EDGES = " \t,;:|/\\-–—_*#\"'`«»"
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, kw_only=True)
class CleanCaption:
    """The cleaned text, empty where nothing was worth keeping, and the names of the rules that changed it."""

    text: str
    changes: tuple[str, ...]


def clean_caption(raw: str, settings: CaptionSettings) -> CleanCaption:
    """Every rule in order; control characters and surplus space go in any case."""
    text, changes = _plain(raw[: 20 * settings.max_characters]), []
    for name, rule in RULES if settings.rules else ():
        changed = rule(text)
        if changed != text:
            changes.append(name)
        text = changed
    tidied = _tidied(text)
    if len(tidied) > settings.max_characters:
        tidied = tidied[: settings.max_characters].rsplit(" ", 1)[0].rstrip(_EDGES)
        changes.append("shortened")
    if not _WORD.search(tidied):
        tidied = ""
    return CleanCaption(text=tidied, changes=tuple(changes))


def _plain(text: str) -> str:
    text = unicodedata.normalize("NFC", text.encode("utf-8", "ignore").decode())
    kept = "".join(
        " " if c in "\t\r\n\f\v" else c
        for c in text
        if c in "\t\r\n\f\v" or unicodedata.category(c)[0] != "C"
    )
    return " ".join(kept.split())


def _without_html(text: str) -> str:
    for _ in range(2):  # escaped twice is common in scraped alternative texts
        text = html.unescape(_TAG.sub(" ", text))
    return _plain(_TAG.sub(" ", text))


def _removing(*patterns: re.Pattern[str]) -> Callable[[str], str]:
    def remove(text: str) -> str:
        for pattern in patterns:
            text = pattern.sub(" ", text)
        return " ".join(text.split())

    return remove


def _without_shouting(text: str) -> str:
    """A sentence in capitals becomes a sentence; single words in capitals may be names and stay."""
    letters = [c for c in text if c.isalpha() and c.lower() != c.upper()]
    if len(letters) >= 12 and sum(c.isupper() for c in letters) > 0.8 * len(letters):
        text = text[:1].upper() + text[1:].lower()
    return re.sub(r"([!?])\1+", r"\1", text)


def _without_repeats(text: str) -> str:
    """Says nothing twice in a row, and no part of a list a second time."""
    text = re.sub(r"\b(\w+)(?:\s+\1\b)+", r"\1", text, flags=re.IGNORECASE)
    for separator in (", ", "; ", " | ", " - "):
        if separator in text:
            text = separator.join(_once(text.split(separator)))
    words = text.split()
    half = len(words) // 2
    if (
        half >= 2
        and len(words) % 2 == 0
        and [w.casefold() for w in words[:half]] == [w.casefold() for w in words[half:]]
    ):
        text = " ".join(words[:half])
    return text


def _once(parts: list[str]) -> list[str]:
    first: dict[str, str] = {}
    for part in parts:
        first.setdefault(part.strip().casefold(), part)
    return list(first.values())


def _tidied(text: str) -> str:
    text = _EMPTY_BRACKETS.sub(" ", text)
    text = _PUNCTUATION.sub(r"\1", " ".join(text.split()))
    text = _REPEATED_PUNCTUATION.sub(r"\1", text)
    return text.strip(_EDGES).lstrip(".!? ").strip()


#: in this order: markup hides the rest, and what the others leave is what repeats
RULES: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("html", _without_html),
    ("address", _removing(_URL, _EMAIL, _DOMAIN)),
    ("file name", _removing(_FILE_NAME, _CAMERA_FILE)),
    ("code", _removing(_CODE)),
    ("price", _removing(_DISCOUNT, _PRICE)),
    ("boilerplate", _removing(_BOILERPLATE)),
    ("hashtag", _removing(_HASHTAGS)),
    ("separator", lambda text: _SEPARATORS.sub(", ", text)),
    ("shouting", _without_shouting),
    ("repeat", _without_repeats),
)
