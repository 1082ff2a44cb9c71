"""The pipeline's own promises, on a runtime small enough to do by hand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from models.card import ModelCard
from models.errors import (
    GuidanceOutOfRange,
    InvalidShot,
    NonFiniteImage,
    PromptTooLong,
    RenderCancelled,
    RenderFailed,
    SeedOutOfRange,
    StepsOutOfRange,
    UnsupportedSize,
)
from models.pipeline import FailedImage, RenderedImage, Shot, TextToImage
from models.text import PromptTokenizer

WORDS = {"<pad>": 0, "</s>": 1, "<unk>": 2, "red": 3, "mug": 4, "boom": 5, "nan": 6}
CARD = ModelCard.model_validate({
    "name": "toy", "version": "1", "family": "pixart", "licence": "Apache-2.0", "description": "", "domain": "closed",
    "domain_note": "", "sizes": [[32, 32], [32, 16]], "steps": {"minimum": 1, "maximum": 9, "default": 4},
    "guidance": {"maximum": 5.0, "default": 2.0}, "max_prompt_tokens": 6, "files": {},
    "flow": {"channels": 3, "pixels_per_cell": 8, "patch": 2, "shift": 1.0, "sampler": "euler", "position_width": 4,
             "position_span": 2},
    "costs": {"fixed_seconds": 0, "image_seconds": 1, "step_seconds": 0.1, "measured_on": "paper"},
})  # fmt: skip


class ToyRuntime:
    """Hidden states are the token ids, the velocity pulls towards their mean, the decoder enlarges latents."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.encoded = 0

    def load(self, component: str) -> Any:
        return getattr(self, component)

    def text_encoder(self, input_ids: np.ndarray, attention_mask: np.ndarray) -> dict[str, np.ndarray]:
        self.encoded += 1
        return {"hidden": np.repeat(input_ids[..., None], 4, axis=2).astype(np.float32)}

    def transformer(
        self,
        sample: np.ndarray,
        sigma: np.ndarray,
        text: np.ndarray,
        text_mask: np.ndarray,
        positions: np.ndarray,
    ) -> dict[str, np.ndarray]:
        self.batches.append(len(sample))
        assert positions.shape[1] == sample.shape[2] * sample.shape[3] // 4
        if (text == WORDS["boom"]).any():
            raise ZeroDivisionError("boom")
        target = (text * text_mask[..., None]).sum((1, 2)) / text_mask.sum(1) / 40
        target[(text == WORDS["nan"]).any((1, 2))] = np.nan
        return {"velocity": (sample - target[:, None, None, None]) / sigma[:, None, None, None]}

    def vae_decoder(self, latents: np.ndarray) -> dict[str, np.ndarray]:
        return {"images": latents.repeat(8, axis=2).repeat(8, axis=3)}


def toy_model() -> tuple[TextToImage, ToyRuntime]:
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    runtime = ToyRuntime()
    return TextToImage(CARD, PromptTokenizer(tokenizer, CARD.max_prompt_tokens), runtime), runtime


def shot(prompt: str = "red mug", **changes: Any) -> Shot:
    fields = {
        "prompt": prompt,
        "seed": 1,
        "width": 32,
        "height": 32,
        "steps": 4,
        "guidance": 2.0,
        "negative_prompt": "mug",
    }
    return Shot(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "error", "field"),
    [
        ({"width": 40}, UnsupportedSize, "size"),
        ({"width": 16, "height": 32}, UnsupportedSize, "size"),
        ({"steps": 0}, StepsOutOfRange, "steps"),
        ({"steps": 10}, StepsOutOfRange, "steps"),
        ({"guidance": 0.5}, GuidanceOutOfRange, "guidance"),
        ({"guidance": 6.0}, GuidanceOutOfRange, "guidance"),
        ({"guidance": float("nan")}, GuidanceOutOfRange, "guidance"),
        ({"seed": -1}, SeedOutOfRange, "seed"),
        ({"seed": 2**64}, SeedOutOfRange, "seed"),
        ({"prompt": "red " * 7}, PromptTooLong, "prompt"),
        ({"negative_prompt": "red " * 7}, PromptTooLong, "negative_prompt"),
    ],
)
def test_what_cannot_be_made_is_refused_by_name(
    changes: dict[str, Any], error: type[InvalidShot], field: str
) -> None:
    """Each limit gives its own error, which names the field and is not worth retrying."""
    model, runtime = toy_model()

    result = model.render([shot(**changes)])[0]

    assert isinstance(result, FailedImage)
    assert type(result.error) is error
    assert field == result.error.field
    assert not result.error.retryable
    assert [] == runtime.batches
    with pytest.raises(error):
        model.check(shot(**changes))


