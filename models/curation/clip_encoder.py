"""Image-text similarity by open_clip, with weights that lie on this machine; nothing is ever downloaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from models.curation.decode import Pixels
from models.curation.encoders import Cut, Scores
from models.curation.settings import OutlierSettings
from models.errors import ModelCorrupt, ModelNotFound, RuntimeMissing

LOCAL = "local-dir:"


@dataclass(frozen=True, kw_only=True)
class ClipEncoder:
    """A dual encoder (Radford et al. 2021, arXiv:2103.00020): the score is the cosine of both embeddings."""

    name: str
    side: int
    model: Any
    preprocess: Callable[[Image.Image], Any]
    tokenizer: Callable[[list[str]], Any]
    device: str
    batch: int

    @property
    def default_cut(self) -> Cut:
        # Cosines are not comparable between models, so no number fits all; a share does.
        return Cut(percentile=5.0)

    @classmethod
    def open(cls, settings: OutlierSettings) -> ClipEncoder:
        """From a model name and a weights file, or from `local-dir:FOLDER` as open_clip itself writes it."""
        place = require_clip(settings)
        import open_clip

        local = settings.model.startswith(LOCAL)
        try:
            model, _, preprocess = open_clip.create_model_and_transforms(
                settings.model, pretrained=None if local else str(place), device=settings.device
            )
            tokenizer = open_clip.get_tokenizer(settings.model)
        except (RuntimeError, ValueError, KeyError, OSError) as error:
            raise ModelCorrupt(
                str(place), f"not the weights of {settings.model} ({type(error).__name__})"
            ) from error
        model.eval()
        size = model.visual.image_size
        return cls(
            name=f"open-clip {settings.model} {place.name}",
            side=max(size) if isinstance(size, tuple) else int(size),
            model=model,
            preprocess=preprocess,
            tokenizer=tokenizer,
            device=settings.device,
            batch=settings.batch,
        )

    def similarity(self, pictures: Sequence[Pixels], captions: Sequence[str]) -> Scores:
        """Cosines (N,)."""
        parts = [
            self._cosines(pictures[start : start + self.batch], captions[start : start + self.batch])
            for start in range(0, len(pictures), self.batch)
        ]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _cosines(self, pictures: Sequence[Pixels], captions: Sequence[str]) -> Scores:
        import torch

        with torch.inference_mode():
            seen = torch.stack([self.preprocess(Image.fromarray(picture)) for picture in pictures])
            images = self.model.encode_image(seen.to(self.device), normalize=True)  # (B, D)
            texts = self.model.encode_text(self.tokenizer(list(captions)).to(self.device), normalize=True)
            return np.asarray((images * texts).sum(-1).float().cpu(), np.float64)


def require_clip(settings: OutlierSettings) -> Path:
    """Where the weights lie; raises ModelNotFound or RuntimeMissing without loading them."""
    given = Path(settings.model.removeprefix(LOCAL)) if settings.model.startswith(LOCAL) else settings.weights
    if given is None or not given.exists():
        raise ModelNotFound(
            f"{given or settings.model}: open-clip weights are not there; nothing is downloaded"
        )
    try:
        import open_clip  # noqa: F401
    except (ImportError, RuntimeError) as error:  # torchvision of another build than torch raises the latter
        raise RuntimeMissing(f"open-clip cannot be loaded ({error}): pip install open-clip-torch") from None
    return given
