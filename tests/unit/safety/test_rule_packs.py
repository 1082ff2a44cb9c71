"""Rule packs: read, hashed, compiled, matched."""

import json
from datetime import date
from pathlib import Path

import pytest

from safety.rule_pack import (
    AgeRule,
    Context,
    PairRule,
    RulePack,
    TermGroup,
    active_packs,
    built_in_packs,
    load_packs,
    overdue,
    packs_sha256,
    read_pack,
)
from safety.rules import compile_rules
from schemas.errors import BadSettings


def pack(*groups: TermGroup, **fields: object) -> RulePack:
    return RulePack.model_validate(
        {"id": "test", "version": "1", "language": "en", "groups": groups, **fields}
    )


def words(*terms: str, **fields: object) -> TermGroup:
    return TermGroup.model_validate({"kind": "word", "category": "illicit", "terms": terms, **fields})


def found(text: str, *packs: RulePack) -> dict[str, float]:
    return compile_rules(packs).screen(text).scores


def test_the_shipped_packs() -> None:
    """At least five languages ship, each with terms for the hard floor or the marks that lead to it."""
    packs = built_in_packs()
    marks = {one.id: {mark for group in one.groups for mark in group.marks} for one in packs}

    assert {one.language for one in packs} >= {"en", "de", "fr", "es", "it"}
    assert all(
        {"sexual", "youth", "real_person"} <= marks[language] for language in ("en", "de", "fr", "es", "it")
    )
    assert {(pair.first, pair.second) for one in packs for pair in one.pairs} == {
        ("youth", "sexual"), ("real_person", "sexual"),
    }  # fmt: skip
    assert len({one.sha256 for one in packs}) == len(packs)


def test_digest_follows_content() -> None:
    """One term more is another digest; the order of packs is not."""
    one, other = pack(words("foo")), pack(words("foo", "bar"))

    assert one.sha256 != other.sha256
    assert packs_sha256([one, other]) == packs_sha256([other, one])
    assert compile_rules([one]).sha256 != compile_rules([other]).sha256


def test_words_phrases_and_stems() -> None:
    """A word stands alone, a phrase keeps its order, a stem begins a word."""
    rules = (
        pack(
            words("grault"),
            words("garply waldo", kind="phrase"),
            words("plugh", kind="stem", category="ip_logo"),
        ),
    )

    assert found("a grault, please", *rules) == {"illicit": 1.0}
    assert found("graults", *rules) == {}
    assert found("garply, waldo", *rules) == {"illicit": 1.0}
    assert found("waldo garply", *rules) == {}
    assert found("garplywaldo", *rules) == {"illicit": 1.0}
    assert found("plughing", *rules) == {"ip_logo": 1.0}
    assert found("unplughing", *rules) == {}


def test_allow_contexts() -> None:
    """A neighbour makes a term harmless, also through words that may stand between, but not through any other."""
    context = {"heels": Context(before=("pumps",), through=("suede", "in"), after=("heels",))}
    rules = pack(words("grault", allow=("heels",)), contexts=context)

    assert found("grault heels", rules) == {}
    assert found("grault suede heels", rules) == {}
    assert found("pumps in grault", rules) == {}
    assert found("grault person in heels", rules) == {"illicit": 1.0}
    assert found("grault", rules) == {"illicit": 1.0}
    assert found("grault heels and a grault", rules) == {"illicit": 1.0}
    assert found("grault, heels", rules) == {"illicit": 1.0}
    assert found("grault\nheels", rules) == {"illicit": 1.0}
    assert found("gr4ult, heels", rules) == {"illicit": 1.0}
    assert found("g r a u l t, heels", rules) == {"illicit": 1.0}


def test_highest_severity_counts() -> None:
    """Two terms of one category give the score of the worse."""
    rules = pack(words("foobar", severity="low"), words("grault", severity="medium"))

    assert found("foobar and grault", rules) == {"illicit": 0.7}


def test_scripts() -> None:
    """Native lists meet native text, unspaced ones without word boundaries."""
    cyrillic = pack(words("кубик"), script="spaced")
    japanese = pack(words("積木"), script="unspaced")

    assert found("красный Кубик.", cyrillic) == {"illicit": 1.0}
    assert found("к у б и к", cyrillic) == {"illicit": 1.0}
    assert found("кубики", cyrillic) == {}
    assert found("赤い積木の写真", japanese) == {"illicit": 1.0}
    assert found("赤い木の写真", japanese) == {}