@given(
    st.lists(
        st.sampled_from(["red mug", "mug", "boom", "nan", "red red", "too " * 9]), min_size=1, max_size=6
    )
)
@settings(max_examples=30, deadline=None)
def test_a_failing_image_takes_no_neighbour_with_it(prompts: list[str]) -> None:
    """In any mixture of good and bad images, each good one comes out as it does alone, and in its place."""
    model, _ = toy_model()
    expected = {"boom": RenderFailed, "nan": NonFiniteImage, "too " * 9: PromptTooLong}

    results = model.render([shot(prompt, seed=i) for i, prompt in enumerate(prompts)])

    for i, (prompt, result) in enumerate(zip(prompts, results, strict=True)):
        if prompt in expected:
            assert isinstance(result, FailedImage)
            assert type(result.error) is expected[prompt]
        else:
            alone = toy_model()[0].render([shot(prompt, seed=i)])[0]
            assert isinstance(result, RenderedImage)
            assert isinstance(alone, RenderedImage)
            assert result.pixels.tobytes() == alone.pixels.tobytes()


def test_guidance_one_skips_the_negative_prompt() -> None:
    """Without guidance each step runs one picture through the network, with it two."""
    model, runtime = toy_model()

    plain, other = model.render([shot(guidance=1.0), shot(guidance=1.0, negative_prompt="red")])
    assert [1] * 8 == runtime.batches
    assert isinstance(plain, RenderedImage)
    assert isinstance(other, RenderedImage)
    assert plain.pixels.tobytes() == other.pixels.tobytes()

    runtime.batches.clear()
    model.render([shot(guidance=2.0)])
    assert [2] * 4 == runtime.batches


def test_guidance_pushes_away_from_the_negative_prompt() -> None:
    """The result is negative + guidance x (prompt - negative): 2 x 3.5 - 4 = 3 for "red mug" against "mug"."""
    model, _ = toy_model()

    result = model.render([shot("red mug", negative_prompt="mug", guidance=2.0)])[0]

    assert isinstance(result, RenderedImage)
    level = round(
        (3.0 / 10 + 1) * 127.5
    )  # hidden states are four wide: the mean id counts four times, over 40
    assert level == int(np.median(result.pixels))


def test_each_text_is_encoded_once() -> None:
    """Eight shots of one prompt cost two text encodings, prompt and negative prompt."""
    model, runtime = toy_model()

    model.render([shot(seed=i) for i in range(8)])

    assert 2 == runtime.encoded


def test_cancelling_keeps_what_is_finished() -> None:
    """Images done before the cancellation stay; the others fail with an error that may be retried."""
    model, runtime = toy_model()

    results = model.render([shot(seed=i) for i in range(3)], cancelled=lambda: len(runtime.batches) >= 6)

    assert isinstance(results[0], RenderedImage)
    for result in results[1:]:
        assert isinstance(result, FailedImage)
        assert isinstance(result.error, RenderCancelled)
        assert result.error.retryable


def test_progress_is_told_per_image_and_step() -> None:
    """`on_step` gets (index, steps done) in order."""
    model, _ = toy_model()
    seen: list[tuple[int, int]] = []

    model.render([shot(steps=2), shot(steps=1)], on_step=lambda index, done: seen.append((index, done)))

    assert [(0, 1), (0, 2), (1, 1)] == seen


def test_unknown_words_are_reported() -> None:
    """The caller learns which words did nothing, in their order."""
    model, _ = toy_model()

    result = model.render([shot("red ceramic mug please")])[0]

    assert isinstance(result, RenderedImage)
    assert ("ceramic", "please") == result.unknown_words
    assert ("ceramic",) == model.unknown_words("ceramic mug")


def test_sizes_come_out_as_asked() -> None:
    """Width and height are not mixed up."""
    model, _ = toy_model()

    result = model.render([shot(width=32, height=16)])[0]

    assert isinstance(result, RenderedImage)
    assert (16, 32, 3) == result.pixels.shape
    assert np.uint8 == result.pixels.dtype
