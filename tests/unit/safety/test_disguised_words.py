"""The parts that undo disguises: encodings, masks, glued words, other spellings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safety.encoded_text import decoded
from safety.glued_words import glued_words
from safety.masked_words import masked_words
from safety.rule_pack import Context, RulePack, TermGroup
from safety.rules import compile_rules
from safety.term_variants import variants


def pack(*terms: str, **fields: object) -> RulePack:
    kind = "phrase" if " " in terms[0] else "word"
    group = TermGroup.model_validate(
        {"kind": kind, "category": "illicit", "terms": terms} | fields.pop("group", {})
    )  # type: ignore[operator]
    return RulePack.model_validate(
        {"id": "test", "version": "1", "language": "en", "groups": (group,), **fields}
    )


def is_found(text: str, *packs: RulePack) -> bool:
    return "illicit" in compile_rules(packs).screen(text).scores


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("%67rault", "grault"), ("a%20lamp", "a lamp"), ("&#103;rault &amp; co", "grault & co"), ("\\x67rault", "grault"),
        ("\\u0067rault", "grault"), ("677261756c74", "grault"), ("Z3JhdWx0", "grault"), ("Z3JhdWx0IQ==", "grault!"),
        ("gr|_|\\/", "gruv"), ("ʇlnɐɹƃ", "grault"),
    ],
)  # fmt: skip
def test_encodings_are_undone(text: str, plain: str) -> None:
    """What a reader would decode is decoded."""
    assert plain in decoded(text)


@pytest.mark.parametrize(
    "text",
    [
        "a red mug, 50 % off",
        "R&D lab",
        "C:\\temp",
        "children playing",
        "iPhone",
        "MacBook",
        "100%",
        "A1B2C3",
        "20251123",
        "deadbeef",
    ],
)
def test_ordinary_text_is_not_decoded(text: str) -> None:
    """Brands, numbers and percentages stay what they are."""
    assert decoded(text) == ()


@given(st.text(st.characters(), max_size=80) | st.text("%&#x;\\u0041=+/aZ|()", max_size=60))
def test_any_text_can_be_decoded(text: str) -> None:
    """No text makes decoding fail, and what comes out is text that can be sent on."""
    for plain in decoded(text):
        plain.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("gr*ult", "grault"),
        ("gr_u_t", "grault"),
        ("g****t", None),
        ("*rault", "grault"),
        ("grau**", None),
        ("gr🔥ult", "grault"),
    ],
)
def test_masked_words(text: str, read: str | None) -> None:
    """A sign stands for a letter as long as half of the word is seen."""
    assert next(masked_words(["grault", "garply"], frozenset()).readings(text), None) == read


@pytest.mark.parametrize(
    "text", ["t-shirt", "f/1.4", "don't stop", "rock'n'roll", "gr ult", "50 % off", "gr(ult"]
)
def test_ordinary_signs_are_no_masks(text: str) -> None:
    """Hyphens and apostrophes of ordinary words hide nothing."""
    assert list(masked_words(["grault", "garply"], frozenset()).readings(text)) == []


def test_glued_words_are_taken_apart() -> None:
    """A listed word inside a longer one is found when the rest are words; a long one in any company."""
    index = glued_words(["garp", "plughwaldo"], ["plughwaldo"], ["big", "photo"], frozenset({"photogarp"}))

    assert index.taken_apart("biggarpphoto") == ["big", "garp", "photo"]
    assert index.taken_apart("garpish") == []
    assert index.taken_apart("xxplughwaldoyy") == ["xx", "plughwaldo", "yy"]
    assert index.taken_apart("photogarp") == []


def test_pieces_are_put_together() -> None:
    """Spaces and signs inside a term hide nothing, and two ordinary words that spell one are left alone."""
    ours = pack("grault", kept=("grau lt",))

    assert is_found("gra ult", ours) and is_found("g-r a.u l t", ours) and is_found("grau.lt", ours)
    assert not is_found("grau lt", ours)
    assert is_found("grau lt and grau'lt", ours)


@pytest.mark.parametrize("text", ["tluarg", "grlt", "graullltt", "ggrraauulltt"])
def test_other_spellings(text: str) -> None:
    """Backwards, without vowels, with repeats."""
    assert is_found(f"a {text}", pack("grault"))


@pytest.mark.parametrize(
    ("term", "text"),
    [
        ("pool", "pol"),
        ("penne", "pene"),
        ("pene", "penne"),
        ("teen", "ten"),
        ("grault", "graults"),
        ("grault", "grau"),
    ],
)
def test_other_words_are_other_words(term: str, text: str) -> None:
    """A letter more or less in a short word is another word."""
    assert not is_found(f"a {text} b", pack(term))


def test_variants_are_other_spellings() -> None:
    """A word is none of its own variants, and a short one has few."""
    assert "garply" not in set(variants("garply"))
    assert set(variants("abc")) == set()
    assert {"odlaw", "ylprag"} <= {*variants("waldo"), *variants("garply")}


def test_a_kept_word_is_never_read_as_another() -> None:
    """An ordinary word that is a listed one backwards is left alone once a pack says so."""
    assert is_found("tluarg", pack("grault"))
    assert not is_found("tluarg", pack("grault", kept=("tluarg",)))


def test_contexts_hold_under_disguise() -> None:
    """What is harmless in plain sight is harmless glued, and what is not is not."""
    ours = pack(
        "grault",
        group={"allow": ("things",)},
        contexts={
            "things": Context(after=("lamp",), through=("red",), loose=1, unless=("person",), tails=True)
        },
    )

    assert not is_found("graultlamp", ours) and not is_found("a grault tall lamp", ours)
    assert not is_found("grault floorlamp", ours)
    assert is_found("grault person lamp", ours)
    assert is_found("grault tall slim lamp", ours)


def test_one_term_of_two_lists_has_the_contexts_of_both() -> None:
    """Nobody can tell of which language a word was meant."""
    one = pack("grault", group={"allow": ("lamp",)}, contexts={"lamp": Context(after=("lamp",))})
    other = pack("gräult", id="other")

    assert is_found("grault lamp", pack("grault"), pack("gräult", id="other", group={"category": "ip_logo"}))
    assert not is_found("grault lamp", one, other)


def test_a_context_of_another_pack() -> None:
    """Packs share contexts by ``<pack>/<context>``."""
    shared = RulePack.model_validate(
        {"id": "shared", "version": "1", "language": "mul", "contexts": {"lamp": {"after": ["lamp"]}}}
    )

    assert not is_found("grault lamp", pack("grault", group={"allow": ("shared/lamp",)}), shared)


def test_signs_stand_for_words() -> None:
    """A sign that stands for a word is read as it."""
    assert is_found("a 🪤 here", pack("grault", signs={"🪤": "grault"}))


def test_foreign_letters_keep_words_apart() -> None:
    """Latin fragments between letters of another script are not put together."""
    assert not is_found("grжauжlt", pack("grault"))
