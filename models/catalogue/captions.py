"""Says a scene in words, by a grammar rather than by templates, so that ordinary sentences parse.

A caption is a product phrase and some statements (background, place or number, light, shadow) in any order and in any of
their wordings, joined as people join them. What is left out means the default (matte, white, centered, lit from the left,
with a shadow). What is denied is never true. Some captions carry words outside the vocabulary, which teaches the model to
ignore them.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from random import Random
from types import MappingProxyType

from models.catalogue.product_phrases import (
    DENIALS,
    NOISE_ADJECTIVES,
    Product,
    indefinite,
    literal_words,
    material_aside,
    plural_of,
    product_phrase,
)
from models.catalogue.wordings import (
    BACKDROP_PHRASES,
    BACKDROP_WORDS,
    COLOUR_LATER,
    COLOUR_WORDS,
    FINISH_WORDS,
    FRONTED,
    KIND_WORDS,
    LAYOUT_PHRASES,
    LIGHT_PHRASES,
    MATERIAL_WORDS,
    NOISE,
    OPENERS,
    PAIR_LATER,
    PLACE_ADJECTIVES,
    SCENE_PHRASES,
    SCENE_WORDS,
    SHADOW_PHRASES,
    STUFF_WORDS,
    VIEWS,
    Phrases,
    Words,
)
from models.catalogue.world import (
    BACKGROUNDS,
    COLOURS,
    DEFAULT_BACKGROUND,
    DEFAULT_LAYOUT,
    DEFAULT_LIGHT,
    DEFAULT_MATERIAL,
    KINDS,
    LAYOUTS,
    MATERIALS,
    Scene,
    sample_scene,
)

#: any word outside the vocabulary becomes the same token, so one stands for all
FILLER = "ceramic"
#: words and commas; the tokenizer holds a few more
LONGEST = 42

_OMIT_SHARE = 0.5
_SAY_DEFAULT_SHARE = 0.15
_PLAIN_SHARE = 0.2
_SIMPLE_SHARE = 0.04
_DENY_SHARE = 0.08
_NOISE_SHARE = 0.2
_FILLER_SHARE = 0.2


def _synonyms(*tables: Words) -> dict[str, str]:
    return {word: name for table in tables for name, words in table.items() for word in words if word != name}


_PAIR_WORDS = ("two", "twin", "duo", "couple", "side by side", "next to each other")
#: other words a customer may use, by attribute
SYNONYMS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "kind": _synonyms(KIND_WORDS),
        "colour": _synonyms(COLOUR_WORDS),
        "material": _synonyms(FINISH_WORDS, STUFF_WORDS, MATERIAL_WORDS),
        "background": _synonyms(SCENE_WORDS, BACKDROP_WORDS),
        "layout": {
            word: name
            for name, phrases in LAYOUT_PHRASES.items()
            for word in phrases.named
            if word != name and "{" not in word
        }
        | dict.fromkeys(_PAIR_WORDS, "pair"),
    }
)

_FORMS = ("product", "item", "object", "subject")
_JOINS = (", ", ", ", ", ", " and ", " with ")
#: what "and" and "with" may lead to
_NOUNS = frozenset(
    ("background", "backdrop", "wall", "light", "lighting", "shadow", "shadows", "composition", "view", "crop", "framing", "space", "table",
     "garden", "sunset", "lawn", "sky", "greenery", "finish", "setting", "scene", "margins", "flash")
)  # fmt: skip
_VERBS = ("stand", "sit", "rest", "fill", "look", "lie", "cast", "appear")


@dataclass(frozen=True, kw_only=True)
class _Clause:
    """One statement and where it may stand: after the product, between commas, or alone."""

    form: str
    text: str


def training_scene(rng: Random) -> Scene:
    """A scene without held-out pair; one in five is plain, as most customers will ask for it."""
    scene = sample_scene(rng)
    if rng.random() < _PLAIN_SHARE:
        scene = replace(
            scene, material=DEFAULT_MATERIAL, layout=DEFAULT_LAYOUT, light=DEFAULT_LIGHT, shadow=True
        )
    return scene


def caption(scene: Scene, rng: Random) -> str:
    """One of very many ways to say a scene; what is the default may be missing. At most `LONGEST` words and commas."""
    while True:
        said = plain_caption(scene) if rng.random() < _SIMPLE_SHARE else _finished(_say(scene, rng))
        text = _with_fillers(said, rng)
        if len(words_of(text)) <= LONGEST:
            return text


def plain_caption(scene: Scene) -> str:
    """The full caption in its simplest form, nothing left out but usual light and shadow: what alt texts are based on."""
    pair = scene.layout == "pair"
    kind = plural_of(scene.kind) if pair else scene.kind
    product = f"{scene.material} {scene.colour} {kind}"
    product = f"two {product}" if pair else indefinite(product, kind)
    places = {"wooden table": "on a wooden table", "garden": "in a garden", "sunset": "at sunset"}
    parts = [f"{product} {places.get(scene.background, f'on a {scene.background} background')}"]
    if not pair:
        parts.append(scene.layout)
    if scene.light != DEFAULT_LIGHT:
        parts.append(f"light from the {scene.light}")
    return _finished(", ".join(parts if scene.shadow else [*parts, "no shadow"]))


def words_of(text: str) -> list[str]:
    """A text as the tokenizer sees it: lower-case words and commas, other punctuation gone."""
    return re.sub(r"[.!?;:()\"']", " ", text.lower()).replace(",", " , ").split()


@lru_cache(maxsize=1)
def vocabulary_words() -> list[str]:
    """Every word a caption can hold except fillers, sorted."""
    return sorted(
        {word for text in _all_wordings() for word in words_of(re.sub(r"\{\w+\}", " ", text))} | {","}
    )


def unambiguous_synonyms() -> dict[str, str]:
    """Synonyms that mean one thing wherever they stand, for other rooms."""
    canonical = {*KINDS, *COLOURS, *MATERIALS, *BACKGROUNDS, *LAYOUTS}
    meanings: dict[str, set[str]] = {}
    for table in SYNONYMS.values():
        for word, meaning in table.items():
            meanings.setdefault(word, set()).add(meaning)
    return {word: next(iter(m)) for word, m in meanings.items() if len(m) == 1 and word not in canonical}


def sentence_skeleton(prompt: str) -> str:
    """The prompt in lower case with the words for kinds, colours, materials, scenes and sides replaced by their slots.

    Two prompts with one skeleton are the same phrasing of perhaps different scenes.
    """
    text = " ".join(words_of(prompt))
    return _slot_pattern().sub(lambda match: f"<{_slots()[match.group()]}>", text)


def _say(scene: Scene, rng: Random) -> str:
    """Choose a style, then words."""
    product = _product_of(scene, rng)
    style = rng.choices(("phrase", "telegram", "fronted", "form"), (62, 20, 13, 5))[0]
    opener = "" if style in ("telegram", "form") else _opener(scene, rng)
    view_said = opener in VIEWS.get(scene.layout, ())
    number_said = product.pair and product.number_said
    clauses = _clauses(scene, product, rng, layout_said=view_said or number_said or product.layout_said)
    rng.shuffle(clauses)
    phrase = product_phrase(product, rng, bare=style in ("telegram", "form"))
    if style == "form":
        phrase = f"{rng.choice(_FORMS)} {phrase}"
    if style in ("telegram", "form"):
        pieces = [_text(c, product, rng) for c in clauses]
        place = 0 if rng.random() < 0.6 else rng.randint(0, len(pieces))
        return ", ".join([*pieces[:place], phrase, *pieces[place:]])
    head = f"{opener} {phrase}"
    if style == "fronted" and clauses and clauses[0].form != "sentence":
        first, clauses = _text(clauses[0], product, rng), clauses[1:]
        opener = rng.choice(FRONTED) if not view_said and rng.random() < 0.5 else opener
        head = f"{first}{rng.choice((', ', ' '))}{opener} {phrase}"
    return _joined(head, clauses, product, rng)


def _product_of(scene: Scene, rng: Random) -> Product:
    """Choose the product's words, and which of them wait for a sentence of their own."""
    pair = scene.layout == "pair"
    before = PLACE_ADJECTIVES.get(scene.layout, ())
    extra = rng.choice(before) if before and rng.random() < 0.2 else ""
    layout_said = extra != ""
    if not extra and rng.random() < 0.1:
        extra = rng.choice(NOISE_ADJECTIVES)
    omitted = scene.material == DEFAULT_MATERIAL and rng.random() < _OMIT_SHARE
    return Product(
        noun=_usually_first(KIND_WORDS[scene.kind], rng),
        colour=_usually_first(COLOUR_WORDS[scene.colour], rng),
        material="" if omitted else scene.material,
        pair=pair,
        number_said=not pair or rng.random() > 0.1,
        colour_said=rng.random() > 0.08,
        extra=extra,
        layout_said=layout_said,
    )