def test_ages_and_pairs() -> None:
    """An age below the limit puts a mark, and two marks of a pair rule make its category."""
    rules = compile_rules([
        pack(
            words("grault", category=None, marks=("second",)),
            ages=(AgeRule(below=18, units=("year", "years"), words={"nine": 9}, mark="first"),),
            pairs=(PairRule(first="first", second="second", category="policy_custom:pair"),),
        )
    ])  # fmt: skip

    for young in ("9 year old", "9-years-old", "nine year old"):
        assert rules.screen_pairs(rules.screen(f"{young} grault").marks) == {"policy_custom:pair": 1.0}
    for old in ("19 year old", "year 9", "ninety year old"):
        assert rules.screen_pairs(rules.screen(f"{old} grault").marks) == {}


def test_collapsed_terms_do_not_shrink_to_nothing() -> None:
    """A term of one repeated letter is not matched by that letter alone."""
    assert found("plan k and size k", pack(words("kkk"))) == {}
    assert found("a kkk b", pack(words("kkk"))) == {"illicit": 1.0}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "JSON"),
        (
            '{"id": "x", "version": "1", "language": "en", "groups": [{"kind": "word", "terms": ["two words"]}]}',
            "word",
        ),
        (
            '{"id": "x", "version": "1", "language": "en", "groups": [{"kind": "phrase", "terms": ["one"]}]}',
            "phrase",
        ),
        (
            '{"id": "x", "version": "1", "language": "en", "groups": [{"kind": "word", "category": "y", "terms": ["a"]}]}',
            "category",
        ),
        (
            '{"id": "x", "version": "1", "language": "en", "groups": [{"kind": "word", "allow": ["c"], "terms": ["a"]}]}',
            "context",
        ),
        ('{"id": "x", "version": "1", "language": "en", "surprise": 1}', "surprise"),
    ],
)
def test_bad_packs_are_refused(text: str, fault: str) -> None:
    """A pack with a fault is an operator's error that names file and fault."""
    with pytest.raises(BadSettings) as refusal:
        read_pack(text, "ours.json")

    assert "ours.json" in refusal.value.detail and fault in refusal.value.detail


def test_short_stems_are_refused() -> None:
    """A stem too short to mean anything is refused when rules are compiled."""
    with pytest.raises(BadSettings):
        compile_rules([pack(words("abc", kind="stem"))])


def test_an_operators_own_packs(tmp_path: Path) -> None:
    """Every JSON file of a folder is read."""
    (tmp_path / "ours.json").write_text(json.dumps(pack(words("grault")).model_dump(mode="json")), "utf-8")
    (tmp_path / "notes.txt").write_text("not a pack", "utf-8")

    assert found("grault", *load_packs(tmp_path)) == {"illicit": 1.0}


def test_occasional_terms_expire() -> None:
    """A group counts to its last day; without it the rules are others, and say so by their digest."""
    ours = pack(words("grault"), words("garply", expires="2026-12-31"))

    assert ours.on(date(2026, 12, 31)) is ours
    left = ours.on(date(2027, 1, 1))
    assert found("garply", left) == {} and found("grault", left) == {"illicit": 1.0}
    assert left.sha256 != ours.sha256
    assert active_packs([pack(words("garply", expires="2026-12-31"))], date(2027, 1, 1)) == ()


def test_a_list_that_is_due_is_named() -> None:
    """Somebody should read a list again in time."""
    ours = pack(words("grault"), review_by="2026-12-31")

    assert overdue([ours], date(2026, 12, 31)) == ()
    assert overdue([ours], date(2027, 1, 1)) == ("test",)


@pytest.mark.parametrize(
    ("line", "at"),
    [
        ('{"kind": "word", "terms": ["two words"]}', 4),
        ('{"kind": "word", "category": "nonsense", "terms": ["a"]}', 4),
        ('{"kind": "word", "terms": ["a"], "surprise": 1}', 4),
        ('{"kind": "word" "terms": ["a"]}', 4),
    ],
)
def test_a_fault_is_placed(line: str, at: int, tmp_path: Path) -> None:
    """The operator is told in which line of which file the fault is."""
    text = '{"id": "x", "version": "1", "language": "en", "groups": [\n\n\n' + line + "\n]}"
    (tmp_path / "ours.json").write_text(text, "utf-8")

    with pytest.raises(BadSettings, match=rf"ours\.json, line {at}:"):
        load_packs(tmp_path)


def test_two_packs_of_one_id_are_refused(tmp_path: Path) -> None:
    """Also when the other one is built in: a context is named by its pack."""
    (tmp_path / "en.json").write_text('{"id": "en", "version": "1", "language": "en"}', "utf-8")

    with pytest.raises(BadSettings, match="more than one"):
        load_packs(tmp_path)


def test_an_unknown_context_of_another_pack_is_refused() -> None:
    """It is found when the rules are compiled."""
    with pytest.raises(BadSettings, match="nobody/things"):
        compile_rules([pack(words("grault", allow=("nobody/things",)))])
