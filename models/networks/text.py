"""The starter's tokenizer and text encoder: one token per word, and a small T5 (Raffel et al. 2020, arXiv:1910.10683)."""

from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

from models.catalogue.captions import vocabulary_words

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
MAX_TOKENS = 48


def build_tokenizer(max_tokens: int = MAX_TOKENS) -> PreTrainedTokenizerFast:
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
        model_max_length=max_tokens,
    )


def build_text_encoder(*, width: int, layers: int, vocabulary_size: int) -> T5EncoderModel:
    """A small T5 encoder with random weights."""
    return T5EncoderModel(
        T5Config(
            vocab_size=vocabulary_size,
            d_model=width,
            d_kv=32,
            d_ff=2 * width,
            num_layers=layers,
            num_heads=width // 32,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
            pad_token_id=0,
            eos_token_id=1,
        )
    )


def tokenize(tokenizer: PreTrainedTokenizerFast, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Token ids and mask, int64 (B, T), padded to the longest caption of the batch."""
    batch = tokenizer(list(captions), padding="longest", return_tensors="pt")
    return batch.input_ids, batch.attention_mask
