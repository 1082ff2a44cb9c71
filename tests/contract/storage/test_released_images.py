"""Drawing released images for review: every job as likely as any other, one image of each."""

from __future__ import annotations

from collections import Counter

from schemas.ids import new_id
from schemas.outcome import ImageRendered, Stored
from schemas.verdict import Decision, Verdict
from storage.ledger import images, jobs
from storage.ledger.engine import Ledger
from storage.ledger.images import NewImage
from storage.ledger.jobs import NewJob
from storage.ledger.released import draw

NOW = 1_700_000_000.0


def add_job(ledger: Ledger, *, rendered: int, planned: int = 0, created_at: float = NOW) -> str:
    """A job with so many images that were published, and so many that were not."""
    job = new_id("job")
    states = ["rendered"] * rendered + ["planned"] * planned
    made = [image(job, state, created_at) for state in states]
    with ledger.begin() as conn:
        jobs.add(
            conn, [NewJob(id=job, tenant="t", total=len(states), rendered=rendered, created_at=created_at)]
        )
        images.add(conn, made)
    return job


def image(job: str, state: str, created_at: float) -> NewImage:
    """A row; one that was published has its outcome."""
    id, digest = new_id("img"), new_id("evt").ljust(64, "0")[:64]
    verdict = Verdict(stage="output", decision=Decision.ALLOW, policy="p", policy_digest="0" * 64)
    stored = Stored(
        key=f"images/{id}.png",
        receipt_key="r",
        sha256="0",
        bytes=1,
        width=1,
        height=1,
        media_type="image/png",
    )
    result = ImageRendered(image=id, digest=digest, stored=stored, verdict=verdict).model_dump_json()
    return NewImage(
        id=id, tenant="t", job=job, lane=0, batch_key="k", digest=digest, spec="{}", created_at=created_at,
        state=state, result=result if state == "rendered" else None,
    )  # fmt: skip


def test_one_image_of_each_job_that_published_any(ledger: Ledger) -> None:
    """Whatever was not published is not judged, and shots of one prompt are one trial."""
    many, one = add_job(ledger, rendered=5, planned=1), add_job(ledger, rendered=1)
    add_job(ledger, rendered=0, planned=2)

    with ledger.read() as conn:
        drawn = draw(conn, count=10, since=0, seed=1)

    assert {many, one} == {found.job for found in drawn}
    assert len(drawn) == 2
    assert all(found.key == f"images/{found.image}.png" for found in drawn)


def test_the_same_seed_draws_the_same_and_old_jobs_stay_out(ledger: Ledger) -> None:
    """A draw can be repeated and checked by another person."""
    for _ in range(20):
        add_job(ledger, rendered=1)
    old = add_job(ledger, rendered=1, created_at=NOW - 100)

    with ledger.read() as conn:
        first, again = (draw(conn, count=5, since=NOW - 1, seed=3) for _ in range(2))
        everything = draw(conn, count=100, since=NOW - 1, seed=3)

    assert first == again
    assert len(first) == 5
    assert old not in {found.job for found in everything}


def test_no_job_is_preferred(sqlite_ledger: Ledger) -> None:
    """Over many seeds each of eight jobs is drawn about as often as any other, early or late."""
    made = [add_job(sqlite_ledger, rendered=1) for _ in range(8)]

    with sqlite_ledger.read() as conn:
        seen = Counter(found.job for seed in range(400) for found in draw(conn, count=2, since=0, seed=seed))

    assert set(made) == set(seen)
    assert all(60 < times < 140 for times in seen.values())  # 100 expected, deviation 8.7
