"""One installation, put together as it runs: a picture is held, people decide, and the command line tells of it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from microbatches import a_task
from PIL import Image
from typer.testing import CliRunner

from deploy.api_deps import api_deps
from deploy.cli import app
from deploy.compose import Parts
from deploy.crew import Crew
from deploy.environment import load_settings
from deploy.oversight import note_policies, oversight_sweeps
from handlers.api.app import make_api
from handlers.planner import Origin, plan_request
from handlers.recorder import Recorder, RecorderParams
from schemas.microbatch import ImageTask
from schemas.outcome import Finished, ImageHeld
from schemas.receipt import Receipt, RenderedWith
from schemas.render_spec import RenderSpec
from schemas.request import GenerationRequest
from schemas.verdict import CategoryScore, Decision, Verdict
from storage.ledger import images, reviews
from storage.quarantine import PICTURE
from workers.finishing import Candidate, Finishing

MADE_BY = RenderedWith(aquatint="1", runtime="null", precision="int8", device="cpu")


@dataclass
class Installation:
    parts: Parts
    job: str
    tasks: list[ImageTask]

    def states(self) -> list[str]:
        with self.parts.ledger.read() as conn:
            return [row.state for row in images.of_job(conn, self.job)]

    def reviews(self) -> list[str]:
        with self.parts.ledger.read() as conn:
            found = {row.image: row.id for row in reviews.page(conn, state=None)}
        return [found[task.image] for task in self.tasks]

    def sweep(self, now: float) -> None:
        """Every chore that is due, until nothing is left to do."""
        for sweep in oversight_sweeps(self.parts):
            while sweep.run(now):
                pass

    def run(self, *arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result.output


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """Two images of one job, held by a worker: a plain one and one on the hard floor."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AQUATINT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AQUATINT_REVIEWER_TOKENS", "token-anna=anna,token-ben=ben")
    parts = Parts(settings=load_settings())
    with parts.ledger.begin() as conn:
        request = GenerationRequest.model_validate({"prompt": "a red mug", "n": 2})
        job = plan_request(conn, parts.planner, request, Origin(tenant="default"), 1.0).job.id
        rows = images.of_job(conn, job)
    tasks = [a_task(1).model_copy(update={"image": row.id, "job": job, "digest": row.digest, "spec": RenderSpec.model_validate_json(row.spec)}) for row in rows]  # fmt: skip
    finishing = Finishing(way_out=parts.way_out, stores=parts.results_of)
    outcomes = [
        hold(finishing, task, name) for task, name in zip(tasks, ("spam_text", "extremism"), strict=True)
    ]
    recorder = Recorder(parts.ledger, params=RecorderParams(terms=parts.review_terms))
    recorder.record([Finished(worker="w", microbatch="mb_1", at=1, outcomes=tuple(outcomes))])
    client = TestClient(make_api(api_deps(parts, Crew())))

    def request_here(method: str, url: str, **options: object) -> httpx.Response:
        options.pop("timeout")
        parsed = urlsplit(url)
        return client.request(method, f"{parsed.path}?{parsed.query}", **options)  # type: ignore[arg-type]

    monkeypatch.setattr(httpx, "request", request_here)
    yield Installation(parts, job, tasks)
    parts.ledger.close()


def picture_of(task: ImageTask) -> np.ndarray:
    noise = np.random.default_rng(task.spec.seed % 1000)
    return noise.integers(0, 255, (task.spec.height, task.spec.width, 3), dtype=np.uint8)


def hold(finishing: Finishing, task: ImageTask, category: str) -> ImageHeld:
    verdict = Verdict(
        stage="output", decision=Decision.REVIEW, policy="strict", policy_digest=task.spec.policy_digest,
        categories={category: CategoryScore(score=0.7, threshold=0.4, source="test")},
    )  # fmt: skip
    prepared = finishing.prepare(task, picture_of(task))
    assert isinstance(prepared, Candidate)
    outcome = finishing.finish(task, prepared, verdict, MADE_BY)
    assert isinstance(outcome, ImageHeld), outcome
    return outcome


def everything_in(parts: Parts) -> list[str]:
    return [entry.key for entry in parts.results.list("")]


