"""What a frozen text encoder says to each caption, asked once and kept as shards under the encoder's digest.

    WORK/texts/<encoder digest>/<shard>.safetensors

A shard holds the states of all its captions one after the other, float16 (sum of T, D), the `lengths` (N,) and the
`digests` of the captions (N, 32).
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from accelerate import PartialState
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoTokenizer, T5EncoderModel

from models.card import file_sha256
from models.curation.samples import read_samples
from models.errors import ModelError
from models.training.phase import Batch
from models.training.progress import say
from models.training.recipe import Recipe, ShardData, TextShape, TextStage
from models.training.texts import TextSource

_FOLDER = "texts"


class CaptionMissing(ModelError):
    """A caption was not encoded before training; run the stage of kind texts."""


class FrozenTexts(TextSource):
    """Looks captions up; nothing in it is trained."""

    def __init__(self, folder: Path) -> None:
        torch.nn.Module.__init__(self)
        self._shards = [load_file(path) for path in sorted(folder.glob("*.safetensors"))]
        self._places: dict[bytes, tuple[int, int, int]] = {}
        for number, shard in enumerate(self._shards):
            starts = np.cumsum([0, *shard["lengths"].tolist()])
            for row, digest in enumerate(shard["digests"].numpy()):
                self._places[digest.tobytes()] = (number, int(starts[row]), int(starts[row + 1]))

    @classmethod
    def open(cls, work: Path, shape: TextShape) -> Self:
        """The cache of the encoder the recipe names."""
        return cls(cache_folder(work, shape))

    def prepare(self, captions: Sequence[str]) -> Batch:
        """{"text": (B, T, D), "text_mask": int64 (B, T)}, padded to the longest; raises `CaptionMissing`."""
        states = [self._states(caption) for caption in captions]
        text = torch.nn.utils.rnn.pad_sequence(states, batch_first=True).float()  # (B, T, D)
        lengths = torch.tensor([len(state) for state in states])
        return {"text": text, "text_mask": (torch.arange(text.shape[1]) < lengths[:, None]).long()}

    def encode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What `prepare` found."""
        return batch["text"], batch["text_mask"]

    def parts(self) -> dict[str, torch.nn.Module]:
        """None."""
        return {}

    def _states(self, caption: str) -> Tensor:
        place = self._places.get(caption_digest(caption))
        if place is None:
            raise CaptionMissing("a caption is not in the cache of texts: run the stage of kind texts again")
        shard, start, end = place
        return self._shards[shard]["states"][start:end]


def encode_texts(recipe: Recipe, stage: TextStage, work: Path) -> None:
    """Encode the captions of the data, the empty one and the sample prompts, those that are not in the cache yet."""
    shape, data = recipe.networks.text_encoder, recipe.data
    assert shape.folder is not None
    assert isinstance(data, ShardData)
    state = PartialState(cpu=not torch.cuda.is_available())
    folder = cache_folder(work, shape)
    known = _known(folder)
    captions = ["", *recipe.sample_prompts, *(sample.caption for sample in read_samples(work / data.folder))]
    wanted = sorted({text for text in captions if caption_digest(text) not in known})
    mine = wanted[state.process_index :: state.num_processes]
    tokenizer = AutoTokenizer.from_pretrained(work / shape.folder / "tokenizer", local_files_only=True)
    encoder = T5EncoderModel.from_pretrained(work / shape.folder / "text_encoder", local_files_only=True)
    encoder = encoder.to(state.device).eval()
    for start in range(0, len(mine), stage.shard_rows):
        rows = mine[start : start + stage.shard_rows]
        states = [
            row
            for first in range(0, len(rows), stage.encode_batch)
            for row in _encode(encoder, tokenizer, rows[first : first + stage.encode_batch], shape.max_tokens)
        ]
        _write(folder, rows, states)
        say(f"{stage.name}: {start + len(rows)} of {len(mine)} captions")
    state.wait_for_everyone()


def cache_folder(work: Path, shape: TextShape) -> Path:
    """Where the answers of the encoder a recipe names are kept: under the digest of its files and the length of a text."""
    assert shape.folder is not None
    total = hashlib.sha256(f"{shape.max_tokens}".encode())
    for part in ("tokenizer", "text_encoder"):
        for path in sorted((work / shape.folder / part).iterdir()):
            total.update(f"{part}/{path.name} {file_sha256(path)}\n".encode())
    return work / _FOLDER / total.hexdigest()[:16]


def caption_digest(caption: str) -> bytes:
    """sha256 of a caption."""
    return hashlib.sha256(caption.encode()).digest()


def _known(folder: Path) -> set[bytes]:
    found: set[bytes] = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "np") as shard:
            found.update(row.tobytes() for row in shard.get_tensor("digests"))
    return found


@torch.no_grad()  # type: ignore[untyped-decorator]
def _encode(
    encoder: T5EncoderModel, tokenizer: "AutoTokenizer", captions: Sequence[str], max_tokens: int
) -> Iterable[Tensor]:
    batch = tokenizer(
        list(captions), padding="longest", truncation=True, max_length=max_tokens, return_tensors="pt"
    ).to(encoder.device)
    states = encoder(batch.input_ids, attention_mask=batch.attention_mask)[0].half().cpu()  # (B, T, D)
    return [row[: int(length)] for row, length in zip(states, batch.attention_mask.sum(1), strict=True)]


def _write(folder: Path, captions: Sequence[str], states: Sequence[Tensor]) -> None:
    digests = [caption_digest(caption) for caption in captions]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(b''.join(digests)).hexdigest()[:16]}.safetensors"
    draft = path.with_suffix(".writing")
    tensors = {
        "states": torch.cat(list(states)).contiguous(),
        "lengths": torch.tensor([len(row) for row in states]),
        "digests": torch.from_numpy(np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32).copy()),
    }
    save_file(tensors, draft)
    draft.replace(path)
