"""Evaluates a model: draws the fixed prompts once and asks every judge about them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from models.errors import TooFewSamples
from models.evaluation.comparison import Comparison, likeness
from models.evaluation.distances import (
    frechet_feature_distance,
    inception_score,
    kernel_distance_spread,
)
from models.evaluation.diversity import Diversity, measure_diversity
from models.evaluation.following import Following, Meters, follow
from models.evaluation.gate import Gate, hold_against_renders
from models.evaluation.judgement import Pictures
from models.evaluation.machine import describe_machine
from models.evaluation.memorisation import Memorisation, check_memorisation
from models.evaluation.prompts import ScoredPrompt, handwritten_prompts, seen_prompts, unseen_prompts
from models.evaluation.reference_nets import clip_score, inception_figures
from models.evaluation.safety_rate import Violates, ViolationRate, measure_violations
from models.evaluation.subject import Drawing, RenderedTruth, Subject, TrainingRenders, real_renders

Part: TypeAlias = Literal[
    "following", "gate", "memorisation", "diversity", "features", "safety", "comparison"
]
PARTS: tuple[Part, ...] = get_args(Part)
ListName: TypeAlias = Literal["unseen", "handwritten", "seen"]
#: told (what is going on, pictures done, pictures to do)
OnProgress: TypeAlias = Callable[[str, int, int], None]

#: the label of every figure that rests on our small net, so that nobody reads it as the figure of the same name
DOMAIN = "catalogue classifier"
_TRUTH_SEED, _FRESH_SEED, _DIVERSITY_SEED = 9_000_000, 11_000_000, 13_000_000


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How much is drawn and compared."""

    unseen: int = 500
    handwritten: int = 240
    seen: int = 200
    gate: int = 200
    training: int = 10_000
    diversity_prompts: int = 12
    diversity_seeds: int = 8
    comparison: int = 200


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to measure; the safety screen and the reference nets are the caller's to bring."""

    parts: tuple[Part, ...] = PARTS
    counts: Counts = field(default_factory=Counts)
    inception: Path | None = None
    clip: str | None = None
    violates: Violates | None = None


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One list of prompts with its pictures, and real renders of the same scenes where the renderer is installed."""

    prompts: Sequence[ScoredPrompt]
    drawing: Drawing
    truth: Pictures | None


@dataclass(kw_only=True)
class Evaluation:
    """Everything that was measured; what was not says why in `skipped`."""

    subject: Mapping[str, Any]
    meter_digest: str
    drawn: dict[ListName, Drawn] = field(default_factory=dict)
    following: dict[ListName, Following] = field(default_factory=dict)
    gate: Gate | None = None
    memorisation: Memorisation | None = None
    diversity: Diversity | None = None
    features: Mapping[str, Any] | None = None
    reference_nets: dict[str, Any] = field(default_factory=dict)
    safety: ViolationRate | None = None
    comparison: Comparison | None = None
    compared_pictures: tuple[Pictures, Pictures] | None = None
    #: prompts that ask for what the model does not claim to draw
    left_out: dict[ListName, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """All figures, no pictures."""
        parts = {
            "gate": self.gate,
            "memorisation": self.memorisation,
            "diversity": self.diversity,
            "safety": self.safety,
            "comparison": self.comparison,
        }
        return {
            "format": 1,
            "subject": dict(self.subject),
            "machine": describe_machine(),
            "meter": self.meter_digest,
            "seconds_per_image": {
                name: round(drawn.drawing.seconds_per_image, 4) for name, drawn in self.drawn.items()
            },
            "following": {name: part.as_json() for name, part in self.following.items()},
            **{name: part.as_json() if part else None for name, part in parts.items()},
            "features": self.features,
            "reference_nets": self.reference_nets,
            "left_out": dict(self.left_out),
            "skipped": self.skipped,
        }


def evaluate(
    subject: Subject, plan: Plan, reference: Subject | None = None, on_progress: OnProgress | None = None
) -> Evaluation:
    """Measure a subject as the plan says, in the plan's order of parts.

    Args:
        subject: what is evaluated.
        plan: parts and counts.
        reference: what it is compared with, at the same prompts and seeds.
        on_progress: told after each picture.

    Raises:
        ModelError: of a picture that could not be drawn, or of weights that cannot be used.
    """
    return _Run(subject, plan, reference, on_progress or _quiet).all()


class _Run:
    """One evaluation under way; each part is a method, and lists are drawn when the first part needs them."""

    def __init__(
        self, subject: Subject, plan: Plan, reference: Subject | None, on_progress: OnProgress
    ) -> None:
        self._subject, self._plan, self._reference = subject, plan, reference
        self._on_progress = on_progress
        self._meters = Meters.open()
        self._result = Evaluation(subject=subject.describe(), meter_digest=self._meters.classifier.digest)
        self._can_render = _renderer_is_installed()

    def all(self) -> Evaluation:
        """Run the parts; those that need what is not there are named with the reason."""
        for part in self._plan.parts:
            if reason := self._obstacle(part):
                self._result.skipped[part] = reason
            else:
                getattr(self, f"_{part}")()
        return self._result

    def _obstacle(self, part: Part) -> str:
        if part in ("gate", "memorisation", "diversity", "features") and not self._can_render:
            return "needs the renderer: pip install 'aquatint[train]'"
        if part == "safety" and self._plan.violates is None:
            return "no safety screen was given"
        if part == "comparison" and self._reference is None:
            return "nothing to compare with was named"
        return ""

    def _following(self) -> None:
        for name in get_args(ListName):
            if drawn := self._drawn(name):
                self._result.following[name] = follow(
                    self._meters, drawn.prompts, drawn.drawing.pictures, drawn.truth
                )

    def _gate(self) -> None:
        drawn, count = self._must_draw("unseen"), self._plan.counts.gate
        scenes = [prompt.scene for prompt in drawn.prompts[:count]]
        size = self._subject.size
        self._result.gate = hold_against_renders(
            self._meters.classifier, scenes, drawn.drawing.pictures[:count],
            lambda scenes, seed: real_renders(scenes, seed, size),
        )  # fmt: skip

    def _memorisation(self) -> None:
        drawn = self._must_draw("seen")
        fresh = real_renders([prompt.scene for prompt in drawn.prompts], _FRESH_SEED, self._subject.size)
        training = TrainingRenders(self._plan.counts.training, self._subject.size)
        self._result.memorisation = check_memorisation(
            self._meters.classifier, drawn.drawing.pictures, fresh, training
        )

    def _diversity(self) -> None:
        counts = self._plan.counts
        known = [prompt for prompt in unseen_prompts() if self._subject.knows(prompt.scene)]
        prompts = known[: counts.diversity_prompts]
        groups = [
            [
                ScoredPrompt(p.prompt, p.scene, _DIVERSITY_SEED + seed)
                for seed in range(counts.diversity_seeds)
            ]
            for p in prompts
        ]
        flat = [prompt for group in groups for prompt in group]
        drawings = [self._draw(s, flat, "diversity").pictures for s in (self._subject, self._truth())]
        model, real = (
            [d[i : i + len(groups[0])] for i in range(0, len(d), len(groups[0]))] for d in drawings
        )
        self._result.diversity = measure_diversity(self._meters.classifier, model, real)

    def _features(self) -> None:
        drawn = self._must_draw("unseen")
        assert drawn.truth is not None
        self._result.features = domain_figures(self._meters, drawn.drawing.pictures, drawn.truth)
        if self._plan.inception:
            self._result.reference_nets["inception"] = inception_figures(
                self._plan.inception, drawn.drawing.pictures, drawn.truth
            )
        if self._plan.clip:
            prompts = [prompt.prompt for prompt in drawn.prompts]
            self._result.reference_nets["clip"] = clip_score(self._plan.clip, drawn.drawing.pictures, prompts)

    def _safety(self) -> None:
        assert self._plan.violates is not None
        for name in get_args(ListName):
            self._drawn(name)
        pairs = [
            (picture, prompt.prompt)
            for drawn in self._result.drawn.values()
            for picture, prompt in zip(drawn.drawing.pictures, drawn.prompts, strict=True)
        ]
        self._result.safety = measure_violations(
            [picture for picture, _ in pairs], [prompt for _, prompt in pairs], self._plan.violates
        )

    def _comparison(self) -> None:
        assert self._reference is not None
        drawn, count = self._must_draw("unseen"), self._plan.counts.comparison
        prompts, pictures = drawn.prompts[:count], drawn.drawing.pictures[:count]
        reference = self._draw(self._reference, prompts, "reference")
        self._result.compared_pictures = (pictures, reference.pictures)
        decibels, similarities = likeness(pictures, reference.pictures)
        self._result.comparison = Comparison(
            reference=self._reference.describe(), psnr=decibels, ssim=similarities,
            scores=follow(self._meters, prompts, pictures, None).meters["classifier"],
            reference_scores=follow(self._meters, prompts, reference.pictures, None).meters["classifier"],
            seconds_per_image=drawn.drawing.seconds_per_image,
            reference_seconds_per_image=reference.seconds_per_image,
        )  # fmt: skip

    def _must_draw(self, name: ListName) -> Drawn:
        drawn = self._drawn(name)
        if drawn is None:
            raise TooFewSamples(
                f"this needs {name} prompts, and there are none that the model claims to know"
            )
        return drawn

    def _drawn(self, name: ListName) -> Drawn | None:
        """The list with its pictures, drawn once; None where its count is 0."""
        if name in self._result.drawn:
            return self._result.drawn[name]
        listed = _prompts(name, getattr(self._plan.counts, name))
        prompts = [prompt for prompt in listed if self._subject.knows(prompt.scene)]
        self._result.left_out[name] = len(listed) - len(prompts)
        if not prompts:
            return None
        drawing = self._draw(self._subject, prompts, name)
        truth = None
        if self._can_render:
            truth = self._truth().draw(
                [ScoredPrompt(p.prompt, p.scene, _TRUTH_SEED + p.seed) for p in prompts]
            )
        drawn = Drawn(prompts=prompts, drawing=drawing, truth=truth.pictures if truth else None)
        self._result.drawn[name] = drawn
        return drawn

    def _truth(self) -> RenderedTruth:
        return RenderedTruth(self._subject.size)

    def _draw(self, subject: Subject, prompts: Sequence[ScoredPrompt], what: str) -> Drawing:
        return subject.draw(prompts, lambda done, count: self._on_progress(what, done, count))


def domain_figures(meters: Meters, pictures: Pictures, real: Pictures) -> dict[str, Any]:
    """Distances on the classifier's features, under names of their own: none of them is FID, KID or Inception Score."""
    model, truth = meters.classifier.look(pictures), meters.classifier.look(real)
    kernel = kernel_distance_spread(model.features, truth.features)
    figures: dict[str, Any] = {
        "net": DOMAIN,
        "count": len(pictures),
        "real_count": len(real),
        "feature_size": int(model.features.shape[1]),
        "domain_KID": round(kernel.mean, 5),
        "domain_KID_deviation": round(kernel.deviation, 5),
        "domain_inception_score": round(inception_score(model.kinds), 3),
        "domain_inception_score_real": round(inception_score(truth.kinds), 3),
    }
    try:
        figures["domain_FID"] = round(frechet_feature_distance(model.features, truth.features), 4)
    except TooFewSamples as error:
        figures["domain_FID"], figures["domain_FID_refused"] = None, str(error)
    return figures


def _prompts(name: ListName, count: int) -> list[ScoredPrompt]:
    if name == "seen":
        return seen_prompts(count)
    prompts = unseen_prompts() if name == "unseen" else handwritten_prompts()
    return spread_evenly(prompts, count)


def spread_evenly(prompts: Sequence[ScoredPrompt], count: int) -> list[ScoredPrompt]:
    """`count` prompts from the whole of a list, not from its beginning: a list may be sorted."""
    if count >= len(prompts):
        return list(prompts)
    return [prompts[int(place)] for place in np.linspace(0, len(prompts) - 1, count).round()]


def _renderer_is_installed() -> bool:
    try:
        import skia  # noqa: F401
    except ImportError:
        return False
    return True


def _quiet(_what: str, _done: int, _count: int) -> None:
    """Say nothing."""
