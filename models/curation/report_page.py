"""The report as one HTML page that needs nothing else: no script, no address, pictures inside."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Mapping, Sequence

from models.curation.histograms import Histogram, as_svg, in_words
from models.curation.reasons import SENTENCES, Reason
from models.curation.report import CurationReport
from models.curation.report_examples import Example

#: names and captions come from outside and may be of any length
LONGEST = 160

_STYLE = """
:root { color-scheme: light; --ink: #1b1f24; --soft: #4f5862; --line: #c9d0d8; --paper: #ffffff; --ground: #f4f6f8; --bar: #1f5fa8; --good: #14633a; --bad: #9c2a1c }
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
main { max-width: 72rem; margin: 0 auto; padding: 2rem 1.25rem 4rem }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .25rem; overflow-wrap: anywhere }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem }
h3 { font-size: 1rem; margin: 1.75rem 0 .5rem }
p { margin: .25rem 0 .75rem }
.soft { color: var(--soft) }
.panel { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 1rem 1.25rem; margin: 1rem 0; overflow-x: auto }
.figures { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem }
.figures div { min-width: 7rem } .figures strong { display: block; font-size: 1.75rem; line-height: 1.2 }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
th.n, td.n { text-align: right; font-variant-numeric: tabular-nums }
.examples { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: 1rem; padding: 0; margin: 0; list-style: none }
.examples li { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: .75rem; overflow-wrap: anywhere; font-size: .875rem }
.examples img { display: block; max-width: 100%; height: auto; margin: 0 0 .5rem; border: 1px solid var(--line) }
.pair { display: flex; gap: .5rem } .pair figure { margin: 0; flex: 1; min-width: 0 } .pair figcaption { color: var(--soft) }
.none { display: block; padding: 1.5rem .5rem; margin: 0 0 .5rem; text-align: center; color: var(--soft); background: var(--ground); border: 1px dashed var(--soft) }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 1rem } .charts .panel { margin: 0 }
svg { display: block; width: 100%; height: auto } svg .bars { fill: var(--bar) } svg line { stroke: var(--soft) } svg text { fill: var(--ink); font-size: 13px }
.good { color: var(--good) } .bad { color: var(--bad) }
"""


def page(
    report: CurationReport,
    charts: Sequence[Histogram],
    examples: Mapping[Reason, Sequence[Example]],
    kept: Sequence[Example],
    masked: Sequence[Example],
) -> str:
    """The whole document; every word from outside is escaped."""
    body = [
        _figures(report),
        _notes(report),
        _reasons(report),
        *(_dropped(reason, report, shown) for reason, shown in examples.items()),
        _gallery("Kept", "The first of what is left, with their captions.", kept),
        _gallery(
            "Text left out of the loss",
            "These pictures are kept; training looks past the outlined parts.",
            masked,
        ),
        _charts(charts),
        _tables(report),
    ]
    title = f"Curation of {_shown(report.source)}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body><main><h1>{title}</h1>"
        f'<p class="soft">Settings {report.settings_digest[:16]}</p>{"".join(body)}</main></body></html>\n'
    )


def _figures(report: CurationReport) -> str:
    dropped = sum(report.dropped.values())
    rows = (
        (f"{report.seen:,}", "seen", ""),
        (f"{report.kept:,}", "kept", "good"),
        (f"{dropped:,}", "left out", "bad" if dropped else ""),
        (f"{len(report.shards):,}", "shards", ""),
        (f"{report.images_per_second:,.1f}", "inputs per second", ""),
    )
    cells = "".join(f'<div><strong class="{tone}">{value}</strong>{name}</div>' for value, name, tone in rows)
    return f'<section class="panel figures" aria-label="Summary">{cells}</section>'


def _notes(report: CurationReport) -> str:
    if not report.notes:
        return ""
    lines = "".join(f"<li>{_shown(sentence)}</li>" for sentence in report.notes.values())
    return f"<h2>What did not run</h2><ul>{lines}</ul>"


def _reasons(report: CurationReport) -> str:
    if not report.dropped:
        return "<h2>Left out</h2><p>Nothing was left out.</p>"
    ranked = sorted(report.dropped.items(), key=lambda pair: (-pair[1], pair[0]))
    rows = "".join(
        f'<tr><th scope="row"><a href="#{name}">{name.replace("_", " ")}</a></th><td>{SENTENCES[Reason(name)]}</td>'
        f'<td class="n">{count:,}</td><td class="n">{count / report.seen:.1%}</td></tr>'
        for name, count in ranked
    )
    head = '<tr><th scope="col">reason</th><th scope="col">meaning</th><th scope="col" class="n">inputs</th><th scope="col" class="n">share</th></tr>'
    return (
        f"<h2>Left out</h2>{_panel('Reasons')}<table><thead>{head}</thead><tbody>{rows}</tbody></table></div>"
    )


def _dropped(reason: Reason, report: CurationReport, examples: Sequence[Example]) -> str:
    heading = f'<h3 id="{reason}">{reason.replace("_", " ").capitalize()}: {report.dropped[reason]:,}</h3>'
    return f"{heading}<p>{SENTENCES[reason]}</p>{_list(examples)}"


def _gallery(title: str, sentence: str, examples: Sequence[Example]) -> str:
    return f"<h2>{title}</h2><p>{sentence}</p>{_list(examples)}" if examples else ""


def _list(examples: Sequence[Example]) -> str:
    return f'<ul class="examples">{"".join(map(_card, examples))}</ul>'


def _card(example: Example) -> str:
    name, words = _shown(example.name), _shown(example.words)
    if example.kept_name:
        picture = (
            f'<div class="pair"><figure>{_image(example.picture, f"Left out: {name}")}<figcaption>left out</figcaption></figure>'
            f"<figure>{_image(example.kept_picture, f'Kept: {_shown(example.kept_name)}')}<figcaption>kept</figcaption></figure></div>"
        )
        words = f"{words}; kept: {_shown(example.kept_name)}"
    else:
        picture = _image(example.picture, f"{name}{': ' + words if words else ''}")
    return f"<li>{picture}<strong>{name}</strong>{'<br>' + words if words else ''}</li>"


def _image(url: str, alt: str) -> str:
    return f'<img src="{url}" alt="{alt}">' if url else '<span class="none">cannot be shown</span>'


def _charts(charts: Sequence[Histogram]) -> str:
    panels = "".join(
        f'<div class="panel"><h3 style="margin-top:0">{html.escape(chart.title)}</h3>{as_svg(chart)}<p class="soft">{html.escape(in_words(chart))}</p></div>'
        for chart in charts
        if chart.total
    )
    return f'<h2>Distributions</h2><div class="charts">{panels}</div>' if panels else ""


def _tables(report: CurationReport) -> str:
    changed = {
        "enlarged": report.enlarged,
        "padded": report.padded,
        "with text left out of the loss": report.masked_text,
    }
    tables = (
        ("Sizes", "width x height", report.buckets),
        (
            "What was done to kept pictures",
            "change",
            {name: count for name, count in changed.items() if count},
        ),
        ("Rules that changed captions", "rule", report.caption_rules),
        ("Where captions come from", "origin", report.caption_sources),
        (
            "Captions asked of the endpoint",
            "outcome",
            {name.replace("_", " "): count for name, count in report.rewrites.items()},
        ),
    )
    return "".join(_table(title, column, counts) for title, column, counts in tables if counts)


def _table(title: str, column: str, counts: Mapping[str, int]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{_shown(name)}</th><td class="n">{count:,}</td></tr>'
        for name, count in counts.items()
    )
    head = f'<tr><th scope="col">{column}</th><th scope="col" class="n">pictures</th></tr>'
    return f"<h2>{title}</h2>{_panel(title)}<table><thead>{head}</thead><tbody>{rows}</tbody></table></div>"


def _panel(name: str) -> str:
    """The frame of a wide table: it scrolls by keyboard, too, and says what it holds."""
    return f'<div class="panel" role="region" aria-label="{html.escape(name, quote=True)}" tabindex="0">'


def _shown(text: str) -> str:
    """Printable, of bounded length, escaped: control and direction marks could make a name look like another."""
    text = text if len(text) <= LONGEST else text[:LONGEST] + "…"
    plain = "".join(c if unicodedata.category(c)[0] != "C" else f"\\u{ord(c):04x}" for c in text)
    return html.escape(plain, quote=True)
