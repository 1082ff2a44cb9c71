"""Every page we show can be used without sight, mouse or good light (WCAG 2.2 AA), as far as no browser is needed to tell."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from accessible_page import contrast, faults
from shown_pages import PAGES

ROOT = Path(__file__).parents[3]
#: Modules that make whole pages; a new one brings a page of its own into `shown_pages`.
MAKERS = {
    "deploy/contact_sheet.py",
    "deploy/commands/safety_sample.py",
    "handlers/api/review_html.py",
    "models/evaluation/page.py",
    "models/curation/report_page.py",
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_fault(name: str) -> None:
    """Language, title, landmarks, headings, names of pictures and fields, and contrast of every colour in its style."""
    assert faults(PAGES[name]()) == []


def test_no_page_is_forgotten() -> None:
    """Whoever makes a page is known here, so that it is looked at."""
    makers = set()
    for room in ("schemas", "storage", "models", "safety", "workers", "handlers", "deploy"):
        for path in (ROOT / room).rglob("*.py"):
            strings = (
                node.value
                for node in ast.walk(ast.parse(path.read_text("utf-8")))
                if isinstance(node, ast.Constant)
            )
            if any(
                isinstance(text, str) and text.lstrip().lower().startswith("<!doctype html")
                for text in strings
            ):
                makers.add(str(path.relative_to(ROOT)))

    assert makers == MAKERS


def test_the_checks_find_what_they_are_for() -> None:
    """A page with every fault is told all of them."""
    page = (
        "<html><head><style>:root { --soft: #999 } body { background: #fff } p { color: var(--soft) }</style></head><body>"
        '<h2>x</h2><h4></h4><img src="x"><svg></svg><table><tr><th>x</th></tr></table><input><a href="#"></a>'
        '<p id="a" tabindex="2"></p><p id="a" tabindex="0"></p></body></html>'
    )
    told = "\n".join(faults(page))

    for criterion in (
        "3.1.1",
        "2.4.2",
        "1.4.4",
        "main landmark",
        "one h1",
        "left out",
        "twice",
        "2.4.3",
        "1.1.1",
        "heads",
        "3.3.2",
        "says nothing",
        "focused",
        "2.85 to 1",
    ):
        assert criterion in told
    assert contrast("#000", "#ffffff") == pytest.approx(21)
