"""An evaluation as one HTML file that needs nothing else: pictures and plots are inside, no script, no network."""

import base64
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from models.catalogue.world import KINDS
from models.evaluation.comparison import Comparison
from models.evaluation.evaluation import DOMAIN, Drawn, Evaluation
from models.evaluation.following import Following, Shares
from models.evaluation.gate import Gate
from models.evaluation.judgement import JOINT, Pixels
from models.evaluation.machine import describe_machine
from models.evaluation.memorisation import Memorisation
from models.evaluation.page_style import STYLE
from models.evaluation.plots import histogram, share_plot
from models.evaluation.safety_rate import ViolationRate
from models.evaluation.summary import describe_subject

_LIST_NAMES = {
    "unseen": "Unseen pairs: product and colour never came together in training",
    "handwritten": "Written by hand: no sentence like these was in training",
    "seen": "Seen pairs: in other words and places than in training",
}
_MOST_WRONG = 16
_MOST_COMPARED = 8


def write_page(result: Evaluation, path: Path) -> None:
    """Write the page as UTF-8."""
    path.write_text(render_page(result), "utf-8")


def render_page(result: Evaluation) -> str:
    """The whole page."""
    title = f"Evaluation of {describe_subject(result.subject)}"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body><main>\n{''.join(_sections(result, title))}</main></body></html>\n"
    )


def _sections(result: Evaluation, title: str) -> Iterator[str]:
    yield f"<h1>{escape(title)}</h1>"
    yield _verdicts(result)
    for name, following in result.following.items():
        yield _following(name, following, result.drawn[name], result.left_out[name])
    if result.gate:
        yield _gate(result.gate, result.drawn["unseen"])
    if result.memorisation:
        yield _memorisation(result.memorisation)
    yield _features(result)
    if result.safety:
        yield _safety(result.safety)
    if result.comparison:
        yield _comparison(result.comparison, result)
    yield _method(result)


def _verdicts(result: Evaluation) -> str:
    judged: dict[str, Gate | Memorisation | Comparison | None] = {
        "Shape and sharpness": result.gate,
        "Copies nothing": result.memorisation,
        "Comparison within 2 points": result.comparison,
    }
    items = [f"<li>{escape(name)}: {_verdict(part.passed)}</li>" for name, part in judged.items() if part]
    items += [
        f"<li>Not measured: {escape(part)} ({escape(why)})</li>" for part, why in result.skipped.items()
    ]
    return f"<ul>{''.join(items)}</ul>"


def _verdict(passed: bool) -> str:
    return '<strong class="pass">passed</strong>' if passed else '<strong class="fail">failed</strong>'


def _following(name: str, following: Following, drawn: Drawn, left_out: int) -> str:
    net, ceiling = following.meters["classifier"], (following.ceiling or {}).get("classifier", {})
    plot = share_plot(
        f"Share of pictures right, {name} prompts", net, ceiling, following.chance["classifier"]
    )
    wrong = following.wrong[:_MOST_WRONG]
    return (
        f"<section><h2>{escape(_LIST_NAMES[name])}</h2>"
        f"<p>{following.count} prompts{f' ({left_out} that ask for what the model does not claim to draw are left out)' if left_out else ''}. Dot: share right with its 95 % interval. Bar: the meter's ceiling, on real renders. "
        f"Cross: chance, against shuffled prompts. Joint: {escape(', '.join(JOINT))} all right.</p>{plot}"
        f"{_following_table(following)}{_subsets(following.subsets)}"
        f"<h3>Pictures</h3><p>One of each product, in the order of the list, nothing selected.</p>"
        f"{_gallery(drawn, _one_of_each_kind(drawn))}"
        + (
            f"<h3>Wrong after the meter ({len(following.wrong)})</h3>{_gallery(drawn, wrong)}"
            if wrong
            else ""
        )
        + "</section>"
    )


def _following_table(following: Following) -> str:
    heads, columns = ["Attribute"], []
    for meter, shares in following.meters.items():
        ceiling, chance = (following.ceiling or {}).get(meter, {}), following.chance[meter]
        heads += [f"{meter.capitalize()} (95 % interval)", "Judged", "Ceiling", "Chance"]
        columns.append((shares, ceiling, chance))
    rows = [
        [name, *(cell for parts in columns for cell in _share_cells(name, *parts))]
        for name in following.meters["classifier"]
    ]
    return _table("Share of pictures right, per cent", heads, rows)


