"""The settings of an installation: one frozen object, parsed in `deploy/` and passed down."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from schemas.base import Frozen
from schemas.request import WebhookEvent


def _words(value: Any) -> Any:
    """A comma-separated environment variable as a list."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _pairs(value: Any) -> Any:
    """``"token=tenant,token2=tenant2"`` as a dict."""
    if not isinstance(value, str):
        return value
    pairs = [pair.partition("=") for pair in _words(value)]
    if any(not (equals and left and right) for left, equals, right in pairs):
        raise ValueError("write token=tenant pairs, separated by commas")
    return {left: right for left, _, right in pairs}


Events = Annotated[tuple[WebhookEvent, ...], BeforeValidator(_words)]
Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
Tokens = Annotated[dict[str, str], BeforeValidator(_pairs)]


class Settings(Frozen):
    """Every field is an environment variable `AQUATINT_<NAME>` or a line of a `.env` file."""

    home: Path = Field(Path(".aquatint"), description="Folder of the embedded ledger, queue, objects, uploads and logs.")
    ledger_url: str = Field("", description="SQLAlchemy URL of the ledger; empty = SQLite in the home folder.")
    broker_url: str = Field("", description="kombu URL of the broker; empty = SQLite in the home folder.")
    results_store: str = Field("", description="Folder or s3://bucket/prefix of the results; empty = a folder in the home folder.")
    uploads_store: str = Field("", description="Folder or s3://bucket/prefix of the uploads; empty = a watched folder in the home folder.")
    uploads_queue_url: str = Field("", description="SQS queue that receives the S3 notifications of the uploads bucket.")
    s3_endpoint_url: str = Field("", description="Endpoint of an S3-compatible store; empty = Amazon S3.")
    s3_region: str = Field("", description="Region of S3 and SQS; empty = what the AWS SDK finds.")
    api_host: str = Field("127.0.0.1", description="Address the HTTP API listens on.")
    api_port: int = Field(8632, ge=0, le=65535, description="Port of the HTTP API; 0 = any free one.")
    public_url: str = Field("", description="How customers reach the API, for signed links; empty = host and port.")
    api_tokens: Tokens = Field(default_factory=dict, description="token=tenant pairs; without any, only this machine may call.", json_schema_extra={"secret": True})
    notification_token: SecretStr = Field(SecretStr(""), description="Token in the address to which an S3-compatible store pushes its notifications.")
    secret_key: SecretStr = Field(SecretStr(""), description="Master secret of webhook signatures and signed links; the same on every host; empty = a file made in the home folder, for one host alone.")
    model: str = Field("", description="Folder of the model; empty = the starter model that comes with Aquatint.")
    runtime: Literal["onnx", "torch"] = Field("onnx", description="What runs the model.")
    precision: Literal["int8", "fp32"] = Field("int8", description="Precision of the transformer.")
    policy: Literal["strict", "standard"] = Field("strict", description="Safety policy of requests that name none.")
    rule_packs: Path | None = Field(None, description="Folder of further rule packs (*.json) for prompts, besides the built-in ones.")
    image_screen: str = Field("", description="ONNX classifier of pictures, with its card beside it; open-domain models need one.")
    image_screen_sha256: str = Field("", description="SHA-256 of that classifier; another file is refused.")
    recipes: Path | None = Field(None, description="Folder of recipe files (*.json) besides the built-in ones.")
    upload_recipe: str = Field("catalogue", description="Recipe of manifests that land in the uploads store.")
    upload_tenant: str = Field("default", description="Tenant of manifests that land in the uploads store.")
    upload_webhook_url: str = Field("", description="Where to report on manifests that land in the uploads store.")
    upload_webhook_events: Events = Field(("batch.completed",), description="Webhook events for uploaded manifests.")
    webhook_allow: Words = Field((), description="Private networks that webhooks may reach, as NETWORK/BITS:PORT, e.g. 10.1.0.0/16:443; none by default.")
    dispatch: Literal["celery", "modal"] = Field("celery", description="Where microbatches are rendered: Celery workers, or the deployed Modal app.")
    workers: int = Field(1, ge=1, le=64, description="Worker processes that `aquatint up` starts.")
    finetuning: Literal["auto", "on", "off"] = Field("auto", description="Whether fine-tunes are accepted: auto = where the [train] extra is installed, on = trainers run on other hosts.")
    trainers: int = Field(1, ge=0, le=8, description="Trainer processes that `aquatint up` starts where the [train] extra is installed.")
    worker_threads: int = Field(3, ge=1, le=64, description="Microbatches a worker handles at once; one renders, the others fetch and store.")
    microbatch: int = Field(8, ge=1, le=64, description="Most images in one microbatch.")
    outcomes_secret: SecretStr = Field(SecretStr(""), description="Secret with which workers on Modal sign their reports; empty = none are accepted.")
    heartbeat_seconds: float = Field(5.0, gt=0, description="Pause between a worker's heartbeats; three missed put its work back.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    caption_url: str = Field("", description="OpenAI-compatible endpoint, e.g. http://127.0.0.1:8000/v1, that `aquatint curate` asks for better captions; empty = rules alone.")
    caption_model: str = Field("", description="Model at that endpoint.")
    caption_key: SecretStr = Field(SecretStr(""), description="Key of that endpoint.")
    sentry_dsn: SecretStr = Field(SecretStr(""), description="Sentry project for error reports; empty = none.")
    environment: str = Field("production", description="Environment name in error reports.")

    @model_validator(mode="after")
    def _open_to_others_needs_tokens(self) -> Settings:
        if self.api_host not in ("127.0.0.1", "::1", "localhost") and not self.api_tokens:
            raise ValueError(f"api_host {self.api_host} is reachable from other machines: set AQUATINT_API_TOKENS as well")
        return self

    @property
    def resolved_ledger_url(self) -> str:
        return self.ledger_url or f"sqlite:///{self.home.absolute() / 'ledger.db'}"

    @property
    def resolved_broker_url(self) -> str:
        # Quoted, since a URL is taken apart at '#', '?' and '%'; with a host, since Celery warns about URLs without.
        return self.broker_url or f"aquatint-sqlite://localhost{quote(str(self.home.absolute() / 'queue.db'))}"

    @property
    def resolved_results_store(self) -> str:
        return self.results_store or str(self.home.absolute() / "objects")

    @property
    def resolved_uploads_store(self) -> str:
        return self.uploads_store or str(self.home.absolute() / "uploads")

    @property
    def resolved_public_url(self) -> str:
        return (self.public_url or f"http://{self.api_host}:{self.api_port}").rstrip("/")
