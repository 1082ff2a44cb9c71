"""The home folder of an installation: where the embedded parts live, and the master secret."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import BadSettings, OperatorError
from schemas.settings import Settings

MIN_SECRET_BYTES = 24


@dataclass(frozen=True, kw_only=True)
class Home:
    """Paths below the home folder, which exists."""

    path: Path

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def certificates(self) -> Path:
        """Of this installation's own signatures, when the operator brings no certificate."""
        return self.path / "certificates"

    @property
    def key_file(self) -> Path:
        return self.path / "secret.key"

    @property
    def previous_key_file(self) -> Path:
        return self.path / "secret.key.previous"


class InUse(OperatorError):
    """Another stack is running in this home folder."""

    code = "in_use"


@contextmanager
def sole_stack(home: Home) -> Iterator[None]:
    """Hold the home folder for one stack: two would take each other's uploads. Freed by the kernel if we die."""
    path = home.path / "stack.lock"
    with path.open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise InUse(f"another Aquatint is running in {home.path} (process {file.read().strip() or 'unknown'})") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def prepare_home(settings: Settings) -> Home:
    """The home folder, made if needed; BadSettings when it cannot be."""
    home = Home(path=settings.home.absolute())
    try:
        # Prompts lie in the ledger and the queue: nobody else on this machine needs to read them.
        home.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (home.logs, home.runs):
            folder.mkdir(exist_ok=True)
    except OSError as error:
        raise BadSettings(f"the home folder {home.path} cannot be made: {error.strerror}", field="AQUATINT_HOME") from error
    return home


def master_secret(settings: Settings, home: Home) -> bytes:
    """The secret under all signatures: from the settings, or made once and kept in the home folder."""
    given = settings.secret_key.get_secret_value().encode()
    if given:
        if len(given) < MIN_SECRET_BYTES:
            raise BadSettings(f"at least {MIN_SECRET_BYTES} characters", field="AQUATINT_SECRET_KEY", limit=MIN_SECRET_BYTES)
        return hashlib.sha256(given).digest()
    if settings.ledger_url:
        # A ledger that others share: every host must sign alike, and a key made here would be this host's alone.
        raise BadSettings("a shared ledger needs one secret on every host", field="AQUATINT_SECRET_KEY")
    if not home.key_file.exists():
        _make_key(home.key_file)
    return hashlib.sha256(home.key_file.read_bytes().strip()).digest()


def previous_secret(settings: Settings, home: Home) -> bytes | None:
    """The secret before `master_secret`, while `aquatint keys rotate` has not finished with it; None when there is none."""
    given = settings.previous_secret_key.get_secret_value().encode()
    if given:
        return hashlib.sha256(given).digest()
    if settings.secret_key.get_secret_value() or not home.previous_key_file.exists():
        return None
    return hashlib.sha256(home.previous_key_file.read_bytes().strip()).digest()


def begin_rotation(settings: Settings, home: Home) -> None:
    """Have a new secret with the one before beside it; BadSettings while this is left to the operator."""
    if settings.secret_key.get_secret_value():
        if not settings.previous_secret_key.get_secret_value():
            raise BadSettings("give the secret before this one as well", field="AQUATINT_PREVIOUS_SECRET_KEY")
        return
    with sole_stack(home):  # a running stack has the old secret in its memory
        if not home.previous_key_file.exists():
            master_secret(settings, home)  # makes one where there is none
            home.key_file.rename(home.previous_key_file)
        master_secret(settings, home)


def end_rotation(settings: Settings, home: Home) -> None:
    """Forget the secret before, where we keep it."""
    if not settings.secret_key.get_secret_value():
        home.previous_key_file.unlink(missing_ok=True)


def _make_key(path: Path) -> None:
    # Written whole under another name first: two processes that start together must agree on one key.
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(48))
        file.flush()
        os.fsync(file.fileno())
    with contextlib.suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()
