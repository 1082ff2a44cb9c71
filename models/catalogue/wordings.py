"""The ways to say each thing of the catalogue world: words for attributes, and phrases around them.

In each list of words the first is the usual one. Phrases come in three forms: `after` may follow a product at once ("on a red
background"), `named` stands between commas ("red background"), `sentence` stands alone ("the background is red"). Slots:
{x} a word of the attribute, {it} and {is} the product in its number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

Words: TypeAlias = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Phrases:
    """Wordings of one statement, by the place they can take in a sentence."""

    after: tuple[str, ...]
    named: tuple[str, ...]
    sentence: tuple[str, ...]


_NAMES = {
    "sky_blue": "sky blue",
    "wooden_table": "wooden table",
    "close_up": "close-up",
    "from_above": "from above",
}


def _listed(text: str) -> tuple[str, ...]:
    return tuple(" ".join(part.split()) for part in text.split("|"))


def _words(**lists: str) -> Words:
    return MappingProxyType({_NAMES.get(name, name): _listed(text) for name, text in lists.items()})


def _phrases(*, after: str, named: str, sentence: str) -> Phrases:
    return Phrases(after=_listed(after), named=_listed(named), sentence=_listed(sentence))


KIND_WORDS = _words(
    mug="mug|cup|coffee mug|coffee cup|tea mug|tea cup|beaker|teacup|drinking cup|tea-cup",
    sneaker="sneaker|trainer|shoe|running shoe|sports shoe|gym shoe|tennis shoe|jogging shoe|sport shoe|canvas shoe",
    lamp="lamp|table lamp|desk lamp|bedside lamp|reading lamp|night lamp|floor lamp|standing lamp|shaded lamp",
    chair="chair|seat|dining chair|kitchen chair|side chair|four-legged chair|desk chair|office chair",
    bottle="bottle|flask|water bottle|wine bottle|beer bottle|carafe|drinking bottle",
    bag="bag|handbag|purse|tote|tote bag|shoulder bag|hand bag|shopper|satchel|clutch|ladies bag",
    watch="watch|wristwatch|wrist watch|timepiece|arm watch|analog watch|ladies watch|mens watch",
    vase="vase|flower vase|urn|amphora|jug|ornamental vase|pottery vase",
    hat="hat|fedora|felt hat|trilby|sun hat|brimmed hat|sunhat|panama hat|bowler",
    book="book|notebook|hardcover|hardcover book|novel|diary|journal|paperback|hardback|volume|textbook|tome",
    sofa="sofa|couch|settee|loveseat|love seat|two-seater|divan|lounge sofa|upholstered sofa",
    shirt="shirt|t-shirt|tee|tshirt|t shirt|tee shirt|jersey|short-sleeved shirt|cotton shirt|short-sleeve shirt",
    teapot="teapot|tea pot|kettle|tea kettle|teakettle|tea maker|teapot with a spout",
    umbrella="umbrella|parasol|brolly|rain umbrella|sunshade|open umbrella|rain shade|umbrella with a handle",
    guitar="guitar|acoustic guitar|classical guitar|six-string guitar|string guitar|folk guitar|concert guitar",
    camera="camera|photo camera|digital camera|film camera|compact camera|slr|dslr|photographic camera|cam|dslr camera",
    dress="dress|gown|frock|summer dress|evening dress|sundress|evening gown|robe|ladies dress|sleeveless dress",
    suitcase="suitcase|trolley|travel case|trolley case|roller case|luggage case|cabin trolley|carry-on|wheeled suitcase|cabin case|cabin suitcase|travel suitcase|rolling suitcase",
    candle="candle|pillar candle|wax candle|scented candle|lit candle|burning candle|block candle",
    headphones="headphones|headset|earphones|over-ear headphones|head phones|ear phones|wireless headphones|stereo headphones|headphone",
)
#: words that are plural already
PLURAL_WORDS = frozenset(
    {
        "headphones",
        "earphones",
        "over-ear headphones",
        "head phones",
        "ear phones",
        "wireless headphones",
        "stereo headphones",
    }
)

COLOUR_WORDS = _words(
    red="red|scarlet|crimson|bright red|ruby|ruby red|cherry red|dark red|fire red|brick red|vermilion|wine red",
    orange="orange|tangerine|bright orange|pumpkin|mandarin|amber|orangey",
    yellow="yellow|lemon|lemon yellow|sunny yellow|bright yellow|golden yellow|canary|canary yellow|mustard|golden|sunflower yellow",
    green="green|emerald|emerald green|forest green|dark green|grass green|olive green|leaf green|bottle green|moss green|deep green",
    teal="teal|turquoise|cyan|blue-green|petrol|aqua|aquamarine|teal blue|bluish green|dark turquoise",
    blue="blue|royal blue|cobalt|cobalt blue|dark blue|bright blue|navy|navy blue|azure|sapphire|ultramarine|deep blue|sapphire blue",
    purple="purple|violet|plum|deep purple|dark purple|aubergine|eggplant|grape|amethyst|royal purple",
    pink="pink|hot pink|fuchsia|magenta|bright pink|rose pink|raspberry|raspberry pink|bubblegum pink|rosy|vivid pink",
    brown="brown|chocolate|chestnut|chocolate brown|dark brown|cocoa|hazelnut|coffee brown|caramel|chestnut brown|nut brown",
    black="black|jet black|jet-black|ebony|deep black|pitch black|onyx|coal black|inky black|raven black",
    white="white|snow white|snow-white|pure white|ivory|snowy|chalk white|milky white|alabaster|brilliant white",
    gray="gray|grey|slate|slate gray|slate grey|mid-gray|silver gray|ash grey|ash gray|stone grey|medium gray|mid-grey|silvery|neutral grey",
)

#: plain backdrops by colour word; "black background" means the dark one, while a black mug stays black
BACKDROP_WORDS = _words(
    white="white|plain white|pure white|bright white|snow white|clean white|blank white|very light",
    gray="gray|grey|light gray|light grey|neutral gray|neutral grey|silver|soft gray|stone grey|concrete gray|ash grey|silver grey|mid-gray|mid grey",
    beige="beige|cream|sand|sandy|tan|light brown|cream coloured|cream-colored|sand coloured|ecru|latte|nude|champagne|off-white|ivory|warm beige",
    dark="dark|black|charcoal|dark gray|dark grey|anthracite|nearly black|very dark|midnight|graphite|blackish|deep gray|dark slate|slate|inky|deep black|jet black",
    mint="mint|mint green|light green|pale green|pastel green|green|soft green|minty|pistachio|seafoam|sage|light mint|pale mint",
    sky_blue="sky blue|light blue|pale blue|baby blue|pastel blue|blue|sky-blue|soft blue|powder blue|icy blue|azure|airy blue|light sky blue|very light blue",
    rose="rose|pink|light pink|pale pink|blush|blush pink|pastel pink|soft pink|rosy|baby pink|powder pink|candy pink|salmon|dusty pink|dusty rose",
    lavender="lavender|light purple|lilac|pale purple|pastel purple|light violet|purple|soft purple|mauve|violet|wisteria|periwinkle|soft violet|soft lilac|light lavender|pale lavender|pale violet",
)

SCENE_WORDS = _words(
    wooden_table="wooden table|wood table|wooden desk|wooden tabletop|timber table|oak table|rustic table|wooden surface|"
    "rustic wooden table|plank table|wooden counter|kitchen table|table|wooden bench|wooden board|desk|tabletop|brown table|table top|wood surface",
    garden="garden|green garden|backyard|park|meadow|sunny garden|flower garden|leafy garden|lawn|grassy garden|summer garden|green park|grassy meadow|yard",
    sunset="sunset|warm sunset|evening sky|sunset sky|golden sunset|setting sun|orange sunset|sunset horizon|glowing sunset|dusk sky|sunset glow|evening sun",
)

#: materials before the noun, as a stuff ("made of ..."), and as a finish ("with a ... finish")
MATERIAL_WORDS = _words(
    matte="matte|matt|mat|dull|unpolished|non-shiny|non-glossy|flat|chalky|non-reflective|powder-coated|lustreless",
    glossy="glossy|shiny|polished|high-gloss|gleaming|lacquered|varnished|shining|gloss|lustrous|slick|glazed|high gloss|super shiny|very shiny|enamelled",
    metallic="metallic|metal|steel|chrome|stainless steel|brushed metal|aluminium|aluminum|chromed|iron|titanium|tin|metal-look|metallised|made-of-metal",
    wooden="wooden|wood|timber|oak|walnut|pine|solid wood|wood-grain|bamboo|maple|birch|beech|teak|wood-look|woody",
    glass="glass|transparent|see-through|clear|translucent|clear glass|tinted glass|crystal|glassy|see through|crystal clear|acrylic|semi-transparent",
    woven="woven|wicker|braided|basket-weave|knitted|rattan|plaited|hand-woven|handwoven|knit|interlaced|basketwork|wickerwork|crocheted|interwoven|cable-knit|woolen|basket weave|raffia",
)
STUFF_WORDS = _words(
    metallic="metal|steel|stainless steel|chrome|aluminium|aluminum|brushed metal|iron|titanium|tin|polished steel|some metal",
    wooden="wood|timber|oak|walnut|pine|solid wood|real wood|bamboo|maple|birch|beech|teak|natural wood|light wood",
    glass="glass|clear glass|crystal|tinted glass|see-through glass|transparent glass|acrylic|see-through material|coloured glass|pure glass",
    woven="wicker|rattan|woven straw|basket weave|woven fibre|straw|woven fabric|knitted wool|wickerwork|raffia|wool|basketwork|woven reed|thick yarn|woven wicker",
)
FINISH_WORDS = _words(
    matte="matte|matt|dull|flat matte|unpolished|non-shiny|chalky|non-reflective|flat|powder-coated",
    glossy="glossy|shiny|high-gloss|polished|gleaming|lacquered|lustrous|slick|high gloss|very shiny|glazed|mirror-like",
    metallic="metallic|chrome|metal|brushed steel|steel|metal-like|brushed metal|stainless steel|polished metal",
    wooden="wooden|wood|wood-grain|wood grain|timber|oak|natural wood|walnut|timber-like",
    glass="glass|transparent|see-through|clear|translucent|glassy|see through|crystal clear",
    woven="woven|basket-weave|braided|wicker|basket weave|knitted|interlaced|wickerwork|cable-knit|crocheted|rattan|plaited",
)

BACKDROP_PHRASES = _phrases(
    after="on a {x} background|on a {x} background|on a {x} backdrop|against a {x} background|against a {x} backdrop|against {x}|"
    "in front of a {x} background|in front of a {x} wall|with a {x} background|with a {x} backdrop|on {x}|in front of {x}|"
    "over a {x} background|set against {x}|set against a {x} wall|placed on a {x} background|in a {x} studio|on a {x} surface|"
    "with {x} behind {it}|on {x} paper|with a background in {x}|shown on {x}|on a {x} floor|before a {x} backdrop|"
    "photographed on {x}|with {x} as the background|isolated on {x}|on plain {x}|on a plain {x} background|on a solid {x} background|on a seamless {x} backdrop|on a simple {x} background|on a clean {x} background|isolated on a {x} background|on a {x} studio backdrop|standing on {x}|with a plain {x} backdrop|in front of a plain {x} background|presented on {x}|surrounded by {x}|in {x} surroundings|amid {x}|in a {x} setting|with {x} all around|on a backdrop of {x}|upon a {x} backdrop|against a background of {x}|with a {x} tone behind",
    named="{x} background|{x} background|{x} backdrop|background {x}|{x} studio background|background in {x}|{x} behind {it}|"
    "backdrop {x}|a {x} background|a {x} backdrop|{x} wall|{x} all around|{x} bg|background colour {x}|background color {x}|"
    "backdrop in {x}|{x} as background|{x} studio|plain {x} background|seamless {x} background|solid {x} background|{x} paper backdrop|isolated on {x}|{x} setting|uniform {x} background|{x} seamless paper|simple {x} backdrop|all {x} background|{x} surroundings|backdrop of {x}|background of {x}|{x} tone background|{x} behind|set on {x}",
    sentence="the background is {x}|the backdrop is {x}|make the background {x}|use a {x} background|put {it} on a {x} background|"
    "{it} {stands} in front of a {x} wall|the background should be {x}|the wall behind {it} is {x}|i want the background to be {x}|"
    "let the background be {x}|choose a {x} backdrop|everything around {it} is {x}|the background must be {x}|keep the background {x}|"
    "set {it} against a {x} backdrop|behind {it} everything is {x}|as background please use {x}|the background colour is {x}|the wall is {x}|make everything behind {it} {x}|we want a {x} background|it needs a {x} background|a {x} background would be nice|please use a {x} backdrop|a {x} backdrop please|give {it} a {x} background|paint the wall behind {it} {x}",
)
SCENE_PHRASES: Mapping[str, Phrases] = MappingProxyType(
    {
        "wooden table": _phrases(
            after="on a {x}|on a {x}|on top of a {x}|standing on a {x}|placed on a {x}|resting on a {x}|on the {x}|set on a {x}|"
            "sitting on a {x}|on a table made of wood|on wooden planks|on wooden boards|on a table of wood|upon a {x}|on our {x}|"
            "displayed on a {x}|with a {x} as background|on some wooden planks|on the top of a {x}|displayed upon a {x}|on wood|on a wooden background|on the wooden boards of a table|on rustic planks|at a {x}|on a table|upon wooden planks|on planks|on a surface of wood|on a table top of wood",
            named="{x}|{x} background|{x} scene|{x} setting|{x} as background|table made of wood|wooden planks|{x} below {it}|a {x}|"
            "background {x}|wooden planks background|wood background|planks|table background|tabletop scene|wooden boards",
            sentence="{it} {stands} on a {x}|put {it} on a {x}|place {it} on a {x}|{it} {sits} on a {x}|the background is a {x}|"
            "use a {x} as background|{it} {rests} on a {x}|set {it} on a {x}|under {it} is a {x}|below {it} there is a {x}|there is a {x} below|show {it} on a {x}|the scene is a {x}|let {it} stand on a {x}|it happens on a {x}|{it} {is} placed on a {x}",
        ),
        "garden": _phrases(
            after="in a {x}|in a {x}|in the {x}|outside in a {x}|out in the {x}|on a lawn|on the lawn|on the grass|on green grass|"
            "with a {x} in the background|with a {x} behind {it}|in front of a {x}|outdoors in a {x}|outdoors|in nature|"
            "in a {x} setting|surrounded by greenery|among the greenery|on the grass of a {x}|standing in a {x}|on a green lawn|out on the grass|with trees and grass behind {it}|with blurred greenery behind {it}|in green surroundings|against a {x} background|in the open air|with a green lawn behind {it}|outside|amid greenery|with foliage behind {it}|surrounded by grass|surrounded by plants|in the greenery|amid the grass",
            named="{x} background|{x} scene|{x} backdrop|{x}|{x} behind {it}|green lawn|blurred {x} background|outdoor scene|{x} setting|"
            "greenery behind {it}|{x} in the background|blurred greenery|background {x}|outdoors|nature background|leafy background|green foliage|foliage behind {it}|garden outdoors|plants in the background|grass and trees|outdoor garden",
            sentence="the background is a {x}|{it} {stands} in a {x}|put {it} in a {x}|place {it} on the lawn|behind {it} is a {x}|"
            "the setting is a {x}|{it} {stands} on the grass|place {it} in a {x}|show {it} in a {x}|behind {it} there is a {x}|"
            "set {it} outdoors in a {x}|we see a {x} behind {it}|{it} {stands} outside in the {x}|put {it} on the grass|show {it} outside in a {x}|the scene is a {x}|let {it} stand in a {x}|{it} {is} placed in a {x}|we are in a {x}|take {it} out into a {x}",
        ),
        "sunset": _phrases(
            after="at sunset|at sunset|in front of a {x}|against a {x}|at dusk|with a {x} behind {it}|with a {x} in the background|"
            "at sundown|during sunset|at golden hour|under a {x}|with the sun setting behind {it}|on a sunset background|"
            "before a {x}|in the evening|with the setting sun behind {it}|while the sun sets|as the sun goes down|at twilight|with the sun low behind {it}|with an evening sky behind {it}|in evening light|at the end of the day|with the sun going down|in front of the setting sun|with a glowing sky behind {it}|against the setting sun|before sunset|in front of the sinking sun|with a horizon at sunset|at nightfall|in the glow of the evening|beneath an evening sky",
            named="sunset background|sunset|{x}|sunset backdrop|sunset scene|golden hour|setting sun behind {it}|{x} behind {it}|"
            "{x} in the background|background sunset|dusk|sundown|evening sun behind {it}|sunset mood|sinking sun|twilight|evening mood|sun going down|evening scene|nightfall|evening backdrop",
            sentence="the background is a {x}|the sun is setting behind {it}|put {it} in front of a {x}|behind {it} the sun sets|"
            "show {it} at sunset|the sky shows a {x}|behind {it} is a {x}|behind {it} there is a {x}|the sun goes down behind {it}|"
            "the time is sunset|place {it} before a {x}|we see a {x} behind {it}|the sun sets in the background|the scene is a {x}|let the sun set behind {it}|it is evening|the day ends behind {it}|show {it} before a {x}|the sky behind {it} glows|the sun is low",
        ),
    }
)

#: for a product whose colour is told apart
COLOUR_LATER = _phrases(
    after="in {x}|in the colour {x}|painted {x}|coloured {x}|in a {x} tone|in {x} colour|in a {x} hue|in a {x} shade|in {x} tones|with {x} colouring|tinted {x}|dyed {x}",
    named="{x}|colour {x}|color {x}|in {x}|{x} coloured|all {x}|painted {x}|{x} tone|{x} hue|shade {x}|tinted {x}|in the shade {x}",
    sentence="{it} {is} {x}|the colour is {x}|the color is {x}|make {it} {x}|its colour is {x}|{it} should be {x}|"
    "the colour of {it} is {x}|color {it} {x}|paint {it} {x}|i want {it} in {x}|choose {x} as its colour",
)

_SIDE = _phrases(
    after="on the {x}|on the {x}|to the {x}|on the {x} side|at the {x} edge|in the {x} third|in the {x} half|off to the {x}|"
    "on the {x} hand side|at the {x}|{x} of center|{x} of centre|placed on the {x}|placed to the {x}|positioned on the {x}|"
    "standing on the {x}|on the {x} side of the picture|in the {x} part of the frame|moved to the {x}|shifted to the {x}|"
    "at the {x} side of the frame|on the far {x}|on the {x} of the image|in the {x} half of the photo|towards the {x}|"
    "over on the {x}|aligned {x}|with space on the {y}|with empty space on the {y}|leaving room on the {y}|on the {x}-hand side|near the {x} edge|close to the {x} edge|at the {x} border|{x} of the middle|in the {x} corner|far {x}|somewhere on the {x}|more to the {x}|on the {x} third of the frame|off center to the {x}|slightly to the {x}|on its {x} side|located on the {x}|situated on the {x}|in the {x} portion of the frame|in the {x} area of the image|occupying the {x} half|hugging the {x} edge|anchored on the {x}|featured on the {x}|facing us on the {x}|in the {x} region of the picture|offset to the {x}|kept to the {x}",
    named="{x} side|on the {x}|{x}|{x} third|position {x}|{x} half|{x}-aligned|placed {x}|{x} aligned|aligned to the {x}|"
    "product on the {x}|to the {x}|empty space on the {y}|free space on the {y}|room for text on the {y}|{x} of the frame|far {x}|{x} edge|on the {x} side|product {x}|{x} hand side|off-center to the {x}|in the {x} third|{x} part of the frame|copy space on the {y}|located {x}|anchored {x}|{x} area|{x} portion|offset to the {x}|{x} placement|{x} position",
    sentence="{it} {is} on the {x}|place {it} on the {x}|put {it} on the {x}|position {it} to the {x}|{it} {is} at the {x} edge|"
    "{it} {stands} on the {x}|move {it} to the {x}|{it} should be on the {x}|{it} {sits} in the {x} third|leave the {y} side empty|"
    "the {y} side stays empty|keep the {y} half free|i want {it} on the {x}|shift {it} to the {x}|the product is on the {x}|"
    "{it} {is} to the {x} of the center|leave room for text on the {y}|{it} should sit on the {x}|align {it} to the {x}|{it} {is} close to the {x} edge|there is empty space on the {y}|let {it} stand on the {x}|shove {it} to the {x}|the {y} side is for text|{it} {is} located on the {x}|{it} {appears} on the {x}|{it} {is} placed to the {x} of the middle|locate {it} on the {x}",
)


def _sided(phrases: Phrases, here: str, there: str) -> Phrases:
    def fill(texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(text.replace("{x}", here).replace("{y}", there) for text in texts)

    return Phrases(after=fill(phrases.after), named=fill(phrases.named), sentence=fill(phrases.sentence))


LAYOUT_PHRASES: Mapping[str, Phrases] = MappingProxyType(
    {
        "centered": _phrases(
            after="in the middle|in the center|in the centre|right in the middle|centered|centered in the frame|placed centrally|"
            "in the center of the frame|in the middle of the picture|in the middle of the image|placed in the center|"
            "at the center of the shot|centred|standing in the middle|centrally placed|in the middle of the frame|exactly in the middle|at the center|in the very middle|dead center|in the middle of it all|centrally|located in the center|situated in the middle|occupying the center|perfectly centered|in central position",
            named="centered|centred|in the middle|in the center|middle|center position|centered composition|product in the middle|"
            "placed in the middle|central position|centre|center|dead center|exactly centered|in the exact center|right in the center|middle of the frame|centered product",
            sentence="{it} {is} in the middle|place {it} in the center|put {it} in the middle|center {it}|{it} {is} centered|"
            "{it} {stands} in the middle of the picture|{it} should be in the center|keep {it} in the middle|the product is centered|{it} {sits} in the center|the middle is the place for {it}|{it} {is} right in the middle|put {it} right in the center",
        ),
        "on the left": _sided(_SIDE, "left", "right"),
        "on the right": _sided(_SIDE, "right", "left"),
        "close-up": _phrases(
            after="up close|from up close|in close-up|in close up|filling the frame|filling the picture|large in the frame|"
            "big in the frame|zoomed in|seen from very near|shot from close range|filling the whole image|very close|seen up close|"
            "from nearby|tightly framed|in macro|cropped tightly|at close range|magnified|enlarged|with a tight crop|almost filling the picture|as a close-up|in a close-up view|so that {it} {fills} the frame|extremely close|from a short distance|in an extreme close-up|dominating the frame|occupying the whole frame|taking up the whole picture|with the camera very close|shot very close",
            named="close-up|close up|closeup|macro|zoomed in|large|full frame|fills the frame|big|tight crop|up close|near view|"
            "close-up view|close view|tight framing|very large|detail view|macro shot|frame filling|extreme close-up|up-close|magnified|enlarged|filling the frame|fill the frame|at close range|near|huge|dominating the frame|tightly cropped|close shot|intimate view|detail",
            sentence="zoom in on {it}|get close to {it}|make {it} fill the frame|{it} {fills} the frame|show {it} up close|make {it} big|"
            "{it} should be large in the picture|move the camera close to {it}|go close|{it} {fills} the whole picture|make {it} large|"
            "{it} {is} seen from very near|i want a close-up|{it} should fill the frame|{it} almost {fills} the image|the view is a close-up|come nearer|enlarge {it}|bring {it} closer|let {it} fill the picture",
        ),
        "small": _phrases(
            after="small in the frame|from afar|from a distance|far away|with lots of space around {it}|small in the picture|"
            "seen from far away|with plenty of empty space around {it}|shown small|zoomed out|with a lot of room around {it}|"
            "in the distance|with much free space around {it}|at a small size|tiny in the frame|surrounded by empty space|with wide margins|with lots of negative space|with a wide margin|far in the distance|far off|as a small thing|with a lot of empty space|very small|with loads of room around|taking little space|from a long way off|occupying little of the frame|at a distance|appearing small|as a tiny object|dwarfed by the space around {it}|far from the camera",
            named="small|small in the frame|from afar|tiny|zoomed out|lots of space|far away|distant view|wide shot|little|small size|"
            "lots of empty space around|plenty of space around {it}|from a distance|small scale|small product|seen from afar|negative space|wide margins|mini|very small|lots of negative space|very far away|much empty space|distant|far off|in the distance|miniature|with lots of space|at a distance|far from the camera|tiny object|small and far away|small figure",
            sentence="make {it} small|{it} {is} small in the picture|show {it} from a distance|zoom out|leave lots of space around {it}|"
            "{it} should be small|keep {it} small|{it} {looks} tiny|{it} {is} far away|leave plenty of empty space around {it}|"
            "show {it} small|move the camera far away|{it} should look small in the frame|{it} should not fill the frame|step back|take some distance|make {it} tiny|surround {it} with empty space|leave wide margins|{it} {fills} little of the picture|there is a lot of space around {it}",
        ),
        "from above": _phrases(
            after="from above|seen from above|from the top|viewed from above|from a birds-eye view|shot from above|lying flat|"
            "in a flat lay|as a flat lay|in top view|photographed from above|from overhead|from directly above|laid flat|"
            "lying on the floor|lying on the ground|in a top-down view|from top down|laid out flat|viewed from the top|in bird s eye view|seen from the top|from up above|looking straight down|from a top view|with the camera above|laying flat|as seen from above|in an overhead view|from the air|from high above|spread out flat|from an overhead angle|from a top-down perspective|from an overhead perspective|from a high viewpoint|from a vertical angle|arranged as a flat lay|from a top-down angle",
            named="from above|top view|top-down|top down|flat lay|flat-lay|birds-eye view|overhead|overhead view|overhead shot|"
            "flatlay|seen from above|top-down view|laid flat|bird s eye view|birds eye view|aerial view|lying flat|view from above|"
            "top shot|lying down|from the top|top-down shot|top down view|from overhead|camera above|looking down|from up above|laying flat|viewed from above|overhead perspective|plan view|straight down|view from the top|topdown|overhead angle|top-down perspective|vertical view|flat lay style|flat lay photo|view straight down|top-down angle",
            sentence="show {it} from above|{it} {lies} flat|the camera looks down on {it}|{it} {is} seen from above|lay {it} flat|"
            "look down at {it}|{it} {lies} on the floor|the view is from above|shoot {it} from above|make it a flat lay|"
            "the camera is right above {it}|we look at {it} from above|photograph {it} from the top|i want a top view|{it} {lies} on its back|the picture is taken from above|take the picture from above|the camera hangs above {it}|we look straight down|view {it} from above|{it} should lie flat|point the camera down at {it}|we see {it} from above|{it} {appears} from above|the angle is from above|use an overhead angle|use a top-down view",
        ),
        "pair": _phrases(
            after="side by side|next to each other|beside each other|as a pair|one beside the other|together|as a duo|one next to the other|"
            "standing next to each other|in a row|shown together|placed side by side",
            named="side by side|pair|next to each other|as a pair|two of them|two items|two pieces|set of two|duo|double|2 pieces|"
            "2 of them|side-by-side|quantity two|both together|a couple|twins|two-pack|two copies|2x|both|two together|in a pair|a set of two",
            sentence="show two of them|there are two|i want two of them|they stand side by side|they are next to each other|"
            "put them side by side|they come as a pair|show them as a pair|there should be two|there are two of them|place them next to each other|the two stand together|there are 2 of them|they stand next to each other|both stand side by side|both are the same|one stands beside the other|they form a pair",
        ),
    }
)

#: for a product told in the singular, whose number follows
PAIR_LATER = _phrases(
    after="twice|times two|two times|in a set of two|two of them|with a second identical one beside {it}|with its twin next to {it}",
    named="two of them|2 of them|two pieces|quantity two|twice|two items|2 pieces|two times|pair|set of two|two copies|two identical ones",
    sentence="show two of them|i want two of them|there should be two|we need two of these|another identical one stands beside {it}|"
    "a second one is next to {it}|draw two of these|there are two of them|please show two|make it two|make that a pair",
)

_LIT = _phrases(
    after="lit from the {x}|with light from the {x}|illuminated from the {x}|in light from the {x}|lit from the {x} side|"
    "with the spotlight on the {x}|with the light coming from the {x}|with lighting from the {x}|with {x} light|lighted from the {x}|"
    "with the light on the {x}|with a light source on the {x}|with sunlight from the {x}|with soft light from the {x}|with light falling in from the {x}|with side light from the {x}|in {x} side light|with a light on the {x}|with the sun on the {x}|with studio light from the {x}|lit from {x}|with illumination from the {x}|with light that comes from the {x}|lit on the {x}|with the bright side on the {x}|shaded on the {y}",
    named="light from the {x}|{x} light|lighting from the {x}|light from {x}|light source on the {x}|light coming from the {x}|"
    "lit from the {x}|{x} lighting|illumination from the {x}|{x} side light|light on the {x}|spotlight on the {x}|key light {x}|lit from {x}|sunlight from the {x}|soft light from the {x}|side light from the {x}|lit {x}|studio light from the {x}|window light from the {x}|{x}-hand light|illuminated from the {x}|light {x}|lighting {x}|{x} side lighting",
    sentence="the light comes from the {x}|light {it} from the {x}|the spotlight is on the {x}|the light source is on the {x}|"
    "light falls in from the {x}|{it} {is} lit from the {x}|the light should come from the {x}|light shines from the {x}|"
    "let the light come from the {x}|illuminate {it} from the {x}|put the light on the {x}|the light is on the {x}|the sun is on the {x}|light enters from the {x}|a light shines from the {x}|place the light on the {x}|the {x} side is lit|use light from the {x}|the {x} side is the bright side|the lighting comes from the {x}|the illumination is from the {x}|{it} {is} illuminated from the {x}",
)
_LIT_IN_FRONT = _phrases(
    after="lit from the front|with light from the front|with front light|illuminated from the front|evenly lit|with frontal light|"
    "with even lighting|with the spotlight in front|lit straight from the front|with frontal lighting|in even light|lit evenly|lit head-on|with light straight from the front|in front light|in frontal light|with flash|lit by a flash|with a ring light|with the light at the camera|lit from in front|with head-on light|with light from the camera side",
    named="front light|frontal light|light from the front|front lighting|even light|evenly lit|even lighting|lit from the front|"
    "frontal lighting|light from in front|head-on light|light straight from the front|front-lit|flat light|ring light|flash|flash light|front flash|uniform light|light front|illuminated from the front|direct front light|camera flash|lighting front",
    sentence="the light comes from the front|light {it} from the front|{it} {is} evenly lit|the spotlight is in front of {it}|"
    "the light should come from the front|{it} {is} lit from the front|use front light|use even lighting|illuminate {it} from the front|the light is in front|the light is in front of {it}|a flash lights {it}|use a ring light|the light shines straight at {it}|light {it} evenly|light it straight from the front|the lighting is even|the light shines from the front",
)
LIGHT_PHRASES: Mapping[str, Phrases] = MappingProxyType(
    {"left": _sided(_LIT, "left", "right"), "right": _sided(_LIT, "right", "left"), "front": _LIT_IN_FRONT}
)

SHADOW_PHRASES: Mapping[bool, Phrases] = MappingProxyType(
    {
        True: _phrases(
            after="with a soft shadow|with a shadow|casting a soft shadow|with a gentle shadow|with its shadow|throwing a shadow|"
            "with a drop shadow|with soft shadows",
            named="soft shadow|shadow|gentle shadow|soft shadows|a soft shadow|natural shadow|with shadow|drop shadow",
            sentence="keep the shadow|add a soft shadow|there is a soft shadow|{it} {casts} a soft shadow|include the shadow|"
            "a soft shadow falls on the floor|a shadow would be nice",
        ),
        False: _phrases(
            after="without shadow|without a shadow|without any shadow|with no shadow|without shadows|and no shadow|casting no shadow|"
            "with no shadows at all|not casting any shadow|with the shadow removed|minus the shadow|free of shadows|without its shadow|lacking a shadow|with zero shadow|without a cast shadow|with no shadow underneath|without a drop shadow|without shadows anywhere|and without shadow|with no shadow below|with shadows removed|shadow free|floating without a shadow|with absolutely no shadow|where no shadow falls|having no shadow",
            named="no shadow|no shadows|without shadow|shadowless|shadow-free|without any shadows|zero shadow|shadow off|no drop shadow|"
            "shadow removed|no cast shadow|shadow none|without a shadow|not a shadow in sight|no shadow at all|shadows off|zero shadows|without any shadow|shadow free|shadows removed|no shadow underneath|no shadow under {it}|never a shadow|avoid shadows|omit shadow|no shadow please|not any shadow|free of shadow",
            sentence="there is no shadow|leave out the shadow|{it} {casts} no shadow|remove the shadow|skip the shadow|do not draw a shadow|"
            "there should be no shadow|i do not want a shadow|please no shadow|drop the shadow|no shadow please|"
            "shadows are not wanted|don t show any shadow|there must not be a shadow|{it} should not cast a shadow|no shadow should be visible|avoid any shadow|omit the shadow|no shadow is needed|the shadow is missing|take away the shadow|make {it} shadowless|no shadow falls on the floor|turn the shadow off|we do not need a shadow|i don t want a shadow|erase the shadow|{it} should have no shadow|never draw a shadow",
        ),
    }
)

#: how people begin
OPENERS = _listed(
    "a photo of|photo of|product photo of|a picture of|picture of|an image of|image of|imagine|please draw|draw|i need|i want|"
    "i would like|we need|we want|show|show me|render|create|create an image of|make|make a picture of|make me a picture of|give me|"
    "can you draw|could you make|generate|generate an image of|catalogue shot of|catalog photo of|studio shot of|"
    "studio photo of|there is|this is|here is|a shot of|product shot of|a product photo of|we would like a picture of|"
    "please make a photo of|please show|i am looking for|can i have|can i get a picture of|a studio picture of|"
    "a catalogue picture of|a nice photo of|packshot of|a rendering of|an illustration of|take a photo of|photograph|"
    "hello , please draw|hi , i need|let s see|let us see|picture|paint|design|produce an image of|please create|"
    "a clean shot of|a professional photo of|a stock photo of|think of|for our shop we need|new in our shop|think about|"
    "i d like|i d love to see|we re selling|our new product is|advertise|promote|display|present|visualize|prepare an image of|put|place|set up|shoot|snap|show us|a catalogue photo of|an advertising photo of|a simple picture of|a high quality photo of|a beautiful photo of|we sell|try|just|a pic of|pic of|a snapshot of|sketch|the photo shows|the picture shows|on the picture we see|the image shows|could i get|would you draw|can we have|please paint|what about|how about|let me see|do|i want to see|please render|please make|please generate|i need a picture of|i want a photo of|we need a photo of|i would love|today we need|may i have|depict|featuring|a picture with|photo with|an image with|an image showing|a picture showing|a photograph of|photograph of|a depiction of|a render of|a view of|presenting|introducing|a product image of|product image of|the object is|the product is|a photo with|please provide|provide|deliver|compose|a scene with|scene with"
)
#: how a sentence goes on whose place or backdrop came first
FRONTED = _listed(
    "there is|we see|i see|you can see|one sees|i want|draw|show|please draw|put|place|there should be|we want|show me|i need|stands"
)
#: what people add that changes nothing
NOISE = _listed(
    "for our catalogue|for our catalog|for our website|for the online shop|for our shop|for an ad|high quality|professional|"
    "studio photo|product photo|clean|sharp|minimalist|nothing else|no text|no people|no logo|please|thank you|thanks|hd|4k|"
    "high resolution|realistic|for the product page|for our store|for the web shop|for social media|for a banner|"
    "for the new collection|e-commerce|as always|best quality|detailed|no writing|and nothing else|no other objects|"
    "studio shot|product photography|for a flyer|for my shop|for the spring sale|photo|picture|image|catalogue style|"
    "for a poster|nothing more|thanks a lot|in good quality|simple composition|modern style|commercial photo|and that is all|"
    "the only object|with no people|without text|without any text|without logo|no watermark|no hands|elegant|in our style"
)
#: ways to ask for a view that go before the product
VIEWS = _words(
    close_up="close-up of|a close-up of|close up of|macro shot of|a tight shot of|a close shot of|a detail view of|a close-up photo of|"
    "a macro photo of|extreme close-up of|a closeup of",
    from_above="flat lay of|a flat lay of|top view of|a top-down photo of|overhead shot of|an overhead view of|birds-eye view of|"
    "a top-down view of|a view from above of|top shot of|a flat-lay photo of|looking down on|a bird s eye view of",
    centered="centered shot of|a centered photo of",
    small="a wide shot of|a distant view of|a far away view of|a zoomed out picture of",
)
#: adjectives that tell how large the product is, or where
PLACE_ADJECTIVES = _words(
    small="small|tiny|little|miniature",
    close_up="big|large|huge|frame-filling",
    centered="centered|centred",
)
