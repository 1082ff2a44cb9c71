"""Writes a trained model as an ordinary diffusers folder, float16."""

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DPMSolverMultistepScheduler,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
)
from transformers import AutoTokenizer, PreTrainedTokenizerBase, T5EncoderModel

from models.networks.text import build_tokenizer
from models.networks.transformer import ControlPixArt
from models.training.latent_statistics import LatentStatistics
from models.training.recipe import Recipe
from models.training.weights import load_autoencoder, load_statistics, load_text_encoder, load_transformer

#: moves the sampler's steps towards noise; the model card carries the same number
FLOW_SHIFT = 1.5


def pack(recipe: Recipe, work: Path, out: Path) -> None:
    """Join the newest weights of a work folder into one model folder; raises `WeightsMissing`."""
    autoencoder = load_autoencoder(work, recipe)
    fold_statistics(autoencoder, load_statistics(work, recipe))
    tokenizer, text_encoder = _words(recipe, work)
    write_folder(out, autoencoder, load_transformer(work, recipe), text_encoder, tokenizer)


def write_folder(
    out: Path,
    autoencoder: AutoencoderKL,
    transformer: ControlPixArt,
    text_encoder: T5EncoderModel,
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    """Write networks whose autoencoder has its statistics folded in.

    diffusers cannot load classes of ours named in its files, so both are saved under the name of their stock class; that
    of the transformer then ignores the control layer.
    """
    config = {name: value for name, value in transformer.config.items() if not name.startswith("_")}
    pipe = PixArtSigmaPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        vae=stock_autoencoder(autoencoder),
        transformer=PixArtTransformer2DModel(**config),
        scheduler=DPMSolverMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=FLOW_SHIFT
        ),
    )
    pipe.to(torch.float16).save_pretrained(out)
    transformer.to(torch.float16).save_pretrained(out / "transformer")
    path = out / "transformer" / "config.json"
    written = json.loads(path.read_text("utf-8"))
    path.write_text(
        json.dumps({**written, "_class_name": "PixArtTransformer2DModel"}, indent=2) + "\n", "utf-8"
    )


def fold_statistics(model: AutoencoderKL, statistics: LatentStatistics) -> None:
    """Put the normalisation of latents into the 1x1 convolutions around them, exactly.

    diffusers has one scalar `scaling_factor`, which cannot hold a mean and a deviation per channel.
    """
    mean, deviation, count = statistics.mean, statistics.deviation, len(statistics.mean)
    decode, encode = model.post_quant_conv, model.quant_conv
    with torch.no_grad():
        decode.bias += decode.weight[:, :, 0, 0] @ mean
        decode.weight *= deviation.view(1, -1, 1, 1)
        encode.weight[:count] /= deviation.view(-1, 1, 1, 1)
        encode.bias[:count] = (encode.bias[:count] - mean) / deviation
        encode.bias[count:] -= 2 * deviation.log()  # the second half is the logarithm of the variance


def stock_autoencoder(model: AutoencoderKL) -> AutoencoderKL:
    """The same weights under diffusers' own class name, which is the one it can load again."""
    config = {name: value for name, value in model.config.items() if not name.startswith("_")}
    stock = AutoencoderKL(**config)
    stock.load_state_dict(model.state_dict())
    return stock


def _words(recipe: Recipe, work: Path) -> tuple[PreTrainedTokenizerBase, T5EncoderModel]:
    shape = recipe.networks.text_encoder
    if shape.folder is None:
        return build_tokenizer(shape.max_tokens), load_text_encoder(work, recipe)
    folder = work / shape.folder
    return (
        AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True),
        T5EncoderModel.from_pretrained(folder / "text_encoder", local_files_only=True),
    )
