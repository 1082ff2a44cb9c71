"""Looks at a page as WCAG 2.2 AA would, as far as that needs no browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

VOID = frozenset(
    {"meta", "img", "link", "input", "br", "hr", "line", "rect", "circle", "path", "col", "source"}
)


class Page(HTMLParser):
    """The tags of a page, its headings, what is labelled, and its style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.headings: list[int] = []
        self.title = self.style = ""
        self.open: list[str] = []
        self.named: list[tuple[str, str]] = []
        self._words: list[tuple[str, list[str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.tags.append((tag, values))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("a", "button", "label", "th", "h1", "h2", "h3", "caption"):
            self._words.append((tag, [values.get("aria-label", "")]))
        if tag == "img":
            for _, words in self._words:
                words.append(values.get("alt", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag, f"</{tag}> closes something else"
        if self._words and self._words[-1][0] == tag:
            name, words = self._words.pop()
            self.named.append((name, " ".join(words).strip()))

    def handle_data(self, data: str) -> None:
        inside = self.open[-1] if self.open else ""
        if inside == "title":
            self.title += data
        elif inside == "style":
            self.style += data
        for _, words in self._words:
            words.append(data.strip())

    def of(self, *names: str) -> list[dict[str, str]]:
        return [values for tag, values in self.tags if tag in names]


def faults(text: str) -> list[str]:
    """What a reader without sight, mouse or good light would stumble over."""
    page = Page(text)
    return [*_structure(page), *_names(page), *_contrast(page.style)]


def _structure(page: Page) -> Iterator[str]:
    if page.open:
        yield f"not closed: {page.open}"
    if not all(values.get("lang") for values in page.of("html")) or not page.of("html"):
        yield "the page names no language (3.1.1)"
    if not page.title.strip():
        yield "the page has no title (2.4.2)"
    viewport = [values.get("content", "") for values in page.of("meta") if values.get("name") == "viewport"]
    if not viewport or re.search("maximum-scale|user-scalable", viewport[0]):
        yield "the page cannot be enlarged (1.4.4)"
    if len(page.of("main")) != 1:
        yield "there is not one main landmark (1.3.1)"
    if page.headings.count(1) != 1 or page.headings[0] != 1:
        yield f"the headings do not begin with one h1: {page.headings} (1.3.1)"
    if any(after > before + 1 for before, after in zip(page.headings, page.headings[1:], strict=False)):
        yield f"a level of headings is left out: {page.headings} (1.3.1)"
    ids = [values["id"] for _, values in page.tags if "id" in values]
    if len(set(ids)) < len(ids):
        yield "an id is there twice (4.1.2)"
    if any(int(values.get("tabindex", "0") or 0) > 0 for _, values in page.tags):
        yield "the order of the keyboard is bent (2.4.3)"


def _names(page: Page) -> Iterator[str]:
    if any("alt" not in values for values in page.of("img")):
        yield "a picture has no alt text (1.1.1)"
    if any(not values.get("aria-label") and values.get("aria-hidden") != "true" for values in page.of("svg")):
        yield "a drawing has no name (1.1.1)"
    if any("scope" not in values for values in page.of("th")):
        yield "a header cell does not say what it heads (1.3.1)"
    labelled = {values.get("for") for values in page.of("label")}
    for values in page.of("input", "textarea", "select"):
        if (
            values.get("type") not in ("hidden", "submit")
            and values.get("id") not in labelled
            and not values.get("aria-label")
        ):
            yield "a field has no label (3.3.2)"
    for tag, words in page.named:
        if not words:
            yield f"a {tag} says nothing (2.4.4, 4.1.2)"
    for values in (values for _, values in page.tags if values.get("tabindex") == "0"):
        if not (values.get("role") and (values.get("aria-label") or values.get("aria-labelledby"))):
            yield "something can be focused that has no name (4.1.2)"


def _contrast(style: str) -> Iterator[str]:
    """Each text colour on the ground of its own rule, else on every ground that has no colour of its own (1.4.3)."""
    for scheme in _schemes(style):
        rules = [
            (selector.strip(), _declared(body, scheme))
            for selector, body in re.findall(r"([^{}]+)\{([^{}]*)\}", style)
        ]
        grounds = {
            declared["background"]
            for _, declared in rules
            if "background" in declared and "color" not in declared
        }
        grounds |= {
            declared["background"]
            for selector, declared in rules
            if selector == "body" and "background" in declared
        }
        for selector, declared in rules:
            if "color" not in declared:
                continue
            for ground in [declared["background"]] if "background" in declared else sorted(grounds):
                ratio = contrast(declared["color"], ground)
                if ratio < 4.5:
                    yield f"{selector}: {declared['color']} on {ground} is {ratio:.2f} to 1 (1.4.3)"


def _schemes(style: str) -> list[dict[str, str]]:
    """The custom properties of the light scheme, and of the dark one where there is one."""
    blocks: list[dict[str, str]] = [
        dict(re.findall(r"--([\w-]+):\s*(#[0-9a-fA-F]{3,6})", body))
        for body in re.findall(r":root\s*\{([^}]*)\}", style)
    ]
    light = blocks[0] if blocks else {}
    return [light, *({**light, **dark} for dark in blocks[1:2])]


def _declared(body: str, scheme: dict[str, str]) -> dict[str, str]:
    found = {}
    for name, raw in re.findall(r"(?<![\w-])(color|background)\s*:\s*([^;}]+)", body):
        value = re.sub(r"var\(--([\w-]+)\)", lambda match: scheme.get(match[1], ""), raw.strip())
        if re.fullmatch("#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})", value):
            found[name] = value
    return found


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours (WCAG 2.2)."""
    bright, dim = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    channels = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
