"""The guards and the similarity that the settings ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from schemas.errors import BadSettings
from schemas.settings import Settings

if TYPE_CHECKING:
    from safety.guards.desk import GuardDesk
    from safety.guards.port import Guard
    from safety.similarity import Similarity


def open_desk(settings: Settings, key: bytes) -> GuardDesk | None:
    """Where the guards are asked; None when there are none. `key` is a derived one: it names remembered answers."""
    if not settings.prompt_guards:
        return None
    from safety.guards.desk import GuardDesk

    return GuardDesk(
        [_guard(name, settings, key) for name in settings.prompt_guards],
        key=key,
        at_once=settings.prompt_guards_at_once,
    )


def open_similarity(settings: Settings) -> Similarity | None:
    """The similarity of the settings, its exemplars encoded; None without an encoder."""
    if settings.prompt_encoder is None:
        return None
    from safety.sentence_encoder import open_encoder
    from safety.similarity import Similarity, read_exemplars

    if not settings.prompt_encoder_sha256:
        raise BadSettings("the encoder needs its digest as well", field="AQUATINT_PROMPT_ENCODER_SHA256")
    encoder = open_encoder(settings.prompt_encoder, sha256=settings.prompt_encoder_sha256)
    return Similarity(encoder, read_exemplars(settings.prompt_exemplars))


def _guard(name: str, settings: Settings, key: bytes) -> Guard:
    if name not in _GUARDS:
        raise BadSettings(
            f"there is no prompt guard {name!r}", field="AQUATINT_PROMPT_GUARDS", limit=sorted(_GUARDS)
        )
    return _GUARDS[name](settings, key)


def _chat(settings: Settings, key: bytes) -> Guard:
    from safety.guards.chat_guard import ChatGuard

    _need(settings.prompt_guard_url, "AQUATINT_PROMPT_GUARD_URL")
    _need(settings.prompt_guard_model, "AQUATINT_PROMPT_GUARD_MODEL")
    return ChatGuard(
        url=settings.prompt_guard_url,
        model=settings.prompt_guard_model,
        key=settings.prompt_guard_key.get_secret_value(),
        fence_key=key,
        timeout_seconds=settings.prompt_guard_seconds,
    )


def _moderation(settings: Settings, _key: bytes) -> Guard:
    from safety.guards.moderation import ModerationGuard

    secret = settings.prompt_moderation_key.get_secret_value()
    _need(secret, "AQUATINT_PROMPT_MODERATION_KEY")
    return ModerationGuard(
        url=settings.prompt_moderation_url,
        model=settings.prompt_moderation_model,
        key=secret,
        timeout_seconds=settings.prompt_guard_seconds,
    )


def _bedrock(settings: Settings, _key: bytes) -> Guard:
    from safety.guards.bedrock import BedrockGuard, open_client

    guardrail, colon, version = settings.prompt_guardrail.rpartition(":")
    if not (guardrail and colon and version):
        raise BadSettings("write the guardrail as ID:VERSION", field="AQUATINT_PROMPT_GUARDRAIL")
    client = open_client(
        region=settings.prompt_guardrail_region, timeout_seconds=settings.prompt_guard_seconds
    )
    return BedrockGuard(client=client, guardrail=guardrail, version=version)


def _need(value: str, field: str) -> None:
    if not value:
        raise BadSettings("the prompt guard needs it", field=field)


_GUARDS: Mapping[str, Callable[[Settings, bytes], Guard]] = {
    "chat": _chat,
    "moderation": _moderation,
    "bedrock": _bedrock,
}
