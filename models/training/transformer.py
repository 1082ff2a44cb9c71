"""The starter's diffusion transformer, its text encoder and its tokenizer.

Stock classes throughout: PixArtTransformer2DModel (Chen et al. 2023, arXiv:2310.00426; DiT: Peebles and Xie 2023,
arXiv:2212.09748) and T5EncoderModel (Raffel et al. 2020, arXiv:1910.10683), both small and with random weights.
"""

from collections.abc import Sequence
from typing import cast

import torch
from diffusers import PixArtTransformer2DModel
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

from models.catalogue.captions import vocabulary_words
from models.training.config import TransformerRecipe

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
MAX_TOKENS = 48
#: PixArtSigma's conditions on size, which this model does without
NO_CONDITIONS = {"resolution": None, "aspect_ratio": None}


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token per word, lower-cased, punctuation other than commas ignored."""
    ids = {word: i for i, word in enumerate([PAD, END, UNKNOWN, *vocabulary_words()])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Lowercase(), normalizers.Replace(Regex(r"[.!?;:()\"']"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(",", "isolated")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, ids[END])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        model_max_length=MAX_TOKENS,
    )


def build_text_encoder(recipe: TransformerRecipe, vocabulary_size: int) -> T5EncoderModel:
    """A small T5 encoder; trained together with the transformer, from nothing."""
    return T5EncoderModel(
        T5Config(
            vocab_size=vocabulary_size,
            d_model=recipe.text_width,
            d_kv=32,
            d_ff=2 * recipe.text_width,
            num_layers=recipe.text_layers,
            num_heads=recipe.text_width // 32,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
            pad_token_id=0,
            eos_token_id=1,
        )
    )


def build_transformer(recipe: TransformerRecipe, channels: int, sample_size: int) -> PixArtTransformer2DModel:
    """A small PixArt transformer that predicts velocity only; its last layer starts at zero, so that it predicts zero."""
    model = PixArtTransformer2DModel(
        num_attention_heads=recipe.width // recipe.head_width,
        attention_head_dim=recipe.head_width,
        in_channels=channels,
        out_channels=channels,
        num_layers=recipe.layers,
        cross_attention_dim=recipe.width,
        sample_size=sample_size,
        patch_size=recipe.patch,
        caption_channels=recipe.text_width,
        use_additional_conditions=False,
        interpolation_scale=1,
    )
    torch.nn.init.zeros_(model.proj_out.weight)
    torch.nn.init.zeros_(model.proj_out.bias)
    return model


def predict_velocity(
    model: PixArtTransformer2DModel, sample: Tensor, sigma: Tensor, text: Tensor, text_mask: Tensor
) -> Tensor:
    """Velocity (B, C, h, w) for a sample of that shape at noise levels (B,), text (B, T, D) and its mask (B, T)."""
    output = model(
        sample,
        encoder_hidden_states=text,
        timestep=sigma * 1000,
        encoder_attention_mask=text_mask,
        added_cond_kwargs=NO_CONDITIONS,
        return_dict=False,
    )
    return cast(Tensor, output[0])


def tokenize(tokenizer: PreTrainedTokenizerFast, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Token ids and mask, int64 (B, T), padded to the longest caption of the batch."""
    batch = tokenizer(list(captions), padding="longest", return_tensors="pt")
    return batch.input_ids, batch.attention_mask


def flow_matching_loss(
    model: PixArtTransformer2DModel, clean: Tensor, text: Tensor, text_mask: Tensor
) -> Tensor:
    """Mean squared error of the velocity at noise levels drawn from a logit-normal (arXiv:2403.03206, section 3.1).

    `clean` is (B, C, h, w) with unit variance. The mean of 0.2 moves the draw a little towards noise, where layout and
    colour are decided.
    """
    sigma = torch.sigmoid(torch.randn(len(clean)) + 0.2)  # (B,)
    noise = torch.randn_like(clean)
    share = sigma.view(-1, 1, 1, 1)
    with torch.autocast("cpu", torch.bfloat16):
        velocity = predict_velocity(model, (1 - share) * clean + share * noise, sigma, text, text_mask)
    return (velocity.float() - (noise - clean)).square().mean()
