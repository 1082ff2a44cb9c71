"""The command line as a person meets it: whole runs, and one plain sentence for each mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from embedded_stack import running_stack
from PIL import Image

from deploy.home import Home, sole_stack

CANARY = "canary-7f3a91"


def aquatint(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AQUATINT_")}
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli", *arguments],
        env={**environ, "AQUATINT_HOME": str(home), "AQUATINT_HEARTBEAT_SECONDS": "1", "COLUMNS": "200", **variables},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


def manifest(path: Path, *rows: str) -> Path:
    path.write_text("sku,product,colour,background,sizes,count\n" + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def logs(home: Path) -> str:
    return "".join(path.read_text(errors="replace") for path in (home / "logs").glob("*.log"))


def test_a_run_ends_with_pictures_and_verified_webhooks(tmp_path: Path) -> None:
    """A product list becomes pictures, a contact sheet and verified webhooks; a second run renders nothing again."""
    home, listed = tmp_path / "home", manifest(tmp_path / "list.csv", f"{CANARY},mug {CANARY},red,white,128x128 160x96,1", "B-2,hat,blue,beige,128x128,2")

    first, second = aquatint(home, "run", str(listed)), aquatint(home, "run", str(listed))

    assert 0 == first.returncode, first.stdout + first.stderr + logs(home)
    assert "4 of 4 images stored" in first.stdout
    assert "5 of 5 webhooks verified" in first.stdout
    sheet = next(home.glob("runs/*/contact-sheet.png"))
    assert Image.open(sheet).width > 500
    page = next(home.glob("runs/*/contact-sheet.html")).read_text()
    assert 4 == page.count('<img alt="Mug canary') + page.count('<img alt="Hat')
    assert 0 == second.returncode, second.stdout + second.stderr
    assert "4 had been rendered before" in second.stdout
    # No prompt reaches a log, whoever wrote the line.
    assert CANARY not in logs(home)


def test_a_bad_row_is_named_and_its_neighbours_run(tmp_path: Path) -> None:
    """One bad row in the middle: the others are rendered, the exit code says that not all is well."""
    home = tmp_path / "home"
    listed = manifest(tmp_path / "list.csv", "A-1,mug,red,white,128x128,1", "A-2,mug,red,white,999x999,1", "A-3,mug,blue,white,128x128,1")

    done = aquatint(home, "run", str(listed))

    assert 1 == done.returncode
    assert "2 of 2 images stored" in done.stdout
    assert "row 2, size" in done.stdout
    assert "999x999" in done.stdout


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"", "empty"), (b"sku,product\n", "colour"), ("sku,product,colour,background,sizes,count\nA,m\xfcg,red,white,128x128,1\n".encode("latin-1"), "UTF-8")],
    ids=["empty", "missing column", "wrong encoding"],
)
def test_a_manifest_that_cannot_be_read_says_why(tmp_path: Path, content: bytes, sentence: str) -> None:
    """An empty list, a missing column or a wrong encoding ends the run with a sentence about it."""
    listed = tmp_path / "list.csv"
    listed.write_bytes(content)

    done = aquatint(tmp_path / "home", "run", str(listed))

    assert 1 == done.returncode
    assert "not accepted: " in done.stdout
    assert sentence in done.stdout


def test_one_picture_without_any_server(tmp_path: Path) -> None:
    """`generate` writes the picture, the same one for the same seed, and names the words it does not know."""
    told = [
        aquatint(tmp_path / f"home{n}", "generate", "a red zeppelin mug on a white background", "-o", str(tmp_path / f"{n}.png"), "--seed", "5")
        for n in range(2)
    ]

    assert [0, 0] == [one.returncode for one in told], told[0].stderr
    first, again = (Image.open(tmp_path / f"{n}.png").convert("RGB") for n in range(2))
    assert first.tobytes() == again.tobytes()  # files differ in their signatures
    assert (128, 128) == first.size
    assert "does not know: zeppelin" in told[0].stdout


@pytest.mark.parametrize(
    ("arguments", "variables", "sentence"),
    [
        (["run", "nowhere.csv"], {}, "there is no file nowhere.csv"),
        (["run", "README.md"], {}, "not a manifest"),
        (["generate", "a mug", "-o", "mug.tiff"], {}, "must end in .png"),
        (["generate", "a mug", "-o", "/nowhere/mug.png"], {}, "cannot be written"),
        (["generate", "a mug", "--size", "640x480"], {}, "does not draw 640x480"),
        (["generate", "a mug " * 60], {}, "tokens"),
        (["generate", "a mug", "--steps", "5000"], {}, "steps"),
        (["status", "whatever"], {}, "not the id"),
        (["status", "job_01jd8000000000000000000000"], {"AQUATINT_API_PORT": "1"}, "start it with `aquatint up`"),
        (["submit", "README.md"], {}, "is not JSON"),
        (["submit", "nowhere.json"], {}, "No such file"),
        (["serve", "everything"], {}, "there is no role"),
        (["config"], {"AQUATINT_WORKER": "2"}, "did you mean AQUATINT_WORKERS"),
        (["generate", "a mug"], {"AQUATINT_MODEL": "/nowhere"}, "AQUATINT_MODEL"),
        (["doctor"], {"AQUATINT_HOME": "/proc/nowhere"}, "cannot be made"),
    ],
)
def test_a_mistake_gets_one_plain_sentence(tmp_path: Path, arguments: list[str], variables: dict[str, str], sentence: str) -> None:
    """No traceback: a sentence that names the mistake, and a code other than 0."""
    done = aquatint(tmp_path / "home", *arguments, **variables)
    told = done.stdout + done.stderr

    assert 0 != done.returncode
    assert sentence in told
    assert "Traceback" not in told


def test_a_second_stack_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    """Two stacks would take each other's uploads: the second is told who is there."""
    home, listed = tmp_path / "home", manifest(tmp_path / "list.csv", "A-1,mug,red,white,128x128,1")
    home.mkdir()
    with sole_stack(Home(path=home)):
        refused = aquatint(home, "run", str(listed))

    assert 2 == refused.returncode
    assert f"process {os.getpid()}" in refused.stderr


