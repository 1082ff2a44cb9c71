"""A page that shows everything a run has made, with what each picture says about itself."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path

from deploy.contact_entry import Entry
from deploy.contact_picture import to_picture
from safety.provenance.containers import file_kind


def write_sheet(
    folder: Path, title: str, facts: Sequence[str], entries: Sequence[Entry]
) -> tuple[Path, Path]:
    """Write contact-sheet.html and contact-sheet.png below `folder`; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    page, picture = folder / "contact-sheet.html", folder / "contact-sheet.png"
    page.write_text(to_html(title, facts, entries), encoding="utf-8")
    to_picture(title, facts, entries).save(picture, optimize=True)
    return page, picture


_STYLE = """
:root { color-scheme: light; --ink: #1b1d22; --faint: #585c66; --paper: #f6f6f4; --line: #d9d9d4; --good: #166534; --bad: #991b1b; }
* { box-sizing: border-box; }
body { margin: 0; padding: clamp(1rem, 4vw, 2.5rem); background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
h1 { margin: 0 0 .5rem; font-size: 1.75rem; line-height: 1.2; }
.facts { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; margin: 0 0 2rem; padding: 0; color: var(--faint); list-style: none; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(17rem, 100%), 1fr)); gap: 1.25rem; margin: 0; padding: 0; list-style: none; }
.card { display: flex; flex-direction: column; background: #fff; border: 1px solid var(--line); border-radius: 10px; overflow: hidden; }
.frame { display: grid; place-items: center; height: 17rem; background: #ececea; color: var(--bad); }
.frame img { width: 100%; height: 17rem; object-fit: contain; }
.text { padding: 1rem 1.1rem 1.1rem; overflow-wrap: anywhere; }
h2 { margin: 0 0 .75rem; font-size: 1.05rem; line-height: 1.3; }
dl { margin: 0; font-size: .9rem; }
dt { color: var(--faint); font-size: .8rem; }
dd { margin: 0 0 .6rem; }
.good { color: var(--good); }
.bad { color: var(--bad); font-weight: 600; }
.good::before { content: "\\2713\\00a0" / ""; }
.bad::before { content: "\\2717\\00a0" / ""; }
.lang { color: var(--faint); font-size: .8rem; }
code { font-size: .8rem; color: var(--faint); }
dd:last-child { margin: 0; }
"""


def to_html(title: str, facts: Sequence[str], entries: Sequence[Entry]) -> str:
    """One self-contained page: pictures are inside it, so it can be mailed or kept."""
    items = "\n".join(_card(entry) for entry in entries)
    told = "".join(f"<li>{html.escape(fact)}</li>" for fact in facts)
    summary = f'<ul class="facts">{told}</ul>\n' if facts else ""
    shown = f'<ul class="cards">\n{items}\n</ul>' if entries else "<p>There is no image.</p>"
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{html.escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{html.escape(title)}</h1>\n"
        f"{summary}{shown}\n</main>\n</body>\n</html>\n"
    )


def _card(entry: Entry) -> str:
    rows = [
        _row("Alt text", *(_alt(lang, text) for lang, text in entry.alts.items())),
        _row("Verdict", _judged(entry.verdict, good=entry.allowed)),
        _row("Credentials", _judged(entry.credentials, good=entry.intact)) if entry.credentials else "",
        _row("Prompt", html.escape(entry.prompt)),
        _row("Digest", f"<code>{entry.digest[:16]}</code>"),
    ]
    return (
        f'<li class="card">\n<div class="frame">{_frame(entry)}</div>\n<div class="text">\n'
        f"<h2>{html.escape(entry.title)}</h2>\n<dl>\n{''.join(rows)}</dl>\n</div>\n</li>"
    )


def _frame(entry: Entry) -> str:
    if entry.picture is None:
        return f"<span>no picture: {html.escape(entry.state)}</span>"
    data, kind = base64.b64encode(entry.picture).decode(), file_kind(entry.picture) or "image/png"
    return f'<img alt="{html.escape(entry.alt, quote=True)}" src="data:{kind};base64,{data}">'


def _row(name: str, *values: str) -> str:
    return f"<dt>{name}</dt>{''.join(f'<dd>{value}</dd>' for value in values or ('(none)',))}\n"


def _alt(lang: str, text: str) -> str:
    if not lang:
        return html.escape(text)
    return f'<span lang="{html.escape(lang, quote=True)}">{html.escape(text)}</span> <span class="lang">({html.escape(lang)})</span>'


def _judged(words: str, *, good: bool) -> str:
    return f'<span class="{"good" if good else "bad"}">{html.escape(words)}</span>'