def _clauses(scene: Scene, product: Product, rng: Random, *, layout_said: bool) -> list[_Clause]:
    clauses = []
    if scene.background != DEFAULT_BACKGROUND or rng.random() > _OMIT_SHARE:
        clauses.append(_background(scene.background, rng))
    if not product.colour_said:
        clauses.append(_clause(COLOUR_LATER, product.colour, rng))
    if product.pair and not product.number_said:
        clauses.append(_clause(PAIR_LATER, "", rng))
    elif rng.random() < _layout_share(scene, layout_said):
        clauses.append(_clause(LAYOUT_PHRASES[scene.layout], "", rng))
    if scene.light != DEFAULT_LIGHT or rng.random() < _SAY_DEFAULT_SHARE:
        clauses.append(_clause(LIGHT_PHRASES[scene.light], "", rng))
    if not scene.shadow or rng.random() < _SAY_DEFAULT_SHARE:
        clauses.append(_clause(SHADOW_PHRASES[scene.shadow], "", rng))
    if rng.random() < _DENY_SHARE:
        clauses.append(_denial(scene, rng))
    if product.material and rng.random() < 0.04:
        clauses.append(_Clause(form="sentence", text=material_aside(product, rng)))
    if rng.random() < _NOISE_SHARE:
        clauses.append(_Clause(form="named", text=rng.choice(NOISE)))
    return clauses


