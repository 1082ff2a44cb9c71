"""Pictures in words: alt text and long description in each language, from the plan's slots where there are any.

A description says what was planned. It never guesses at people's identity, and it never repeats how a picture was to be
made. The rules are those of WCAG 2.2, success criterion 1.1.1, and of the IPTC fields AltTextAccessibility and
ExtDescrAccessibility, in which it is embedded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import cache

from models.catalogue.captions import SYNONYMS
from safety.alt_text import (
    EMPTY,
    OVER_TARGET,
    TARGET_CHARS,
    alt_from_prompt,
    alt_from_template,
    lint_alt,
)
from safety.description_words import Part, Words, all_words, base_of
from schemas.description import MAX_LONG_CHARS, Description, DescriptionPlan, Source

#: No words of this language are known here, or a value stayed in the language it was given in.
UNTRANSLATED = "alt.untranslated"
#: Another picture of the batch has the same text.
DUPLICATE = "alt.duplicate"
#: A captioner saw something else.
DISAGREES = "alt.caption_disagrees"

#: What slots of recipes are commonly called.
_SLOT_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("product", "kind", "item", "subject", "article"), "product"),
    **dict.fromkeys(("colour", "color"), "colour"),
    **dict.fromkeys(("material", "finish", "surface"), "material"),
    **dict.fromkeys(("background", "backdrop", "scene", "setting"), "background"),
    **dict.fromkeys(("layout", "placement", "position", "composition"), "layout"),
    **dict.fromkeys(("light", "lighting"), "light"),
    **dict.fromkeys(("text", "lettering", "inscription"), "text"),
}
#: What the middle of the picture is not worth saying in an alt text.
_UNSAID_LAYOUTS = frozenset({"centered", "pair"})

Read = Callable[[str], Mapping[str, str]]


def describe(
    plan: DescriptionPlan, *, read: Read | None = None, detect: Callable[[str], str] | None = None
) -> tuple[Description, ...]:
    """One description for each language of the plan, the main one first.

    `read` finds slots in a prompt of a closed-domain model, in English words, and none when in doubt; `detect` tells the
    language of a prompt.
    """
    languages = plan.languages or ((detect(plan.prompt) if detect else "en"),)
    if plan.role == "decorative":
        return tuple(Description(lang=lang, role="decorative", source="plan") for lang in languages)
    slots, source = _facts(plan, read)
    return tuple(
        _described(plan, lang, slots, source, main=place == 0) for place, lang in enumerate(languages)
    )


def _facts(plan: DescriptionPlan, read: Read | None) -> tuple[Mapping[str, str], Source]:
    """What can be said, by part, and where it was learned."""
    named = {_SLOT_NAMES[name]: value for name, value in plan.slots.items() if name in _SLOT_NAMES and value}
    if "product" in named:
        return named, "plan"
    found = read(plan.prompt) if read is not None and not plan.slots else {}
    return (found, "vocabulary") if "product" in found else ({}, "prompt")


def _described(
    plan: DescriptionPlan, lang: str, slots: Mapping[str, str], source: Source, *, main: bool
) -> Description:
    words = all_words().get(base_of(lang))
    built = None
    if slots and words is not None:
        built = _Sentences(words, slots, translated=base_of(lang) != base_of(plan.slots_lang))
    written = plan.given.get(lang) or plan.alts.get(lang)
    if written is not None:
        alt, source = alt_from_template(written), "sender" if lang in plan.given else "plan"
    elif built is not None:
        alt = built.alt()
    else:
        # The prompt is in one language only: another one gets nothing rather than the wrong words.
        alt, source = (alt_from_prompt(plan.prompt) if main and not slots else ""), "prompt"
    long = plan.long_descriptions.get(lang) or (built.long() if built else "")
    untranslated = not alt if built is None else built.untranslated
    faults = lint_alt(alt, base_of(lang)) + ((UNTRANSLATED,) if untranslated else ())
    return Description(
        lang=lang,
        alt=alt,
        long_description=long[:MAX_LONG_CHARS],
        source=source,
        faults=faults,
        needs_review=any(fault != OVER_TARGET for fault in faults),
    )


class _Sentences:
    """Builds the sentences of one picture in one language."""

    def __init__(self, words: Words, slots: Mapping[str, str], *, translated: bool) -> None:
        self._words, self._slots, self._translated = words, slots, translated
        #: Whether a value had to stay in another language.
        self.untranslated = False

    def alt(self) -> str:
        """Product first, then what sets it apart, as far as the target length allows."""
        parts = [
            self._product_in_colour(),
            self._said("material"),
            self._said("text"),
            self._said("background"),
        ]
        if self._canonical("layout") not in _UNSAID_LAYOUTS:
            parts.append(self._said("layout"))
        text = ""
        for part in filter(None, parts):
            joined = f"{text}, {part}" if text else part
            if text and len(joined) > TARGET_CHARS:
                break
            text = joined
        return alt_from_template(text)

    def long(self) -> str:
        """The product in one sentence, its surroundings in another, and how the picture came about."""
        product = ", ".join(
            filter(None, [self._product_in_colour(), self._said("material"), self._said("text")])
        )
        around = ", ".join(
            filter(None, (self._said(part, bare=True) for part in ("background", "layout", "light")))
        )
        setting = self._words.setting.format(around) if around else ""
        return " ".join(filter(None, [f"{alt_from_template(product)}.", setting, self._words.made]))

    def _product_in_colour(self) -> str:
        colour = self._said("colour")
        known = self._words.knows("colour", self._word("colour"))
        return f"{self._product()}{' ' if known else ', '}{colour}" if colour else self._product()

    def _product(self) -> str:
        value, known = self._slots["product"], self._canonical("product")
        if self._canonical("layout") == "pair" and known in self._words.two:
            return self._words.two[known]
        if not self._translated:
            return value
        self.untranslated |= known not in self._words.one
        return self._words.one.get(known, value)

    def _said(self, part: Part, *, bare: bool = False) -> str:
        """The value as a phrase; one that has none stays as it is, behind its label unless `bare`."""
        value = self._slots.get(part, "")
        if not value:
            return ""
        word = self._word(part)
        if self._words.knows(part, word):
            return self._words.phrase(part, word)
        self.untranslated |= self._translated and part != "text"
        return value if bare else self._words.phrase(part, value)

    def _word(self, part: Part) -> str:
        """The value as the table may know it: a synonym is kept in its own language and translated into others."""
        return self._canonical(part) if self._translated else self._slots.get(part, "").casefold()

    def _canonical(self, part: str) -> str:
        value = self._slots.get(part, "").casefold()
        return _synonyms(part).get(value, value)


@cache
def _synonyms(part: str) -> Mapping[str, str]:
    return SYNONYMS.get("kind" if part == "product" else part, {})


def duplicates(alts: Iterable[tuple[str, str]]) -> frozenset[str]:
    """The alt texts that stand for more than one thing; pairs of what is shown (a product, a prompt) and its alt text."""
    counts = Counter(alt for _, alt in set(alts) if alt)
    return frozenset(alt for alt, count in counts.items() if count > 1)


def is_empty(description: Description) -> bool:
    """Whether an informative picture is left without words."""
    return description.role == "informative" and EMPTY in description.faults
