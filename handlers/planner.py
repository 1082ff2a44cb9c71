"""From a request to rows: which model, which sizes, which seeds, and what is known already."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from sqlalchemy import Connection

from handlers.attachments import Attachments, FindAdapter, ResolveInput, attach, check_features
from handlers.notices import job_ended_at_once
from handlers.variations import REFUSED, TOO_LONG, Shot, Variations
from handlers.wording import check_words, descriptions_json, prompt_as_alt, word_plan
from schemas.description import Description, DescriptionPlan
from schemas.errors import OutOfRange, PromptRefused, ScreenMissing, Unsupported
from schemas.ids import new_id
from schemas.input_image import JudgedInput
from schemas.model_offer import ModelOffer
from schemas.outcome import ImageBlocked, ImageRendered
from schemas.render_spec import RenderSpec, derive_seed
from schemas.request import MAX_SEED, Format, GenerationRequest, parse_size
from schemas.states import ImageState
from schemas.verdict import Decision, Verdict
from storage.ledger import images, jobs, kept_inputs, rotations
from storage.ledger.images import LANES, NewImage
from storage.ledger.jobs import NewJob
from storage.ledger.rotations import Turn
from storage.ledger.tables import NO_DEADLINE

#: Quality when none is asked for; named in the spec, so that a change of it names other images.
_DEFAULT_QUALITY: dict[Format, int] = {"jpeg": 90, "webp": 90, "avif": 80}
#: Webhooks of a whole job make no sense for each row of a manifest: its batch has one summary.
_JOB_EVENTS = frozenset({"job.completed", "job.progress", "batch.completed", "batch.progress"})


class PromptScreen(Protocol):
    """`safety.prompt_screen.PromptScreen`, or its twin in a test."""

    def check(self, prompt: str, negative_prompt: str = "") -> Verdict: ...


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a request comes from, as far as its rows should say."""

    tenant: str
    #: What the row is called across runs (a SKU): images that are given no seed take theirs from it.
    row_key: str | None = None
    recipe: str | None = None
    #: What is known of the picture in words, beyond the request; None = nothing.
    words: DescriptionPlan | None = None
    batch: str | None = None
    row: int | None = None
    traceparent: str | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The rows that one request becomes."""

    job: NewJob
    images: tuple[NewImage, ...]
    #: Digests of the pictures that its images need.
    pictures: frozenset[str] = frozenset()
    #: Turns that its shots have taken in rotations.
    turns: tuple[Turn, ...] = ()


def _no_inputs(_tenant: str, _reference: str, _policy_digest: str) -> JudgedInput:
    raise Unsupported("pictures cannot be brought here")


@dataclass(frozen=True, kw_only=True)
class Planner:
    """What planning needs to know; no I/O of its own but through its ports."""

    #: The models that may be asked for, by name.
    offers: Mapping[str, ModelOffer]
    default_model: str
    screen: PromptScreen
    policy: str
    policy_digest: str
    #: The planner of the policy that a tenant's request names, or of the tenant's own; raises Unsupported. None where
    #: there is this one policy alone.
    by_policy: Callable[[str, str | None], Planner] | None = None
    #: Raises AddressRefused for a webhook address that may not be called.
    check_webhook: Callable[[str], object] = lambda url: url
    #: The picture in words, in each language that was asked for.
    describe: Callable[[DescriptionPlan], tuple[Description, ...]] = prompt_as_alt
    #: What is added to prompts about people, for tenants that turned it on.
    variations: Variations | None = None
    #: Told of many prompts and negative prompts that are about to be shaped, for a screen that asks services about them.
    look_ahead: Callable[[Iterable[tuple[str, str]]], None] = lambda _pairs: None
    #: Tokens of a prompt under the model of that name; more than its offer allows cannot be drawn.
    count_tokens: Callable[[str, str], int] = lambda _model, _prompt: 0
    #: The picture that a tenant's request names, kept safe when it returns; BadInput for one that cannot be used.
    resolve_input: ResolveInput = _no_inputs
    #: What a tenant's adapter name stands for now.
    find_adapter: FindAdapter = lambda _tenant, _name: None

    def shape(self, request: GenerationRequest, origin: Origin, now: float) -> Plan:
        """The job and images of a request, screened; typed errors name the field and its limit.

        A refused prompt is an error for a single request. In a manifest it becomes a job whose images are blocked:
        the customer then finds the row, its verdict and its counts in the results, where a bare row error would say
        neither which pictures are missing nor why.
        """
        if self.by_policy is not None:
            return self.by_policy(origin.tenant, request.policy).shape(request, origin, now)
        offer = self._offer(request)
        sizes = _sizes(request, offer)
        _check(request, offer, self.policy, now)
        check_features(request, offer)
        if request.webhook is not None and origin.batch is None:
            self.check_webhook(request.webhook.url)
        self._check_length(request, offer)
        verdict = self._screened(request, origin)
        blocked = verdict.decision is not Decision.ALLOW
        words = word_plan(request, origin.words)
        check_words(self.screen.check, words)
        said = self.describe(words)
        shots = self._shots(request, origin, offer, blocked)
        brought = attach(
            request,
            origin.tenant,
            offer,
            policy_digest=self.policy_digest,
            resolve_input=self.resolve_input,
            find_adapter=self.find_adapter,
        )
        job_id = new_id("job")
        specs = list(self._specs(request, origin, offer, sizes, brought, shots))
        copies = _copy_keys(request, specs)
        # Sorted, because ids of one millisecond are in no order, and a job's images are listed by their ids.
        ids = sorted(new_id("img") for _ in specs)
        texts = descriptions_json(said)
        refused = verdict if blocked else None
        made = tuple(
            _image(
                id, job_id, spec, copy, request, origin, refused, now, said[0], texts, shots[shot].variation_json
            )
            for id, (shot, spec), copy in zip(ids, specs, copies, strict=True)
        )
        job = _job(job_id, request, origin, verdict, brought.verdicts, made, now)
        turns = tuple(shot.turn for shot in shots if shot.turn is not None)
        return Plan(job=job, images=made, pictures=brought.pictures, turns=turns)

    def _offer(self, request: GenerationRequest) -> ModelOffer:
        name = request.model or self.default_model
        if name not in self.offers:
            raise Unsupported(f"there is no model {name!r} here", field="model", limit=sorted(self.offers))
        return self.offers[name]

    def _check_length(self, request: GenerationRequest, offer: ModelOffer) -> None:
        for field in ("prompt", "negative_prompt"):
            tokens = self.count_tokens(offer.name, getattr(request, field))
            if tokens > offer.max_prompt_tokens:
                raise OutOfRange(
                    f"{tokens} tokens for model {offer.name}", field=field, limit=offer.max_prompt_tokens
                )

    def _screened(self, request: GenerationRequest, origin: Origin) -> Verdict:
        verdict = self.screen.check(request.prompt, request.negative_prompt)
        if verdict.decision is Decision.ERROR:
            # Not the customer's fault, so it must not end as a blocked image: the caller tries again later.
            raise ScreenMissing("the prompt could not be checked", field="prompt")
        if verdict.decision is not Decision.ALLOW and origin.batch is None:
            raise PromptRefused(
                f"not allowed by policy {verdict.policy}: {', '.join(verdict.reasons)}",
                field="prompt",
                limit=verdict.policy,
                reasons=verdict.reasons,
            )
        return verdict

    def _shots(
        self, request: GenerationRequest, origin: Origin, offer: ModelOffer, blocked: bool
    ) -> Sequence[Shot]:
        """The prompt of each shot, after what fairness adds; what is added is screened and counted like what was asked."""
        if self.variations is None or blocked:
            if request.fairness not in (None, "off"):
                raise Unsupported("fairness is not turned on here", field="fairness", limit=["off"])
            return (Shot(prompt=request.prompt),) * request.n

        def unfit(prompt: str) -> str:
            if self.count_tokens(offer.name, prompt) > offer.max_prompt_tokens:
                return TOO_LONG
            allowed = self.screen.check(prompt, request.negative_prompt).decision is Decision.ALLOW
            return "" if allowed else REFUSED

        return self.variations.of(
            request, tenant=origin.tenant, recipe=origin.recipe, row_key=origin.row_key, unfit=unfit
        )

    def _specs(
        self,
        request: GenerationRequest,
        origin: Origin,
        offer: ModelOffer,
        sizes: Sequence[tuple[int, int]],
        brought: Attachments,
        shots: Sequence[Shot],
    ) -> Iterator[tuple[int, RenderSpec]]:
        output = request.output
        quality = None if output.format == "png" else output.quality or _DEFAULT_QUALITY[output.format]
        for width, height in sizes:
            for shot in range(request.n):
                yield (
                    shot,
                    RenderSpec(
                        model=offer.name,
                        model_digest=offer.digest,
                        prompt=shots[shot].prompt,
                        negative_prompt=request.negative_prompt,
                        seed=_seed(request, origin, shot),
                        width=width,
                        height=height,
                        steps=request.steps or offer.default_steps,
                        guidance=offer.default_guidance if request.guidance is None else request.guidance,
                        format=output.format,
                        quality=quality,
                        policy_digest=self.policy_digest,
                        **brought.spec_fields,
                    ),
                )


def _sizes(request: GenerationRequest, offer: ModelOffer) -> list[tuple[int, int]]:
    offered = [f"{width}x{height}" for width, height in offer.sizes]
    wanted = request.size or (offered[0],)
    for size in wanted:
        if size not in offered:
            raise OutOfRange(f"model {offer.name} does not draw {size}", field="size", limit=offered)
    return [parse_size(size) for size in dict.fromkeys(wanted)]


def _check(request: GenerationRequest, offer: ModelOffer, policy: str, now: float) -> None:
    if request.steps is not None and request.steps > offer.max_steps:
        raise OutOfRange(f"{request.steps} steps", field="steps", limit=offer.max_steps)
    if request.policy not in (None, policy):
        raise Unsupported(f"there is no policy {request.policy!r} here", field="policy", limit=[policy])
    for field in ("start_by", "finish_by"):
        moment: datetime | None = getattr(request, field)
        if moment is not None and moment.timestamp() <= now:
            raise OutOfRange(f"{moment.isoformat()} has passed", field=field, limit="a moment in the future")


def _seed(request: GenerationRequest, origin: Origin, shot: int) -> int:
    if request.seed is not None:
        return (request.seed + shot) % (MAX_SEED + 1)
    return derive_seed(origin.tenant, origin.recipe or "", origin.row_key or request.prompt, shot)


def _copy_keys(request: GenerationRequest, specs: Sequence[tuple[int, RenderSpec]]) -> list[str | None]:
    """The customer's own key of each image, with `{shot}` and `{size}` filled in."""
    template = request.output.key
    if template is None:
        return [None] * len(specs)
    keys = [
        template.replace("{shot}", str(shot + 1)).replace("{size}", f"{spec.width}x{spec.height}")
        for shot, spec in specs
    ]
    if len(set(keys)) < len(keys):
        raise OutOfRange(
            "several images would have this key: put {shot} and {size} into it",
            field="output.key",
            limit="one image per key",
        )
    return list(keys)


