"""Small plots as inline SVG: they take their colours from the page and need no script."""

from collections.abc import Mapping, Sequence
from html import escape

from models.evaluation.intervals import Share

_LABEL_WIDTH, _PLOT_WIDTH, _ROW_HEIGHT = 150, 420, 26
_MARGIN = 34


def share_plot(
    title: str, shares: Mapping[str, Share], ceiling: Mapping[str, Share], chance: Mapping[str, Share]
) -> str:
    """One row per attribute: the share as a dot with its interval, the ceiling as a bar, chance as a cross."""
    height = _ROW_HEIGHT * len(shares) + _MARGIN
    rows = []
    for i, (name, share) in enumerate(shares.items()):
        y = _ROW_HEIGHT * i + _ROW_HEIGHT / 2
        rows.append(_text(_LABEL_WIDTH - 10, y + 4, name, "end"))
        rows.append(_line(_x(0), y, _x(1), y, "grid"))
        if name in chance:
            rows.append(_cross(_x(chance[name].value), y))
        if name in ceiling:
            x = _x(ceiling[name].value)
            rows.append(_line(x, y - 9, x, y + 9, "ceiling"))
        rows.append(_line(_x(share.low), y, _x(share.high), y, "interval"))
        rows.append(f'<circle class="dot" cx="{_x(share.value):.1f}" cy="{y:.1f}" r="4.5"/>')
    return _svg(title, height, [*rows, *_axis(height - _MARGIN + 6)])


def histogram(title: str, values: Sequence[float], unit: str, bins: int = 16) -> str:
    """How often each value came; the axis names the smallest and the largest."""
    low, high = min(values), max(values)
    width = (high - low) / bins or 1.0
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int((value - low) / width))] += 1
    bar, tall = _PLOT_WIDTH / bins, 110
    parts = [
        f'<rect class="bar" x="{_LABEL_WIDTH + i * bar + 1:.1f}" y="{tall - tall * n / max(counts):.1f}" '
        f'width="{bar - 2:.1f}" height="{tall * n / max(counts):.1f}"/>'
        for i, n in enumerate(counts)
    ]
    parts.append(_line(_x(0), tall, _x(1), tall, "grid"))
    parts.append(_text(_x(0), tall + 18, f"{low:.3g} {unit}", "start"))
    parts.append(_text(_x(1), tall + 18, f"{high:.3g} {unit}", "end"))
    parts.append(_text(_LABEL_WIDTH - 10, 12, f"{max(counts)} pictures", "end"))
    return _svg(title, tall + 28, parts)


def _axis(y: float) -> list[str]:
    return [_text(_x(share), y + 14, f"{share:.0%}", "middle") for share in (0, 0.25, 0.5, 0.75, 1)]


def _x(share: float) -> float:
    return _LABEL_WIDTH + share * _PLOT_WIDTH


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    width = _LABEL_WIDTH + _PLOT_WIDTH + 30
    return (
        f'<svg viewBox="0 0 {width} {height:.0f}" width="{width}" role="img" aria-label="{escape(title, quote=True)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _cross(x: float, y: float) -> str:
    return _line(x - 4, y - 4, x + 4, y + 4, "chance") + _line(x - 4, y + 4, x + 4, y - 4, "chance")


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
