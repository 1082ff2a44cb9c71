"""The part of a caption that names the product: number, colour, material and kind in one phrase."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from types import MappingProxyType

from models.catalogue.wordings import FINISH_WORDS, MATERIAL_WORDS, PLURAL_WORDS, STUFF_WORDS


@dataclass(frozen=True, kw_only=True)
class Product:
    """The words chosen for a product; an empty material is not said at all, number or colour perhaps in a statement of their own."""

    noun: str
    colour: str
    material: str
    pair: bool
    number_said: bool = True
    colour_said: bool = True
    extra: str = ""
    layout_said: bool = False

    @property
    def plural(self) -> bool:
        """Whether the noun stands in the plural."""
        return (self.pair and self.number_said) or self.noun in PLURAL_WORDS

    @property
    def noun_in_number(self) -> str:
        """The noun in singular or plural."""
        return plural_of(self.noun) if self.plural else self.noun


#: {m} material, {c} colour, {k} noun, {are} verb
_BOTH = (
    "{m} {c} {k}", "{m} {c} {k}", "{c} {m} {k}", "{c} {m} {k}", "{m} {k} in {c}", "{m} {k}, {c}", "{c} {k}, {m}", "{k}, {c}, {m}",
    "{k}, {m}, {c}", "{k}, {c} and {m}", "{k} that {are} {c} and {m}", "{k} that {are} {m} and {c}", "{c} and {m} {k}", "{m}, {c} {k}",
    "{k} in {c}, {m}", "{k} which {are} {m} and {c}", "{m} {k} that {are} {c}", "{c} {k} that {are} {m}", "{m} {k} coloured {c}",
    "{m} {k} with the colour {c}", "{m} {k} of {c} colour", "{c} coloured {m} {k}",
)  # fmt: skip
_COLOUR_ONLY = (
    "{c} {k}", "{c} {k}", "{c} {k}", "{c} {k}", "{k} in {c}", "{k}, {c}", "{k} that {are} {c}", "{k} which {are} {c}", "{c} coloured {k}",
    "{c} colored {k}", "{k} coloured {c}", "{k} with the colour {c}", "{k} of {c} colour", "{k}, colour {c}", "{k}, color {c}",
    "{k}, all in {c}", "{k} painted {c}", "{k} in a {c} hue", "{k} in a {c} shade", "{k} in {c} tones", "{c} hued {k}", "{k} tinted {c}", "{k} dyed {c}",
    "{k} ( {c} )",
)  # fmt: skip
_STUFF = (
    "made of {x}", "made of {x}", "made from {x}", "out of {x}", "in {x}", "of {x}", "made out of {x}", ", made of {x}", ", material {x}",
    "built from {x}", "crafted from {x}", ", all {x}", "made entirely of {x}", "that {are} made of {x}",
)  # fmt: skip
_FINISH = (
    "with a {x} finish", "with a {x} surface", "with a {x} look", "with a {x} texture", ", {x} finish", ", {x} surface", "in a {x} finish",
    "with {x} surface", ", {x} look", "with {x} finish", "that {look} {x}", ", material {x}", ", its surface {x}", ", finish {x}",
)  # fmt: skip
_ONE = (
    "one",
    "1",
    "a single",
    "the",
    "this",
    "our",
    "my",
    "just one",
    "only one",
    "some",
    "exactly one",
    "your",
    "that",
)
_TWO = (
    "", "some", "these", "two", "two", "two", "2", "a pair of", "a pair of", "a couple of", "a duo of", "twin", "two matching", "two identical", "a set of two",
    "both", "exactly two", "two of the same", "the two", "two equal", "our two", "2 matching", "a twin pack of", "these two", "a pair of two",
    "a matching pair of", "a double of", "two pieces of", "just two", "2x", "two units of", "a double pack of", "two similar", "two nice",
)  # fmt: skip
_TWO_OF_PLURALS = (
    "two",
    "2",
    "two pairs of",
    "two identical",
    "two matching",
    "2 pairs of",
    "a set of two",
    "both",
    "two sets of",
)
_ONE_OF_PLURALS = (
    "",
    "",
    "the",
    "these",
    "our",
    "my",
    "some",
    "a single pair of",
    "one pair of",
    "a pair of",
    "your",
    "those",
)
_ASIDES = (
    "the material is {x}", "{it} {are} made of {x}", "{it} {look} {y}", "the surface is {y}", "its finish is {y}", "the finish is {y}",
    "{it} should be {y}", "please make it {y}", "{it} {are} {y}", "the finish should be {y}",
)  # fmt: skip

NOISE_ADJECTIVES = (
    "nice", "beautiful", "elegant", "modern", "simple", "classic", "new", "lovely", "stylish", "cute", "premium", "brand new", "fine",
    "pretty", "luxury", "fancy", "plain", "trendy", "fashionable", "handy", "good", "great", "perfect", "quality", "everyday",
    "minimalist", "cheap", "expensive", "designer", "attractive", "charming", "contemporary", "favourite", "original",
)  # fmt: skip

#: {no} is absent, {x} is there
DENIALS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "material": (
            "not {no}", "not {no} but {x}", "{x}, not {no}", "no {no} finish", "definitely not {no}", "{x} instead of {no}",
            "{x} rather than {no}", "nothing {no}", "not {no}, just {x}", "{x} and not {no}", "anything but {no}", "no {no}, just {x}",
            "never {no}", "not a {no} one",
        ),
        "colour": (
            "not {no} but {x}", "{x}, not {no}", "{x} instead of {no}", "{x} rather than {no}", "not a {no} one but a {x} one",
            "{x} and not {no}", "not {no}, just {x}",
        ),
        "kind": ("no {no}", "not a {no}", "without a {no}", "no {no} in the picture", "there is no {no}", "{x}, not {no}"),
    }
)  # fmt: skip


def plural_of(noun: str) -> str:
    """English plural of the last word."""
    if noun in PLURAL_WORDS:
        return noun
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def indefinite(text: str, noun: str) -> str:
    """The text with "a" before it, unless its noun is a plural."""
    return text if noun in PLURAL_WORDS else f"a {text}"


def product_phrase(product: Product, rng: Random, *, bare: bool) -> str:
    """The product in words; a bare one mostly has no article."""
    adjective = product.extra
    body = _body(product, rng)
    number = _number(product, rng, bare=bare)
    return f"{number} {adjective} {body}"


def material_aside(product: Product, rng: Random) -> str:
    """A sentence about the material alone."""
    finish = rng.choice(FINISH_WORDS[product.material])
    stuff = rng.choice(STUFF_WORDS.get(product.material, FINISH_WORDS[product.material]))
    asides = _ASIDES if product.material in STUFF_WORDS else _ASIDES[2:]
    it = "they" if product.plural else "it"
    return _in_number(rng.choice(asides).format_map(_Kept(it=it, x=stuff, y=finish)), product)


def literal_words() -> tuple[str, ...]:
    """All wordings of this module, for the vocabulary."""
    numbers = (*_ONE, *_TWO, *_TWO_OF_PLURALS, *_ONE_OF_PLURALS)
    verbs = ("is", "are", "look", "looks", "a", "it", "they", "them")
    return (*_BOTH, *_COLOUR_ONLY, *_STUFF, *_FINISH, *_ASIDES, *numbers, *verbs)


class _Kept(dict[str, str]):
    """Leaves unknown slots as they are."""

    def __missing__(self, key: str) -> str:
        return "{" + key + "}"


def _body(product: Product, rng: Random) -> str:
    words = {"c": product.colour, "k": product.noun_in_number}
    if not product.colour_said:
        only = rng.choice(MATERIAL_WORDS[product.material]) if product.material else ""
        return f"{only} {words['k']}"
    if not product.material:
        return _in_number(rng.choice(_COLOUR_ONLY).format_map(_Kept(words)), product)
    if rng.random() < 0.7:
        material = MATERIAL_WORDS[product.material]
        words["m"] = material[0] if rng.random() < 0.45 else rng.choice(material)
        return _in_number(rng.choice(_BOTH).format_map(_Kept(words)), product)
    after = rng.choice(_COLOUR_ONLY).format_map(_Kept(words))
    if product.material in STUFF_WORDS and rng.random() < 0.65:
        tail = rng.choice(_STUFF).replace("{x}", rng.choice(STUFF_WORDS[product.material]))
    else:
        tail = rng.choice(_FINISH).replace("{x}", rng.choice(FINISH_WORDS[product.material]))
    return _in_number(f"{after} {tail}", product)


def _in_number(text: str, product: Product) -> str:
    plural = product.plural
    return text.replace("{are}", "are" if plural else "is").replace("{look}", "look" if plural else "looks")


def _number(product: Product, rng: Random, *, bare: bool) -> str:
    plural_word = product.noun in PLURAL_WORDS
    if product.pair and product.number_said:
        return rng.choice(_TWO_OF_PLURALS if plural_word else _TWO)
    if bare and rng.random() < 0.7:
        return ""
    if plural_word:
        return rng.choice(_ONE_OF_PLURALS)
    return "a" if rng.random() < 0.6 else rng.choice(_ONE)
