"""Image screens of this installation: those below the home folder, and those that the settings name."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import BadSettings, ScreenMissing
from schemas.settings import Settings

if TYPE_CHECKING:
    from safety.image_screen import ImageScreen
    from safety.onnx_screen import ScreenFiles

MODEL, CARD, NOTE = "model.onnx", "model.json", "installed.json"
#: The entry that stands for the vision-language guard.
GUARD = "guard"
_ENTRY = re.compile(r"(?P<place>[^@]+)(?:@(?P<sha256>[0-9a-fA-F]{64}))?")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class InstalledScreen:
    """A classifier below the home folder."""

    name: str
    folder: Path
    model_sha256: str
    card_sha256: str

    def open(self, sha256: str | None = None) -> ImageScreen:
        """The classifier, self-tested; ScreenMissing when a file is not the one that was installed, or named."""
        from safety.onnx_screen import open_screen

        if _sha256(self.folder / CARD) != self.card_sha256:
            raise _swapped(self.name)
        if sha256 is not None and sha256.lower() != self.model_sha256:
            raise ScreenMissing(
                f"the installed image screen {self.name!r} has the digest {self.model_sha256}, not the configured one",
                field="image_screens",
            )
        known = _known_digests().get(self.name, self.model_sha256)
        if known != self.model_sha256:
            raise _swapped(self.name)
        return open_screen(self.folder / MODEL, sha256=known, card=self.folder / CARD)


def screens_folder(home: Path) -> Path:
    return home / "screens"


def keep_screen(home: Path, name: str, files: ScreenFiles) -> InstalledScreen:
    """Put a classifier below the home folder under that name; one that was there before is replaced as a whole."""
    if _NAME.fullmatch(name) is None or name == GUARD:
        raise BadSettings(f"{name!r} is no name for an image screen", field="name")
    folder = screens_folder(home)
    folder.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=folder))
    try:
        card = files.card.model_dump_json(indent=2).encode()
        (draft / MODEL).write_bytes(files.model)
        (draft / CARD).write_bytes(card)
        note = {"model_sha256": files.model_sha256, "card_sha256": hashlib.sha256(card).hexdigest()}
        (draft / NOTE).write_text(json.dumps(note, indent=2) + "\n", "utf-8")
        shutil.rmtree(folder / name, ignore_errors=True)
        draft.rename(folder / name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return find_screen(home, name)


def find_screen(home: Path, name: str) -> InstalledScreen:
    """The classifier that was installed under that name; ScreenMissing, saying how to install it."""
    folder = screens_folder(home) / name
    try:
        note = json.loads((folder / NOTE).read_bytes())
        return InstalledScreen(
            name=name, folder=folder, model_sha256=note["model_sha256"], card_sha256=note["card_sha256"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        raise ScreenMissing(
            f"there is no image screen {name!r} in {screens_folder(home)}: `aquatint safety install {name}`",
            field="image_screens",
        ) from None


def installed_screens(home: Path) -> list[InstalledScreen]:
    """All classifiers below the home folder, by name, whether the settings use them or not."""
    folder = screens_folder(home)
    found = (
        sorted(each.name for each in folder.iterdir() if _NAME.fullmatch(each.name))
        if folder.is_dir()
        else []
    )
    return [find_screen(home, name) for name in found]


def entries(settings: Settings) -> tuple[str, ...]:
    """What the settings name, the older single setting first."""
    single = settings.image_screen
    if single and settings.image_screen_sha256:
        single = f"{single}@{settings.image_screen_sha256}"
    return tuple(dict.fromkeys((*([single] if single else []), *settings.image_screens)))


def open_screens(settings: Settings, home: Path) -> tuple[ImageScreen, ...]:
    """Every screen that the settings name, open and self-tested; ScreenMissing or BadSettings for the first that is not."""
    opened = tuple(_open(settings, home))
    names = [screen.name for screen in opened]
    if len(set(names)) < len(names):
        raise BadSettings("two image screens have the same name", field="AQUATINT_IMAGE_SCREENS", limit=names)
    return opened


def _open(settings: Settings, home: Path) -> Iterator[ImageScreen]:
    from safety.screens.tiles import TiledScreen

    for entry in entries(settings):
        # A guard sees each picture once: it is asked several questions about each, over a network.
        yield open_guard(settings) if entry == GUARD else TiledScreen(_open_classifier(entry, home))


def _open_classifier(entry: str, home: Path) -> ImageScreen:
    from safety.onnx_screen import open_screen

    parsed = _ENTRY.fullmatch(entry)
    if parsed is None:
        raise BadSettings(f"{entry!r} is neither a name nor PATH@SHA256", field="AQUATINT_IMAGE_SCREENS")
    place, sha256 = parsed["place"], parsed["sha256"]
    if _NAME.fullmatch(place) and not place.endswith(".onnx"):
        return find_screen(home, place).open(sha256)
    if sha256 is None:
        raise BadSettings(
            f"the classifier {place} needs its digest as well: {place}@SHA256", field="AQUATINT_IMAGE_SCREENS"
        )
    return open_screen(Path(place).expanduser(), sha256=sha256)


def open_guard(settings: Settings) -> ImageScreen:
    """The vision-language guard of the settings; BadSettings when they do not say where it is."""
    from safety.screens.vlm_guard import VisionGuard, read_questions

    if not settings.image_guard_url or not settings.image_guard_model:
        raise BadSettings("the guard needs its endpoint and its model", field="AQUATINT_IMAGE_GUARD_URL")
    return VisionGuard(
        url=settings.image_guard_url,
        model=settings.image_guard_model,
        key=settings.image_guard_key.get_secret_value(),
        questions=read_questions(settings.image_guard_categories, settings.image_guard_questions),
    )


def _known_digests() -> dict[str, str]:
    """Of classifiers that become the same bytes on every machine: here no file beside them has to be believed."""
    from safety.screens import nsfwjs

    return {nsfwjs.NAME: nsfwjs.MODEL_SHA256}


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _swapped(name: str) -> ScreenMissing:
    return ScreenMissing(
        f"the files of the image screen {name!r} are not those that were installed: `aquatint safety install {name}`",
        field="image_screens",
    )
