"""`TextToImage`: prompts and pictures in, pixels out, on any runtime.

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

from models.adapters import WeightedAdapter, combine
from models.card import ModelCard, load_card
from models.errors import ModelError, NonFiniteImage, RenderCancelled, RenderFailed
from models.inpainting import composite, latent_mask
from models.noise import latent_noise
from models.positions import position_table
from models.runtime import Array, Precision, Runtime, RuntimeName
from models.runtimes.onnx import CPU_PROVIDERS, OnnxRuntime
from models.samplers import SAMPLERS, flow_sigmas
from models.shot import Control, Shot, check_shot
from models.text import PromptTokenizer
from models.triggers import with_triggers

__all__ = ["Control", "FailedImage", "RenderedImage", "Shot", "TextToImage", "Timing", "WeightedAdapter"]

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
OnStep = Callable[[int, int], None]
_TEXT_CACHE = 512


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds an image took, by part."""

    text: float
    denoise: float
    decode: float
    #: encoding the image and finding the lines that came with the shot
    pictures: float = 0.0

    @property
    def total(self) -> float:
        """Sum of the parts."""
        return self.text + self.pictures + self.denoise + self.decode


@dataclass(frozen=True, kw_only=True, eq=False)
class RenderedImage:
    """A finished image: uint8 (height, width, 3), and the words of its prompt the model does not know."""

    shot: Shot
    pixels: Pixels
    seconds: Timing
    unknown_words: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FailedImage:
    """An image that did not come out; `error.retryable` says whether it may another time."""

    shot: Shot
    error: ModelError


@dataclass(frozen=True, eq=False)
class _Conditions:
    """What a text says to the transformer: `hidden` (T, D) and its unknown words."""

    hidden: Floats
    unknown_words: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Pictures:
    """What the pictures of a shot become: `known` latents (1, C, h, w), `repaint` (1, 1, h, w), `control` (1, 64, h, w)."""

    known: Floats | None
    repaint: Floats | None
    control: Floats


