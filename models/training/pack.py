"""Write a trained model as an ordinary diffusers folder, float16.

python -m models.training.pack --config models/training/starter.toml --work WORK --out models/starter
"""

import argparse
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, PixArtSigmaPipeline

from models.training.autoencoder import FoldedAutoencoderKL
from models.training.config import Recipe
from models.training.latents import LatentStatistics
from models.training.train_autoencoder import load_autoencoder
from models.training.train_transformer import load_transformer
from models.training.transformer import build_tokenizer

#: moves the sampler's steps towards noise; the model card carries the same number
FLOW_SHIFT = 1.5


def main() -> None:
    """Join the newest checkpoints into one folder."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder of the checkpoints")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    recipe = Recipe.read(args.config)
    transformer, text_encoder, statistics = load_transformer(args.work, recipe)
    autoencoder = load_autoencoder(args.work, recipe)
    fold_statistics(autoencoder, statistics)
    pipe = PixArtSigmaPipeline(
        tokenizer=build_tokenizer(),
        text_encoder=text_encoder,
        vae=stock_autoencoder(autoencoder),
        transformer=transformer,
        scheduler=DPMSolverMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=FLOW_SHIFT
        ),
    )
    pipe.to(torch.float16).save_pretrained(args.out)


def fold_statistics(model: FoldedAutoencoderKL, statistics: LatentStatistics) -> None:
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


def stock_autoencoder(model: FoldedAutoencoderKL) -> AutoencoderKL:
    """The same weights under diffusers' own class name, which is the one it can load again."""
    config = {name: value for name, value in model.config.items() if not name.startswith("_")}
    stock = AutoencoderKL(**config)
    stock.load_state_dict(model.state_dict())
    return stock


if __name__ == "__main__":
    main()