def _image(
    id: str,
    job: str,
    spec: RenderSpec,
    copy_key: str | None,
    request: GenerationRequest,
    origin: Origin,
    blocked: Verdict | None,
    now: float,
    main: Description,
    descriptions: str,
    variation: str | None,
) -> NewImage:
    name = spec.digest
    moments = [moment.timestamp() for moment in (request.finish_by, request.start_by) if moment is not None]
    outcome = ImageBlocked(image=id, digest=name, verdict=blocked) if blocked else None
    return NewImage(
        id=id,
        tenant=origin.tenant,
        job=job,
        batch=origin.batch,
        lane=LANES.index(request.lane),
        batch_key=spec.batch_key,
        digest=name,
        spec=spec.model_dump_json(),
        alt=main.alt,
        lang=main.lang,
        descriptions=descriptions,
        fairness=variation,
        copy_key=copy_key,
        deadline=moments[0] if moments else NO_DEADLINE,
        # What can no longer be finished in time need not be started either.
        start_by=min(moments, default=None),
        created_at=now,
        state=ImageState.BLOCKED.value if outcome else ImageState.PLANNED.value,
        result=outcome.model_dump_json() if outcome else None,
        ended_at=now if outcome else None,
    )


def _as_json(verdicts: Sequence[Verdict]) -> str | None:
    return json.dumps([one.model_dump(mode="json") for one in verdicts]) if verdicts else None


