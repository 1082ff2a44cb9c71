"""Fourth step: captions anew from an endpoint, where one is given; then pictures without any caption are left out."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from models.curation.caption_endpoint import CaptionEndpoint, Outcome, Rewrite
from models.curation.decode import decode
from models.curation.index import Item
from models.curation.inspection import read_picture
from models.curation.places import Place
from models.curation.reasons import Reason, Refused
from models.curation.run import Run
from models.curation.settings import CurationSettings

STEP, EMPTY_STEP = "rewrite", "captions"


def rewrite_captions(run: Run) -> None:
    """Each answer is kept at once: a run that goes on asks for none a second time."""
    endpoint = run.tools.endpoint
    if endpoint is None:
        if run.settings.rewrite.url:
            run.note(STEP, "No captions were rewritten: the endpoint was not opened.")
        return
    with run.step(STEP) as needed:
        if not needed:
            return
        total = run.index.one("SELECT count(*) FROM item WHERE reason IS NULL")
        done = run.index.one("SELECT count(*) FROM item WHERE reason IS NULL AND rewrite IS NOT NULL")
        endpoint.budget.requests += run.index.fact("requests") or 0
        endpoint.budget.tokens += run.index.fact("tokens") or 0
        for item, result in _answers(run, endpoint):
            with run.index.transaction():
                _record(run, item, result)
                run.index.set_fact("requests", endpoint.budget.requests)
                run.index.set_fact("tokens", endpoint.budget.tokens)
            done += 1
            run.at(STEP, done, total)


def _answers(run: Run, endpoint: CaptionEndpoint) -> Iterator[tuple[Item, Rewrite]]:
    """In order, with a few questions under way at once."""
    ask = _asking(endpoint, run.source.place, run.settings)
    waiting: deque[tuple[Item, Future[Rewrite]]] = deque()
    with ThreadPoolExecutor(run.settings.rewrite.concurrency) as threads:
        try:
            for item in run.index.items("reason IS NULL AND rewrite IS NULL"):
                waiting.append((item, threads.submit(ask, item)))
                if len(waiting) >= 2 * run.settings.rewrite.concurrency:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


def _asking(endpoint: CaptionEndpoint, place: Place, settings: CurationSettings) -> Callable[[Item], Rewrite]:
    def ask(item: Item) -> Rewrite:
        pixels = None
        if settings.rewrite.show_picture:
            try:
                data = read_picture(place, item.piece, settings.read.max_bytes)
                pixels = decode(data, item.name, settings.read, within=settings.rewrite.picture_side).pixels
            except Refused:
                return Rewrite(outcome=Outcome.FAILED)  # that it changed shows again when it is written
        return endpoint.rewrite(item.caption, pixels)

    return ask


def _record(run: Run, item: Item, result: Rewrite) -> None:
    run.index.execute("UPDATE item SET rewrite = ? WHERE id = ?", (result.outcome.value, item.id))
    if result.outcome is Outcome.REWRITTEN:
        run.index.execute(
            "UPDATE item SET caption = ?, caption_source = 'endpoint' WHERE id = ?", (result.caption, item.id)
        )


def drop_without_caption(run: Run) -> None:
    """Leaves out what has no caption, unless the settings or a source without any say otherwise."""
    with run.step(EMPTY_STEP) as needed:
        if not needed:
            return
        empty = run.settings.captions.empty
        if empty == "auto":
            some = run.index.one("SELECT 1 FROM item WHERE caption_original <> '' OR caption <> '' LIMIT 1")
            empty = "drop" if some else "keep"
            if not some:
                run.note(EMPTY_STEP, "No picture of this source has a caption; all were kept without.")
        if empty == "drop":
            with run.index.transaction():
                run.index.execute(
                    "UPDATE item SET reason = ?, detail = CASE caption_original WHEN '' THEN 'none given' ELSE 'nothing left after cleaning' END "
                    "WHERE reason IS NULL AND caption = ''",
                    (Reason.NO_CAPTION.value,),
                )


def outcomes(run: Run) -> Counter[str]:
    """How often each outcome came of asking."""
    return Counter(
        {
            row[0]: row[1]
            for row in run.index.rows(
                "SELECT rewrite, count(*) FROM item WHERE rewrite IS NOT NULL GROUP BY rewrite"
            )
        }
    )
