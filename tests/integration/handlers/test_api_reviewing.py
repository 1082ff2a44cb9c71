"""Reviews over HTTP: who may see and decide what, for programs and in a browser."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
from api_world import ACME, TOKENS, Api, problem
from fastapi.testclient import TestClient

from handlers.recorder import Recorder
from schemas.outcome import Finished, ImageHeld, QuarantineRef
from schemas.verdict import CategoryScore, Decision, Verdict
from storage.ledger import audit, images, reviews
from storage.objects.memory import MemoryStore
from storage.quarantine import PICTURE, PREVIEW, Vault, quarantine_key

REVIEWERS = {"token-anna": "anna", "token-ben": "ben", "token-own": "tom@acme", "token-other": "tim@bolt"}
ANNA, BEN, OWN, OTHER = ({"authorization": f"Bearer {token}"} for token in REVIEWERS)
PICTURE_BYTES, PREVIEW_BYTES = b"\x89PNG picture", b"\x89PNG preview"
POST_ROUTES = ("claim", "return", "release", "reject")


@dataclass
class Desk:
    """Two held pictures of the tenant acme: a plain one, and one on the hard floor."""

    api: Api
    client: TestClient
    plain: str
    floor: str

    def get(self, path: str, headers: dict[str, str] = ANNA) -> Any:
        return self.client.get(path, headers=headers)

    def post(self, id: str, what: str, headers: dict[str, str] = ANNA, **body: str) -> Any:
        return self.client.post(f"/v1/reviews/{id}/{what}", headers=headers, json=body)


@pytest.fixture
def desk(api: Api) -> Desk:
    vault = Vault(MemoryStore(bucket="restricted"), b"m" * 32)
    job = api.submit(n=2).json()["id"]
    with api.ledger.read() as conn:
        rows = images.of_job(conn, job)
    outcomes = []
    for row, category in zip(rows, ("spam_text", "extremism"), strict=True):
        key = quarantine_key("acme", row.id)
        vault.keep("acme", key, PICTURE, PICTURE_BYTES)
        plain = category == "spam_text"
        if plain:
            vault.keep("acme", key, PREVIEW, PREVIEW_BYTES)
        verdict = Verdict(
            stage="output", decision=Decision.REVIEW, reasons=("output.classified",), policy="strict", policy_digest="b" * 64,
            categories={category: CategoryScore(score=0.73, threshold=0.4, source="<test>")},
        )  # fmt: skip
        ref = QuarantineRef(key=key, sha256="a" * 64, preview_key=f"{key}/{PREVIEW}" if plain else None)
        outcomes.append(ImageHeld(image=row.id, digest=row.digest, verdict=verdict, quarantined=ref))
    Recorder(api.ledger).record([Finished(worker="w", microbatch="mb_1", at=0, outcomes=tuple(outcomes))])
    with api.ledger.read() as conn:
        by_image = {row.image: row.id for row in reviews.page(conn, state="waiting")}
    client = api.with_deps(reviewers=REVIEWERS, vault=vault, session_key=b"s" * 32)
    return Desk(api, client, *(by_image[row.id] for row in rows))


def test_reviewers_alone_see_reviews(desk: Desk) -> None:
    """No token, an unknown one and a tenant's get nothing; nor does anybody where tenants have tokens and reviewers none."""
    assert problem(desk.client.get("/v1/reviews"), 401, "unauthorised", "authorization")
    assert problem(
        desk.get("/v1/reviews", {"authorization": "Bearer no"}), 401, "unauthorised", "authorization"
    )
    assert problem(desk.get("/v1/reviews", ACME), 403, "forbidden", "authorization")
    assert problem(desk.api.with_deps().get("/v1/reviews", headers=ANNA), 403, "forbidden", "authorization")
    assert problem(desk.api.call("GET", "/v1/jobs/x", ANNA), 401, "unauthorised", "authorization")
    for what in POST_ROUTES:
        assert desk.post(desk.plain, what, ACME, reason="x").status_code == 403
    assert {"token-a", "token-b"} == set(TOKENS)


def test_where_nobody_has_tokens_the_machine_reviews(desk: Desk) -> None:
    """An installation that only its own machine can reach has one reviewer, who cannot be two people."""
    client = desk.api.with_deps(tokens={}, vault=desk.client.app.state.deps.vault)  # type: ignore[attr-defined]
    assert len(client.get("/v1/reviews").json()["reviews"]) == 2
    client.post(f"/v1/reviews/{desk.floor}/claim", json={})
    client.post(f"/v1/reviews/{desk.floor}/release", json={"reason": "x"})
    client.post(f"/v1/reviews/{desk.floor}/claim", json={})
    again = client.post(f"/v1/reviews/{desk.floor}/release", json={"reason": "x"})

    assert problem(again, 403, "forbidden", "id")


