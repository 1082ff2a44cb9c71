"""The HTTP API: looking, canceling, tenants, links, and what its operator sees."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from api_world import BOLT, OUTCOMES_SECRET, PNG, Api, problem

from handlers.api.ports import ReadinessCheck
from schemas.errors import LedgerBusy, QueueUnavailable, ScreenMissing
from storage import report_signature
from storage.ledger import deliveries


def test_from_request_to_picture(api: Api) -> None:
    """202 with a Location that leads to the job, its images, and a signed link that serves the very bytes."""
    accepted = api.submit(n=2, seed=7)
    assert accepted.status_code == 202 and accepted.headers["retry-after"]
    assert accepted.headers["location"] == accepted.json()["url"] == f"/v1/jobs/{accepted.json()['id']}"
    job = api.call("GET", accepted.headers["location"]).json()
    assert (job["state"], job["counts"]["total"], len(job["images"]), job["ended_at"]) == (
        "queued",
        2,
        2,
        None,
    )
    waiting = api.call("GET", f"/v1/images/{job['images'][0]['id']}").json()
    assert (waiting["state"], waiting["url"], waiting["job"]) == ("planned", None, job["job"])
    api.render("acme", job["job"], "tenants/acme/")
    done = api.call("GET", accepted.headers["location"]).json()
    assert done["state"] == "completed" and done["counts"]["rendered"] == 2 and done["ended_at"]
    image = api.call("GET", f"/v1/images/{job['images'][0]['id']}").json()
    served = api.client.get(image["url"])
    assert (served.status_code, served.content, served.headers["content-type"]) == (200, PNG, "image/png")
    assert served.headers["x-content-type-options"] == "nosniff" and served.headers[
        "content-disposition"
    ].startswith("inline")
    assert "sandbox" in served.headers["content-security-policy"]
    assert api.client.get(image["receipt_url"]).content == b"{}"


def test_signed_links_are_refused_when_changed_expired_or_foreign(api: Api) -> None:
    """Another key, expiry or signature is 401, an expired link is 401, a missing object 404, an unknown bucket 404."""
    assert api.deps.links is not None
    api.store.put("a.png", PNG, media_type="image/png")
    link = api.deps.links.link("results", "a.png", 60)
    assert api.client.get(link).status_code == 200
    expires = int(re.findall(r"expires=(\d+)", link)[0])
    for wrong in (link.replace("a.png", "b.png"), link.replace(f"{expires}", f"{expires + 1}"), link[:-1] + ("0" if link[-1] != "0" else "1"),
                  "http://testserver/v1/objects/results/a.png", link.replace("results", "uploads"), link.replace("signature=", "signature=é")):  # fmt: skip
        problem(api.client.get(wrong), 401, "unauthorised")
    old = replace(api.deps.links, now=lambda: 1000.0).link("results", "a.png", 60)
    problem(api.client.get(old), 401, "unauthorised")
    problem(api.client.get(api.deps.links.link("results", "none.png", 60)), 404, "object_missing")
    problem(api.client.get(api.deps.links.link("other", "a.png", 60)), 404, "object_missing")
    problem(api.with_deps(links=None).get(link), 404, "not_found")


def test_what_a_browser_could_run_is_a_download(api: Api) -> None:
    """HTML in a store is sent as an attachment, under a safe name."""
    assert api.deps.links is not None
    api.store.put('x/ü"a.html', b"<script>", media_type="text/html")
    served = api.client.get(api.deps.links.link("results", 'x/ü"a.html', 60))
    assert (
        served.headers["content-disposition"]
        == "attachment; filename=\"__a.html\"; filename*=UTF-8''%C3%BC%22a.html"
    )


def test_an_image_that_is_not_published_has_no_link(api: Api) -> None:
    """Links exist for rendered images alone."""
    job = api.submit().json()["id"]
    api.call("POST", f"/v1/jobs/{job}/cancel")
    [image] = api.call("GET", f"/v1/jobs/{job}").json()["images"]
    view = api.call("GET", f"/v1/images/{image['id']}").json()
    assert (view["state"], view["url"], view["receipt_url"], view["url_expires_at"]) == (
        "canceled",
        None,
        None,
        None,
    )


def test_pages_of_images(api: Api) -> None:
    """`next` leads through all images of a job, each once and in order."""
    job, seen, after = api.submit(n=5).json()["id"], [], ""
    while after is not None:
        page = api.call("GET", f"/v1/jobs/{job}?limit=2&after={after}").json()
        seen += [image["id"] for image in page["images"]]
        after = page["next"]
    assert len(set(seen)) == 5 and seen == sorted(seen)


def test_canceling(api: Api) -> None:
    """A job that waits is canceled as a whole; again is no error; what is not there or not ours is 404."""
    job = api.submit(n=3).json()["id"]
    problem(api.call("POST", f"/v1/jobs/{job}/cancel", BOLT), 404, "not_found", "job")
    for _ in range(2):
        answer = api.call("POST", f"/v1/jobs/{job}/cancel")
        assert (answer.status_code, answer.json()["state"], answer.json()["counts"]["canceled"]) == (
            200,
            "canceled",
            3,
        )
    problem(api.call("POST", "/v1/batches/bat_01kamz5e00e0r9x4q2t7v8w6yz/cancel"), 404, "not_found", "batch")


def test_routing_errors_are_problems_too(api: Api) -> None:
    """An unknown address, a wrong method and a bad query parameter."""
    problem(api.call("GET", "/v1/nothing"), 404, "not_found")
    wrong = api.call("DELETE", "/v1/jobs")
    problem(wrong, 405, "method_not_allowed", "method")
    assert wrong.headers["allow"] == "POST"
    job = api.submit().json()["id"]
    assert problem(api.call("GET", f"/v1/jobs/{job}?limit=0"), 422, "out_of_range", "limit")["limit"] == 1
    problem(api.call("GET", f"/v1/jobs/{job}?limit=x"), 422, "wrong_type", "limit")


def test_faults_of_ours_say_nothing_of_the_request(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    """A broken part gives 500 as a problem, without its text in the answer or the log; a busy ledger gives 503 with Retry-After."""
    api.intake.fault = RuntimeError("a red secret mug")
    answer = api.submit("a red secret mug")
    problem(answer, 500, "error")
    assert "secret" not in answer.text and "secret" not in "".join(capsys.readouterr())
    api.intake.fault = LedgerBusy()
    busy = api.submit()
    problem(busy, 503, "ledger_busy")
    assert busy.headers["retry-after"]


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic token-a",
        "Bearer token",
        "Bearer token-a token-b",
        "Bearer t\u00f6ken",
        "token-a",
    ],
)
def test_callers_without_a_valid_token_are_refused(api: Api, authorization: str) -> None:
    """401 with WWW-Authenticate on every customer's route."""
    for method, path in (("POST", "/v1/jobs"), ("POST", "/v1/events"), ("GET", "/v1/jobs/x"), ("GET", "/v1/images/x"), ("GET", "/v1/batches/x"),
                         ("POST", "/v1/jobs/x/cancel"), ("POST", "/v1/notifications/s3")):  # fmt: skip
        answer = api.call(method, path, {"authorization": authorization.encode("latin-1")})  # type: ignore[dict-item]
        problem(answer, 401, "unauthorised", "authorization")
        assert answer.headers["www-authenticate"] == "Bearer"


