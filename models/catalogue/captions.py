"""Says a scene in words, in many ways, so that ordinary sentences parse.

What is left out means the default (matte, white, centered). Some captions carry words outside the vocabulary, which
teaches the model to ignore them.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from types import MappingProxyType

from models.catalogue.world import (
    BACKGROUNDS,
    COLOURS,
    DEFAULT_BACKGROUND,
    DEFAULT_LAYOUT,
    DEFAULT_MATERIAL,
    KINDS,
    LAYOUTS,
    MATERIALS,
    Scene,
    sample_scene,
)

#: other words a customer may use, by attribute; "black background" means the dark one, while a black mug stays black
SYNONYMS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "kind": {
            "cup": "mug",
            "trainer": "sneaker",
            "shoe": "sneaker",
            "table lamp": "lamp",
            "handbag": "bag",
            "wristwatch": "watch",
            "t-shirt": "shirt",
            "tee": "shirt",
            "couch": "sofa",
            "notebook": "book",
        },
        "colour": {"grey": "gray", "violet": "purple", "turquoise": "teal"},
        "material": {
            "mat": "matte",
            "shiny": "glossy",
            "metal": "metallic",
            "steel": "metallic",
            "wood": "wooden",
        },
        "background": {
            "grey": "gray",
            "cream": "beige",
            "black": "dark",
            "charcoal": "dark",
            "light green": "mint",
            "light blue": "sky blue",
            "blue": "sky blue",
            "pink": "rose",
            "light pink": "rose",
            "light purple": "lavender",
        },
        "layout": {
            "centred": "centered",
            "in the middle": "centered",
            "in the center": "centered",
            "on the left side": "on the left",
            "left": "on the left",
            "on the right side": "on the right",
            "right": "on the right",
            "close up": "close-up",
            "small in the frame": "small",
            "from afar": "small",
        },
    }
)

PRODUCTS = (
    "{material} {colour} {kind}",
    "{colour} {material} {kind}",
    "{colour} {kind}, {material} finish",
    "{colour} {kind}, {material}",
    "{material} {kind} in {colour}",
)

TEMPLATES = (
    "a {product} on a {background} background, {layout}",
    "a {product} on a {background} background, {layout}",
    "a {product} {layout} on a {background} background",
    "photo of a {product} on a {background} background, {layout}",
    "product photo of a {product}, {layout}, {background} background",
    "{layout} catalogue shot of a {product}, {background} backdrop",
    "{layout} photo of the {product} against a {background} backdrop",
    "studio picture of one {product} in front of a {background} background, {layout}",
    "{product}, {background} backdrop, {layout}",
    "{product} on {background}, {layout}",
    "{background} background, {layout}, {product}",
    "a {layout} {product} on a {background} background",
)

#: any word outside the vocabulary becomes the same token, so one stands for all
FILLER = "ceramic"

_SYNONYM_SHARE = 0.2
_OMIT_SHARE = 0.5
_PLAIN_SHARE = 0.2


def training_scene(rng: Random) -> Scene:
    """A scene without held-out pair; one in five is plain, as most customers will ask for it."""
    scene = sample_scene(rng)
    if rng.random() < _PLAIN_SHARE:
        scene = replace(scene, material=DEFAULT_MATERIAL, layout=DEFAULT_LAYOUT)
    return scene


def caption(scene: Scene, rng: Random) -> str:
    """One of many ways to say a scene; words may be missing where they are the default."""
    words = {
        "kind": _reword("kind", scene.kind, rng),
        "colour": _reword("colour", scene.colour, rng),
        "material": _reword("material", _or_omit(scene.material, DEFAULT_MATERIAL, rng), rng),
        "background": _reword("background", _or_omit(scene.background, DEFAULT_BACKGROUND, rng), rng),
        "layout": _reword("layout", _or_omit(scene.layout, DEFAULT_LAYOUT, rng), rng),
    }
    return _with_fillers(compose(rng.choice(TEMPLATES), rng.choice(PRODUCTS), words), rng)


def plain_caption(scene: Scene) -> str:
    """The full caption in its first form, nothing left out: what scores and alt texts are based on."""
    words = {name: getattr(scene, name) for name in ("kind", "colour", "material", "background", "layout")}
    return compose(TEMPLATES[0], PRODUCTS[0], words)


def compose(template: str, product: str, words: Mapping[str, str]) -> str:
    """Fill a template; an empty word takes its comma, "finish", "background" or preposition with it."""
    if not words["material"]:
        product = (
            product.replace(", {material} finish", "").replace(", {material}", "").replace("{material} ", "")
        )
    if not words["background"]:
        template = re.sub(
            r",? ?(on a|in front of a|against a|with a|on)? ?\{background\}( background| backdrop)?,? ?",
            " ",
            template,
        )
    if not words["layout"]:
        template = re.sub(r",? ?\{layout\} ?", " ", template)
    text = template.replace("{product}", product).format(**words)
    text = re.sub(r"\s+", " ", re.sub(r"\s+,", ",", text)).strip(" ,")
    return re.sub(r"\b([Aa])n? (?=[aeiou])", r"\1n ", text)


def vocabulary_words() -> list[str]:
    """Every word a caption can hold except fillers, sorted."""
    texts = [*PRODUCTS, *TEMPLATES, *KINDS, *COLOURS, *MATERIALS, *BACKGROUNDS, *LAYOUTS, "an"]
    texts += [word for table in SYNONYMS.values() for word in table]
    words = {word for text in texts for word in re.sub(r"\{\w+\}|,", " ", text).split()}
    return sorted({*words, ","})


def unambiguous_synonyms() -> dict[str, str]:
    """Synonyms that mean one thing wherever they stand, for other rooms."""
    canonical = {*KINDS, *COLOURS, *MATERIALS, *BACKGROUNDS, *LAYOUTS}
    return {
        word: meaning
        for table in SYNONYMS.values()
        for word, meaning in table.items()
        if word not in canonical
    }


def _or_omit(word: str, default: str, rng: Random) -> str:
    return "" if word == default and rng.random() < _OMIT_SHARE else word


def _reword(attribute: str, word: str, rng: Random) -> str:
    others = [other for other, meaning in SYNONYMS[attribute].items() if meaning == word]
    return rng.choice(others) if others and rng.random() < _SYNONYM_SHARE else word


def _with_fillers(text: str, rng: Random) -> str:
    """Strew unknown words into one caption in four, and many into a few."""
    chance = rng.random()
    if chance > 0.25:
        return text
    words = text.split()
    for _ in range(rng.randint(4, 14) if chance < 0.01 else rng.randint(1, 3)):
        words.insert(rng.randint(0, len(words)), FILLER)
    return " ".join(words)
