"""An evaluation in a few lines for the terminal."""

from collections.abc import Iterator, Mapping

from models.evaluation.comparison import Comparison
from models.evaluation.evaluation import Evaluation
from models.evaluation.following import Following, Shares
from models.evaluation.gate import Compared, Gate


def summarise(result: Evaluation) -> str:
    """The figures as text; what was left out says why."""
    return "\n".join(_lines(result))


def describe_subject(subject: Mapping[str, object]) -> str:
    """Name, version and setting in one line."""
    words = [f"{subject['name']} {subject.get('version', '')}".strip()]
    if "runtime" in subject:
        words.append(f"{subject['runtime']} {subject['precision']}")
        words.append(f"{subject['steps']} steps, guidance {subject['guidance']:g}")
        adapters = subject["adapters"]
        assert isinstance(adapters, list)
        words += [f"adapter {adapter['name']} at {adapter['weight']:g}" for adapter in adapters]
    return ", ".join(words)


def verdict(passed: bool) -> str:
    """One word."""
    return "PASSED" if passed else "FAILED"


def _lines(result: Evaluation) -> Iterator[str]:
    yield describe_subject(result.subject)
    for name, drawn in result.drawn.items():
        left_out = f", {result.left_out[name]} outside its words left out" if result.left_out[name] else ""
        yield f"{name:12} {len(drawn.prompts)} prompts{left_out}, {drawn.drawing.seconds_per_image * 1000:.0f} ms an image"
    for name, following in result.following.items():
        yield from _following_lines(name, following)
    if result.gate:
        yield from _gate_lines(result.gate)
    if copying := result.memorisation:
        yield (
            f"memorisation {verdict(copying.passed)}: {copying.pixels.copies + copying.features.copies} suspected copies among "
            f"{copying.count}; nearest of {copying.training_count} training renders at {copying.pixels.ratio:.2f} (pixels) and "
            f"{copying.features.ratio:.2f} (features) of the distance of fresh renders"
        )
    if diversity := result.diversity:
        yield (
            f"diversity    {diversity.ratio:.2f} of real renders ({diversity.prompts} prompts x {diversity.seeds} seeds)"
        )
    if result.features:
        yield "features     " + ", ".join(f"{key} {value}" for key, value in result.features.items())
    for figures in result.reference_nets.values():
        yield "reference    " + ", ".join(f"{key} {value}" for key, value in figures.items())
    if safety := result.safety:
        yield (
            f"safety       {safety.violations} violations in {safety.count} pictures; true rate below {safety.upper_bound:.4%} "
            f"at 95 % (a claim of < 0.1 % needs {safety.as_json()['claim_needs_count']} pictures)"
        )
    if result.comparison:
        yield from _comparison_lines(result.comparison)
    for part, reason in result.skipped.items():
        yield f"not measured: {part} ({reason})"


def _following_lines(name: str, following: Following) -> Iterator[str]:
    tables: list[tuple[str, Mapping[str, Shares] | None]] = [
        ("", following.meters), ("ceiling", following.ceiling), ("chance", following.chance),
    ]  # fmt: skip
    for what, table in tables:
        for meter, shares in (table or {}).items():
            yield f"{name:12} {meter:10} {what:8} " + _shares(shares)
    for subset, shares in following.subsets.items():
        yield f"{name:12} {subset:10} {next(iter(shares.values())).count:<8} " + _shares(shares)


def _shares(shares: Shares) -> str:
    return "  ".join(f"{key} {share.value:.3f}" for key, share in shares.items())


def _gate_lines(gate: Gate) -> Iterator[str]:
    yield f"gate         {verdict(gate.passed)} ({gate.count} pictures beside real renders, at most 10 % worse)"
    for name in ("contour_overlap", "edge_energy", "kernel_distance"):
        part: Compared = getattr(gate, name)
        yield (
            f"gate         {name:16} {part.model:.4f}, real {part.real:.4f}: {part.excess:+.1%} {verdict(part.passed)}"
        )


def _comparison_lines(comparison: Comparison) -> Iterator[str]:
    figures = comparison.as_json()
    yield f"against      {describe_subject(comparison.reference)}"
    yield (
        f"against      PSNR {figures['psnr_median']} dB median, {figures['psnr_lowest']} lowest; SSIM {figures['ssim_median']} "
        f"median, {figures['ssim_lowest']} lowest; {figures['identical']} of {figures['count']} identical"
    )
    changes = "  ".join(f"{name} {100 * change:+.1f}" for name, change in comparison.changes.items())
    yield f"against      {verdict(comparison.passed)}: points {changes} (no score may fall by more than 2)"
