"""What a screen may find: the categories, by stable id."""

from __future__ import annotations

import re

SEXUAL = "sexual"
SEXUAL_MINORS = "sexual_minors"
NCII_REAL_PERSON = "ncii_real_person"
MINORS_PRESENT = "minors_present"
PERSON = "person"
VIOLENCE_GRAPHIC = "violence_graphic"
SELF_HARM = "self_harm"
HATE_SYMBOLS = "hate_symbols"
EXTREMISM = "extremism"
ILLICIT = "illicit"
REAL_PERSON = "real_person"
IP_LOGO = "ip_logo"
MEDICAL_GRAPHIC = "medical_graphic"
SPAM_TEXT = "spam_text"

#: The ids are published in verdicts and receipts: they are added to, never renamed.
CATEGORIES: tuple[str, ...] = (
    SEXUAL,
    SEXUAL_MINORS,
    NCII_REAL_PERSON,
    MINORS_PRESENT,
    PERSON,
    VIOLENCE_GRAPHIC,
    SELF_HARM,
    HATE_SYMBOLS,
    EXTREMISM,
    ILLICIT,
    REAL_PERSON,
    IP_LOGO,
    MEDICAL_GRAPHIC,
    SPAM_TEXT,
)

#: The hard floor: no policy may be more tolerant of these than `HARD_FLOOR_BLOCK_AT`, and none may leave them out.
HARD_FLOOR: frozenset[str] = frozenset({SEXUAL_MINORS, NCII_REAL_PERSON, EXTREMISM})

#: The highest score at which a hard-floor category may still pass, in every stage.
HARD_FLOOR_BLOCK_AT = 0.4

_CUSTOM = re.compile(r"policy_custom:[a-z0-9][a-z0-9_-]{0,47}")


def is_category(name: str) -> bool:
    """True for a known id or an operator's own ``policy_custom:<name>``."""
    return name in CATEGORIES or _CUSTOM.fullmatch(name) is not None


def is_hard_floor(name: str) -> bool:
    return name in HARD_FLOOR
