"""Words that a customer sends are planted everywhere; then everything the stack has written is searched for them."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from embedded_stack import Stack, running_stack

#: One for each way in, so that a find says where it came from. They look like words, so that no rule takes them out.
PROMPT, NEGATIVE, METADATA, ROW_KEY = "zanzibarine", "quetzalcoral", "xylographer", "wolframite"
FILE, IDEMPOTENCY, BROKEN, QUERY = "obsidianette", "malachitine", "vermiculite", "tourmaline"
TOKEN = "canary-token-77b1f2c9e4"
WORDS = (PROMPT, NEGATIVE, METADATA, ROW_KEY, BROKEN, QUERY, TOKEN)


@contextmanager
def sentry() -> Iterator[tuple[str, list[bytes]]]:
    """A DSN, and the envelopes that arrive there."""
    bodies: list[bytes] = []

    class Sink(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            bodies.append(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Sink) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://key@127.0.0.1:{server.server_port}/1", bodies
        server.shutdown()


def send_words(stack: Stack) -> list[str]:
    """A job, a manifest, and requests that go wrong in every way that quotes them; the links that were handed out."""
    event = stack.event(
        1, f"a red mug, {PROMPT}", negative_prompt=NEGATIVE, metadata={"customer": METADATA}, size="128x128"
    )
    headers = {"authorization": f"Bearer {TOKEN}", "idempotency-key": IDEMPOTENCY}
    assert stack.post("/v1/events", event, **headers).status_code == 202
    body = f"sku,product,colour,background,sizes,count\n{ROW_KEY},mug,blue,white,128x128,1\n{BROKEN},,,,0x0,-1\n"
    stack.drop(f"{FILE}.csv", body)
    bearer = {"authorization": f"Bearer {TOKEN}"}
    for path, text in (
        ("/v1/jobs", json.dumps({"prompt": BROKEN, BROKEN: BROKEN})),
        ("/v1/jobs", f'{{"prompt": "{BROKEN}'),
        ("/v1/events", json.dumps({"specversion": "1.0", "type": BROKEN, "source": BROKEN, "id": "x", "data": BROKEN})),
        ("/v1/s3-notifications", json.dumps({"Records": [{"eventName": BROKEN}]})),
    ):
        answer = httpx.post(stack.api + path, content=text, headers={"content-type": "application/json", **bearer}, timeout=60)
        assert answer.status_code >= 400
    httpx.get(f"{stack.api}/v1/jobs/{BROKEN}?after={QUERY}", headers=bearer, timeout=60)
    httpx.get(f"{stack.api}/v1/objects/results/x?expires=9&signature={QUERY}", timeout=60)
    stack.wait_until_settled(2)
    links = []
    for row in stack.rows("SELECT id FROM image"):
        shown = httpx.get(f"{stack.api}/v1/images/{row.id}", headers=bearer, timeout=60).json()
        assert httpx.get(shown["url"], timeout=60).status_code == 200
        links += [shown["url"], shown["receipt_url"]]
    return links


def found_in(folder: Path, words: tuple[str, ...]) -> set[tuple[str, str]]:
    """(top folder or file, word) for every file below a folder that holds a word, in its bytes or its name."""
    found = set()
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        data, place = path.read_bytes(), path.relative_to(folder).parts[0]
        found |= {(place, word) for word in words if word.encode() in data or word in path.name}
    return found


@pytest.mark.timeout(600)
def test_no_word_of_a_customer_is_where_it_must_not_be(tmp_path: Path) -> None:
    """Logs, metrics and error reports hold nothing; the ledger and the queue hold it sealed; results are the customer's own."""
    home = tmp_path / "home"
    with sentry() as (dsn, reports):
        settings = {
            "AQUATINT_SENTRY_DSN": dsn,
            "AQUATINT_LOG_LEVEL": "debug",
            "AQUATINT_API_TOKENS": f"{TOKEN}=default",
        }
        with running_stack(home, **settings) as stack:
            links = send_words(stack)
            metrics = httpx.get(f"{stack.api}/metrics", timeout=60).text
            running = found_in(home, WORDS)  # while the log of the ledger has not been folded into its file
        secret = (home / "secret.key").read_text().strip()
        signatures = [link.rpartition("=")[2] for link in links]

        words = (*WORDS, FILE, IDEMPOTENCY, secret, *signatures)
        for place, text in (("metrics", metrics), ("reports", b"".join(reports).decode(errors="replace"))):
            assert [word for word in words if word in text] == [], place
        places: dict[str, set[str]] = {}
        for place, word in running | found_in(home, words):
            places.setdefault(word, set()).add(place.removesuffix("-wal").removesuffix("-shm"))

    # The receipt and the webhook are the customer's; the manifest lies where the customer put it.
    assert places.pop(PROMPT) <= {"objects", "inbox.jsonl"}
    assert places.pop(NEGATIVE) <= {"objects"}
    assert places.pop(METADATA) == {"inbox.jsonl"}
    # The recipe names the customer's copy by it, and names of objects are addresses.
    assert places.pop(ROW_KEY) <= {"objects", "uploads", "inbox.jsonl", "ledger.db", "queue.db"}
    assert places.pop(BROKEN) <= {"objects", "uploads"}
    # Names of uploads and keys by which repeats are known are no secrets in the ledger, and are in no log.
    assert places.pop(FILE) <= {"ledger.db", "uploads", "inbox.jsonl"}
    assert places.pop(IDEMPOTENCY, set()) <= {"ledger.db"}
    assert places.pop(secret) == {"secret.key"}
    assert places == {}