def test_a_review_says_what_was_found(desk: Desk) -> None:
    """A reviewer sees categories, scores and times, page by page, and a preview of what is not on the hard floor."""
    page = desk.get("/v1/reviews?limit=1").json()
    (one,) = page["reviews"]
    rest = desk.get(f"/v1/reviews?after={page['next']}").json()
    preview = desk.get(one["preview_url"])

    assert (one["id"], one["state"], one["tenant"], one["hard_floor"]) == (desk.plain, "open", "acme", False)
    assert one["categories"]["spam_text"] == {"score": 0.73, "threshold": 0.4, "source": "<test>"}
    assert [two["id"] for two in rest["reviews"]] == [desk.floor] and rest["next"] is None
    assert (preview.content, preview.headers["content-type"], preview.headers["cache-control"]) == (
        PREVIEW_BYTES, "image/png", "no-store",
    )  # fmt: skip
    assert problem(desk.get(f"/v1/reviews/{desk.floor}/preview"), 404, "object_missing", "id")
    assert problem(desk.get("/v1/reviews/rev_no"), 404, "not_found", "id")


def test_a_decision_needs_a_claim_and_a_reason(desk: Desk) -> None:
    """Claim, look, decide, in this order, by one person; every refusal is typed."""
    assert problem(desk.post(desk.plain, "release", reason="fine"), 409, "review_conflict", "id")
    assert problem(desk.get(f"/v1/reviews/{desk.plain}/picture"), 409, "review_conflict", "id")
    claimed = desk.post(desk.plain, "claim").json()
    assert (claimed["state"], claimed["reviewer"]) == ("claimed", "anna") and claimed["claimed_until"]
    assert problem(desk.post(desk.plain, "claim", BEN), 409, "review_conflict", "id")
    assert desk.get(f"/v1/reviews/{desk.plain}/picture").content == PICTURE_BYTES
    assert problem(desk.post(desk.plain, "reject", reason=""), 422, "out_of_range", "reason")
    assert problem(desk.post(desk.plain, "reject", reason="x" * 501), 422, "out_of_range", "reason")
    assert problem(desk.post(desk.plain, "reject"), 422, "missing_field", "reason")
    rejected = desk.post(desk.plain, "reject", reason="not ours").json()
    with desk.api.ledger.read() as conn:
        kinds = [one.kind for one in audit.records(conn)]

    assert (rejected["state"], rejected["reason"]) == ("rejected", "not ours") and rejected["settled_at"]
    assert kinds[-3:] == ["review.claimed", "picture.viewed", "review.rejected"]
    assert desk.get("/v1/reviews?state=rejected").json()["reviews"] == [rejected]


def test_a_form_of_another_site_changes_nothing(desk: Desk) -> None:
    """A request that a foreign page can send without asking first is refused by its media type."""
    answer = desk.client.post(
        f"/v1/reviews/{desk.plain}/claim", headers={**ANNA, "content-type": "text/plain"}, content=b"{}"
    )

    assert problem(answer, 415, "wrong_media_type", "content-type")


def test_a_tenants_reviewer_sees_its_plain_ones(desk: Desk) -> None:
    """Reviewers of a tenant see that tenant's reviews without the hard floor; those of another see none."""
    own = desk.get("/v1/reviews", OWN).json()["reviews"]
    other = desk.get("/v1/reviews", OTHER).json()["reviews"]

    assert ([one["id"] for one in own], other) == ([desk.plain], [])
    for id, headers in ((desk.floor, OWN), (desk.plain, OTHER)):
        assert problem(desk.get(f"/v1/reviews/{id}", headers), 404, "not_found", "id")
        for what in POST_ROUTES:
            assert problem(desk.post(id, what, headers, reason="x"), 404, "not_found", "id")


def test_the_customer_learns_little(desk: Desk) -> None:
    """The tenant sees that a picture is held, and neither scores nor where it lies; no link to it is made."""
    row = desk.api.call("GET", "/v1/reviews").status_code
    with desk.api.ledger.read() as conn:
        image = reviews.get(conn, desk.plain)
    assert image is not None
    shown = desk.api.call("GET", f"/v1/images/{image.image}")

    assert row == 403 and shown.json()["state"] == "held"
    assert "0.73" not in shown.text and "quarantine" not in shown.text and shown.json()["url"] is None


