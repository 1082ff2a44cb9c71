"""`TextToImage`: prompts in, pixels out, on any runtime.

On the CPU each image is rendered in calls of its own. Dynamic INT8 takes its activation scales over a whole tensor, so
images that share a call would leak into each other; and one core gains nothing from a batch. An image is therefore
bit-identical alone and in any company.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self, cast

import numpy as np
import numpy.typing as npt

from models.card import ModelCard, load_card
from models.errors import (
    GuidanceOutOfRange,
    ModelError,
    NonFiniteImage,
    RenderCancelled,
    RenderFailed,
    SeedOutOfRange,
    StepsOutOfRange,
    UnsupportedSize,
)
from models.noise import latent_noise
from models.positions import position_table
from models.runtime import Precision, Runtime, RuntimeName
from models.runtimes.onnx import CPU_PROVIDERS, OnnxRuntime
from models.samplers import SAMPLERS, flow_sigmas
from models.text import PromptTokenizer

Floats = npt.NDArray[np.float32]
OnStep = Callable[[int, int], None]
_MAX_SEED = 2**64 - 1
_TEXT_CACHE = 512


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One image to be made; sizes in pixels."""

    prompt: str
    seed: int
    width: int
    height: int
    steps: int
    guidance: float
    negative_prompt: str = ""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds an image took, by part."""

    text: float
    denoise: float
    decode: float

    @property
    def total(self) -> float:
        """Sum of the parts."""
        return self.text + self.denoise + self.decode


@dataclass(frozen=True, kw_only=True)
class RenderedImage:
    """A finished image: uint8 (height, width, 3), and the words of its prompt the model does not know."""

    shot: Shot
    pixels: npt.NDArray[np.uint8]
    seconds: Timing
    unknown_words: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FailedImage:
    """An image that did not come out; `error.retryable` says whether it may another time."""

    shot: Shot
    error: ModelError


@dataclass(frozen=True)
class _Conditions:
    """What a text says to the transformer: `hidden` (T, D) and its unknown words."""

    hidden: Floats
    unknown_words: tuple[str, ...]


class TextToImage:
    """A model that is open and ready; safe to share between threads."""

    def __init__(self, card: ModelCard, tokenizer: PromptTokenizer, runtime: Runtime) -> None:
        self.card = card
        self._tokenizer = tokenizer
        self._text_encoder = runtime.load("text_encoder")
        self._transformer = runtime.load("transformer")
        self._vae_decoder = runtime.load("vae_decoder")
        self._conditions = lru_cache(_TEXT_CACHE)(self._encode_text)
        self._positions = lru_cache(16)(self._position_table)

    @classmethod
    def open(
        cls,
        folder: Path | str,
        runtime: RuntimeName = "onnx",
        precision: Precision = "int8",
        threads: int = 1,
        providers: Sequence[str] = CPU_PROVIDERS,
        verify: bool = True,
    ) -> Self:
        """Open a model folder.

        Args:
            folder: diffusers layout with an `aquatint.json`.
            runtime: "onnx" needs onnxruntime; "torch" needs the [train] extra and runs in fp32 only.
            precision: of the transformer.
            threads: of one call.
            providers: of ONNX Runtime, in order of preference.
            verify: False skips the sha256 of the files.

        Raises:
            ModelUnusable: one of its kinds, naming the file or the package that is missing.
        """
        folder = Path(folder)
        card = load_card(folder, verify)
        tokenizer = PromptTokenizer.open(folder, card.max_prompt_tokens)
        if runtime == "onnx":
            return cls(card, tokenizer, OnnxRuntime(folder, card, precision, threads, providers))
        from models.runtimes.torch_modules import (
            TorchRuntime,
        )  # here, so that the core install needs no torch

        return cls(card, tokenizer, TorchRuntime(folder, precision, threads))

    def render(
        self,
        shots: Sequence[Shot],
        on_step: OnStep | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[RenderedImage | FailedImage]:
        """Make images, one after the other; an image that fails takes nobody with it.

        Args:
            shots: any mixture of prompts, seeds, sizes, steps and guidance.
            on_step: called after each denoising step with (index of the shot, steps done).
            cancelled: asked before each step; once it says True the unfinished images fail with `RenderCancelled`.

        Returns:
            One result for each shot, in their order.
        """
        return [self._render_safely(i, shot, on_step, cancelled or _never) for i, shot in enumerate(shots)]

    def check(self, shot: Shot) -> None:
        """Raise the `InvalidShot` that rendering this shot would give, without rendering."""
        card = self.card
        if (shot.width, shot.height) not in card.sizes:
            known = ", ".join(f"{width}x{height}" for width, height in card.sizes)
            raise UnsupportedSize("size", f"one of {known}", f"{shot.width}x{shot.height}")
        if not card.steps.minimum <= shot.steps <= card.steps.maximum:
            raise StepsOutOfRange("steps", f"{card.steps.minimum} to {card.steps.maximum}", shot.steps)
        if not card.guidance.minimum <= shot.guidance <= card.guidance.maximum:
            limit = f"{card.guidance.minimum:g} to {card.guidance.maximum:g}"
            raise GuidanceOutOfRange("guidance", limit, shot.guidance)
        if not 0 <= shot.seed <= _MAX_SEED:
            raise SeedOutOfRange("seed", f"0 to {_MAX_SEED}", shot.seed)
        self._tokenizer.encode(shot.prompt, "prompt")
        self._tokenizer.encode(shot.negative_prompt, "negative_prompt")

    def unknown_words(self, prompt: str) -> tuple[str, ...]:
        """Words of a prompt that the model will ignore."""
        return self._tokenizer.encode(prompt).unknown_words

    def _render_safely(
        self, index: int, shot: Shot, on_step: OnStep | None, cancelled: Callable[[], bool]
    ) -> RenderedImage | FailedImage:
        def after_step(done: int) -> None:
            if on_step:
                on_step(index, done)

        try:
            return self._render(shot, after_step, cancelled)
        except ModelError as error:
            return FailedImage(shot=shot, error=error)
        except Exception as error:  # the runtime's own classes: whatever it was, the neighbours go on
            failure = RenderFailed(f"the runtime failed: {type(error).__name__}: {error}")
            failure.__cause__ = error
            return FailedImage(shot=shot, error=failure)

    def _render(
        self, shot: Shot, after_step: Callable[[int], None], cancelled: Callable[[], bool]
    ) -> RenderedImage:
        """One image from words to pixels."""
        self.check(shot)
        started = time.perf_counter()
        prompt, negative = self._conditions(shot.prompt), self._conditions(shot.negative_prompt)
        encoded = time.perf_counter()
        latents = self._denoise(shot, prompt.hidden, negative.hidden, after_step, cancelled)  # (1, C, h, w)
        denoised = time.perf_counter()
        pixels = self._decode(latents)  # (H, W, 3)
        seconds = Timing(
            text=encoded - started, denoise=denoised - encoded, decode=time.perf_counter() - denoised
        )
        return RenderedImage(shot=shot, pixels=pixels, seconds=seconds, unknown_words=prompt.unknown_words)

    def _encode_text(self, text: str) -> _Conditions:
        tokens = self._tokenizer.encode(text)
        ids = np.array([tokens.ids], np.int64)  # (1, T)
        hidden = self._text_encoder(input_ids=ids, attention_mask=np.ones_like(ids))["hidden"]  # (1, T, D)
        return _Conditions(hidden[0], tokens.unknown_words)

    def _denoise(
        self,
        shot: Shot,
        prompt: Floats,
        negative: Floats,
        after_step: Callable[[int], None],
        cancelled: Callable[[], bool],
    ) -> Floats:
        """Latents (1, C, h, w) of one shot, guided by its texts (Ho and Salimans 2022, arXiv:2207.12598)."""
        flow = self.card.flow
        guided = shot.guidance != 1
        text, mask = _stack_texts(
            [prompt, negative] if guided else [prompt]
        )  # (B, T, D), (B, T); B is 2 if guided
        rows, columns = shot.height // flow.pixels_per_cell, shot.width // flow.pixels_per_cell
        positions = self._positions(rows // flow.patch, columns // flow.patch)  # (1, N, W)

        def velocity(x: Floats, sigma: float) -> Floats:
            if cancelled():
                raise RenderCancelled("rendering was cancelled")
            result = self._transformer(
                sample=np.repeat(x, len(text), axis=0),  # (B, C, h, w)
                sigma=np.full(len(text), sigma, np.float32),  # (B,)
                text=text,
                text_mask=mask,
                positions=positions,
            )["velocity"]  # (B, C, h, w)
            if not guided:
                return cast(Floats, result)
            return cast(
                Floats, result[1:] + np.float32(shot.guidance) * (result[:1] - result[1:])
            )  # (1, C, h, w)

        noise = latent_noise(shot.seed, flow.channels, rows, columns)[None]  # (1, C, h, w)
        sigmas = flow_sigmas(shot.steps, flow.shift)
        return cast(Floats, SAMPLERS[flow.sampler](velocity, noise, sigmas, after_step))

    def _decode(self, latents: Floats) -> npt.NDArray[np.uint8]:
        images = self._vae_decoder(latents=latents)["images"]  # (1, 3, H, W) in [-1, 1]
        if not np.isfinite(images).all():
            raise NonFiniteImage("the model gave NaN or infinity")
        levels = np.rint((images[0].clip(-1, 1) + 1) * 127.5).astype(np.uint8)  # (3, H, W)
        return np.ascontiguousarray(levels.transpose(1, 2, 0))  # (H, W, 3)

    def _position_table(self, rows: int, columns: int) -> Floats:
        return position_table(rows, columns, self.card.flow.position_width, self.card.flow.position_span)


def _never() -> bool:
    return False


def _stack_texts(texts: list[Floats]) -> tuple[Floats, Floats]:
    """Pad texts (T, D) to the longest; (B, T, D) and the mask (B, T), 1 for words and 0 for padding."""
    longest = max(len(text) for text in texts)
    stacked = np.zeros((len(texts), longest, texts[0].shape[1]), np.float32)  # (B, T, D)
    mask = np.zeros((len(texts), longest), np.float32)  # (B, T)
    for i, text in enumerate(texts):
        stacked[i, : len(text)] = text
        mask[i, : len(text)] = 1
    return stacked, mask
