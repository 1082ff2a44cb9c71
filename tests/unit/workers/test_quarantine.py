"""What lies in quarantine can be read by nobody but us, and comes out as it went in."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from microbatches import a_task, a_verdict, a_way_out, keys, open_folder
from PIL import Image

from safety.allow_token import pixels_sha256
from safety.human_review import RELEASED, released
from schemas.errors import NotAllowed, ObjectMissing, SealBroken
from schemas.microbatch import ImageTask
from schemas.outcome import QuarantineRef
from schemas.receipt import Receipt, RenderedWith
from schemas.verdict import CategoryScore, Decision, Verdict
from storage.objects.directory import DirectoryStore
from storage.quarantine import PICTURE, PREVIEW, Vault
from workers.finishing import Candidate, Finishing
from workers.ports import Pixels
from workers.quarantine import PREVIEW_SIDE, Quarantine

MASTER = b"m" * 32
MADE_BY = RenderedWith(aquatint="1", runtime="null", precision="int8", device="cpu")


def review_of(task: ImageTask, *categories: str) -> Verdict:
    """A verdict that wants a person, under the task's own policy."""
    found = {name: CategoryScore(score=0.7, threshold=0.4, source="test") for name in categories}
    return a_verdict(Decision.REVIEW).model_copy(
        update={"categories": found, "policy_digest": task.spec.policy_digest}
    )


