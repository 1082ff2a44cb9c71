"""Settings come from the environment, and a mistake is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.environment import MASK, as_environment, effective, load_settings, settings_table
from deploy.generate import settings_page
from schemas.errors import BadSettings
from schemas.settings import Settings


def test_an_unknown_variable_is_an_error_with_a_suggestion() -> None:
    """A misspelt setting is refused instead of ignored, and the likely one is named."""
    with pytest.raises(BadSettings, match="did you mean AQUATINT_BROKER_URL"):
        load_settings({"AQUATINT_BROKERURL": "x"}, None)


def test_a_bad_value_names_its_variable() -> None:
    """The error of a bad value carries the variable and the limit in words."""
    with pytest.raises(BadSettings) as caught:
        load_settings({"AQUATINT_WORKERS": "0"}, None)

    assert "AQUATINT_WORKERS" == caught.value.field
    assert "greater than or equal to 1" in caught.value.detail


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """A `.env` file gives defaults that the environment overrides."""
    (tmp_path / ".env").write_text("AQUATINT_WORKERS=3\nAQUATINT_API_PORT=9\nOTHER=1\n")

    settings = load_settings({"AQUATINT_API_PORT": "11"}, tmp_path / ".env")

    assert (3, 11) == (settings.workers, settings.api_port)


def test_secrets_are_masked_when_shown() -> None:
    """`aquatint config` never prints a token or a key."""
    settings = load_settings({"AQUATINT_SECRET_KEY": "hush-hush", "AQUATINT_API_TOKENS": "tok-1=acme"}, None)

    shown = effective(settings)

    assert MASK == shown["AQUATINT_SECRET_KEY"] == shown["AQUATINT_API_TOKENS"]
    assert not any("hush" in text or "tok-1" in text for text in shown.values())


def test_settings_survive_the_way_to_a_child_process() -> None:
    """What a parent passes on by environment loads as equal settings."""
    settings = load_settings(
        {
            "AQUATINT_SECRET_KEY": "k",
            "AQUATINT_API_TOKENS": "a=b,c=d",
            "AQUATINT_WEBHOOK_ALLOW": "127.0.0.1/32:*,10.0.0.0/8:443",
            "AQUATINT_UPLOAD_WEBHOOK_EVENTS": "image.rendered,batch.completed",
            "AQUATINT_RECIPES": "somewhere",
        },
        None,
    )

    assert settings == load_settings(as_environment(settings), None)


def test_an_open_address_needs_tokens() -> None:
    """Listening for other machines without tokens is refused."""
    with pytest.raises(BadSettings, match="AQUATINT_API_TOKENS"):
        load_settings({"AQUATINT_API_HOST": "0.0.0.0"}, None)


def test_every_setting_is_explained() -> None:
    """The table names every field with a sentence."""
    table = settings_table()

    assert all(
        f"`AQUATINT_{name.upper()}`" in table and field.description
        for name, field in Settings.model_fields.items()
    )


def test_the_settings_page_is_current() -> None:
    """docs/SETTINGS.md is what `make generated` writes."""
    page = Path(__file__).parents[3] / "docs" / "SETTINGS.md"

    assert settings_page() == page.read_text(encoding="utf-8")