def _layout_share(scene: Scene, said: bool) -> float:
    """How often the layout gets a statement of its own."""
    if said:
        return 0.1
    return _OMIT_SHARE if scene.layout == DEFAULT_LAYOUT else 1.0


def _background(background: str, rng: Random) -> _Clause:
    if background in SCENE_PHRASES:
        return _clause(SCENE_PHRASES[background], _usually_first(SCENE_WORDS[background], rng), rng)
    return _clause(BACKDROP_PHRASES, _usually_first(BACKDROP_WORDS[background], rng), rng)


def _clause(phrases: Phrases, word: str, rng: Random) -> _Clause:
    form = rng.choices(("after", "named", "sentence"), (5, 3, 2))[0]
    return _Clause(form=form, text=rng.choice(getattr(phrases, form)).replace("{x}", word))


def _denial(scene: Scene, rng: Random) -> _Clause:
    """Deny something that is not there, mostly together with what is."""
    attribute, tables = rng.choice(
        (
            ("material", MATERIAL_WORDS),
            ("material", MATERIAL_WORDS),
            ("colour", COLOUR_WORDS),
            ("kind", KIND_WORDS),
        )
    )
    there = getattr(scene, attribute)
    absent = rng.choice([name for name in tables if name != there])
    text = rng.choice(DENIALS[attribute])
    return _Clause(form="named", text=text.replace("{no}", absent).replace("{x}", there))


def _opener(scene: Scene, rng: Random) -> str:
    views = VIEWS.get(scene.layout, ())
    if views and rng.random() < (0.05 if scene.layout == DEFAULT_LAYOUT else 0.25):
        return rng.choice(views)
    return rng.choice(OPENERS) if rng.random() < 0.5 else ""


