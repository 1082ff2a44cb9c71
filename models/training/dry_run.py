"""What a recipe would need, without allocating it: parameters, memory and arithmetic of every stage, on torch's meta device.

Memory is counted, not measured: weights, gradients and AdamW's two moments in float32, the weight average in float32, and
the activations that autograd keeps, in the stage's precision. Attention scores are left out, since fused kernels
recompute them; so are the framework's own buffers and the fragments of the allocator, a few gigabytes on a GPU.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from models.networks.autoencoder import build_autoencoder
from models.networks.transformer import predict_velocity
from models.training.recipe import (
    PIXELS_PER_CELL,
    AutoencoderStage,
    Bucket,
    DecoderStage,
    DistilStage,
    Recipe,
    TrainedStage,
    TransformerStage,
)
from models.training.weights import fresh_text_encoder, fresh_transformer

GIB = 2**30
_FLOAT = 4  # bytes


@dataclass(frozen=True, kw_only=True)
class StageNeeds:
    """What one stage needs; bytes are per GPU, FLOPs per optimiser step over all GPUs (one multiply-add is two)."""

    stage: str
    largest_size: str
    parameters: int
    trained_parameters: int
    weight_bytes: int
    gradient_bytes: int
    optimiser_bytes: int
    average_bytes: int
    activation_bytes: int
    step_flops: int
    pictures_per_step: int
    steps: int | None

    @property
    def total_bytes(self) -> int:
        """All of it, per GPU."""
        return (
            self.weight_bytes
            + self.gradient_bytes
            + self.optimiser_bytes
            + self.average_bytes
            + self.activation_bytes
        )


def needs_of(recipe: Recipe, stage: TrainedStage, gpus: int) -> StageNeeds:
    """Trace one step of the stage's largest size on the meta device; state is sharded over `gpus` when there are several."""
    bucket = max(recipe.buckets_of(stage), key=lambda bucket: bucket.width * bucket.height)
    with torch.device("meta"):
        model, run = _network(recipe, stage, bucket)
        trained = [p for p in model.parameters() if p.requires_grad]
        flops = _flops(run)
        kept = _activation_bytes(recipe, stage, bucket)
    count, own = sum(p.numel() for p in model.parameters()), sum(p.numel() for p in trained)
    reads = 2 if isinstance(stage, DistilStage) else 0  # the teacher's calls, forward only
    per_picture = flops * (3 + reads) // (3 * stage.batch)
    pictures = stage.batch * stage.accumulate * gpus
    weights = count * (2 if reads else 1)
    return StageNeeds(
        stage=stage.name,
        largest_size=bucket.name,
        parameters=count,
        trained_parameters=own,
        weight_bytes=weights * _FLOAT // gpus,
        gradient_bytes=own * _FLOAT // gpus,
        optimiser_bytes=2 * own * _FLOAT // gpus,
        average_bytes=own * _FLOAT // gpus,
        activation_bytes=kept,
        step_flops=per_picture * pictures,
        pictures_per_step=pictures,
        steps=stage.steps,
    )


def _network(
    recipe: Recipe, stage: TrainedStage, bucket: Bucket, layers: int | None = None
) -> tuple[nn.Module, Callable[[], Tensor]]:
    """The trained module, and one batch through it to a scalar, in the stage's precision."""
    dtype = torch.bfloat16 if stage.precision == "bf16" else torch.float32
    if isinstance(stage, AutoencoderStage | DecoderStage):
        shape = recipe.networks.autoencoder
        autoencoder = build_autoencoder(shape.latent_channels, shape.widths).to(dtype)
        if isinstance(stage, DecoderStage):
            autoencoder.encoder.requires_grad_(False)
            autoencoder.quant_conv.requires_grad_(False)
        images = torch.empty(stage.batch, 3, bucket.height, bucket.width, dtype=dtype)

        def reconstruct() -> Tensor:
            output: Tensor = autoencoder.decode(autoencoder.encode(images).latent_dist.mean).sample
            return output.sum()

        return autoencoder, reconstruct
    assert isinstance(stage, TransformerStage)
    if layers is not None:
        networks = recipe.networks
        shorter = networks.transformer.model_copy(update={"layers": layers})
        recipe = recipe.model_copy(update={"networks": networks.model_copy(update={"transformer": shorter})})
    return _denoiser(recipe, stage, bucket, dtype)


def _denoiser(
    recipe: Recipe, stage: TransformerStage, bucket: Bucket, dtype: torch.dtype
) -> tuple[nn.Module, Callable[[], Tensor]]:
    text_shape, cells = (
        recipe.networks.text_encoder,
        (bucket.height // PIXELS_PER_CELL, bucket.width // PIXELS_PER_CELL),
    )
    transformer = fresh_transformer(recipe).to(dtype)
    encoder = None if text_shape.folder else fresh_text_encoder(recipe).to(dtype)
    sample = torch.empty(stage.batch, recipe.networks.autoencoder.latent_channels, *cells, dtype=dtype)
    ids = torch.zeros(stage.batch, text_shape.max_tokens, dtype=torch.int64)
    states = torch.empty(stage.batch, text_shape.max_tokens, text_shape.width, dtype=dtype)
    edges = torch.empty(stage.batch, 1, bucket.height, bucket.width, dtype=dtype)
    mask, sigma = torch.ones_like(ids), torch.empty(stage.batch, dtype=dtype)

    def run() -> Tensor:
        text = encoder(ids)[0] if encoder is not None else states
        return predict_velocity(transformer, sample, sigma, text, mask, edges).sum()

    return nn.ModuleList([part for part in (transformer, encoder) if part is not None]), run


def _flops(run: Callable[[], Tensor]) -> int:
    """Forward and backward of one batch."""
    with FlopCounterMode(display=False) as counter:
        run().backward()
    return int(counter.get_total_flops())


def _activation_bytes(recipe: Recipe, stage: TrainedStage, bucket: Bucket) -> int:
    """What autograd keeps for one batch; with checkpointing, each layer's input and one layer in full."""
    if not isinstance(stage, TransformerStage):
        return _kept_bytes(*_network(recipe, stage, bucket))
    layers = recipe.networks.transformer.layers
    one = _kept_bytes(*_network(recipe, stage, bucket, layers=1))
    layer = _kept_bytes(*_network(recipe, stage, bucket, layers=2)) - one
    if not stage.gradient_checkpointing:
        return one + (layers - 1) * layer
    tokens = bucket.width * bucket.height // (PIXELS_PER_CELL * recipe.networks.transformer.patch) ** 2
    width = 2 if stage.precision == "bf16" else _FLOAT
    return one + (layers - 1) * stage.batch * tokens * recipe.networks.transformer.width * width


def _kept_bytes(model: nn.Module, run: Callable[[], Tensor]) -> int:
    """Bytes of distinct tensors saved for backward, without parameters and without attention scores."""
    weights = {id(p.untyped_storage()) for p in model.parameters()}
    kept: dict[int, tuple[torch.UntypedStorage, int]] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        key = storage._cdata
        scores = tensor.ndim >= 3 and tensor.shape[-2] > 1 and _is_score(tensor, model)
        if id(storage) not in weights and not scores and not isinstance(tensor, nn.Parameter):
            kept[key] = (storage, storage.nbytes())
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        run()
    return sum(size for _, size in kept.values())


def _is_score(tensor: Tensor, model: nn.Module) -> bool:
    """Attention scores are (batch heads, queries, keys): no side of theirs is a width of the model."""
    widths = {size for p in model.parameters() for size in p.shape}
    return tensor.ndim in (3, 4) and tensor.shape[-1] not in widths and not set(tensor.shape[:-2]) & widths