def test_a_held_picture_lies_where_no_link_leads(here: Installation) -> None:
    """Nothing of it is in the results store, and a signed link to the restricted one is answered with nothing."""
    client = TestClient(make_api(api_deps(here.parts, Crew())))
    with here.parts.ledger.read() as conn:
        (row, *_) = reviews.page(conn, state="waiting")
    key = f"{json.loads(row.quarantined)['key']}/{PICTURE}"
    link = here.parts.restricted.presign(key, expires_seconds=60)
    parsed = urlsplit(link)
    answer = client.get(f"{parsed.path}?{parsed.query}")

    assert not any(key.startswith(("images/", "receipts/")) for key in everything_in(here.parts))
    assert here.parts.restricted.head(key) is not None and answer.status_code == 404


def test_people_decide_on_the_command_line(here: Installation) -> None:
    """Listed, claimed, released: the picture is published signed, with its receipt, and its quarantine is emptied."""
    plain, floor = here.reviews()
    before = here.run("review", "list")
    here.run("review", "claim", plain)
    here.run("review", "release", plain, "--reason", "only a logo of ours")
    here.run("review", "claim", floor)
    rejected = here.run("review", "reject", floor, "--reason", "no")
    now = here.parts.gate._clock()
    here.sweep(now)
    task = here.tasks[0]
    with here.parts.ledger.read() as conn:
        stored = json.loads(images.of_job(conn, here.job)[0].result)["stored"]
    receipt = Receipt.model_validate_json(here.parts.results.get(stored["receipt_key"]))
    with Image.open(io.BytesIO(here.parts.results.get(stored["key"]))) as picture:
        shown = np.asarray(picture.convert("RGB"))
    left = {entry.key.split("/")[2] for entry in here.parts.restricted.list("quarantine/")}

    assert plain in before and "extremism" in before and "rejected" in rejected
    assert here.states() == ["rendered", "blocked"] and np.array_equal(shown, picture_of(task))
    assert receipt.provenance is not None and receipt.provenance.c2pa.signed
    assert "review.released" in receipt.verdicts[-1].reasons
    # What was rejected on the hard floor stays until somebody says otherwise.
    assert left == {here.tasks[1].image}
    assert "the decision stays" in here.run("review", "discard", floor, "--yes")
    assert list(here.parts.restricted.list("quarantine/")) == []


def test_the_record_can_be_checked_and_taken_away(here: Installation) -> None:
    """`aquatint audit` verifies against the day's root, exports lines without a word of the prompt, and finds a change."""
    note_policies(here.parts)
    here.sweep(here.parts.gate._clock())
    whole = here.run("audit", "verify")
    lines = [json.loads(line) for line in here.run("audit", "export").splitlines()]
    with here.parts.ledger.begin() as conn:
        conn.exec_driver_sql("UPDATE audit SET actor = 'nobody' WHERE seq = 1")

    assert "is whole" in whole and "1 exported root met" in whole
    assert {one["kind"] for one in lines} == {"image.held", "policy.installed"}
    assert "mug" not in json.dumps(lines)
    assert "does not hold at entry 1" in here.run("audit", "verify", code=1)


def test_an_operator_shuts_out_and_lets_in(here: Installation) -> None:
    """`aquatint tenant` suspends, which the API tells at once, lists, and restores."""
    client = TestClient(make_api(api_deps(here.parts, Crew())))
    assert "good standing" in here.run("tenant", "list")
    here.run("tenant", "suspend", "default", "--reason", "test")
    refused = client.post("/v1/jobs", json={"prompt": "a red mug"})
    listed = here.run("tenant", "list")
    here.run("tenant", "restore", "default", "--reason", "over")
    # Another process would know within the age of its cache.
    here.parts.gate._read_at = 0.0
    accepted = client.post("/v1/jobs", json={"prompt": "a red mug"})

    assert (refused.status_code, refused.json()["code"]) == (403, "tenant_suspended")
    assert "suspended" in listed and accepted.status_code == 202


def test_the_restricted_store_lies_beside_the_results(tmp_path: Path) -> None:
    """Nobody has to set it, and it is never inside a place that tenants can name."""
    settings = load_settings().model_copy(update={"home": tmp_path})
    cases = {
        "": str(tmp_path / "restricted"),
        "/data/results/": "/data/results-restricted",
        "s3://bucket/results": "s3://bucket/results-restricted",
        "s3://bucket": "s3://bucket/restricted",
    }
    found = {
        given: settings.model_copy(update={"results_store": given}).resolved_restricted_store
        for given in cases
    }

    assert found == cases