def test_submit_status_and_trace(tmp_path: Path) -> None:
    """An event by `submit --wait` ends as a completed job; its trace context reaches the webhook's delivery; a private
    webhook address is refused by name."""
    trace = "0af7651916cd43dd8448eb211c80319c"
    with running_stack(tmp_path / "home") as stack:
        port = {"AQUATINT_API_PORT": str(stack.settings.api_port)}
        event = stack.event(1, "a green lamp on a white background") | {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
        (tmp_path / "event.json").write_text(json.dumps(event))
        submitted = aquatint(tmp_path / "home", "submit", str(tmp_path / "event.json"), "--wait", **port)
        stack.wait_until_settled(1)
        (job,) = stack.rows("SELECT id, traceparent FROM job")
        deliveries = stack.rows("SELECT traceparent FROM delivery")
        shown = aquatint(tmp_path / "home", "status", job.id, **port)
        image = stack.rows("SELECT id FROM image")[0].id
        picture = httpx.get(httpx.get(f"{stack.api}/v1/images/{image}").json()["url"])
        event["data"]["webhook"]["url"] = "http://169.254.169.254/latest"
        refused = stack.post("/v1/events", event | {"id": "other"})

    assert 0 == submitted.returncode, submitted.stdout + submitted.stderr
    assert '"completed"' in shown.stdout
    assert all(row.traceparent and trace in row.traceparent for row in deliveries)
    assert picture.content.startswith(b"\x89PNG")
    assert (422, "address_refused", "webhook.url") == (refused.status_code, refused.json()["code"], refused.json()["field"])