def test_metrics_tell_how_long_people_wait(desk: Desk) -> None:
    """Counts of open reviews, the age of the oldest, restricted holds and troubled tenants are there to be watched."""
    desk.post(desk.plain, "claim")
    text = desk.client.get("/metrics").text

    assert 'reviews{state="open"} 1.0' in text and 'reviews{state="claimed"} 1.0' in text
    assert "quarantine_restricted 1.0" in text and 'tenants_in_trouble{state="suspended"} 0.0' in text
    assert re.search(r"review_oldest_seconds [0-9.e+]+", text)


def sign_in(desk: Desk, token: str = "token-anna") -> Any:
    return desk.client.post("/review/sign-in", data={"token": token}, follow_redirects=False)


def form_of(page: str) -> str:
    found = re.search(r'name="form" value="([^"]+)"', page)
    assert found is not None
    return found[1]


def test_a_browser_signs_in_once(desk: Desk) -> None:
    """The token becomes a cookie that scripts and other sites cannot use; without it there is only the way to sign in."""
    turned_away = desk.client.get("/review", follow_redirects=False)
    wrong = sign_in(desk, "token-a")
    right = sign_in(desk)
    cookie = right.headers["set-cookie"]
    page = desk.client.get("/review")

    assert (turned_away.status_code, turned_away.headers["location"]) == (303, "/review/sign-in")
    assert wrong.status_code == 403 and 'role="alert"' in wrong.text and "set-cookie" not in wrong.headers
    assert right.status_code == 303 and "token-anna" not in cookie
    assert {"HttpOnly", "SameSite=strict", "Path=/review"} <= {part.strip() for part in cookie.split(";")}
    assert "Signed in as anna" in page.text and page.headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]


def test_a_cookie_ends_with_its_time_or_its_token(desk: Desk) -> None:
    """A forged cookie, an old one, and one whose token was withdrawn open nothing."""
    sign_in(desk)
    value = desk.client.cookies["aquatint_reviewer"]
    deps = {"reviewers": REVIEWERS, "session_key": b"s" * 32}
    clock = desk.api.deps.clock
    for changes, cookie in (
        ({}, value[:-2] + "xx"),
        ({"session_key": b"t" * 32}, value),
        ({"clock": lambda: clock() + 9 * 3600}, value),
        ({"reviewers": {"token-ben": "ben"}}, value),
    ):
        client = desk.api.with_deps(**{**deps, **changes})
        client.cookies.set("aquatint_reviewer", cookie, path="/review")
        assert client.get("/review", follow_redirects=False).status_code == 303
        assert (
            client.get(f"/review/{desk.plain}", follow_redirects=False).headers["location"]
            == "/review/sign-in"
        )


def test_a_person_decides_in_a_browser(desk: Desk) -> None:
    """The queue leads to a picture, claiming it to its decision; everything works without a script."""
    sign_in(desk)
    queue = desk.client.get("/review").text
    page = desk.client.get(f"/review/{desk.plain}").text
    form = form_of(page)
    claimed = desk.client.post(f"/review/{desk.plain}/claim", data={"form": form}).text
    picture = desk.client.get(f"/review/{desk.plain}/picture")
    nothing = desk.client.post(
        f"/review/{desk.plain}/decide", data={"form": form, "decision": "release", "reason": " "}
    )
    done = desk.client.post(
        f"/review/{desk.plain}/decide", data={"form": form, "decision": "release", "reason": "a <b> mug"}
    )
    gone = desk.client.get("/review").text

    assert f"/review/{desk.plain}" in queue and "hard floor" in queue and "<script" not in queue
    assert "&lt;test&gt;" in page and "<test>" not in page
    assert "Release: publish it" in claimed and picture.content == PICTURE_BYTES
    assert nothing.status_code == 422 and "Give a reason" in nothing.text
    assert "a &lt;b&gt; mug" in done.text and f"/review/{desk.plain}" not in gone


def test_a_foreign_form_is_refused(desk: Desk) -> None:
    """Without the token of our own page nothing changes, whatever cookie comes along."""
    sign_in(desk)
    answer = desk.client.post(f"/review/{desk.plain}/claim", data={"form": "x"})

    assert problem(answer, 401, "signature_refused", "form")
    assert desk.get(f"/v1/reviews/{desk.plain}").json()["state"] == "open"


def test_the_hard_floor_is_shown_to_nobody(desk: Desk) -> None:
    """Its page has neither a preview nor a way to the picture, and tells that two people decide."""
    sign_in(desk)
    form = form_of(desk.client.get(f"/review/{desk.floor}").text)
    page = desk.client.post(f"/review/{desk.floor}/claim", data={"form": form}).text
    refused = desk.client.get(f"/review/{desk.floor}/picture")

    assert "two people must release it" in page and "<img" not in page and "/picture" not in page
    assert refused.status_code == 403 and PICTURE_BYTES not in refused.content
