"""Images are claimed in order, end once, and cost the same to claim whatever waits behind them."""

from __future__ import annotations

from collections.abc import Sequence

from control_plane import plan
from sqlalchemy import Connection, text

from schemas.ids import new_id
from schemas.states import ImageState
from storage.ledger import batches, images, jobs, microbatches
from storage.ledger.batches import NewBatch
from storage.ledger.engine import Ledger
from storage.ledger.images import CLAIM, Claimed, Ending, Held, NewImage
from storage.ledger.jobs import NewJob
from storage.ledger.microbatches import NewMicrobatch

NOW = 1_000_000.0
KEY = "starter@aaaaaaaaaaaa/128x128/8"


def _job(
    conn: Connection, count: int, *, tenant: str = "default", batch: str | None = None, **fields: object
) -> list[NewImage]:
    job = NewJob(id=new_id("job"), tenant=tenant, total=count, created_at=NOW, batch=batch)
    made = [
        NewImage(
            **{
                "id": name,
                "tenant": tenant,
                "job": job.id,
                "batch": batch,
                "lane": 0,
                "batch_key": KEY,
                "digest": f"{place:064x}",
                "spec": "{}",
                "created_at": NOW,
                **fields,
            }  # type: ignore[arg-type]
        )
        for place, name in enumerate(sorted(new_id("img") for _ in range(count)))
    ]
    jobs.add(conn, [job])
    images.add(conn, made)
    return made


def _claim(
    conn: Connection, count: int, microbatch: str = "mb_1", tenant: str = "default", lane: int = 0
) -> list[Claimed]:
    return images.claim(conn, lane=lane, tenant=tenant, batch_key=KEY, count=count, microbatch=microbatch)


def _state(conn: Connection, id: str) -> str:
    return str(conn.execute(text("SELECT state FROM image WHERE id = :id"), {"id": id}).scalar_one())


def _rendered(made: Sequence[NewImage]) -> list[Ending]:
    return [Ending(one.id, one.digest, ImageState.RENDERED, '{"a": "b"}') for one in made]


def test_a_claim_takes_the_earliest_deadline_then_the_oldest(ledger: Ledger) -> None:
    """Within a tenant and key: earliest deadline first, then in the order of planning; each image once."""
    with ledger.begin() as conn:
        late, soon = _job(conn, 3), _job(conn, 1, deadline=NOW + 10)
        first, second = _claim(conn, 2), _claim(conn, 8)

    assert {one.id for one in first} == {soon[0].id, late[0].id}
    assert {one.id for one in second} == {late[1].id, late[2].id}


def test_a_claim_stays_within_lane_tenant_and_key(ledger: Ledger) -> None:
    """Nobody gets another tenant's images by accident."""
    with ledger.begin() as conn:
        _job(conn, 1, tenant="a")
        _job(conn, 1, lane=1)

        assert _claim(conn, 8, tenant="b") == []
        assert len(_claim(conn, 8, tenant="a")) == 1
        assert len(_claim(conn, 8, lane=1)) == 1


def test_an_image_ends_once(ledger: Ledger) -> None:
    """Only rows that changed are returned, so a second outcome moves nothing; terminal states never change."""
    with ledger.begin() as conn:
        made = _job(conn, 2)
        _claim(conn, 2)
        first = images.settle(conn, _rendered(made), NOW)
        again = images.settle(
            conn, [Ending(one.id, one.digest, ImageState.FAILED, None) for one in made], NOW
        )

        assert {one.id for one in first} == {one.id for one in made}
        assert again == []
        assert _state(conn, made[0].id) == "rendered"


def test_of_two_outcomes_in_one_bulk_the_first_stands(ledger: Ledger) -> None:
    """The same image twice in one call ends once."""
    with ledger.begin() as conn:
        (one,) = _job(conn, 1)
        ends = [
            Ending(one.id, one.digest, state, None) for state in (ImageState.BLOCKED, ImageState.RENDERED)
        ]

        assert [ended.state for ended in images.settle(conn, ends, NOW)] == ["blocked"]


def test_an_outcome_of_another_digest_is_not_taken(ledger: Ledger) -> None:
    """An outcome counts for the picture it names and for no other."""
    with ledger.begin() as conn:
        (one,) = _job(conn, 1)

        assert images.settle(conn, [Ending(one.id, "f" * 64, ImageState.RENDERED, None)], NOW) == []


def test_results_are_kept_as_they_came(ledger: Ledger) -> None:
    """The JSON of an outcome, quotes, umlauts, emoji and all, survives the way through a JSON parameter."""
    result = '{"detail": "\\"ä\\u0001 \U0001f600 \\\\ null"}'
    with ledger.begin() as conn:
        (one,) = _job(conn, 1)
        images.settle(conn, [Ending(one.id, one.digest, ImageState.FAILED, result)], NOW)
        row = images.get(conn, tenant="default", id=one.id)

        assert row is not None and row.result == result
        assert images.get(conn, tenant="other", id=one.id) is None