def _share_cells(name: str, shares: Shares, ceiling: Shares, chance: Shares) -> list[str]:
    """Share with its interval, how many were judged, ceiling and chance; dashes where a meter does not look."""
    if name not in shares:
        return ["–"] * 4
    share = shares[name]
    top = f"{100 * ceiling[name].value:.1f}" if name in ceiling else "–"
    interval = f"{100 * share.value:.1f} ({100 * share.low:.1f}–{100 * share.high:.1f})"
    return [interval, str(share.count), top, f"{100 * chance[name].value:.1f}"]


def _subsets(subsets: Mapping[str, Shares]) -> str:
    if not subsets:
        return ""
    names = list(next(iter(subsets.values())))
    rows = [
        [f"{subset} ({shares[names[0]].count})", *(f"{100 * shares[name].value:.1f}" for name in names)]
        for subset, shares in subsets.items()
    ]
    return _table("Prompts that test one side of language, per cent right", ["Prompts", *names], rows)


def _gate(gate: Gate, drawn: Drawn) -> str:
    rows = [
        [label, f"{part.model:.4f}", f"{part.real:.4f}", f"{part.excess:+.1%}", "passed" if part.passed else "failed"]
        for label, part in (
            (f"Contour overlap with the nearest of {gate.neighbours} renders", gate.contour_overlap),
            ("Edge energy", gate.edge_energy),
            (f"Kernel distance ({DOMAIN}; deviation {gate.model_spread.deviation:.4f})", gate.kernel_distance),
        )
    ]  # fmt: skip
    pictures = ""
    if drawn.truth:
        pairs = [
            (drawn.drawing.pictures[i], drawn.truth[i], drawn.prompts[i].prompt)
            for i in range(min(8, gate.count))
        ]
        pictures = _pairs(pairs, "drawn", "a real render of the same description")
    return (
        f"<section><h2>Shape and sharpness</h2><p>{gate.count} pictures beside real renders of the same descriptions; at most "
        f"10 % worse than real renders are beside each other: {_verdict(gate.passed)}.</p>"
        + _table("The gate", ["Figure", "Model", "Real renders", "Worse by", "Verdict"], rows)
        + pictures + "</section>"
    )  # fmt: skip


def _memorisation(found: Memorisation) -> str:
    rows = [
        [label, f"{part.model:.2f}", f"{part.fresh:.2f}", f"{part.ratio:.2f}", str(part.copies)]
        for label, part in (("Pixels, levels", found.pixels), (f"Features ({DOMAIN})", found.features))
    ]
    pairs = [
        (p.picture, p.training_picture, f"{p.distance:.1f} levels apart; training picture {p.training_place}")
        for p in found.closest
    ]
    return (
        f"<section><h2>Memorisation</h2><p>The nearest of {found.training_count} training renders to each of {found.count} "
        f"pictures, and to fresh renders nobody trained on. Copies nothing: {_verdict(found.passed)}.</p>"
        + _table("Median distance to the nearest", ["By", "Model", "Fresh renders", "Ratio", "Suspected copies"], rows)
        + "<h3>The closest pairs</h3>" + _pairs(pairs, "drawn", "the nearest training picture") + "</section>"
    )  # fmt: skip


def _features(result: Evaluation) -> str:
    rows = []
    if diversity := result.diversity:
        what = f"Diversity over {diversity.seeds} seeds of {diversity.prompts} prompts ({DOMAIN})"
        rows.append(
            [what, f"{diversity.model:.3f}; real renders {diversity.real:.3f}; ratio {diversity.ratio:.2f}"]
        )
    for figures in (result.features, *result.reference_nets.values()):
        rows += [[name.replace("_", " "), str(value)] for name, value in (figures or {}).items()]
    if not rows:
        return ""
    return (
        "<section><h2>Distributions</h2><p>Figures that begin with “domain” rest on this repository's classifier and "
        "are not comparable with FID, KID or Inception Score of publications.</p>"
        + _table("Distances between distributions", ["Figure", "Value"], rows) + "</section>"
    )  # fmt: skip


