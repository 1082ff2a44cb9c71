"""Turns accepted manifests into jobs, a few hundred rows per commit, and goes on where a killed process stopped."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice

import structlog
from pydantic import ValidationError

from handlers import refusals
from handlers.manifest import BadRow, Row, format_of, read_manifest
from handlers.planner import Origin, Plan, Planner, write
from handlers.recipes import Prepared, RecipeBook, column_of, from_cells, nested
from schemas.errors import AquatintError, BadInput, NotFound, OperatorError, Temporary, Unsupported
from schemas.problem import from_validation, problem
from schemas.recipe import Recipe
from schemas.request import GenerationRequest, Webhook
from schemas.states import Lane
from storage.ledger import batches
from storage.ledger.batches import RowError
from storage.ledger.engine import Ledger
from storage.ledger.sql import AnyRow
from storage.objects.reader import open_object
from storage.objects.store import ObjectStore

log = structlog.get_logger(__name__)

#: The name of the leader lock: two planners would not corrupt a batch, but read everything twice.
LOCK = "planner"


@dataclass(frozen=True, kw_only=True)
class ManifestParams:
    #: Rows and images of one commit: short enough that a releaser beside it never waits long.
    chunk_rows: int = 500
    chunk_images: int = 2000
    #: Pause between commits, in which other writers get their turn.
    pause_seconds: float = 0.005
    #: Manifests that are read at the same time.
    open_most: int = 8
    #: Pause after a store or the ledger refused, and how long after its acceptance a manifest is given up.
    retry_seconds: float = 2.0
    give_up_seconds: float = 3600.0


@dataclass(frozen=True, kw_only=True)
class _Chunk:
    """Consecutive rows of a manifest, planned or refused; `to` is the number of the last of them."""

    to: int
    plans: tuple[Plan, ...]
    errors: tuple[RowError, ...]


class ManifestPlanner:
    """Plans batches in turns, chunk by chunk, from the stores that hold their manifests (by bucket name)."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        planner: Planner,
        recipes: RecipeBook,
        stores: Mapping[str, ObjectStore],
        params: ManifestParams | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger, self._planner, self._recipes, self._stores, self._clock = (
            ledger,
            planner,
            recipes,
            stores,
            clock,
        )
        self.params = params or ManifestParams()
        #: Manifests being read, in the order of their turns, and those that must wait.
        self._reading: dict[str, Iterator[bool]] = {}
        self._not_before: dict[str, float] = {}

    def step(self) -> bool:
        """Commit the next chunk of the next open manifest, in turn; False when there is nothing to do now.

        A manifest whose store or screen refuses for reasons that its sender cannot change is tried again later, while
        the others go on; what was planned of it stays.
        """
        now = self._clock()
        with self._ledger.read() as conn:
            waiting = {row.id: row for row in batches.in_phase(conn, "planning")}
        for id in self._reading.keys() - waiting.keys():
            del self._reading[id]
        ready = [id for id in waiting if self._not_before.get(id, 0.0) <= now]
        for id in ready[: self.params.open_most]:
            self._reading.setdefault(id, self._plan(waiting[id]))
        turn = next((id for id in self._reading if id in ready), None)
        if turn is None:
            return False
        rows = self._reading.pop(turn)
        if self._advanced(waiting[turn], rows):
            self._reading[turn] = rows  # to the end of the line: a long manifest does not hold up a short one
        return True

    def _advanced(self, batch: AnyRow, rows: Iterator[bool]) -> bool:
        """Whether there is more to read after one more chunk."""
        try:
            # Not moved: canceled, or planned by somebody else. A next look at the ledger tells which.
            return next(rows)
        except StopIteration:
            self._close(batch, None)
        except (Temporary, OperatorError) as error:
            if self._clock() - batch.created_at >= self.params.give_up_seconds:
                self._close(batch, error)
            else:
                log.error("manifest_waits", batch=batch.id, error=error.code, actor=error.actor)
                self._not_before[batch.id] = self._clock() + self.params.retry_seconds
        except AquatintError as error:
            # The manifest as a whole is at fault: the rows before that run, and the batch says why there are no more.
            log.warning("manifest_refused", batch=batch.id, error=error.code)
            self._close(batch, error)
        return False

    def _close(self, batch: AnyRow, error: AquatintError | None) -> None:
        self._not_before.pop(batch.id, None)
        with self._ledger.begin() as conn:
            told = problem(error).model_dump_json() if error else None
            batches.planned(conn, id=batch.id, tenant=batch.tenant, error=told)

    def _plan(self, batch: AnyRow) -> Iterator[bool]:
        """Read on from the cursor; yields after every chunk whether it was ours to commit, and must not be asked on if not."""
        recipe = self._recipes.get(batch.recipe) if batch.recipe else None
        store = self._stores.get(batch.bucket)
        if store is None:
            raise NotFound(
                f"there is no bucket {batch.bucket!r} here", field="bucket", limit=sorted(self._stores)
            )
        cursor = batch.cursor
        with open_object(store, batch.key) as file:
            rows = read_manifest(file, format_of(batch.key), recipe)
            for chunk in self._chunks(batch, recipe, (row for row in rows if row.number > cursor)):
                moved = self._commit(batch, cursor, chunk)
                cursor = chunk.to
                yield moved

    def _chunks(self, batch: AnyRow, recipe: Recipe | None, rows: Iterator[Row | BadRow]) -> Iterator[_Chunk]:
        webhook = _webhook(batch)
        while True:
            plans: list[Plan] = []
            errors: list[RowError] = []
            to = images = 0
            read = [
                (row, self._read(batch, recipe, row, webhook)) for row in islice(rows, self.params.chunk_rows)
            ]
            # Guards of prompts are asked about the whole chunk at once: one after the other would take hours.
            self._planner.look_ahead(
                (one.request.prompt, one.request.negative_prompt)
                for _, one in read
                if isinstance(one, Prepared)
            )
            for place, (row, one) in enumerate(read, 1):
                to = row.number
                made = one if isinstance(one, RowError) else self._shaped(batch, recipe, row, one)
                if isinstance(made, RowError):
                    errors.append(made)
                    continue
                plans.append(made)
                images += len(made.images)
                if images >= self.params.chunk_images:
                    rows = chain([row for row, _ in read[place:]], rows)
                    break
            if not to:
                return
            yield _Chunk(to=to, plans=tuple(plans), errors=tuple(errors))

    def _read(
        self, batch: AnyRow, recipe: Recipe | None, row: Row | BadRow, webhook: Webhook | None
    ) -> Prepared | RowError:
        if isinstance(row, BadRow):
            return RowError(row=row.number, problem=problem(row.error).model_dump_json())
        try:
            return _prepared(recipe, row, webhook, own_form=_is_own_form(batch, recipe))
        except BadInput as error:
            return _refused(error, row.number, own_form=_is_own_form(batch, recipe))

    def _shaped(
        self, batch: AnyRow, recipe: Recipe | None, row: Row | BadRow, prepared: Prepared
    ) -> Plan | RowError:
        try:
            return self._planner.shape(prepared.request, _origin(prepared, batch, row.number), self._clock())
        except BadInput as error:
            return _refused(error, row.number, own_form=_is_own_form(batch, recipe))

    def _commit(self, batch: AnyRow, cursor: int, chunk: _Chunk) -> bool:
        """The rows, their errors and the cursor together; False when the batch was canceled or somebody else moved on."""
        now = self._clock()
        with self._ledger.begin() as conn:
            # The guard comes first: what follows is only added by whoever moves the cursor.
            images = sum(len(plan.images) for plan in chunk.plans)
            moved = batches.advance(
                conn,
                id=batch.id,
                cursor=cursor,
                to=chunk.to,
                jobs=len(chunk.plans),
                images=images,
                rejected=len(chunk.errors),
            )
            if moved:
                written = write(conn, chunk.plans, now)
                ended = {
                    state: sum(getattr(plan.job, state) for plan in written)
                    for state in ("rendered", "blocked")
                }
                batches.count(conn, id=batch.id, **ended)
                batches.add_row_errors(conn, batch_id=batch.id, tenant=batch.tenant, errors=chunk.errors)
                refusals.planned(conn, written, now)
        log.info(
            "planned", batch=batch.id, to_row=chunk.to, images=images, rejected=len(chunk.errors), moved=moved
        )
        return moved