def test_counters_move_by_what_changed(ledger: Ledger) -> None:
    """A job's counters and sequence follow the ended images, and its end is noted with the last of them."""
    with ledger.begin() as conn:
        made = _job(conn, 3)
        (row,) = jobs.tally(conn, images.settle(conn, _rendered(made[:2]), NOW), NOW)
        assert (row.rendered, row.failed, row.sequence, row.ended_at) == (2, 0, 3, None)
        assert jobs.tally(conn, images.settle(conn, _rendered(made[:2]), NOW), NOW) == []
        (row,) = jobs.tally(conn, images.cancel_job(conn, made[0].job, NOW), NOW + 1)
        assert (row.rendered, row.canceled, row.sequence, row.ended_at) == (2, 1, 5, NOW + 1)


def test_put_back_touches_only_its_own_microbatch(ledger: Ledger) -> None:
    """A stale put-back does not take an image out of the hands of its next worker."""
    with ledger.begin() as conn:
        (one,) = _job(conn, 1)
        _claim(conn, 1, "mb_old")

        assert images.put_back(conn, microbatch="mb_other", ids=[one.id]) == 0
        assert images.put_back(conn, microbatch="mb_old", ids=[one.id]) == 1
        assert images.put_back(conn, microbatch="mb_old", ids=[one.id]) == 0
        assert _state(conn, one.id) == "planned"


def test_suspects_wait_apart(ledger: Ledger) -> None:
    """A suspect is claimed by its id alone, never in a crowd, and keeps the workers that died with it."""
    with ledger.begin() as conn:
        (one,) = _job(conn, 1)
        _claim(conn, 1)
        (held,) = images.held(conn, microbatch="mb_1", ids=[one.id])
        images.suspect(conn, microbatch="mb_1", images=[held._replace(attempts=1, deaths=("w1",))])

        assert _claim(conn, 8) == []
        assert [(s.id, s.deaths) for s in images.suspects(conn, 10)] == [(one.id, ("w1",))]
        assert [c.id for c in images.claim_suspect(conn, id=one.id, microbatch="mb_2")] == [one.id]
        assert images.claim_suspect(conn, id=one.id, microbatch="mb_3") == []
        assert images.held(conn, microbatch="mb_2", ids=[one.id]) == [Held(one.id, one.digest, 1, ("w1",))]


def test_a_passing_failure_is_tried_again_until_its_last_attempt(ledger: Ledger) -> None:
    """`retry` plans an image again while attempts are left."""
    with ledger.begin() as conn:
        (one,) = _job(conn, 1)
        tried = 0
        while _claim(conn, 1) and images.retry(conn, microbatch="mb_1", ids=[one.id], most=3):
            tried += 1

        assert tried == 2
        assert _state(conn, one.id) == "released"


def test_what_has_not_started_in_time_expires(ledger: Ledger) -> None:
    """Planned, and released but not started: both end as expired; what is on a GPU is left to finish."""
    with ledger.begin() as conn:
        planned, waiting, running = (_job(conn, 1, start_by=NOW + 5)[0] for _ in range(3))
        free = _job(conn, 1)[0]
        for microbatch, one in (("mb_w", waiting), ("mb_r", running)):
            conn.execute(
                text("UPDATE image SET state = 'released', microbatch = :mb WHERE id = :id"),
                {"mb": microbatch, "id": one.id},
            )
            microbatches.add(conn, [_microbatch(microbatch, [one.id])])
        microbatches.started(conn, {"mb_r": NOW}, NOW + 1)

        assert not images.any_late(conn, NOW + 4)
        assert images.any_late(conn, NOW + 6)
        assert {one.id for one in images.expire(conn, NOW + 6)} == {planned.id, waiting.id}
        assert not images.any_late(conn, NOW + 6)
        assert _state(conn, free.id) == "planned"


def _microbatch(id: str, ids: Sequence[str]) -> NewMicrobatch:
    listed = "[" + ",".join(f'"{one}"' for one in ids) + "]"
    return NewMicrobatch(
        id=id,
        worker="w1",
        batch_key=KEY,
        images=listed,
        solo=False,
        expected_seconds=1.0,
        released_at=NOW,
        lease_until=NOW + 30,
        good_until=NOW + 30,
    )


