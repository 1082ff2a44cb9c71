"""The pipeline's own promises, on a runtime small enough to do by hand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from models.adapters import Adapter, AdapterCard
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
from models.noise import latent_noise
from models.pipeline import Control, FailedImage, RenderedImage, Shot, TextToImage, WeightedAdapter
from models.text import PromptTokenizer

WORDS = {"<pad>": 0, "</s>": 1, "<unk>": 2, "red": 3, "mug": 4, "boom": 5, "nan": 6}
CARD = ModelCard.model_validate({
    "name": "toy", "version": "1", "family": "pixart", "licence": "Apache-2.0", "description": "", "domain": "closed",
    "domain_note": "", "sizes": [[32, 32], [32, 16]], "steps": {"minimum": 1, "maximum": 9, "default": 4},
    "guidance": {"maximum": 5.0, "default": 2.0}, "max_prompt_tokens": 6, "files": {},
    "features": ["image_to_image", "inpainting", "control:edges", "control:sketch", "adapters"],
    "adapters": {"targets": ["attn1.to_q"], "layers": 2, "width": 4},
    "flow": {"channels": 3, "pixels_per_cell": 8, "patch": 2, "shift": 1.0, "sampler": "euler", "position_width": 4,
             "position_span": 2},
    "costs": {"fixed_seconds": 0, "image_seconds": 1, "step_seconds": 0.1, "measured_on": "paper"},
})  # fmt: skip


class ToyRuntime:
    """Hidden states are the token ids, the velocity pulls towards their mean, the decoder enlarges latents.

    Control and adapters move the target: by the share of marked pixels in a cell, and by the sum of down times up.
    """

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.sigmas: list[float] = []
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
        control: np.ndarray,
        adapter_down: np.ndarray,
        adapter_up: np.ndarray,
    ) -> dict[str, np.ndarray]:
        self.batches.append(len(sample))
        self.sigmas.append(float(sigma[0]))
        assert (len(sample), 64, *sample.shape[2:]) == control.shape
        assert (1, 2, 4) == adapter_down.shape[:3]
        assert positions.shape[1] == sample.shape[2] * sample.shape[3] // 4
        if (text == WORDS["boom"]).any():
            raise ZeroDivisionError("boom")
        target = (text * text_mask[..., None]).sum((1, 2)) / text_mask.sum(1) / 40
        target[(text == WORDS["nan"]).any((1, 2))] = np.nan
        target = target + (adapter_down @ adapter_up).sum((1, 2, 3)) / 40
        wanted = target[:, None, None, None] + control.mean(1, keepdims=True) / 4
        return {"velocity": (sample - wanted) / sigma[:, None, None, None]}

    def vae_encoder(self, images: np.ndarray) -> dict[str, np.ndarray]:
        batch, channels, height, width = images.shape
        cells = images.reshape(batch, channels, height // 8, 8, width // 8, 8)
        return {"latents": cells.mean((3, 5), dtype=np.float32)}

    def vae_decoder(self, latents: np.ndarray) -> dict[str, np.ndarray]:
        return {"images": latents.repeat(8, axis=2).repeat(8, axis=3)}


def toy_model(runtime: ToyRuntime | None = None) -> tuple[TextToImage, ToyRuntime]:
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    runtime = runtime or ToyRuntime()
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


def picture(level: int) -> np.ndarray:
    return np.full((32, 32, 3), level, np.uint8)


def rendered(model: TextToImage, **changes: Any) -> np.ndarray:
    result = model.render([shot(**changes)])[0]
    assert isinstance(result, RenderedImage), result
    return result.pixels


def test_strength_says_where_to_start() -> None:
    """Steps are taken in full from the noise level of the strength, whatever it is."""
    model, runtime = toy_model()

    rendered(model, guidance=1.0, image=picture(200), strength=0.5)

    assert [0.5, 0.375, 0.25, 0.125] == pytest.approx(runtime.sigmas)


def test_what_the_network_starts_from_is_between_image_and_noise() -> None:
    """x = (1 - sigma) image + sigma noise, with the noise of the shot's own seed; at 1 nothing of the image is left."""
    starts: list[np.ndarray] = []

    class Watched(ToyRuntime):
        def transformer(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:  # type: ignore[override]
            starts.append(arrays["sample"][0])
            return super().transformer(**arrays)

    model = toy_model(Watched())[0]
    for strength in (0.25, 1.0):
        rendered(model, guidance=1.0, steps=1, image=picture(255), strength=strength)
    rendered(model, guidance=1.0, steps=1)

    noise = latent_noise(1, 3, 4, 4)
    assert np.allclose(0.75 + 0.25 * noise, starts[0], atol=1e-6)
    assert np.array_equal(noise, starts[1])
    assert np.array_equal(noise, starts[2])


@pytest.mark.parametrize("strength", [None, 0.4, 1.0])
def test_inpainting_repaints_the_mask_and_nothing_else(strength: float | None) -> None:
    """Masked cells become what the prompt says; every other pixel keeps its bytes."""
    model, _ = toy_model()
    original = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = 255

    pixels = rendered(model, guidance=1.0, image=original, mask=mask, strength=strength)

    assert np.array_equal(original[mask == 0], pixels[mask == 0])
    alone = rendered(model, guidance=1.0)
    assert (np.abs(pixels[14:18, 14:18].astype(int) - alone[14:18, 14:18]) <= 1).all()


def test_kept_latents_are_held_on_their_way() -> None:
    """Where the mask is 0 the network sees the image noised to each step's level, as in training."""
    seen: list[tuple[float, np.ndarray]] = []

    class Watched(ToyRuntime):
        def transformer(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:  # type: ignore[override]
            seen.append((float(arrays["sigma"][0]), arrays["sample"][0]))
            return super().transformer(**arrays)

    mask = np.zeros((32, 32), np.uint8)
    mask[:, 16:] = 255
    rendered(toy_model(Watched())[0], guidance=1.0, image=picture(255), mask=mask, strength=0.8)

    noise = latent_noise(1, 3, 4, 4)
    for sigma, sample in seen:
        assert np.allclose(((1 - sigma) + sigma * noise)[:, :, :2], sample[:, :, :2], atol=1e-5)


def test_control_reaches_the_cells_it_marks() -> None:
    """Lines change the picture where they are, in proportion to their weight; weight 0 is no control."""
    model, _ = toy_model()
    drawing = picture(255)
    drawing[:, 8:10] = 0
    base = rendered(model, guidance=1.0).astype(int)

    def change(weight: float) -> np.ndarray:
        control = Control(kind="sketch", pixels=drawing, weight=weight)
        return rendered(model, guidance=1.0, control=control).astype(int) - base

    full, half = change(1.0), change(0.5)
    assert 0 == np.abs(change(0.0)).max()
    assert (full[:, 8:16] > 0).all()
    assert 0 == np.abs(full[:, :8]).max() + np.abs(full[:, 16:]).max()
    assert np.abs(full - 2 * half).max() <= 2


def test_adapters_do_their_part_and_leave_no_trace() -> None:
    """Shots with other adapters in between change neither each other nor the base: bit-equal before and after."""
    model, _ = toy_model()

    def used(rank: int, weight: float) -> WeightedAdapter:
        card = AdapterCard(
            name="acme",
            base_model="toy",
            base_digest=CARD.base_digest,
            rank=rank,
            alpha=1,
            weights_sha256="0" * 64,
        )
        down, up = np.ones((2, 4, rank), np.float32), np.full((2, rank, 4), 0.1, np.float32)
        return WeightedAdapter(adapter=Adapter(card=card, digest="0" * 64, down=down, up=up), weight=weight)

    one, two = used(1, 1.0), used(2, 0.5)
    shots = [shot(), shot(adapters=(one,)), shot(), shot(adapters=(two,)), shot(adapters=(one, two)), shot()]

    results = [result.pixels for result in model.render(shots) if isinstance(result, RenderedImage)]

    base, first, again, second, both, last = results
    assert base.tobytes() == again.tobytes() == last.tobytes()
    assert np.array_equal(first, second)  # half as strong, and twice the rank
    assert both.mean() > first.mean() > base.mean()


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
