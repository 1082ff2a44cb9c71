"""Whom a prompt leaves open, and the many prompts that are left alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.variations import ADAPTER, REFERENCE_PICTURE, REFUSED, TOO_LONG
from safety.fairness.people import (
    ALL_STATED,
    COMPOUND,
    NAMED_PERSON,
    NOT_SHOWN,
    SEVERAL_PEOPLE,
    UNKNOWN_LANGUAGE,
    LeftAlone,
    OpenPerson,
    add_words,
    find_person,
    phrase_of,
)
from safety.fairness.tables import BLOCKERS, LANGUAGES, REASON_OF, table_of, tokens_of
from schemas.fairness import MIXED, VALUES, Variation

WORDS = Path(__file__).parents[3] / "safety" / "fairness" / "words"
ALL = tuple(VALUES)
NO_PRESENTATION = ("age_band", "skin_tone", "visible_disability")


@pytest.mark.parametrize(
    ("prompt", "lang", "before", "open_attributes"),
    [
        ("a doctor in a white coat", "en", "a doctor", ALL),
        ("portrait of a person", "en", "portrait of a person", ALL),
        ("a CEO in a meeting", "en", "a CEO", ALL),
        ("a woman holding a mug", "en", "a woman", NO_PRESENTATION),
        ("an office worker, smiling", "en", "an office worker", ALL),
        ("a young doctor with a mug", "en", "a young doctor", ALL[1:]),
        (
            "a black doctor smiling",
            "en",
            "a black doctor",
            ("age_band", "presentation", "visible_disability"),
        ),
        ("a man in a black suit", "en", "a man", NO_PRESENTATION),
        ("a doctor about 40 years old", "en", None, ()),
        ("ein Porträt einer Person im Büro", "de", "ein Porträt einer Person", ALL),
        ("eine Ärztin mit einem Tablet", "de", "eine Ärztin", NO_PRESENTATION),
        ("eine Fachkraft trägt einen Helm", "de", "eine Fachkraft", ALL),
        ("une personne souriante dans un bureau", "fr", "une personne", ALL),
        ("un médecin dans son cabinet", "fr", "un médecin", NO_PRESENTATION),
        ("una persona leyendo en el parque", "es", "una persona", ALL),
        ("una doctora con una tableta en el despacho", "es", "una doctora", NO_PRESENTATION),
        ("una persona che lavora in ufficio", "it", "una persona", ALL),
        ("un medico nello studio con il computer", "it", "un medico", NO_PRESENTATION),
    ],
)
def test_a_generic_person_is_found(
    prompt: str, lang: str, before: str | None, open_attributes: tuple[str, ...]
) -> None:
    """The noun is found at its end, and only what the prompt does not say is open."""
    found = find_person(prompt)

    if before is None:
        assert not isinstance(found, OpenPerson)
        return
    assert isinstance(found, OpenPerson)
    assert (found.lang, prompt[: found.at], found.open) == (lang, before, open_attributes)


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("Marie Curie as a scientist", "named_person"),
        ("a scientist called maria", "named_person"),
        ("a portrait of a singer like @someone", "named_person"),
        ("a lawyer standing beside Napoleon", "named_person"),
        ("a nurse and einstein", "named_person"),
        ("a doctor and a king", "character"),
        ("a medieval baker at the oven", "history"),
        ("a doctor in 1920", "history"),
        ("a baker of the 80s", "history"),
        ("a japanese chef", "place_or_culture"),
        ("a woman wearing a hijab", "place_or_culture"),
        ("a doctor in tokyo", "place_or_culture"),
        ("a muslim doctor", "place_or_culture"),
        ("a teacher with children", "children"),
        ("a woman and her baby", "children"),
        ("a doctor examining the skin of a hand", "medical"),
        ("a pregnant woman", "medical"),
        ("a doctor and a nurse", "several_people"),
        ("a mug for a teacher", "not_shown"),
        ("an office without people", "not_shown"),
        ("statue of a woman", "not_a_person"),
        ("nurse shoes", "compound_noun"),
        ("a chef's knife", "compound_noun"),
        ("the doctor of philosophy", "compound_noun"),
        ("una persona con un libro", "unknown_language"),
        ("ein Mann mit seinem Kind", "children"),
        ("eine Person im Urlaub in Japan", "place_or_culture"),
        ("eine Person mit Akne", "medical"),
        ("ein Porträt einer Ärztin Anna Schmidt", "named_person"),
        ("ein Ritter, eine Person mit einem Schwert", "history"),
        ("une personne avec un enfant", "children"),
        ("une personne à Paris", "named_person"),
        ("une femme en hijab dans la rue", "place_or_culture"),
        ("una mujer con su hija en el parque", "children"),
        ("una persona del siglo de oro en la calle", "history"),
        ("una donna con il bambino", "children"),
        ("una persona nel medioevo con la spada", "history"),
    ],
)
def test_a_prompt_that_says_more_is_left_alone(prompt: str, reason: str) -> None:
    """Named people, characters, history, places, culture, children and medical context are never varied; nor is what is in doubt."""
    assert find_person(prompt) == LeftAlone(reason=reason)


@pytest.mark.parametrize(
    "prompt",
    ["a red mug on a white background", "", "eine rote Tasse", "a girl", "1234", "personality test mug"],
)
def test_a_prompt_without_an_adult_is_none_of_its_business(prompt: str) -> None:
    """Products, and prompts that speak of nobody but children, are not even mentioned."""
    assert find_person(prompt) is None


def test_the_negative_prompt_states_too() -> None:
    """Who excludes something has said something about it."""
    found = find_person("a doctor in a white coat", "male, old")

    assert isinstance(found, OpenPerson)
    assert set(found.open) == {"skin_tone", "visible_disability"}


def test_a_group_is_one_noun() -> None:
    """A plural is found as a group; a team of somebody is two nouns, and left alone."""
    people = find_person("engineers in a meeting")

    assert isinstance(people, OpenPerson)
    assert people.plural
    assert isinstance(find_person("a team of engineers"), LeftAlone)


@pytest.mark.parametrize(
    ("prompt", "effective"),
    [
        ("a doctor in a coat", "a doctor, X, Y, in a coat"),
        ("a doctor", "a doctor, X, Y"),
        ("a doctor, smiling", "a doctor, X, Y, smiling"),
        ("a doctor. Studio light", "a doctor, X, Y. Studio light"),
    ],
)
def test_added_words_stand_between_commas(prompt: str, effective: str) -> None:
    """What is added reads as an aside, whatever follows."""
    assert add_words(prompt, 8, ["X", "", "Y"])[0] == effective


@given(st.text(max_size=200), st.data())
def test_the_original_is_always_told(prompt: str, data: st.DataObject) -> None:
    """From the effective prompt and what was added, the original comes back to the letter."""
    at = data.draw(st.integers(0, len(prompt)))
    effective, added = add_words(prompt, at, ["one", "two"])
    note = Variation(mode="diversify", at=at, added=added).note(effective)

    assert (note.original_prompt, note.effective_prompt) == (prompt, effective)


@given(st.text(max_size=300))
def test_any_text_is_read_without_a_fault(prompt: str) -> None:
    """No prompt can break the search; a person that is found lies inside the prompt."""
    found = find_person(prompt)
    assert not isinstance(found, OpenPerson) or 0 < found.at <= len(prompt)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_value_has_its_phrase(lang: str) -> None:
    """Every published value, and the group's, can be said in every language; no two values are said alike."""
    for attribute, values in VALUES.items():
        phrases = [phrase_of(lang, attribute, value) for value in (*values, MIXED)]
        assert len(set(phrases)) == len(phrases)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_added_words_state_what_they_add(lang: str) -> None:
    """A prompt that was varied once is not varied again: its own phrases count as stated or as a blocker."""
    noun = {
        "en": "a person",
        "de": "eine Person",
        "fr": "une personne",
        "es": "una persona",
        "it": "una persona",
    }[lang]
    tail = {
        "en": "in the office",
        "de": "mit dem Buch",
        "fr": "dans la rue",
        "es": "en el parque",
        "it": "nella casa con il libro",
    }[lang]
    phrases = [phrase_of(lang, attribute, values[-1]) for attribute, values in VALUES.items()]
    effective, _ = add_words(f"{noun} {tail}", len(noun), phrases)

    assert not isinstance(find_person(effective), OpenPerson)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_generic_noun_blocks_itself(lang: str) -> None:
    """A noun of the table is found by itself; none of them stands among the words that leave a prompt alone."""
    table = table_of(lang)
    for noun in json.loads((WORDS / f"{lang}.json").read_text("utf-8"))["nouns"]:
        assert [
            reason for reason, phrases in table.blockers.items() if phrases.anywhere(tokens_of(noun))
        ] == []
        assert not table.names.anywhere(tokens_of(noun))


def test_the_published_table_is_the_one_in_use() -> None:
    """docs/fairness.md shows every phrase in every language, and every reason for leaving a prompt alone."""
    published = (Path(__file__).parents[3] / "docs" / "fairness.md").read_text("utf-8")
    reasons = {REASON_OF.get(reason, reason) for reason in BLOCKERS} | {
        NAMED_PERSON, SEVERAL_PEOPLE, NOT_SHOWN, COMPOUND, UNKNOWN_LANGUAGE, ALL_STATED, TOO_LONG, REFUSED, REFERENCE_PICTURE, ADAPTER,
    }  # fmt: skip

    for attribute, values in VALUES.items():
        for value in (*values, MIXED):
            phrases = [phrase_of(lang, attribute, value) or "(nothing)" for lang in LANGUAGES]
            assert f"| `{value}` | {' | '.join(phrases)} |" in published
    assert [reason for reason in sorted(reasons) if f"`{reason}`" not in published] == []