def test_heads_name_each_waiting_key_once(ledger: Ledger) -> None:
    """One head per (lane, tenant, key), the one that goes first, and none for keys without planned images."""
    with ledger.begin() as conn:
        for tenant in ("a", "b"):
            for key in ("k1", "k2"):
                for lane in (0, 1):
                    _job(conn, 3, tenant=tenant, batch_key=key, lane=lane)
        urgent = _job(conn, 1, tenant="b", batch_key="k2", lane=1, deadline=NOW)[0]
        gone = _job(conn, 1, tenant="c")
        images.settle(conn, _rendered(gone), NOW)
        heads = images.heads(conn)

        assert [(h.lane, h.tenant, h.batch_key) for h in heads] == [
            (lane, tenant, key) for lane in (0, 1) for tenant in ("a", "b") for key in ("k1", "k2")
        ]
        assert heads[-1].id == urgent.id
        assert images.waiting(conn, lane=0, tenant="a", batch_key="k1", most=2) == 2
        assert images.waiting(conn, lane=0, tenant="a", batch_key="k1", most=9) == 3


def test_a_rendered_digest_is_known_to_its_tenant_alone(ledger: Ledger) -> None:
    """Re-use never crosses tenants."""
    with ledger.begin() as conn:
        made = _job(conn, 2)
        images.settle(conn, _rendered(made[:1]), NOW)
        wanted = [one.digest for one in made]

        assert images.rendered_before(conn, tenant="default", digests=wanted) == {
            made[0].digest: '{"a": "b"}'
        }
        assert images.rendered_before(conn, tenant="other", digests=wanted) == {}


def test_a_batch_counts_and_pages_its_images(ledger: Ledger) -> None:
    """Counters of a batch follow its images; pages give every image once with its row."""
    with ledger.begin() as conn:
        batch = NewBatch(
            id=new_id("bat"), tenant="default", bucket="b", key="k.csv", version="1", created_at=NOW
        )
        batches.add(conn, batch)
        assert batches.advance(conn, id=batch.id, cursor=0, to=5, jobs=1, images=5, rejected=0)
        assert not batches.advance(conn, id=batch.id, cursor=0, to=5, jobs=1, images=5, rejected=0)
        made = _job(conn, 5, batch=batch.id)
        (row,) = batches.tally(conn, images.settle(conn, _rendered(made[:3]), NOW))
        assert (row.rendered, row.total) == (3, 5)
        assert batches.planned(conn, id=batch.id, tenant="default") and not batches.complete(conn)
        batches.tally(conn, images.cancel_batch(conn, batch.id, NOW))
        assert [one.id for one in batches.complete(conn)] == [batch.id]

        first = images.of_batch(conn, batch.id, count=3)
        rest = images.of_batch(conn, batch.id, after=first[-1].id, count=3)
        assert [one.id for one in (*first, *rest)] == [one.id for one in made]
        assert batches.end(conn, id=batch.id, results_key="r", errors_key=None, now=NOW) is not None
        assert batches.end(conn, id=batch.id, results_key="r", errors_key=None, now=NOW) is None


def _query_plan(conn: Connection, sql: str, parameters: dict[str, object]) -> str:
    explain = "EXPLAIN QUERY PLAN " if conn.dialect.name == "sqlite" else "EXPLAIN "
    return "\n".join(str(row) for row in conn.execute(text(explain + sql), parameters))


def test_claims_and_heads_use_the_ready_index(ledger: Ledger) -> None:
    """The cost of a claim must not grow with the backlog: the planners of both databases choose the partial index."""
    with ledger.begin() as conn:
        for tenant in ("a", "b"):
            _job(conn, 1500, tenant=tenant)
            images.settle(conn, _rendered(_job(conn, 300, tenant=tenant)), NOW)
    with ledger.begin() as conn:
        conn.execute(text("ANALYZE"))
        where = {"lane": 0, "tenant": "a", "batch_key": KEY}
        plans = [
            _query_plan(conn, str(CLAIM[ledger.dialect]), {**where, "count": 8, "microbatch": "m"}),
            _query_plan(conn, str(images._FIRST), {}),
        ]
        if ledger.dialect == "sqlite":
            plans += [_query_plan(conn, str(seek), where) for seek in images._SEEKS]
        else:
            plans.append(_query_plan(conn, str(images._SKIP_SCAN), {}))

    for found in plans:
        assert "image_ready" in found
        assert "Seq Scan on image" not in found and "SCAN image\n" not in f"{found}\n"


def test_the_job_s_trace_travels_with_the_claim(ledger: Ledger) -> None:
    """A claim brings the trace context of the event that asked for the image."""
    written = plan(ledger, NOW, n=1)
    trace = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    with ledger.begin() as conn:
        conn.execute(
            text("UPDATE job SET traceparent = :trace WHERE id = :id"), {"trace": trace, "id": written.job.id}
        )
        key = written.images[0].batch_key
        (claimed,) = images.claim(conn, lane=0, tenant="default", batch_key=key, count=1, microbatch="m")

    assert claimed.traceparent == trace