class TextToImage:
    """A model that is open and ready; safe to share between threads."""

    def __init__(self, card: ModelCard, tokenizer: PromptTokenizer, runtime: Runtime) -> None:
        self.card = card
        self._tokenizer = tokenizer
        self._text_encoder = runtime.load("text_encoder")
        self._transformer = runtime.load("transformer")
        self._vae_decoder = runtime.load("vae_decoder")
        self._vae_encoder = runtime.load("vae_encoder") if "image_to_image" in card.features else None
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
        check_shot(shot, self.card)
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
        phrases = _trigger_phrases(shot)
        told = with_triggers(shot.prompt, prompt.hidden, phrases)  # (T, D), longer by the triggers it holds
        encoded = time.perf_counter()
        pictures = self._see(shot)
        seen = time.perf_counter()
        constants = self._constants(shot, told, negative.hidden, pictures.control)
        latents = self._denoise(shot, constants, pictures, after_step, cancelled)  # (1, C, h, w)
        denoised = time.perf_counter()
        pixels = self._decode(latents)  # (H, W, 3)
        if shot.image is not None and shot.mask is not None:
            pixels = composite(shot.image, pixels, shot.mask)
        seconds = Timing(
            text=encoded - started,
            pictures=seen - encoded,
            denoise=denoised - seen,
            decode=time.perf_counter() - denoised,
        )
        understood = {word for phrase in phrases for word in phrase.lower().split()}
        unknown = tuple(word for word in prompt.unknown_words if word.lower() not in understood)
        return RenderedImage(shot=shot, pixels=pixels, seconds=seconds, unknown_words=unknown)

    def _encode_text(self, text: str) -> _Conditions:
        tokens = self._tokenizer.encode(text)
        ids = np.array([tokens.ids], np.int64)  # (1, T)
        hidden = self._text_encoder(input_ids=ids, attention_mask=np.ones_like(ids))["hidden"]  # (1, T, D)
        return _Conditions(hidden[0], tokens.unknown_words)

    def _see(self, shot: Shot) -> _Pictures:
        """Turn the image, the mask and the control of a shot into what the network works on."""
        cell = self.card.flow.pixels_per_cell
        rows, columns = shot.height // cell, shot.width // cell
        control = np.zeros((1, cell * cell, rows, columns), np.float32)  # (1, 64, h, w)
        if shot.control is not None:
            control += _fold(shot.control.lines(), cell) * np.float32(shot.control.weight)
        return _Pictures(
            known=None if shot.image is None else self._encode_image(shot.image),
            repaint=None if shot.mask is None else latent_mask(shot.mask, cell),
            control=control,
        )

    def _encode_image(self, image: Pixels) -> Floats:
        assert self._vae_encoder is not None  # the shot was checked
        scaled = image.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(127.5) - 1  # (1, 3, H, W)
        return cast(Floats, self._vae_encoder(images=scaled)["latents"])  # (1, C, h, w)

    def _constants(self, shot: Shot, prompt: Floats, negative: Floats, control: Floats) -> dict[str, Array]:
        """Inputs of the transformer that stay the same from step to step; B is 2 where guidance needs both texts."""
        flow = self.card.flow
        text, mask = _stack_texts([prompt, negative] if shot.guidance != 1 else [prompt])  # (B, T, D), (B, T)
        rows, columns = control.shape[2] // flow.patch, control.shape[3] // flow.patch
        down, up = combine(shot.adapters, self.card.adapters)  # (P, W, R), (P, R, W)
        count = len(text)
        return {
            "text": text,
            "text_mask": mask,
            "positions": self._positions(rows, columns),  # (1, N, W)
            "control": np.repeat(control, count, axis=0),  # (B, 64, h, w)
            "adapter_down": down[None],  # (1, P, W, R)
            "adapter_up": up[None],  # (1, P, R, W)
        }

    def _denoise(
        self,
        shot: Shot,
        constants: dict[str, Array],
        pictures: _Pictures,
        after_step: Callable[[int], None],
        cancelled: Callable[[], bool],
    ) -> Floats:
        """Latents (1, C, h, w) of one shot, guided by its texts (Ho and Salimans 2022, arXiv:2207.12598)."""
        flow, count = self.card.flow, len(constants["text"])
        rows, columns = constants["control"].shape[2:]
        noise = latent_noise(shot.seed, flow.channels, rows, columns)[None]  # (1, C, h, w)
        sigmas = flow_sigmas(shot.steps, flow.shift, shot.start)
        start, known, repaint = noise, pictures.known, pictures.repaint
        if known is not None:
            start = known * np.float32(1 - sigmas[0]) + noise * np.float32(sigmas[0])  # (1, C, h, w)

        def velocity(x: Floats, sigma: float) -> Floats:
            if cancelled():
                raise RenderCancelled("rendering was cancelled")
            result: Floats = self._transformer(
                sample=np.repeat(x, count, axis=0),  # (B, C, h, w)
                sigma=np.full(count, sigma, np.float32),  # (B,)
                **constants,
            )["velocity"]  # (B, C, h, w)
            if count == 2:
                result = result[1:] + np.float32(shot.guidance) * (result[:1] - result[1:])  # (1, C, h, w)
            if known is None or repaint is None:
                return result
            held = noise - known  # (1, C, h, w)
            return held + repaint * (result - held)

        return cast(Floats, SAMPLERS[flow.sampler](velocity, start, sigmas, after_step))

    def _decode(self, latents: Floats) -> npt.NDArray[np.uint8]:
        images = self._vae_decoder(latents=latents)["images"]  # (1, 3, H, W) in [-1, 1]
        if not np.isfinite(images).all():
            raise NonFiniteImage("the model gave NaN or infinity")
        levels = np.rint((images[0].clip(-1, 1) + 1) * 127.5).astype(np.uint8)  # (3, H, W)
        return np.ascontiguousarray(levels.transpose(1, 2, 0))  # (H, W, 3)

    def _position_table(self, rows: int, columns: int) -> Floats:
        return position_table(rows, columns, self.card.flow.position_width, self.card.flow.position_span)


def _trigger_phrases(shot: Shot) -> list[str]:
    """What the adapters of a shot answer to; one of weight 0 is not used."""
    return [phrase for used in shot.adapters if used.weight for phrase in used.adapter.card.trigger]


def _never() -> bool:
    return False


def _fold(lines: Pixels, cell: int) -> Floats:
    """Lines (H, W) with the pixels of each cell as channels, (1, cell cell, H / cell, W / cell)."""
    rows, columns = lines.shape[0] // cell, lines.shape[1] // cell
    cells = lines.reshape(rows, cell, columns, cell).transpose(1, 3, 0, 2)  # (cell, cell, h, w)
    return cells.reshape(1, cell * cell, rows, columns).astype(np.float32)


def _stack_texts(texts: list[Floats]) -> tuple[Floats, Floats]:
    """Pad texts (T, D) to the longest; (B, T, D) and the mask (B, T), 1 for words and 0 for padding."""
    longest = max(len(text) for text in texts)
    stacked = np.zeros((len(texts), longest, texts[0].shape[1]), np.float32)  # (B, T, D)
    mask = np.zeros((len(texts), longest), np.float32)  # (B, T)
    for i, text in enumerate(texts):
        stacked[i, : len(text)] = text
        mask[i, : len(text)] = 1
    return stacked, mask
