"""Every HTML page that Aquatint makes, filled with what makes pages fail: long words, empty lists, pictures and tables."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

from deploy.commands.safety_sample import _page as sample_page
from deploy.contact_entry import Entry
from deploy.contact_sheet import to_html
from handlers.api.review_html import problem_page, queue_page, review_page, sign_in_page
from handlers.reviewing import Reviewer
from models.catalogue.world import Scene
from models.curation.histograms import histogram
from models.curation.reasons import Reason
from models.curation.report import CurationReport, ShardFacts
from models.curation.report_examples import Example
from models.curation.report_page import page as curation_page
from models.evaluation.evaluation import Counts, Plan, evaluate
from models.evaluation.page import render_page
from models.evaluation.prompts import ScoredPrompt
from models.evaluation.subject import Drawing, OnImage
from schemas.outcome import QuarantineRef
from schemas.verdict import CategoryScore, Decision, Verdict

_LONG = "Supercalifragilisticexpialidocious-" * 4


def _png(colour: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (96, 64), colour).save(file, "PNG")
    return file.getvalue()


def _contact_sheet() -> str:
    common: dict[str, Any] = {"prompt": f"a red mug {_LONG}", "digest": "ab" * 32}
    shown = Entry(
        title=f"SKU-1 {_LONG}",
        alt="Mug in red",
        state="rendered",
        verdict="allowed by policy strict",
        picture=_png(),
        **common,
    )
    refused = Entry(
        title="SKU-2", alt="", state="blocked", verdict="blocked by policy strict", picture=None, **common
    )
    return to_html("Aquatint contact sheet", ["2 images", "1 blocked"], [shown, refused])


class _Patches:
    """Draws a coloured patch for each prompt."""

    size = (128, 128)
    name = "patches"

    def knows(self, _scene: Scene) -> bool:
        return True

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name, "version": "1", "digest": "d" * 64, "runtime": "onnx", "precision": "int8", "steps": 4, "guidance": 1.0, "adapters": [],
        }  # fmt: skip

    def draw(self, prompts: Sequence[ScoredPrompt], on_image: OnImage | None = None) -> Drawing:
        pictures = [
            np.random.default_rng(i).integers(0, 256, (128, 128, 3), np.uint8) for i, _ in enumerate(prompts)
        ]
        for i in range(len(prompts)) if on_image else ():
            assert on_image is not None
            on_image(i + 1, len(prompts))
        return Drawing(pictures=pictures, seconds_per_image=0.01)


def _evaluation() -> str:
    counts = Counts(
        unseen=4,
        handwritten=4,
        seen=4,
        gate=2,
        training=6,
        diversity_prompts=2,
        diversity_seeds=2,
        comparison=4,
    )
    return render_page(
        evaluate(_Patches(), Plan(counts=counts, violates=lambda *_: False), reference=_Patches())
    )


def _curation() -> str:
    dropped = {str(reason): 3 for reason in list(Reason)[:3]}
    report = CurationReport(
        source=f"folder/{_LONG}",
        settings_digest="c" * 64,
        seen=20,
        kept=20 - 3 * len(dropped),
        dropped=dropped,
        notes={"encoder": "No encoder is installed: near duplicates were searched by hash alone."},
        buckets={"128x128": 11},
        shards=(ShardFacts(name="000000.tar", samples=11, bytes=10_000, sha256="e" * 64),),
        enlarged=1,
        padded=2,
        masked_text=1,
        caption_rules={"quality words": 4},
        caption_sources={"sidecar": 11},
        rewrites={"rewritten": 1},
        encoder=None,
        score_limits={},
        seconds={"read": 1.0},
        images_per_second=20.0,
    )
    url = "data:image/png;base64," + base64.b64encode(_png()).decode()
    lone = Example(name=f"{_LONG}.png", words="too small", picture=url)
    pair = Example(name="b.png", words="the same picture", picture=url, kept_name="a.png", kept_picture=url)
    charts = [histogram("Sharpness", "levels", [(1.0, 2), (5.0, 9)], low=0, high=10)]
    examples = {reason: [lone, pair] for reason in list(Reason)[:3]}
    return curation_page(report, charts, examples, [lone], [Example(name="x", words="cannot be shown")])


def _review(state: str, *, hard_floor: bool = False) -> SimpleNamespace:
    now = time.time()
    verdict = Verdict(
        stage="output",
        decision=Decision.REVIEW,
        categories={"violence_graphic": CategoryScore(score=0.6, threshold=0.5, source="screen")},
        reasons=("output.classified",),
        policy="standard",
        policy_digest="a" * 64,
    )
    quarantined = QuarantineRef(key="quarantine/x", sha256="b" * 64, preview_key="quarantine/p")
    return SimpleNamespace(
        id="rev_1", image=f"img_{_LONG}", tenant="acme", verdict=verdict.model_dump_json(), quarantined=quarantined.model_dump_json(),
        state=state, reviewer="ada", lease_until=now + 600, hard_floor=hard_floor, first_release_by="grace" if hard_floor else None,
        expires_at=now + 7200, created_at=now - 600, decided_at=None, reason=None, discarded_at=None,
    )  # fmt: skip


def _reviewer() -> Reviewer:
    return Reviewer(name="ada", tenant=None)


#: What each page is called to how it is made.
PAGES: Mapping[str, Callable[[], str]] = {
    "contact sheet": _contact_sheet,
    "contact sheet of nothing": lambda: to_html("Aquatint contact sheet", [], []),
    "evaluation": _evaluation,
    "curation": _curation,
    "sample to review": lambda: sample_page(
        [("img_1", "data:image/png;base64," + base64.b64encode(_png()).decode())]
    ),
    "reviewer's sign-in": lambda: sign_in_page("this token is not known"),
    "review queue": lambda: queue_page(
        [_review("open"), _review("claimed", hard_floor=True)], _reviewer(), "f", time.time(), True
    ),
    "empty review queue": lambda: queue_page([], _reviewer(), "f", time.time(), False),
    "review to claim": lambda: review_page(_review("open"), _reviewer(), "f", time.time()),
    "review to decide": lambda: review_page(
        _review("claimed"), _reviewer(), "f", time.time(), "give a reason"
    ),
    "review of two people": lambda: review_page(
        _review("claimed", hard_floor=True), _reviewer(), "f", time.time()
    ),
    "review problem": lambda: problem_page("There is no such review", "it may have been decided"),
}


def as_script(value: object) -> str:
    """A value as JSON that may stand inside a script element."""
    return json.dumps(value).replace("<", "\\u003c")
