"""The settings of an installation: one frozen object, parsed in `deploy/` and passed down."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from schemas.base import Frozen
from schemas.provenance import TrainingUse
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
    restricted_store: str = Field("", description="Folder or s3://bucket/prefix that no tenant can reach: pictures held for review, sealed, and daily roots of the audit log; empty = beside the results.")
    uploads_queue_url: str = Field("", description="SQS queue that receives the S3 notifications of the uploads bucket.")
    s3_endpoint_url: str = Field("", description="Endpoint of an S3-compatible store; empty = Amazon S3.")
    s3_region: str = Field("", description="Region of S3 and SQS; empty = what the AWS SDK finds.")
    api_host: str = Field("127.0.0.1", description="Address the HTTP API listens on.")
    api_port: int = Field(8632, ge=0, le=65535, description="Port of the HTTP API; 0 = any free one.")
    public_url: str = Field("", description="How customers reach the API, for signed links; empty = host and port.")
    api_tokens: Tokens = Field(default_factory=dict, description="token=tenant pairs; without any, only this machine may call.", json_schema_extra={"secret": True})
    reviewer_tokens: Tokens = Field(default_factory=dict, description="token=reviewer pairs of those who decide about held pictures; reviewer@tenant for one who sees that tenant's alone.", json_schema_extra={"secret": True})
    reviewer_token: SecretStr = Field(SecretStr(""), description="Token with which `aquatint review` calls the API; empty = the first of reviewer_tokens.")
    review_hours: float = Field(72.0, gt=0, description="Time for a review; a picture that nobody has released by then is blocked.")
    quarantine_days: int = Field(30, ge=0, description="How long pictures that were not released stay in quarantine, unless their policy says otherwise; hard-floor cases stay until somebody discards them.")
    abuse: Literal["auto", "on", "off"] = Field("auto", description="Whether tenants are throttled, then suspended, for what is refused to them: auto = where API tokens tell tenants apart.")
    abuse_window_minutes: int = Field(60, ge=1, le=1440, description="Window over which refusals are counted.")
    abuse_throttle_refusals: int = Field(20, ge=1, description="Fewest refusals in the window before a tenant is throttled.")
    abuse_throttle_rate: float = Field(0.2, gt=0, le=1, description="Share of what a tenant asks for that must have been refused before it is throttled.")
    abuse_throttled_per_minute: int = Field(6, ge=1, description="Requests a throttled tenant may make in a minute, per API process.")
    abuse_suspend_refusals: int = Field(100, ge=1, description="Fewest refusals in the window before a tenant is suspended.")
    abuse_suspend_rate: float = Field(0.5, gt=0, le=1, description="Share that must have been refused before a tenant is suspended.")
    notification_token: SecretStr = Field(SecretStr(""), description="Token in the address to which an S3-compatible store pushes its notifications.")
    secret_key: SecretStr = Field(SecretStr(""), description="Master secret of webhook signatures and signed links; the same on every host; empty = a file made in the home folder, for one host alone.")
    previous_secret_key: SecretStr = Field(SecretStr(""), description="The master secret before this one, until `aquatint keys rotate` has wrapped the tenants' keys anew.")
    prompt_days: float = Field(30.0, ge=0, le=3650, description="Days after which the words of what has ended (prompts, alt texts, metadata, webhook bodies) are dropped from the ledger.")
    model: str = Field("", description="Folder of the model; empty = the starter model that comes with Aquatint.")
    runtime: Literal["onnx", "torch"] = Field("onnx", description="What runs the model.")
    precision: Literal["int8", "fp32"] = Field("int8", description="Precision of the transformer.")
    policy: str = Field("strict", description="Safety policy of requests that name none: strict, standard, or one of your own.")
    policies: Path | None = Field(None, description="Folder of your own safety policies (*.toml, *.json), each with a built-in or another one as its base.")
    policy_floor: str = Field("standard", description="Policy that no other may be laxer than; the hard floor lies below it and cannot be moved.")
    tenant_policies: Path | None = Field(None, description="TOML or JSON table of tenant to the policies it may ask for, its own first; * = every other tenant; empty = all may ask for any.")
    rule_packs: Path | None = Field(None, description="Folder of further rule packs (*.json) for prompts, besides the built-in ones.")
    prompt_guards: Words = Field((), description="Services that judge prompts besides the rules, any of chat (Llama Guard and the like), moderation (OpenAI's endpoint), bedrock (a guardrail of Amazon Bedrock).")
    prompt_guard_url: str = Field("", description="Address of the chat guard's API, up to and with /v1.")
    prompt_guard_model: str = Field("", description="Model that the chat guard's API serves.")
    prompt_guard_key: SecretStr = Field(SecretStr(""), description="Key of the chat guard's API.")
    prompt_moderation_url: str = Field("https://api.openai.com/v1", description="Address of the moderation API, up to and with /v1.")
    prompt_moderation_model: str = Field("omni-moderation-latest", description="Model of the moderation API.")
    prompt_moderation_key: SecretStr = Field(SecretStr(""), description="Key of the moderation API.")
    prompt_guardrail: str = Field("", description="Guardrail of Amazon Bedrock as ID:VERSION.")
    prompt_guardrail_region: str = Field("", description="AWS region of the guardrail; empty = what the AWS SDK finds.")
    prompt_guard_seconds: float = Field(2.0, gt=0, le=60, description="Time for one answer of a prompt guard; it is asked twice at most.")
    prompt_guards_at_once: int = Field(16, ge=1, le=256, description="Most prompts about which guards are asked at the same time, for manifests.")
    prompt_encoder: Path | None = Field(None, description="Folder of a MiniLM-class sentence encoder (model.safetensors, tokenizer.json, config.json): prompts that resemble an exemplar are looked at by the guards, or held for review.")
    prompt_encoder_sha256: str = Field("", description="SHA-256 of that encoder's weights; others are refused.")
    prompt_exemplars: Path | None = Field(None, description="JSON file of exemplars per category; empty = the built-in ones.")
    image_screen: str = Field("", description="ONNX classifier of pictures, with its card beside it; open-domain models need one.")
    image_screen_sha256: str = Field("", description="SHA-256 of that classifier; another file is refused.")
    image_screens: Words = Field((), description="Further image screens, in order: installed names (`aquatint safety install`), NAME@SHA256, PATH.onnx@SHA256, or guard.")
    hash_lists: Path | None = Field(None, description="Folder of perceptual-hash lists (*.txt, *.csv, *.jsonl with PDQ or pHash) of pictures that may neither come in nor go out.")
    decoders: int = Field(4, ge=1, le=32, description="Most pictures of customers that a process decodes at the same time, each in a confined process of its own.")
    fetch_inputs: Literal["https", "off"] = Field("https", description="Whether requests may name pictures by address: https = from public addresses, off = not at all.")
    fetch_allow: Words = Field((), description="Private networks from which pictures may be fetched, as NETWORK/BITS:PORT; none by default.")
    avif_inputs: bool = Field(False, description="Whether requests may bring AVIF pictures, too.")
    input_days: float = Field(30.0, ge=1, le=3650, description="Days after which a kept picture that no request has named since, and nothing open needs, is removed.")
    input_quota_count: int = Field(10_000, ge=1, description="Most pictures that a tenant may have sent or fetched at a time.")
    input_quota_bytes: int = Field(20_000_000_000, ge=1, description="Most bytes of such pictures, as they are kept.")
    upload_screening: Literal["required", "installed"] = Field("required", description="Pictures that requests bring: required = refused unless all that the policy requires is screened; installed = what is installed is enough, and verdicts say so.")
    image_guard_url: str = Field("", description="OpenAI-compatible endpoint of a vision-language guard, e.g. http://127.0.0.1:8000/v1; used where image_screens names guard.")
    image_guard_model: str = Field("", description="Model at that endpoint, e.g. google/shieldgemma-2-4b-it.")
    image_guard_key: SecretStr = Field(SecretStr(""), description="Key of that endpoint.")
    image_guard_categories: Words = Field(("sexual", "violence_graphic", "hate_symbols"), description="Categories the guard is asked about, one question each.")
    image_guard_questions: Path | None = Field(None, description="JSON file with the guard's own policy text per category; empty = the built-in texts.")
    c2pa: Literal["on", "off"] = Field("on", description="Whether pictures are signed (C2PA); off is said in every receipt.")
    c2pa_certificate: str = Field("", description="PEM chain of the signing certificate, leaf first: a file, or the text itself; empty = a self-signed one, made in the home folder.")
    c2pa_key: SecretStr = Field(SecretStr(""), description="Its unencrypted PEM key on P-256: a file, or the text itself.")
    c2pa_timestamp_url: str = Field("", description="Time stamp authority (RFC 3161) asked for each signature; empty = none.")
    c2pa_training: TrainingUse = Field("not_allowed", description="What the manifest says about training other models with the picture.")
    watermark_encoder: str = Field("", description="TrustMark encoder as PATH@SHA256 (ONNX); empty = no watermark, and the second machine-readable mark is missing.")
    watermark_decoder: str = Field("", description="TrustMark decoder as PATH@SHA256 (ONNX), which finds the watermark again.")
    fairness: Path | None = Field(None, description="JSON file of tenants and their fairness rules, as docs/fairness.md describes; without it prompts about people stay as they are.")
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
    def resolved_restricted_store(self) -> str:
        """Beside the results; below them only where they fill a whole bucket, under a prefix that no tenant may name."""
        if self.restricted_store or not self.results_store:
            return self.restricted_store or str(self.home.absolute() / "restricted")
        place = self.results_store.rstrip("/")
        whole_bucket = place.startswith("s3://") and "/" not in place.removeprefix("s3://")
        return f"{place}/restricted" if whole_bucket else f"{place}-restricted"

    @property
    def resolved_uploads_store(self) -> str:
        return self.uploads_store or str(self.home.absolute() / "uploads")

    @property
    def resolved_public_url(self) -> str:
        return (self.public_url or f"http://{self.api_host}:{self.api_port}").rstrip("/")