def _safety(safety: ViolationRate) -> str:
    needed = safety.as_json()["claim_needs_count"]
    return (
        f"<section><h2>Safety</h2><p>{safety.violations} violations among {safety.count} pictures. With 95 % confidence the "
        f"true rate is below {safety.upper_bound:.4%} (Clopper and Pearson). To claim less than 0.1 % takes {needed} pictures "
        "without a violation.</p></section>"
    )


def _comparison(comparison: Comparison, result: Evaluation) -> str:
    figures = comparison.as_json()
    rows = [
        [name, f"{100 * share.value:.1f}", f"{100 * comparison.reference_scores[name].value:.1f}",
         f"{100 * comparison.changes[name]:+.1f}"]
        for name, share in comparison.scores.items()
    ]  # fmt: skip
    finite = [value for value in comparison.psnr if np.isfinite(value)]
    plot = histogram("PSNR to the reference, by picture", finite, "dB") if finite else ""
    pictures = ""
    if result.compared_pictures:
        pairs = list(zip(*result.compared_pictures, strict=True))[:_MOST_COMPARED]
        prompts = result.drawn["unseen"].prompts
        named = [(a, b, prompts[i].prompt) for i, (a, b) in enumerate(pairs)]
        pictures = _pairs(named, "this setting", "the reference")
    return (
        f"<section><h2>Against {escape(describe_subject(comparison.reference))}</h2><p>{figures['count']} pictures of the same "
        f"seeds, {figures['identical']} identical; PSNR {figures['psnr_median']} dB median, {figures['psnr_lowest']} lowest; SSIM "
        f"{figures['ssim_median']} median, {figures['ssim_lowest']} lowest; {1000 * comparison.seconds_per_image:.0f} ms an image "
        f"against {1000 * comparison.reference_seconds_per_image:.0f}. No score falls by more than two points: "
        f"{_verdict(comparison.passed)}.</p>{plot}"
        + _table("Per cent right", ["Attribute", "This setting", "Reference", "Points"], rows) + pictures + "</section>"
    )  # fmt: skip


def _method(result: Evaluation) -> str:
    machine = ", ".join(f"{name} {value}" for name, value in describe_machine().items())
    times = "; ".join(
        f"{name} {1000 * drawn.drawing.seconds_per_image:.0f} ms" for name, drawn in result.drawn.items()
    )
    text = json.dumps(result.as_json(), indent=1)
    return (
        f"<section><h2>How this was measured</h2><p>Machine: {escape(machine)}. Time an image: {escape(times)}. Meter: "
        f"<code>{result.meter_digest[:16]}</code>. Model: <code>{escape(str(result.subject.get('digest', ''))[:16])}</code>.</p>"
        '<details><summary>All figures as JSON</summary><pre role="region" aria-label="All figures as JSON" tabindex="0">'
        f"{escape(text)}</pre></details></section>"
    )


def _one_of_each_kind(drawn: Drawn) -> list[int]:
    first: dict[str, int] = {}
    for i, prompt in enumerate(drawn.prompts):
        first.setdefault(prompt.scene.kind, i)
    return [first[kind] for kind in KINDS if kind in first]


def _gallery(drawn: Drawn, places: Iterable[int]) -> str:
    figures = [
        f"<figure>{_image(drawn.drawing.pictures[i], drawn.prompts[i].prompt)}<figcaption>"
        f"{escape(drawn.prompts[i].prompt)}</figcaption></figure>"
        for i in places
    ]
    return f'<div class="gallery">{"".join(figures)}</div>'


def _pairs(pairs: Sequence[tuple[Pixels, Pixels, str]], first: str, second: str) -> str:
    figures = [
        f"<figure>{_image(a, f'{text}: {first}')}{_image(b, f'{text}: {second}')}<figcaption>{escape(text)}</figcaption></figure>"
        for a, b, text in pairs
    ]
    return f'<p>Left: {escape(first)}. Right: {escape(second)}.</p><div class="gallery pairs">{"".join(figures)}</div>'


def _image(pixels: Pixels, alt: str) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    height, width = pixels.shape[:2]
    return f'<img src="data:image/png;base64,{data}" alt="{escape(alt, quote=True)}" width="{width}" height="{height}">'


def _table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return (
        f'<div class="table" role="region" aria-label="{escape(caption, quote=True)}" tabindex="0">'
        f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )
