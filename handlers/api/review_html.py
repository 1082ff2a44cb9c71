"""The markup of the reviewers' pages: plain HTML that works with a keyboard, a screen reader and no script (WCAG 2.2 AA)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape

from handlers.reviewing import MAX_REASON, Reviewer
from schemas.outcome import QuarantineRef
from schemas.verdict import Verdict
from storage.ledger.sql import AnyRow

_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #f6f6f4; color: #1b1d22; font: 1rem/1.5 system-ui, sans-serif; }
.skip { position: absolute; left: -100rem; }
.skip:focus { left: 1rem; top: 1rem; background: #fff; padding: .5rem 1rem; z-index: 1; }
header, main { max-width: 62rem; margin: 0 auto; padding: 1rem 1.5rem; }
header { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; align-items: center; border-bottom: 1px solid #d9d9d4; }
header p { margin: 0; color: #4a4e57; }
header form { margin-left: auto; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .5rem 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
a { color: #1d4ed8; text-underline-offset: .15em; }
:focus-visible { outline: 3px solid #1d4ed8; outline-offset: 2px; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; background: #fff; border: 1px solid #d9d9d4; }
caption { text-align: left; padding: 0 0 .5rem; color: #4a4e57; }
th, td { text-align: left; vertical-align: top; padding: .6rem .75rem; border-bottom: 1px solid #e7e7e3; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1.25rem; margin: 0; }
dt { color: #4a4e57; }
dd { margin: 0; overflow-wrap: anywhere; }
.card { background: #fff; border: 1px solid #d9d9d4; border-radius: 8px; padding: 1rem 1.25rem; }
figure { margin: 0; }
figure img { display: block; max-width: 100%; height: auto; border: 1px solid #d9d9d4; }
figcaption { color: #4a4e57; }
form.decide { display: grid; gap: .75rem; max-width: 36rem; }
label { font-weight: 600; }
.hint { display: block; font-weight: 400; color: #4a4e57; }
input[type=password], textarea { width: 100%; font: inherit; padding: .5rem .6rem; border: 1px solid #6b7078; border-radius: 4px; background: #fff; color: inherit; }
button { font: inherit; min-height: 2.75rem; padding: .5rem 1.1rem; border: 1px solid #1b1d22; border-radius: 6px; background: #fff; color: #1b1d22; cursor: pointer; }
button.go { background: #14532d; border-color: #14532d; color: #fff; }
button.stop { background: #7f1d1d; border-color: #7f1d1d; color: #fff; }
.row { display: flex; flex-wrap: wrap; gap: .75rem; }
.note { border-left: .3rem solid #92400e; background: #fff7ed; padding: .6rem 1rem; margin: 0 0 1rem; }
.alert { border-left: .3rem solid #991b1b; background: #fef2f2; padding: .6rem 1rem; margin: 0 0 1rem; }
"""

_STATES = {
    "released": "released",
    "rejected": "rejected",
    "expired": "expired, so not published",
    "withdrawn": "withdrawn: the image was canceled",
}


def sign_in_page(alert: str = "") -> str:
    form = (
        '<form class="decide" method="post" action="/review/sign-in">'
        '<div><label for="token">Reviewer token</label>'
        '<input id="token" name="token" type="password" autocomplete="current-password" required></div>'
        '<div class="row"><button class="go" type="submit">Sign in</button></div></form>'
    )
    return _page("Sign in to review pictures", f"{_alert(alert)}{form}", None, "")


def queue_page(rows: Sequence[AnyRow], reviewer: Reviewer, form: str, now: float, more: bool) -> str:
    """The reviews that wait, oldest first."""
    if not rows:
        body = "<p>No picture waits for a decision.</p>"
    else:
        head = "".join(f'<th scope="col">{name}</th>' for name in ("Picture", "Found", "State", "Time left"))
        lines = "".join(_line(row, reviewer, now) for row in rows)
        body = (
            '<div class="scroll" role="region" aria-label="Held pictures" tabindex="0">'
            f"<table><caption>Oldest first; a picture that nobody releases in time is not published.</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>"
        )
        if more:
            body += f'<p><a href="/review?after={escape(rows[-1].id)}">Later pictures</a></p>'
    return _page("Pictures to review", body, reviewer, form)


def review_page(row: AnyRow, reviewer: Reviewer, form: str, now: float, alert: str = "") -> str:
    """One review: what was found, the preview, and what this reviewer can do now."""
    verdict = Verdict.model_validate_json(row.verdict)
    mine = row.state == "claimed" and row.reviewer == reviewer.name and row.lease_until > now
    notes = []
    if row.hard_floor:
        notes.append(
            "Hard floor: two people must release it, no preview is kept, and nobody is shown the picture."
        )
    if row.first_release_by and row.state in ("open", "claimed"):
        notes.append(f"{row.first_release_by} has released it; a second person has to decide as well.")
    body = _alert(alert) + "".join(f'<p class="note">{escape(note)}</p>' for note in notes)
    body += _facts(row, verdict, reviewer, now) + _preview(row) + _actions(row, reviewer, mine, form, now)
    body += '<p><a href="/review">Back to all pictures</a></p>'
    return _page(f"Review of {row.image}", body, reviewer, form)


def problem_page(title: str, detail: str) -> str:
    return _page(title, f'{_alert(detail)}<p><a href="/review">Back to all pictures</a></p>', None, "")