def _webhook(batch: AnyRow) -> Webhook | None:
    if batch.webhook_url is None:
        return None
    return Webhook.model_validate({"url": batch.webhook_url, "events": json.loads(batch.webhook_events)})


def _is_own_form(batch: AnyRow, recipe: Recipe | None) -> bool:
    """Whether the rows are requests as they stand, so that their fields have the request's names."""
    return recipe is None and format_of(batch.key) == "jsonl"


def _refused(error: BadInput, number: int, *, own_form: bool) -> RowError:
    field = error.field if own_form else column_of(error.field)
    placed = type(error)(error.detail, field=field, limit=error.limit, row=number)
    return RowError(row=number, problem=problem(placed).model_dump_json())


def _prepared(recipe: Recipe | None, row: Row, webhook: Webhook | None, *, own_form: bool) -> Prepared:
    if not own_form:
        cells = {name: _text(value) for name, value in row.cells.items() if value is not None}
        return from_cells(recipe, cells, webhook, row=row.number)
    if "webhook" in row.cells:
        raise Unsupported("a manifest reports to the address of its trigger", field="webhook")
    try:
        request = GenerationRequest.model_validate(
            {**nested(row.cells), "lane": Lane.BULK, "webhook": webhook}
        )
    except ValidationError as invalid:
        raise from_validation(invalid) from None
    return Prepared(request=request, recipe=None, row_key=None)


def _text(value: object) -> str:
    """A JSON value as a cell would hold it."""
    if isinstance(value, list):
        return ";".join(_text(part) for part in value)
    if isinstance(value, dict) and value.keys() <= {"name", "weight"}:
        return ":".join(_text(value[name]) for name in ("name", "weight") if name in value)  # an adapter
    return value if isinstance(value, str) else json.dumps(value)


def _origin(prepared: Prepared, batch: AnyRow, number: int) -> Origin:
    return Origin(
        tenant=batch.tenant,
        row_key=prepared.row_key,
        recipe=prepared.recipe,
        words=prepared.words,
        batch=batch.id,
        row=number,
        traceparent=batch.traceparent,
    )


def run_manifest_planner(planner: ManifestPlanner, ledger: Ledger, stop: threading.Event) -> None:
    """Plan whatever is accepted, until told to stop, while this process holds the leader lock."""
    lock = ledger.lock(LOCK)
    try:
        while not stop.is_set():
            seen = ledger.version()
            try:
                if not lock.acquire():
                    stop.wait(1.0)
                elif lock.held() and planner.step():
                    stop.wait(planner.params.pause_seconds)
                else:
                    ledger.wait_for_change(1.0, since=seen)
            except AquatintError as error:
                log.error("planner_waits", error=error.code, actor=error.actor)
                stop.wait(planner.params.retry_seconds)
    finally:
        lock.release()