def test_one_tenant_cannot_see_another(api: Api) -> None:
    """Job and image of one tenant are 404 for the next, exactly as if they did not exist."""
    job = api.submit().json()["id"]
    [image] = api.call("GET", f"/v1/jobs/{job}").json()["images"]
    for path in (f"/v1/jobs/{job}", f"/v1/images/{image['id']}"):
        assert api.call("GET", path).status_code == 200
        foreign, missing = (
            api.call("GET", path, BOLT),
            api.call("GET", path[:-1] + ("1" if path[-1] == "0" else "0"), BOLT),
        )
        problem(foreign, 404, "not_found", "id")
        assert foreign.json() == missing.json()


@pytest.mark.parametrize(
    "id", ["x", "%00", "%ff", "job_", "job_" + "i" * 26, "img_01kamz5e00e0r9x4q2t7v8w6yz", "é" * 40]
)
def test_what_is_no_id_is_not_looked_for(api: Api, id: str) -> None:
    """404, or 422 in a query, for text that some databases would choke on."""
    for method, path in (("GET", f"/v1/jobs/{id}"), ("GET", f"/v1/batches/{id}"), ("POST", f"/v1/jobs/{id}/cancel"),
                         ("POST", f"/v1/batches/{id}/cancel")):  # fmt: skip
        problem(api.call(method, path), 404, "not_found", "id")
    problem(api.call("POST", f"/v1/endpoints/{id}/enable"), 404, "not_found", "endpoint")
    for query in ("after=%00", "after=A"):
        problem(api.call("GET", f"/v1/jobs/{id}?{query}"), 422, "out_of_range", "after")
    problem(api.call("GET", "/v1/deliveries?about=%00"), 422, "out_of_range", "about")


def test_without_tokens_everyone_is_the_default_tenant(api: Api) -> None:
    """An installation without tokens needs none, and a header that is sent all the same changes nothing."""
    client = api.with_deps(tokens={})
    job = client.post("/v1/jobs", json={"prompt": "a"}, headers={"authorization": "Bearer token-b"}).json()[
        "id"
    ]
    assert client.get(f"/v1/jobs/{job}").status_code == 200
    problem(api.call("GET", f"/v1/jobs/{job}", BOLT), 404, "not_found", "id")


REPORT = b'{"kind":"heartbeat","worker":"w","pool":"p","queue":"q","at":1.0}'


def signed(api: Api, body: bytes, secret: bytes = OUTCOMES_SECRET) -> dict[str, str]:
    stamp = int(api.deps.clock())
    return {
        report_signature.TIMESTAMP_HEADER: str(stamp),
        report_signature.SIGNATURE_HEADER: report_signature.sign(secret, stamp, body),
    }


