"""What a picture shows, in words, for whoever does not see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Frozen

#: WCAG sets no length; screen readers cut or tire beyond about this many characters, and past the second nobody listens.
TARGET_ALT_CHARS, MAX_ALT_CHARS = 125, 250
MAX_LONG_CHARS = 1000
#: Languages of one image.
MAX_LANGUAGES = 8

#: A BCP 47 language tag such as "en", "de-CH" or "zh-Hant"; only its first part chooses sentences.
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$", max_length=16)]
#: A decorative picture carries an empty alt text, and a screen reader passes it over (WCAG 2.2, 1.1.1).
Role = Literal["informative", "decorative"]
#: Where the words come from: the plan's slots, the words of a prompt that the model knows, the prompt itself, or its sender.
Source = Literal["plan", "vocabulary", "prompt", "sender"]


class Description(Frozen):
    """One picture in one language, made from what was planned: it says what was asked for, not what was recognised."""

    lang: Language
    #: At most `MAX_ALT_CHARS`; empty for a decorative picture.
    alt: str = Field("", max_length=MAX_ALT_CHARS)
    #: One to three sentences; empty where the alt text says all that was planned.
    long_description: str = Field("", max_length=MAX_LONG_CHARS)
    role: Role = "informative"
    source: Source = "plan"
    #: A person should look at the words before the picture is shown with them; it never holds the picture back.
    needs_review: bool = False
    #: Codes of what the linter or a check objects to.
    faults: tuple[str, ...] = ()


class DescriptionPlan(Frozen):
    """What is known of a picture before it is drawn, as far as it can be said in words."""

    prompt: str
    #: The first is the main one; empty = the prompt's own language, as far as it can be told.
    languages: tuple[Language, ...] = ()
    role: Role = "informative"
    #: Slots of the recipe that stand in its prompt, by name, in the language `slots_lang`.
    slots: Mapping[str, str] = Field(default_factory=dict)
    slots_lang: Language = "en"
    #: The recipe's own sentences with their slots filled, by language.
    alts: Mapping[Language, str] = Field(default_factory=dict)
    long_descriptions: Mapping[Language, str] = Field(default_factory=dict)
    #: Alt texts that the sender wrote, by language; they are taken as they are.
    given: Mapping[Language, str] = Field(default_factory=dict)
    #: Values in its sentences that stand in no prompt, so that no screen has seen them.
    unscreened: tuple[str, ...] = ()
