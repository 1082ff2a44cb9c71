"""Writes the generated documents: JSON Schemas, AsyncAPI and OpenAPI in `schemas/`, and the table of settings in `docs/`.

Run ``python -m deploy.generate`` after a change of a message or route; a test fails until the result is committed.
"""

from __future__ import annotations

from pathlib import Path

import schemas
from deploy.environment import settings_table
from handlers.api.app import describe_api
from schemas.generate import as_text, documents


def all_documents() -> dict[str, str]:
    """File name, relative to `schemas/`, to its whole text."""
    return {**documents(), "openapi.json": as_text(describe_api().openapi())}


def write(folder: Path) -> list[str]:
    """Write what differs below `folder`; the names of the files that changed."""
    changed = []
    for name, text in all_documents().items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            changed.append(name)
    return changed


def settings_page() -> str:
    """docs/SETTINGS.md."""
    return (
        "# Settings\n\nEach is an environment variable or a line of a `.env` file; `aquatint config` prints the effective "
        "values. An unknown `AQUATINT_*` variable is an error.\n\n" + settings_table()
    )


def main() -> None:
    root = Path(schemas.__path__[0])
    for name in write(root):
        print(f"schemas/{name}")  # noqa: T201  (a command's output)
    (root.parent / "docs").mkdir(exist_ok=True)
    (root.parent / "docs" / "SETTINGS.md").write_text(settings_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