def _job(
    id: str,
    request: GenerationRequest,
    origin: Origin,
    verdict: Verdict,
    of_pictures: Sequence[Verdict],
    made: Sequence[NewImage],
    now: float,
) -> NewJob:
    webhook = request.webhook
    events = (
        [event for event in webhook.events if origin.batch is None or event not in _JOB_EVENTS]
        if webhook
        else []
    )
    return NewJob(
        id=id,
        tenant=origin.tenant,
        batch=origin.batch,
        row=origin.row,
        row_key=origin.row_key,
        recipe=origin.recipe,
        # Equal for equal findings, so that it is parsed once for many images.
        prompt_verdict=verdict.timeless().model_dump_json(),
        upload_verdicts=_as_json(of_pictures),
        total=len(made),
        webhook_url=webhook.url if webhook and events else None,
        webhook_events=json.dumps(events) if webhook and events else None,
        metadata=json.dumps(request.metadata),
        traceparent=origin.traceparent,
        created_at=now,
    )


def write(conn: Connection, plans: Sequence[Plan], now: float) -> list[Plan]:
    """Insert the rows of plans of one tenant; an image that the tenant has had rendered before is rendered at once.

    Returns the plans as they were written.
    """
    if not plans:
        return []
    wanted = [one.digest for plan in plans for one in plan.images if one.state == ImageState.PLANNED]
    known = images.rendered_before(conn, tenant=plans[0].job.tenant, digests=wanted) if wanted else {}
    written = [_counted(plan, known, now) for plan in plans]
    jobs.add(conn, [plan.job for plan in written])
    images.add(conn, [one for plan in written for one in plan.images])
    rotations.keep(conn, [turn for plan in written for turn in plan.turns])
    for plan in written:
        kept_inputs.need(conn, plan.job.tenant, plan.job.batch or plan.job.id, plan.pictures)
    for plan in written:
        if plan.job.ended_at is not None and plan.job.webhook_url is not None:
            row = jobs.get(conn, tenant=plan.job.tenant, id=plan.job.id)
            assert row is not None
            job_ended_at_once(conn, row, now)
    return written