def stripes(width: int = 64, height: int = 64) -> Pixels:
    """One white column in four on black: what a blur must not leave to be seen."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, ::4] = 255
    return pixels


def a_quarantine(folder: Path, master: bytes = MASTER) -> tuple[Quarantine, Vault, DirectoryStore]:
    store = open_folder(folder)
    vault = Vault(store, master)
    return Quarantine(vault), vault, store


def test_a_held_picture_comes_out_as_it_went_in(tmp_path: Path) -> None:
    """Pixels, task, verdict and maker are the same; keeping it again keeps what was there first."""
    quarantine, _, store = a_quarantine(tmp_path)
    task, pixels = a_task(1, copy_key="shop/mug.png"), stripes()
    verdict = review_of(task, "spam_text")
    ref = quarantine.keep(task, pixels, verdict, rendered_with=MADE_BY)
    again = quarantine.keep(task, 255 - pixels, verdict, rendered_with=MADE_BY)
    facts, back = quarantine.take("default", ref)

    assert ref == again and ref.sha256 == pixels_sha256(pixels)
    assert (facts.task, facts.verdict, facts.rendered_with) == (task, verdict, MADE_BY)
    assert np.array_equal(back, pixels)
    assert all(key.startswith(f"quarantine/default/{task.image}/") for key in keys(store))


def test_nothing_of_it_lies_there_in_the_clear(tmp_path: Path) -> None:
    """No object is a picture or holds a word of the prompt, and another tenant's or installation's key opens none."""
    quarantine, vault, store = a_quarantine(tmp_path)
    task = a_task(1)
    ref = quarantine.keep(task, stripes(), review_of(task), rendered_with=MADE_BY)
    lying = [store.get(key) for key in keys(store)]

    assert len(lying) == 3
    assert not any(data.startswith(b"\x89PNG") or b"mug" in data or b"{" in data[:1] for data in lying)
    for tenant, master in (("other", MASTER), ("default", b"n" * 32)):
        with pytest.raises(SealBroken):
            Vault(store, master).open(tenant, ref.key, PICTURE)
    # Sealed for its place: one picture cannot be laid where another was held.
    store.put(f"{ref.key}x/{PICTURE}", store.get(f"{ref.key}/{PICTURE}"))
    with pytest.raises(SealBroken):
        vault.open("default", f"{ref.key}x", PICTURE)


def test_it_outlives_a_change_of_the_secret(tmp_path: Path) -> None:
    """With the secret before beside the new one everything opens; sealed anew, it opens with the new one alone."""
    quarantine, _, store = a_quarantine(tmp_path)
    task, new = a_task(1), b"n" * 32
    ref = quarantine.keep(task, stripes(), review_of(task), rendered_with=MADE_BY)
    both = Vault(store, new, MASTER)
    between = Quarantine(both).take("default", ref)[0].task
    moved = [both.seal_anew() for _ in range(2)]

    assert between == task and moved == [3, 0]
    assert Quarantine(Vault(store, new)).take("default", ref)[0].task == task


def test_the_preview_shows_no_detail(tmp_path: Path) -> None:
    """It is at most 256 pixels, and fine stripes are gone from it."""
    quarantine, vault, _ = a_quarantine(tmp_path)
    task = a_task(1)
    ref = quarantine.keep(task, stripes(640, 320), review_of(task, "spam_text"), rendered_with=MADE_BY)
    with Image.open(io.BytesIO(vault.open("default", ref.key, PREVIEW))) as preview:
        shown = np.asarray(preview.convert("L"), np.int32)

    assert ref.preview_key and preview.size == (PREVIEW_SIDE, PREVIEW_SIDE // 2)
    assert np.abs(np.diff(shown, axis=1)).max() <= 2


def test_the_hard_floor_keeps_no_preview(tmp_path: Path) -> None:
    """Not even a blurred view is kept of what may be on the hard floor."""
    quarantine, vault, _ = a_quarantine(tmp_path)
    task = a_task(1)
    ref = quarantine.keep(task, stripes(), review_of(task, "extremism"), rendered_with=MADE_BY)

    assert ref.preview_key is None
    with pytest.raises(ObjectMissing):
        vault.open("default", ref.key, PREVIEW)


def test_an_exchanged_picture_is_noticed(tmp_path: Path) -> None:
    """Only the picture that was reported is taken out, and a discarded one is gone."""
    quarantine, vault, store = a_quarantine(tmp_path)
    task = a_task(1)
    ref = quarantine.keep(task, stripes(), review_of(task), rendered_with=MADE_BY)
    with pytest.raises(SealBroken):
        quarantine.take("default", QuarantineRef(**{**vars(ref), "sha256": "0" * 64}))
    store.put(f"{ref.key}/{PICTURE}", b"x" * 100, if_absent=False)
    with pytest.raises(SealBroken):
        quarantine.take("default", ref)
    vault.discard(ref.key)
    vault.discard(ref.key)

    assert keys(store) == []
    with pytest.raises(ObjectMissing):
        quarantine.take("default", ref)


def test_a_released_picture_is_published_as_any_other(tmp_path: Path) -> None:
    """With a person's yes it passes the same permission and store, its receipt says so, and doing it twice changes nothing."""
    quarantine, _, _ = a_quarantine(tmp_path / "restricted")
    results = open_folder(tmp_path / "results")
    finishing = Finishing(way_out=a_way_out(lambda _tenant: results), stores=lambda _tenant: results)
    task, pixels = a_task(1, copy_key="shop/mug.png"), stripes()
    ref = quarantine.keep(task, pixels, review_of(task, "spam_text"), rendered_with=MADE_BY)
    facts, back = quarantine.take("default", ref)
    candidate = Candidate(pixels=back, sha256=ref.sha256, watermark=facts.watermark)
    with pytest.raises(NotAllowed):
        finishing.publish(facts.task, candidate, facts.verdict, facts.rendered_with)
    before = keys(results)
    outcomes = [
        finishing.publish(facts.task, candidate, released(facts.verdict), facts.rendered_with)
        for _ in range(2)
    ]
    receipt = Receipt.model_validate_json(results.get(outcomes[0].stored.receipt_key))
    with Image.open(io.BytesIO(results.get(outcomes[0].stored.key))) as picture:
        shown = np.asarray(picture.convert("RGB"))

    assert before == [] and outcomes[0].stored.sha256 == outcomes[1].stored.sha256
    assert np.array_equal(shown, pixels) and "shop/mug.png" in keys(results)
    assert receipt.verdicts[-1].decision is Decision.ALLOW and RELEASED in receipt.verdicts[-1].reasons
    assert receipt.verdicts[-1].checks[-1].name == "human_review"
