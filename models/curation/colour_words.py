"""Words that name a colour: where a caption has one, the colours of its picture must stay as they are."""

from __future__ import annotations

import re
from functools import lru_cache

from models.catalogue.captions import SYNONYMS
from models.catalogue.world import BACKGROUNDS, COLOURS, SCENES

#: English first, since most captions are; the other languages' basic colours because a jittered "rote Tasse" teaches wrong
_LISTED = """
    red crimson scarlet maroon burgundy ruby cherry vermilion carmine rust brick wine bordeaux oxblood
    orange apricot peach tangerine coral salmon terracotta amber copper bronze pumpkin
    yellow gold golden mustard lemon ochre saffron cream ivory vanilla champagne canary blond blonde
    green olive lime mint emerald sage jade moss forest khaki chartreuse pistachio viridian
    blue navy azure cobalt cyan sky indigo denim sapphire cerulean ultramarine periwinkle aqua turquoise teal petrol
    purple violet lavender lilac mauve plum magenta fuchsia amethyst aubergine eggplant orchid
    pink rose blush
    brown beige tan taupe chocolate caramel coffee chestnut mahogany walnut sepia umber sand camel cognac cinnamon
    black ebony jet onyx charcoal anthracite graphite
    white snow pearl alabaster offwhite eggshell
    gray grey silver slate ash pewter gunmetal platinum
    colored coloured multicolored multicoloured multicolor multicolour rainbow iridescent monochrome sepia pastel neon
    bw hue tint tinted colorful colourful
    rot rote roter rotes roten blau blaue blauer blaues blauen grün grüne grüner grünes grünen gelb gelbe gelber gelbes
    schwarz schwarze schwarzer schwarzes weiß weiße weißer weißes grau graue grauer graues braun braune rosa lila türkis
    rouge rouges bleu bleue bleus vert verte verts jaune noir noire blanc blanche gris grise brun marron violette doré
    rojo roja azul azules verde verdes amarillo amarilla negro negra blanco blanca marrón morado naranja plateado dorado
    rosso rossa blu giallo gialla nero nera bianco bianca grigio grigia marrone viola arancione argento oro
"""
WORDS = frozenset(_LISTED.split())
#: written apart, these are one colour, and their halves may not be
PHRASES = ("off white", "wood brown", "two tone", "black and white", "rose gold")

_WORD = re.compile(r"[^\W\d_]+")
_ENDINGS = ("ish", "s", "y")


def names_colour(caption: str) -> bool:
    """Whether any word, or part of a hyphenated one, names a colour: "sky-blue", "greenish" and "navy" do."""
    text = caption.casefold()
    if any(phrase in text.replace("-", " ") for phrase in PHRASES):
        return True
    return any(_is_colour(word) for word in _WORD.findall(text))


def _is_colour(word: str) -> bool:
    known = _known_words()
    if word in known:
        return True
    stems = (word.removesuffix(ending) for ending in _ENDINGS if word.endswith(ending))
    # "reddish" doubles the letter
    return any(
        stem in known or (len(stem) > 3 and stem[-1] == stem[-2] and stem[:-1] in known) for stem in stems
    )


@lru_cache(maxsize=1)
def _known_words() -> frozenset[str]:
    """With the words of the starter's own world, which may grow; of "bottle green" the second is in the list anyway."""
    named = {*COLOURS, *SYNONYMS["colour"], *BACKGROUNDS} - {*SCENES}
    return WORDS | {name for name in named if _WORD.fullmatch(name)}