def _line(row: AnyRow, reviewer: Reviewer, now: float) -> str:
    verdict = Verdict.model_validate_json(row.verdict)
    found = ", ".join(_words(verdict.found)) or ", ".join(verdict.reasons) or "nothing named"
    if row.hard_floor:
        found += " (hard floor)"
    return (
        f'<tr><th scope="row"><a href="/review/{escape(row.id)}">{escape(row.image)}</a></th>'
        f"<td>{escape(found)}</td><td>{escape(_state(row, reviewer, now))}</td><td>{_left(row.expires_at - now)}</td></tr>"
    )


def _state(row: AnyRow, reviewer: Reviewer, now: float) -> str:
    if row.state == "claimed" and row.lease_until > now:
        return "claimed by you" if row.reviewer == reviewer.name else f"claimed by {row.reviewer}"
    if row.state in ("open", "claimed"):
        return f"released once, by {row.first_release_by}" if row.first_release_by else "waiting"
    return _STATES[row.state]


def _facts(row: AnyRow, verdict: Verdict, reviewer: Reviewer, now: float) -> str:
    scores = [
        f"{name}: {one.score:.2f}, held from {one.threshold:.2f} ({one.source})"
        for name, one in sorted(verdict.categories.items())
        if name in verdict.found
    ]
    pairs = [
        ("State", _state(row, reviewer, now)),
        ("Tenant", row.tenant),
        ("Found", "; ".join(scores) or "no category at its threshold"),
        ("Reasons", ", ".join(verdict.reasons) or "none given"),
        ("Policy", verdict.policy),
        ("Held since", _time(row.created_at)),
    ]
    if row.state in ("open", "claimed"):
        pairs.append(("Time left", _left(row.expires_at - now)))
    if row.decided_at:
        pairs.append(("Decided", _time(row.decided_at)))
    if row.reason:
        pairs.append(("Reason given", row.reason))
    items = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in pairs)
    return f'<h2>What was found</h2><div class="card"><dl>{items}</dl></div>'


def _preview(row: AnyRow) -> str:
    quarantined = QuarantineRef.model_validate_json(row.quarantined)
    if quarantined.preview_key is None or row.discarded_at is not None:
        return ""
    return (
        f'<h2>Preview</h2><figure><img src="/review/{escape(row.id)}/preview" '
        'alt="Blurred preview of the held picture: shapes and colours only" width="256">'
        "<figcaption>Blurred; no detail can be made out.</figcaption></figure>"
    )


def _actions(row: AnyRow, reviewer: Reviewer, mine: bool, form: str, now: float) -> str:
    if row.state not in ("open", "claimed") or row.expires_at <= now:
        return ""
    if not mine:
        if row.state == "claimed" and row.lease_until > now:
            return f"<h2>Decision</h2><p>{escape(row.reviewer)} is looking at it.</p>"
        return f"<h2>Decision</h2>{_form(row, 'claim', form, _button('Claim this picture', 'go'))}"
    look = ""
    if not row.hard_floor:
        look = (
            f'<p><a href="/review/{escape(row.id)}/picture">Show the picture itself, unblurred</a> '
            "(that you looked is noted in the audit log)</p>"
        )
    release = row.first_release_by != reviewer.name
    buttons = _button("Release: publish it", "go", "release") if release else ""
    buttons += _button("Reject: block it", "stop", "reject")
    reason = (
        f'<div><label for="reason">Reason <span class="hint">Required; kept in the audit log, up to {MAX_REASON} characters. '
        "Name nobody.</span></label>"
        f'<textarea id="reason" name="reason" rows="3" maxlength="{MAX_REASON}" required></textarea></div>'
    )
    decide = _form(row, "decide", form, f'{reason}<div class="row">{buttons}</div>')
    back = _form(row, "return", form, _button("Give it back undecided"))
    return f"<h2>Decision</h2>{look}{decide}{back}"


def _form(row: AnyRow, action: str, form: str, inside: str) -> str:
    return (
        f'<form class="decide" method="post" action="/review/{escape(row.id)}/{action}">'
        f'<input type="hidden" name="form" value="{escape(form)}">{inside}</form>'
    )


def _button(label: str, kind: str = "", value: str = "") -> str:
    named = f' name="decision" value="{value}"' if value else ""
    return f'<button class="{kind}" type="submit"{named}>{escape(label)}</button>'


def _alert(text: str) -> str:
    return f'<p class="alert" role="alert">{escape(text[:1].upper() + text[1:])}.</p>' if text else ""


def _page(title: str, body: str, reviewer: Reviewer | None, form: str) -> str:
    who = ""
    if reviewer is not None:
        scope = f", for {reviewer.tenant}" if reviewer.tenant else ""
        who = (
            f"<p>Signed in as {escape(reviewer.name)}{escape(scope)}</p>"
            '<form method="post" action="/review/sign-out">'
            f'<input type="hidden" name="form" value="{escape(form)}"><button type="submit">Sign out</button></form>'
        )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)} - Aquatint</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#main">Skip to the content</a>\n'
        f"<header><p><strong>Aquatint</strong> review</p>{who}</header>\n"
        f'<main id="main" tabindex="-1">\n<h1>{escape(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n'
    )


def _words(names: Iterable[str]) -> list[str]:
    return [name.replace("_", " ") for name in names]


def _left(seconds: float) -> str:
    if seconds <= 0:
        return "none"
    hours, minutes = int(seconds // 3600), int(seconds % 3600 // 60)
    return f"{hours} h {minutes} min" if hours else f"{max(1, minutes)} min"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%d %B %Y, %H:%M UTC")
