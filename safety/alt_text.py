"""Alt text: what is in the picture, in a sentence, for whoever does not see it.

English words only are stripped from prompts; recipes in other languages bring their own template.
"""

from __future__ import annotations

import re
from functools import lru_cache

from schemas.description import MAX_ALT_CHARS, TARGET_ALT_CHARS

TARGET_CHARS, HARD_CHARS = TARGET_ALT_CHARS, MAX_ALT_CHARS

EMPTY = "alt.empty"
FILE_NAME = "alt.file_name"
TOO_LONG = "alt.too_long"
OVER_TARGET = "alt.over_target"
PROMPT_LEAK = "alt.prompt_leak"
REDUNDANT_OPENING = "alt.redundant_opening"
KEYWORD_LIST = "alt.keyword_list"

_MEDIUM = r"images?|pictures?|photos?|photographs?|pics?|renders?|renderings?|shots?|illustrations?|drawings?"
_OPENING = re.compile(
    rf"^(?:please\s+)?(?:(?:generate|create|draw|make|render|show)\s+(?:me\s+)?)?"
    rf"(?:(?:an?|the)\s+)?(?:(?:high[- ]quality|professional|beautiful|detailed|realistic|stunning)\s+)*"
    rf"(?:{_MEDIUM})\s+(?:of|showing|depicting)\s+",
    re.IGNORECASE,
)
_COMMAND = re.compile(
    r"^(?:please\s+)?(?:generate|create|draw|render|show me)\s+(?=an?\s|the\s)", re.IGNORECASE
)

_QUALITY = (
    r"masterpiece|best quality|high(?:est)? quality|top quality|ultra[- ]?quality|award[- ]winning|ultra[- ]?detailed"
    r"|(?:highly|extremely|insanely|intricately|very) detailed|intricate details?|high detail|high[- ]?res(?:olution)?|ultra[- ]?hd|full hd"
    r"|uhd|hdr|hd|[248]k|16k|sharp focus|in focus|crisp|photo[- ]?realistic|hyper[- ]?realistic|ultra[- ]?realistic|realistic"
    r"|professional(?:ly shot)?|artstation|unreal engine(?: 5)?|octane(?: render)?|ray[- ]?trac(?:ed|ing)|cinematic"
    r"|stunning|breathtaking|epic|no text|no watermark|commercial quality|studio quality|e-?commerce|raw photo|8-bit depth"
)
_CAMERA = (
    r"f/?\d(?:\.\d+)?|\d{2,3} ?mm(?: lens)?|iso ?\d{2,5}|1/\d{2,5} ?s?"
    r"|macro(?: lens| shot| photo)?|wide[- ]angle(?: lens)?|telephoto|bokeh|depth of field|shallow depth of field|dslr|full[- ]frame"
    r"|(?:canon|nikon|sony|leica|hasselblad|fujifilm)(?: [a-z0-9-]+)?|tilt[- ]shift|long exposure|3/4 view|three[- ]quarter view"
)
_LIGHT = (
    r"(?:soft|hard|dramatic|natural|studio|even|diffuse[d]?|rim|back|ambient|cinematic|volumetric|moody|golden hour|warm|cool|bright)"
    r"(?: (?:soft|studio|natural|box))? ?light(?:ing)?|softbox|golden hour|product (?:photo(?:graphy)?|shot)|studio (?:photo(?:graphy)?|shot)"
    r"|catalogu?e (?:photo(?:graphy)?|shot)|flat lay photography|digital art|concept art|oil painting style"
)
#: What runs to the end of its part, whatever follows.
_TO_THE_END = r"(?:shot on|taken with|captured with|trending on|in the style of)\b.*"
#: A whole part that says how, not what. Possessive, so that no prompt can make the match slow.
_STYLE_PART = re.compile(
    rf"(?:(?:in|with|and) )*+(?:(?:{_QUALITY}|{_CAMERA}|{_LIGHT})(?!\w)(?: and | with |, ?| |$))*+(?:{_TO_THE_END})?",
    re.IGNORECASE,
)
#: Words that only praise are dropped wherever they stand; "4k" may belong to a monitor.
_PRAISE = re.compile(
    r"(?<![\w-])(?:masterpiece|best quality|(?:highly|extremely|ultra|insanely)[- ]detailed|(?:photo|hyper|ultra)[- ]?realistic"
    r"|stunning|breathtaking|award[- ]winning|trending on artstation)(?![\w-])",
    re.IGNORECASE,
)