def _joined(head: str, clauses: list[_Clause], product: Product, rng: Random) -> str:
    """The head, what may follow it at once, what stands between commas, and the sentences."""
    text = head
    for clause in clauses:
        piece = _text(clause, product, rng)
        if clause.form == "after":
            text += rng.choice((" ", " ", ", ")) + piece
        elif clause.form == "named":
            text += rng.choice(_JOINS if piece.split()[-1] in _NOUNS else _JOINS[:1]) + piece
        else:
            text += rng.choice((". ", ". ", ", ", " and ", ", and ")) + piece
    return text


def _text(clause: _Clause, product: Product, rng: Random) -> str:
    """Fill in the product and its verbs."""
    plural, text = product.plural, clause.text
    if rng.random() < 0.25:
        subject = thing = f"the {product.noun_in_number}"
    else:
        subject, thing = ("they", "them") if plural else ("it", "it")
    text = re.sub(r"\{it\}(?= (\{|should))", subject, text).replace("{it}", thing)
    text = text.replace("{is}", "are" if plural else "is")
    return re.sub(r"\{(\w+?)s\}", r"\1" if plural else r"\1s", text)


def _finished(text: str) -> str:
    """One space between words, none before commas, and the article that the next word asks for."""
    text = re.sub(r"\s+", " ", re.sub(r"\s+([,.])", r"\1", text)).strip(" ,")
    return re.sub(r"\ba (?=[aeiou])(?!one\b|uni)", "an ", text)


def _usually_first(words: tuple[str, ...], rng: Random) -> str:
    return words[0] if rng.random() < 0.45 else rng.choice(words)


def _with_fillers(text: str, rng: Random) -> str:
    """Strew unknown words into one caption in five, and many into a few."""
    chance = rng.random()
    if chance > _FILLER_SHARE:
        return text
    words = text.split()
    for _ in range(rng.randint(4, 12) if chance < 0.01 else rng.randint(1, 3)):
        words.insert(rng.randint(0, len(words)), FILLER)
    return " ".join(words)


def _all_wordings() -> Iterator[str]:
    yield from (
        *OPENERS,
        *FRONTED,
        *NOISE,
        *NOISE_ADJECTIVES,
        *_FORMS,
        *literal_words(),
        *LAYOUTS,
        *BACKGROUNDS,
        *_PAIR_WORDS,
    )
    for words in (*VIEWS.values(), *PLACE_ADJECTIVES.values(), *DENIALS.values()):
        yield from words
    for table in (
        KIND_WORDS,
        COLOUR_WORDS,
        BACKDROP_WORDS,
        SCENE_WORDS,
        MATERIAL_WORDS,
        STUFF_WORDS,
        FINISH_WORDS,
    ):
        for words in table.values():
            yield from words
    yield from (plural_of(word) for words in KIND_WORDS.values() for word in words)
    groups = (SCENE_PHRASES, LAYOUT_PHRASES, LIGHT_PHRASES, SHADOW_PHRASES)
    later = (BACKDROP_PHRASES, PAIR_LATER, COLOUR_LATER)
    for phrases in (*later, *(phrases for group in groups for phrases in group.values())):
        yield from (*phrases.after, *phrases.named, *phrases.sentence)
    verbs = (*_VERBS, *(f"{verb}s" for verb in _VERBS))
    yield from (*verbs, "an", "and", "with", "they", "them", "it", "is", "are", "the")


@lru_cache(maxsize=1)
def _slots() -> dict[str, str]:
    """Attribute words to the name of their slot; the longer meaning wins where two share a word."""
    tables = {
        "colour": (BACKDROP_WORDS, COLOUR_WORDS),
        "material": (FINISH_WORDS, STUFF_WORDS, MATERIAL_WORDS),
        "scene": (SCENE_WORDS,),
        "kind": (KIND_WORDS,),
    }
    slots = dict.fromkeys(("left", "right"), "side")
    for slot, group in tables.items():
        for words in (words for table in group for words in table.values()):
            slots |= dict.fromkeys(words, slot)
    return slots | {plural_of(word): "kind" for words in KIND_WORDS.values() for word in words}


@lru_cache(maxsize=1)
def _slot_pattern() -> re.Pattern[str]:
    longest_first = sorted(_slots(), key=len, reverse=True)
    return re.compile(r"(?<![\w-])(?:" + "|".join(re.escape(word) for word in longest_first) + r")(?![\w-])")
