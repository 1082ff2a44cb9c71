"""axe-core in headless Chromium: what a browser finds on a page. Nothing of either is part of Aquatint.

axe-core (MPL-2.0) is fetched once with npm into a cache outside the repository, and checked by its digest.
"""

from __future__ import annotations

import hashlib
import html
import json
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from shown_pages import as_script

from services import absent

AXE = "axe-core@4.11.0"
AXE_SHA256 = "e9e5863c33a874f09bc01acd9234b7e3c871479f5eef8802fa582544465e6d01"
PATIENCE_SECONDS = 240
#: WCAG 2.2 AA and everything below it.
_TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
_RESULT = re.compile(r'<pre id="axe-result">(.*?)</pre>', re.DOTALL)


def chromium() -> str:
    """The browser; skips the test where there is none."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    return found or absent("chromium", "chromium")


def axe_script() -> str:
    """axe.min.js, from the cache or by npm; skips the test where neither is to be had."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "aquatint" / AXE / "axe.min.js"
    if not cache.is_file():
        _fetch(cache)
    data = cache.read_bytes()
    assert hashlib.sha256(data).hexdigest() == AXE_SHA256, f"{cache} is not {AXE}: delete it"
    return data.decode()


def _fetch(cache: Path) -> None:
    npm = shutil.which("npm") or absent("npm, which fetches axe-core", "npm")
    cache.parent.mkdir(parents=True, exist_ok=True)
    call = [npm, "pack", AXE, "--silent", "--pack-destination", str(cache.parent)]
    done = subprocess.run(call, capture_output=True, timeout=PATIENCE_SECONDS, cwd=cache.parent, check=False)
    packed = next(cache.parent.glob("*.tgz"), None)
    if done.returncode or packed is None:
        if os.environ.get("REQUIRE_SERVICES") == "1":
            pytest.fail(f"npm could not fetch {AXE}", pytrace=False)
        pytest.skip(f"npm could not fetch {AXE}, and it is not in {cache.parent}")
    with tarfile.open(packed) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        draft = cache.with_suffix(".part")
        draft.write_bytes(member.read())
        draft.replace(cache)


def violations(page: str, width: int, folder: Path) -> list[dict[str, Any]]:
    """What axe-core finds on the page when it is `width` px wide; it is opened from a file, and nothing is fetched.

    The page stands in a frame: no window of the browser is narrower than 500 px.
    """
    run = (
        "addEventListener('load', () => axe.run(document, "
        f"{{runOnly: {as_script(list(_TAGS))}, resultTypes: ['violations']}}).then(found => parent.postMessage(JSON.stringify("
        "{width: innerWidth, wide: document.documentElement.scrollWidth > innerWidth, violations: found.violations.map("
        "one => ({id: one.id, help: one.help, nodes: one.nodes.map(node => node.html.slice(0, 200))}))}), '*')));"
    )
    scripts = f"<script>{axe_script()}</script><script>{run}</script>"
    (folder / "page.html").write_text(page.replace("</body>", f"{scripts}</body>"), "utf-8")
    told = json.loads(html.unescape(_shown(width, folder)))
    assert told["width"] == width, f"the page was shown {told['width']} px wide"
    if told["wide"]:
        told["violations"].append({"id": "reflow", "help": f"wider than {width} px (1.4.10)", "nodes": []})
    return list(told["violations"])


def _shown(width: int, folder: Path) -> str:
    """What the page in its frame says to the page around it."""
    around = (
        '<!doctype html><meta charset="utf-8"><pre id="axe-result"></pre><script>addEventListener("message", '
        'told => { document.getElementById("axe-result").textContent = told.data; });</script>'
        f'<iframe src="page.html" style="width: {width}px; height: 900px; border: 0"></iframe>'
    )
    file = folder / "around.html"
    file.write_text(around, "utf-8")
    call = [
        chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={folder / 'profile'}",
        f"--window-size={width + 100},1000", "--virtual-time-budget=20000", "--timeout=60000", "--dump-dom", file.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(call, capture_output=True, timeout=PATIENCE_SECONDS, check=False)
    found = _RESULT.search(done.stdout.decode())
    assert found is not None and found[1], f"the browser told nothing: {done.stderr.decode()[-500:]}"
    return found[1]
