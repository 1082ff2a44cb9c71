"""The home folder: one secret, one stack, and recipes that mean one thing."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.home import InUse, master_secret, prepare_home, sole_stack
from deploy.recipe_book import BUILT_IN, load_recipes
from schemas.errors import BadSettings, NotFound
from schemas.settings import Settings

ROOT = Path(__file__).parents[3]
MAKE_SECRET = """
import sys
from pathlib import Path
from deploy.home import master_secret, prepare_home
from schemas.settings import Settings
s = Settings(home=Path(sys.argv[1]))
print(master_secret(s, prepare_home(s)).hex())
"""


def test_processes_that_start_together_agree_on_the_secret(tmp_path: Path) -> None:
    """The secret is made once, whoever comes first, and only its owner can read it."""
    started = [
        subprocess.Popen([sys.executable, "-c", MAKE_SECRET, str(tmp_path / "home")], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    secrets = {process.communicate()[0].strip() for process in started}

    assert 1 == len(secrets)
    assert 64 == len(secrets.pop())
    assert 0o600 == stat.S_IMODE((tmp_path / "home" / "secret.key").stat().st_mode)
    assert 0 == (tmp_path / "home").stat().st_mode & 0o077


def test_a_short_secret_is_refused(tmp_path: Path) -> None:
    """A master secret that could be guessed is refused with the limit."""
    settings = Settings.model_validate({"home": tmp_path, "secret_key": "short"})

    with pytest.raises(BadSettings) as caught:
        master_secret(settings, prepare_home(settings))

    assert ("AQUATINT_SECRET_KEY", 24) == (caught.value.field, caught.value.limit)


def test_hosts_that_share_a_ledger_share_the_secret(tmp_path: Path) -> None:
    """With a ledger of its own address no host makes up a secret: webhooks of the others would not verify."""
    settings = Settings.model_validate({"home": tmp_path, "ledger_url": "postgresql://db/aquatint"})

    with pytest.raises(BadSettings, match="every host"):
        master_secret(settings, prepare_home(settings))


def test_one_stack_per_home(tmp_path: Path) -> None:
    """A second stack is refused while the first one lives, and welcome afterwards."""
    home = prepare_home(Settings(home=tmp_path))
    with sole_stack(home), pytest.raises(InUse, match="another Aquatint"), sole_stack(home):
        pass
    with sole_stack(home):
        assert (tmp_path / "stack.lock").read_text().isdigit()


def recipe(**changes: object) -> str:
    values = {"name": "shop", "version": 1, "prompt": "a {thing}", "slots": {"thing": {}}}
    return json.dumps(values | changes)


def test_a_name_alone_means_the_newest_version(tmp_path: Path) -> None:
    """`shop` is the newest, `shop@1` stays what it was; an unknown one is named with what there is."""
    (tmp_path / "one.json").write_text(recipe())
    (tmp_path / "two.json").write_text(recipe(version=2, prompt="one {thing}"))
    book = load_recipes(tmp_path)

    assert (2, 1) == (book.get("shop").version, book.get("shop@1").version)
    assert "catalogue@1" == book.get("catalogue").ref
    with pytest.raises(NotFound, match="shop@1"):
        book.get("shop@3")


def test_a_version_means_one_thing(tmp_path: Path) -> None:
    """Two different recipes under one version are refused, and a bad file is named with its field."""
    (tmp_path / "one.json").write_text(recipe())
    (tmp_path / "two.json").write_text(recipe(prompt="another {thing}"))
    with pytest.raises(BadSettings, match="defined twice"):
        load_recipes(tmp_path)

    (tmp_path / "two.json").write_text(recipe(version=0))
    with pytest.raises(BadSettings, match=r"two\.json: version"):
        load_recipes(tmp_path)


def test_built_in_recipes_load() -> None:
    """Every recipe that ships is valid."""
    assert len(list(BUILT_IN.glob("*.json"))) == len(list(load_recipes(None)))
