"""Every page we show, in a real browser, after axe-core."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import violations
from shown_pages import PAGES


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(name: str, width: int, tmp_path: Path) -> None:
    """No violation of WCAG 2.2 AA, and no sideways scrolling, on a small phone (320 px, 1.4.10) and on a desk."""
    assert violations(PAGES[name](), width, tmp_path) == []


def test_axe_finds_a_fault(tmp_path: Path) -> None:
    """The browser and axe are really asked: a page with a fault has one."""
    page = '<!doctype html><html lang="en"><head><title>x</title></head><body><main><h1>x</h1><img src="x"></main></body></html>'

    assert "image-alt" in {one["id"] for one in violations(page, 1280, tmp_path)}
