"""A fine-tune with nothing replaced: pictures in a store, real curation, real training, an adapter that can be served."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is part of the [train] extra")
pytest.importorskip("peft", reason="peft is part of the [train] extra")
pytest.importorskip("imagehash", reason="imagehash is part of the [train] extra")

import numpy as np
from pictures import as_file
from PIL import Image
from tiny_model import SIDE, write_tiny_model

from models.adapters import ADAPTER_FILE, WEIGHTS_FILE, read_adapter
from schemas.finetune import FinetuneSpec, FinetuneStage, FinetuneTask, Progress, Trained
from schemas.object_keys import adapter_key
from storage.objects.memory import MemoryStore
from workers.brand_pictures import Stores
from workers.finetune_run import run_finetune
from workers.model_tuner import ModelTuner

pytestmark = [pytest.mark.train, pytest.mark.timeout(1800)]


def test_pictures_become_an_adapter_that_can_be_served(tmp_path: Path) -> None:
    """Bad files and copies are left out with their reasons, the rest is learnt, and what is stored opens with the model."""
    card = write_tiny_model(tmp_path / "model")
    stores = Stores(uploads=MemoryStore(bucket="uploads"), results=MemoryStore(bucket="results"))
    rng = np.random.default_rng(0)
    for number in range(5):
        pixels = rng.integers(0, 255, (SIDE // 8, SIDE // 8, 3), dtype=np.uint8)
        stores.uploads.put(f"brand/{number}.png", as_file(Image.fromarray(pixels).resize((96, 96))))
        stores.uploads.put(f"brand/{number}.txt", b"a red mug on a white background")
    stores.uploads.put("brand/copy.png", stores.uploads.get("brand/0.png"))
    stores.uploads.put("brand/broken.png", b"\x89PNG\r\n\x1a\nbroken")
    spec = FinetuneSpec(
        name="acme",
        images=("uploads/brand/",),
        caption="{trigger}",
        trigger="acme style",
        model=card.name,
        base_digest=card.base_digest,
        rank=4,
        steps=3,
        minutes=None,
        seed=1,
    )
    task = FinetuneTask(
        finetune="fin_1", run="run_1", trainer="trn_1", tenant="default", good_until=0, spec=spec
    )
    (tmp_path / "scratch").mkdir()
    told: list[Progress] = []

    tuner = ModelTuner(tmp_path / "model", card, {"batch": 2, "prior_batch": 2, "base_checks": 0})
    outcome = run_finetune(
        task, tuner, stores, tmp_path / "scratch", tell=told.append, cancelled=lambda: False
    )

    assert isinstance(outcome, Trained), outcome
    assert (outcome.images.kept, sum(outcome.images.dropped.values()), outcome.steps) == (5, 2, 3)
    assert outcome.scores_before and outcome.scores_after
    assert list(dict.fromkeys(progress.stage for progress in told)) == list(FinetuneStage)
    files = {
        name: stores.results.get(adapter_key(outcome.adapter, name)) for name in (ADAPTER_FILE, WEIGHTS_FILE)
    }
    adapter = read_adapter(files[ADAPTER_FILE], files[WEIGHTS_FILE], card)
    assert (adapter.digest, adapter.rank, adapter.card.trigger) == (outcome.adapter, 4, ("acme style",))
    assert np.abs(adapter.up).max() > 0