def test_signed_reports_are_published_unchanged(api: Api) -> None:
    """204 once the exact bytes are published; a wrong signature, time, or no secret at all is 401 before anything is read."""
    assert api.call("POST", "/v1/outcomes", signed(api, REPORT), content=REPORT).status_code == 204
    assert api.reports == [REPORT]
    field = report_signature.SIGNATURE_HEADER
    for headers in ({}, signed(api, b"other"), signed(api, REPORT, b"x" * 32), signed(api, REPORT) | {report_signature.TIMESTAMP_HEADER: "1"},
                    signed(api, REPORT) | {report_signature.TIMESTAMP_HEADER: "9" * 5000}):  # fmt: skip
        problem(api.call("POST", "/v1/outcomes", headers, content=REPORT), 401, "signature_refused", field)
    problem(
        api.with_deps(outcomes_secret=b"").post(
            "/v1/outcomes", content=REPORT, headers=signed(api, REPORT, b"")
        ),
        401,
        "signature_refused",
        field,
    )
    problem(api.call("POST", "/v1/outcomes", signed(api, b"{"), content=b"{"), 400, "malformed_json")
    assert api.reports == [REPORT]


def test_a_report_that_cannot_be_published_is_not_acknowledged(api: Api) -> None:
    """503: the worker keeps it and sends it again."""

    def publish(body: bytes) -> None:
        raise QueueUnavailable

    client = api.with_deps(publish_report=publish)
    problem(
        client.post("/v1/outcomes", content=REPORT, headers=signed(api, REPORT)), 503, "queue_unavailable"
    )


def test_readiness_lists_what_is_missing(api: Api) -> None:
    """200 when all parts are ready; 503 with name, code and sentence of each that is not. Health does not depend on it."""
    assert (api.call("GET", "/readyz").status_code, api.call("GET", "/readyz").json()) == (
        200,
        {"ready": True, "not_ready": []},
    )

    def missing() -> None:
        raise ScreenMissing("no output screen")

    def broken() -> None:
        raise ValueError("internal detail")

    checks = [
        ReadinessCheck(name="ok", check=lambda: None),
        ReadinessCheck(name="screen", check=missing),
        ReadinessCheck(name="x", check=broken),
    ]
    client = api.with_deps(readiness=checks)
    answer = client.get("/readyz")
    assert answer.status_code == 503 and answer.json() == {
        "ready": False,
        "not_ready": [
            {"name": "screen", "code": "screen_missing", "detail": "no output screen"},
            {"name": "x", "code": "error", "detail": "ValueError"},
        ],
    }
    assert client.get("/healthz").json() == {"status": "ok"}


def test_metrics_name_routes_and_never_ids(api: Api) -> None:
    """Requests are counted by the template of their route; ids, tenants and unknown addresses never become labels."""
    job = api.submit().json()["id"]
    api.call("GET", f"/v1/jobs/{job}")
    api.call("GET", "/v1/secret/path")
    text = api.call("GET", "/metrics").text
    assert 'http_requests_total{method="POST",route="/v1/jobs",status="202"} 1.0' in text
    assert 'http_requests_total{method="GET",route="/v1/jobs/{id}",status="200"} 1.0' in text
    assert 'route="unknown",status="404"' in text and "http_request_duration_seconds_bucket" in text
    assert job not in text and "secret" not in text and "acme" not in text


def test_a_tenant_sees_and_revives_its_endpoints(api: Api) -> None:
    """Endpoints and deliveries are listed for their tenant alone; a disabled endpoint is switched on with a replay."""
    job = api.submit(webhook={"url": "https://shop.example/hook"}).json()["id"]
    api.render("acme", job, "tenants/acme/")
    [endpoint] = api.call("GET", "/v1/endpoints").json()["endpoints"]
    assert (endpoint["url"], endpoint["disabled_at"], endpoint["consecutive_failures"]) == (
        "https://shop.example/hook",
        None,
        0,
    )
    [delivery] = api.call("GET", f"/v1/deliveries?about={job}").json()["deliveries"]
    assert (delivery["type"], delivery["state"], delivery["endpoint"]) == (
        "job.completed",
        "pending",
        endpoint["id"],
    )
    assert "outbox_oldest_pending_seconds" in api.call("GET", "/metrics").text
    with api.ledger.begin() as conn:
        deliveries.disable(conn, endpoint["id"], "failing", 10.0)
    assert api.call("GET", "/v1/endpoints").json()["endpoints"][0]["disabled_reason"] == "failing"
    enable = f"/v1/endpoints/{endpoint['id']}/enable"
    problem(api.call("POST", enable, BOLT), 404, "not_found", "endpoint")
    problem(
        api.call("POST", enable, params={"replay_since": "2020-01-01T00:00:00"}),
        422,
        "out_of_range",
        "replay_since",
    )
    assert api.call("POST", enable, params={"replay_since": "1970-01-01T00:00:00Z"}).json() == {"replayed": 1}
    [revived] = api.call("GET", "/v1/deliveries").json()["deliveries"]
    assert (revived["id"], revived["state"]) == (delivery["id"], "pending")
    for path in ("/v1/endpoints", "/v1/deliveries"):
        assert not any(api.call("GET", path, BOLT).json().values())
