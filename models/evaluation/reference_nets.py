"""FID, KID, Inception Score and CLIP score with the reference networks a user brings, through torchmetrics.

No weights are fetched. Without the reference networks these figures do not exist: ours on small nets have other names.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import ModelNotFound, RuntimeMissing, TooFewSamples
from models.evaluation.distances import Floats, cosine_similarities
from models.evaluation.judgement import Pictures

_BATCH = 16
_KID_SUBSETS = 50
_KID_LARGEST_SUBSET = 100


def inception_figures(weights: Path, pictures: Pictures, real: Pictures) -> dict[str, Any]:
    """FID (Heusel et al. 2017), KID (Binkowski et al. 2018) and Inception Score (Salimans et al. 2016).

    Args:
        weights: the FID Inception net, as a TorchScript file (`.pt`) or as torch-fidelity's state dict (`.pth`, which
            needs the package torch-fidelity). A TorchScript net takes uint8 (B, 3, H, W) and gives features, or features
            and logits, or follows the convention of StyleGAN's file (`return_features`, `no_output_bias`).
        pictures, real: generated and real pictures (H, W, 3) of one size.

    Returns:
        The figures with all counts; the Inception Score only where the net gives logits.

    Raises:
        RuntimeMissing: torch, torchmetrics or torch-fidelity is not installed.
        ModelNotFound: there is no such file.
        TooFewSamples: FID needs at least as many pictures as features.
    """
    if not weights.is_file():
        raise ModelNotFound(f"{weights}: no such weights")
    metrics = _torchmetrics()
    features, logits = _open_inception(weights)
    fid = metrics.fid.FrechetInceptionDistance(feature=features)
    size, least = int(fid.real_features_sum.shape[0]), min(len(pictures), len(real))
    if least < size:
        raise TooFewSamples(
            f"FID on {size} features needs at least {size} pictures of each kind, not {least}"
        )
    subset = min(_KID_LARGEST_SUBSET, least)
    kid = metrics.kid.KernelInceptionDistance(feature=features, subsets=_KID_SUBSETS, subset_size=subset)
    _feed([fid, kid], pictures, real)
    mean, deviation = kid.compute()
    figures = {
        "weights": weights.name, "count": len(pictures), "real_count": len(real), "features": size,
        "FID": float(fid.compute()), "KID": float(mean), "KID_deviation": float(deviation),
    }  # fmt: skip
    if logits is not None:
        score = metrics.inception.InceptionScore(feature=logits, splits=1)
        for batch in _batches(pictures):
            score.update(batch)
        figures["inception_score"] = float(score.compute()[0])
    return figures


def clip_score(place: str, pictures: Pictures, prompts: Sequence[str]) -> dict[str, Any]:
    """CLIP score: mean of 100 max(cos(picture, prompt), 0), after Hessel et al. 2021 (arXiv:2104.08718).

    Args:
        place: a CLIP model folder of transformers, or for open_clip `local-dir:FOLDER` or `MODEL:WEIGHTS_FILE`.
        pictures, prompts: in the same order.

    Raises:
        RuntimeMissing: torch, transformers or open_clip is not installed.
        ModelNotFound: there is no such folder or file.
    """
    cosines = (_transformers_cosines if Path(place).is_dir() else _open_clip_cosines)(
        place, pictures, prompts
    )
    return {
        "weights": Path(place.rpartition(":")[2]).name,
        "count": len(pictures),
        "CLIP_score": float(100 * cosines.clip(0).mean()),
    }


def _transformers_cosines(place: str, pictures: Pictures, prompts: Sequence[str]) -> Floats:
    if not (Path(place) / "config.json").is_file():
        raise ModelNotFound(f"{place}: no CLIP model folder (config.json is missing)")
    try:
        import torch
        from transformers import CLIPModel, CLIPProcessor
    except ImportError as error:
        raise RuntimeMissing(
            f"CLIP score needs transformers: pip install 'aquatint[train]' ({error})"
        ) from error
    model = CLIPModel.from_pretrained(place, local_files_only=True).eval()
    processor = CLIPProcessor.from_pretrained(place, local_files_only=True)
    parts = []
    for start in range(0, len(pictures), _BATCH):
        batch = processor(
            text=list(prompts[start : start + _BATCH]), images=list(pictures[start : start + _BATCH]),
            return_tensors="pt", padding=True, truncation=True,
        )  # fmt: skip
        with torch.inference_mode():
            seen = model(**batch)
        parts.append(cosine_similarities(seen.image_embeds.numpy(), seen.text_embeds.numpy()))
    return np.concatenate(parts)


def _open_clip_cosines(place: str, pictures: Pictures, prompts: Sequence[str]) -> Floats:
    from models.curation.clip_encoder import LOCAL, ClipEncoder
    from models.curation.settings import OutlierSettings

    if place.startswith(LOCAL):
        settings = OutlierSettings(model=place)
    else:
        name, _, weights = place.partition(":")
        if not weights:
            raise ModelNotFound(f"{place}: neither a CLIP folder nor MODEL:WEIGHTS_FILE")
        settings = OutlierSettings(model=name, weights=Path(weights))
    return ClipEncoder.open(settings).similarity(pictures, list(prompts))


def _open_inception(weights: Path) -> tuple[Any, Any | None]:
    """Modules from bytes (B, 3, H, W) to features (B, F), and to logits (B, classes) or None."""
    if weights.suffix == ".pth":
        return _fidelity_net(weights, "2048"), _fidelity_net(weights, "logits_unbiased")
    import torch

    net = torch.jit.load(str(weights), map_location="cpu").eval()
    options = {argument.name for argument in net.forward.schema.arguments}
    if "return_features" in options:
        return _module(lambda x: net(x, return_features=True)), _module(
            lambda x: net(x, no_output_bias=True).log()
        )
    with torch.no_grad():
        example = net(torch.zeros(2, 3, 299, 299, dtype=torch.uint8))
    if isinstance(example, tuple):
        return _module(lambda x: net(x)[0]), _module(lambda x: net(x)[1])
    return _module(net), None


def _module(run: Callable[[Any], Any]) -> Any:
    """A function as the module torchmetrics wants."""
    import torch

    class Extractor(torch.nn.Module):  # type: ignore[misc]
        def forward(self, pictures: Any) -> Any:
            return run(pictures)

    return Extractor()


def _fidelity_net(weights: Path, layer: str) -> Any:
    fid = _torchmetrics().fid
    try:
        return fid.NoTrainInceptionV3(
            "inception-v3-compat", [layer], feature_extractor_weights_path=str(weights)
        )
    except (ImportError, NameError) as error:
        raise RuntimeMissing(
            "a .pth file needs the package torch-fidelity: pip install torch-fidelity"
        ) from error


def _feed(metrics: list[Any], pictures: Pictures, real: Pictures) -> None:
    for part, is_real in ((pictures, False), (real, True)):
        for batch in _batches(part):
            for metric in metrics:
                metric.update(batch, real=is_real)


def _torchmetrics() -> Any:
    """The part of torchmetrics that measures pictures, with the modules needed here loaded."""
    try:
        import torchmetrics.image as metrics
        import torchmetrics.image.fid
        import torchmetrics.image.inception
        import torchmetrics.image.kid  # noqa: F401
    except ImportError as error:
        raise RuntimeMissing(
            f"torchmetrics is not installed: pip install 'aquatint[train]' ({error})"
        ) from error
    return metrics


def _batches(pictures: Pictures) -> Iterator[Any]:
    """uint8 tensors (B, 3, H, W)."""
    import torch

    for start in range(0, len(pictures), _BATCH):
        yield torch.from_numpy(np.stack(pictures[start : start + _BATCH]).transpose(0, 3, 1, 2).copy())