_WEIGHTED = re.compile(r"\(([^()]*?):\s{0,3}-?\d{0,3}\.?\d{1,4}\)")
_ADAPTER_TAG = re.compile(r"<[^<>]*>|--[a-z]+(?:\s+[\w:./-]+)?", re.IGNORECASE)
_EMPHASIS = re.compile(r"[(){}\[\]]+")
#: "Picture of" in the languages that descriptions are written in: a screen reader has said so already.
_OPENINGS = {
    "de": re.compile(
        r"^(?:(?:ein|eine|das|die|dies(?:es)?)\s+)?(?:bild|foto|fotografie|aufnahme|abbildung|illustration|zeichnung)\s+(?:von|mit|des|der|eines|einer)\s",
        re.IGNORECASE,
    ),
    "fr": re.compile(
        r"^(?:(?:une?|la|cette|l['’])\s*)?(?:image|photo|photographie|illustration|dessin)\s+(?:de|du|des|d['’]|montrant|représentant)\s*",
        re.IGNORECASE,
    ),
    "es": re.compile(
        r"^(?:(?:una?|la|esta)\s+)?(?:imagen|foto|fotografía|ilustración|dibujo)\s+(?:de|del|que\s+muestra)\s",
        re.IGNORECASE,
    ),
    "it": re.compile(
        r"^(?:(?:una?|la|questa|l['’]|un['’])\s*)?(?:immagine|foto|fotografia|illustrazione|disegno)\s+(?:di|del|della|che\s+mostra)\s",
        re.IGNORECASE,
    ),
}
_FILE_NAME = re.compile(
    r"[\w()-]+(?: [\w()-]+)*\.(?:png|jpe?g|webp|avif|gif|tiff?|bmp|svg)|(?:img|dsc|dscn|image|photo|screenshot)[ _-]?\d+",
    re.IGNORECASE,
)


def alt_from_template(filled: str) -> str:
    """The alt text of a recipe's template with its slots filled, in whatever language it is written."""
    return _capitalised(_within(_tidy(filled), HARD_CHARS))


def alt_from_prompt(prompt: str) -> str:
    """Alt text made of an English prompt: what is drawn stays, how it is drawn goes.

    It says what was asked for, which is not always what was drawn. At most `HARD_CHARS`; cut at a part or a word when it
    is longer than `TARGET_CHARS`. Empty when the prompt holds nothing but style.
    """
    text = _PRAISE.sub(" ", _without_weights(_ADAPTER_TAG.sub(" ", prompt)))
    text = _COMMAND.sub("", _OPENING.sub("", _tidy(text)))
    parts = map(_tidy, re.split(r"[,;|\n]+|\.(?:\s|$)", text))
    kept = [part for part in parts if part and not _is_style(part)]
    unique = list(dict.fromkeys(kept))
    return _capitalised(_fit(unique))


def lint_alt(alt: str, lang: str = "en") -> tuple[str, ...]:
    """Codes of what an accessibility reviewer would object to; duplicates within a batch are the caller's to find."""
    text = alt.strip()
    if not text:
        return (EMPTY,)
    faults = {
        FILE_NAME: _FILE_NAME.fullmatch(text) is not None,
        TOO_LONG: len(text) > HARD_CHARS,
        OVER_TARGET: TARGET_CHARS < len(text) <= HARD_CHARS,
        PROMPT_LEAK: _leaks_prompt(text),
        REDUNDANT_OPENING: _OPENINGS.get(lang, _OPENING).match(text) is not None,
        KEYWORD_LIST: text.count(",") >= 5 and len(text.split()) <= 2.5 * (text.count(",") + 1),
    }
    return tuple(code for code, found in faults.items() if found)


def _leaks_prompt(text: str) -> bool:
    if _PRAISE.search(text) or _WEIGHTED.search(text) or _ADAPTER_TAG.search(text):
        return True
    return any(_is_style(part) for part in map(_tidy, re.split("[,;]", text)) if part)


@lru_cache(maxsize=4096)
def _is_style(part: str) -> bool:
    # The parts of a batch's alt texts are few, and this is the dearest look at them.
    return _STYLE_PART.fullmatch(part) is not None


def _without_weights(text: str) -> str:
    previous = ""
    while previous != text:
        previous, text = text, _WEIGHTED.sub(r"\1", text)
    return _EMPHASIS.sub(" ", text)


def _tidy(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip(" ,;.-")


def _fit(parts: list[str]) -> str:
    """As many whole parts as the target holds, at least the first."""
    text = parts[0] if parts else ""
    for part in parts[1:]:
        if len(text) + 2 + len(part) > TARGET_CHARS:
            break
        text = f"{text}, {part}"
    return _within(text, TARGET_CHARS)


def _within(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    cut = text[: limit - 1]
    at_word = cut.rsplit(" ", 1)[0] if " " in cut[limit // 2 :] else cut
    return at_word.rstrip(" ,;.-") + "…"


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