def plan_request(
    conn: Connection, planner: Planner, request: GenerationRequest, origin: Origin, now: float
) -> Plan:
    """Shape and write one request in the caller's transaction."""
    return write(conn, [planner.shape(request, origin, now)], now)[0]


def _counted(plan: Plan, known: Mapping[str, str], now: float) -> Plan:
    made = tuple(_reused(one, known[one.digest], now) if one.digest in known else one for one in plan.images)
    rendered = sum(one.state == ImageState.RENDERED for one in made)
    blocked = sum(one.state == ImageState.BLOCKED for one in made)
    ended = rendered + blocked
    if not ended:
        return plan
    job = replace(
        plan.job,
        rendered=rendered,
        blocked=blocked,
        sequence=ended + 1,
        ended_at=now if ended == plan.job.total else None,
    )
    return replace(plan, job=job, images=made)


def _reused(one: NewImage, result: str, now: float) -> NewImage:
    """The image as rendered, unless its customer wants an additional copy that only a worker can make."""
    outcome = ImageRendered.model_validate_json(result)
    if one.state != ImageState.PLANNED or one.copy_key not in (None, outcome.stored.copy_key):
        return one
    stored = outcome.stored.model_copy(update={"reused": True, "copy_key": one.copy_key})
    again = outcome.model_copy(update={"image": one.id, "stored": stored})
    return replace(one, state=ImageState.RENDERED.value, result=again.model_dump_json(), ended_at=now)
