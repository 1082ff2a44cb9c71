"""The shipped model keeps the promises of its room."""

import hashlib
import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest
from safetensors.numpy import save

from models.adapters import ADAPTER_TARGETS, Adapter, AdapterCard, read_adapter
from models.card import load_card
from models.edges import edge_map
from models.errors import ModelCorrupt, PrecisionMissing
from models.pipeline import Control, FailedImage, RenderedImage, Shot, TextToImage, WeightedAdapter

ROOT = Path(__file__).parents[3]
STARTER = ROOT / "models" / "starter"
MEGABYTE = 1_000_000
CARD = load_card(STARTER, verify=False)
USUAL = CARD.guidance.default
CONTROLLED = "control:sketch" in CARD.features
#: what the guidance tests take: another one than 1
GUIDED = 3.0

PROMPTS = [
    "a red ceramic mug on a white background",
    "matte blue sofa, dark backdrop, on the left",
    "close-up photo of the green hat against a beige backdrop",
    "yellow wooden chair",
    "a small teal vase on a gray background",
    "product photo of a pink handbag, glossy finish, lavender background",
    "",
    "black shirt on sky blue, on the right",
]


@pytest.fixture(scope="module")
def model() -> TextToImage:
    """The shipped model, INT8 on ONNX Runtime, one thread."""
    return TextToImage.open(STARTER)


def shot(prompt: str = PROMPTS[0], seed: int = 7, **changes: object) -> Shot:
    fields = {"prompt": prompt, "seed": seed, "width": 128, "height": 128, "steps": 4, "guidance": USUAL}
    return Shot(**{**fields, **changes})  # type: ignore[arg-type]


def pixels(model: TextToImage, *shots: Shot) -> list[bytes]:
    """Bytes of each image; a failure fails the test."""
    results = model.render(shots)
    for result in results:
        assert isinstance(result, RenderedImage), result
    return [result.pixels.tobytes() for result in results if isinstance(result, RenderedImage)]


def test_an_image_is_the_same_alone_and_in_company(model: TextToImage) -> None:
    """Bit-identical alone, among eight other prompts, seeds and sizes in any order, and after a restart."""
    sizes = [(128, 128), (160, 96), (96, 160)]
    shots = [
        shot(
            prompt, seed=i, width=sizes[i % 3][0], height=sizes[i % 3][1], guidance=1.0 if i == 4 else GUIDED
        )
        for i, prompt in enumerate(PROMPTS)
    ]
    together = pixels(model, *shots)
    order = Random(3).sample(range(len(shots)), len(shots))

    shuffled = pixels(model, *[shots[i] for i in order])
    restarted = TextToImage.open(STARTER)
    alone = [pixels(restarted, one)[0] for one in shots]

    assert together == alone
    assert [together[i] for i in order] == shuffled
    assert len(set(together)) == len(shots)


def test_seed_prompt_and_negative_prompt_all_matter(model: TextToImage) -> None:
    """Each of them changes the picture; without guidance the negative prompt cannot."""
    base, seed, prompt, negative = pixels(
        model,
        shot(guidance=GUIDED),
        shot(guidance=GUIDED, seed=8),
        shot(PROMPTS[1], guidance=GUIDED),
        shot(guidance=GUIDED, negative_prompt="close-up"),
    )
    plain, plain_negative = pixels(model, shot(guidance=1.0), shot(guidance=1.0, negative_prompt="close-up"))

    assert 5 == len({base, seed, prompt, negative, plain})
    assert plain == plain_negative


def test_a_picture_shows_something(model: TextToImage) -> None:
    """Red on white: the middle is redder than the corners, and nothing is flat."""
    result = model.render([shot(steps=8)])[0]

    assert isinstance(result, RenderedImage)
    middle, corner = result.pixels[48:80, 48:80].reshape(-1, 3), result.pixels[:12, :12].reshape(-1, 3)
    assert middle[:, 0].mean() - middle[:, 1].mean() > 60
    assert corner.mean() > 200
    assert result.pixels.std() > 15
    assert result.seconds.total > 0


def test_unknown_words_do_no_harm(model: TextToImage) -> None:
    """Words outside the vocabulary are named, and hardly change the picture's backdrop and colour."""
    sentence = "a stupendous red ceramic mug, guaranteed bargain, on a white background"
    odd, plain = model.render([shot(sentence, steps=8), shot("a red mug on a white background", steps=8)])

    assert isinstance(odd, RenderedImage)
    assert isinstance(plain, RenderedImage)
    assert ("stupendous", "ceramic", "guaranteed", "bargain") == odd.unknown_words
    difference = np.median(odd.pixels.astype(int) - plain.pixels, axis=(0, 1))
    assert np.abs(difference).max() < 20


def picture(model: TextToImage, one: Shot) -> np.ndarray:
    """Pixels of one image, as signed numbers."""
    result = model.render([one])[0]
    assert isinstance(result, RenderedImage), result
    return result.pixels.astype(int)


def test_the_card_promises_what_is_tested_here() -> None:
    """Prompts are not all it does: each feature below is on the card; both kinds of control are, or neither."""
    control = {"control:edges", "control:sketch"} if CONTROLLED else set()

    assert {"image_to_image", "inpainting", "adapters"} | control == set(CARD.features)


def test_more_strength_keeps_less_of_the_image(model: TextToImage) -> None:
    """A weak change stays close to the image, a strong one follows the prompt; 1 forgets the image altogether."""
    image = picture(model, shot("a blue mug on a beige background")).astype(np.uint8)
    away = [
        np.abs(picture(model, shot(image=image, strength=strength)) - image).mean()
        for strength in (0.15, 0.5, 0.9)
    ]

    assert away == sorted(away)
    assert away[0] < 0.5 * away[-1]
    assert np.array_equal(picture(model, shot()), picture(model, shot(image=image, strength=1.0)))


def test_inpainting_changes_the_mask_alone(model: TextToImage) -> None:
    """Every unmasked pixel keeps its bytes, at any strength; inside, the prompt's colour appears."""
    image = picture(model, shot("a blue mug on a white background")).astype(np.uint8)
    mask = np.zeros((128, 128), np.uint8)
    mask[16:112, 12:116] = 255

    for strength in (0.5, 1.0):
        repainted = picture(model, shot(image=image, mask=mask, strength=strength))
        assert np.array_equal(image[mask == 0], repainted[mask == 0])
    middle = repainted[56:80, 52:72].reshape(-1, 3).mean(axis=0)
    assert middle[0] > middle[2] + 40


def followed(lines: np.ndarray, pixels: np.ndarray) -> float:
    """Share of the lines that have an edge of the picture within two pixels."""
    near = np.pad(edge_map(pixels.astype(np.uint8)), 2)
    widened = np.max([near[i : i + 128, j : j + 128] for i in range(5) for j in range(5)], axis=0)
    return float(widened[lines > 0].mean())


@pytest.mark.skipif(not CONTROLLED, reason="the shipped model was not trained to follow lines")
def test_control_draws_along_the_lines(model: TextToImage) -> None:
    """Outlines given as control reappear in the picture, more of them than without, and none at weight 0."""
    guide = picture(model, shot("a blue mug, on the left", seed=3)).astype(np.uint8)
    lines = edge_map(guide)

    def drawn(seed: int, weight: float) -> np.ndarray:
        control = Control(kind="edges", pixels=guide, weight=weight)
        return picture(model, shot("a red mug, on the left", seed=seed, control=control))

    free = [picture(model, shot("a red mug, on the left", seed=seed)) for seed in (11, 12, 13)]
    bound = [drawn(seed, 1.0) for seed in (11, 12, 13)]
    assert np.array_equal(free[0], drawn(11, 0.0))
    assert np.mean([followed(lines, one) for one in bound]) > np.mean([followed(lines, one) for one in free])


def any_adapter(seed: int, rank: int = 4, strength: float = 0.02) -> Adapter:
    """Random weights for every place of the shipped model, as a file would bring them."""
    support = CARD.adapters
    assert support is not None
    rng = np.random.default_rng(seed)
    arrays = {}
    for layer in range(support.layers):
        for target in ADAPTER_TARGETS:
            stem = f"transformer.transformer_blocks.{layer}.{target}"
            arrays[f"{stem}.lora_A.weight"] = rng.standard_normal((rank, support.width)).astype(np.float32)
            arrays[f"{stem}.lora_B.weight"] = strength * rng.standard_normal((support.width, rank)).astype(
                np.float32
            )
    weights = save(arrays)
    card = AdapterCard(
        name="noise", base_model=CARD.name, base_digest=CARD.base_digest, rank=rank, alpha=rank,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
    )  # fmt: skip
    return read_adapter(card.to_bytes(), weights, CARD)


def test_adapters_come_and_go_without_a_trace(model: TextToImage) -> None:
    """Images with adapters change, and in between the base gives the same bytes as before any was used."""
    before = pixels(model, shot())[0]
    one = WeightedAdapter(adapter=any_adapter(1), weight=1.0)
    other = WeightedAdapter(adapter=any_adapter(2, rank=8), weight=0.5)
    plain, first, again, both, second, last = pixels(
        model,
        shot(),
        shot(adapters=(one,)),
        shot(),
        shot(adapters=(one, other)),
        shot(adapters=(other,)),
        shot(),
    )

    assert before == plain == again == last
    assert 4 == len({plain, first, both, second})
    nothing = WeightedAdapter(adapter=any_adapter(1), weight=0.0)
    assert before == pixels(model, shot(adapters=(nothing,)))[0]


def test_every_kind_of_image_is_the_same_in_company(model: TextToImage) -> None:
    """Images with pictures, masks, adapters and, where the model has it, control come out bit-identical alone and together."""
    image = picture(model, shot("a blue mug")).astype(np.uint8)
    mask = np.zeros((128, 128), np.uint8)
    mask[:64] = 255
    adapter = WeightedAdapter(adapter=any_adapter(3))
    control = Control(kind="sketch", pixels=image) if CONTROLLED else None
    shots = [
        shot(image=image), shot(image=image, mask=mask), shot(adapters=(adapter,)),
        shot(image=image, mask=mask, control=control, adapters=(adapter,), guidance=GUIDED), shot(),
    ]  # fmt: skip
    if control is not None:
        shots.append(shot(control=control))

    together = pixels(model, *shots)

    assert together == [pixels(model, one)[0] for one in shots]
    assert len(shots) == len(set(together))


def test_unsupported_sizes_fail_alone(model: TextToImage) -> None:
    """A size the model was not made for is a typed error beside finished neighbours."""
    results = model.render([shot(steps=1), shot(width=512, height=512), shot(steps=1)])

    assert [RenderedImage, FailedImage, RenderedImage] == [type(result) for result in results]


def test_the_folder_is_small_and_true() -> None:
    """At most 25 MB in files below 10 MB; the card lists every file that decides pixels, and each has its sha256."""
    card = load_card(STARTER)
    files = [path for path in STARTER.rglob("*") if path.is_file()]

    assert sum(path.stat().st_size for path in files) <= 25 * MEGABYTE
    assert max(path.stat().st_size for path in files) < 10 * MEGABYTE
    deciding = {
        p.relative_to(STARTER).as_posix()
        for p in files
        if p.suffix in (".onnx", ".weights", ".safetensors", ".json")
    }
    assert deciding - {"aquatint.json"} == set(card.files)
    assert "closed" == card.domain


def test_one_changed_byte_in_the_weights_stops_the_model(tmp_path: Path) -> None:
    """The shipped weights cannot be altered unnoticed."""
    for path in STARTER.rglob("*"):
        if path.is_file():
            (tmp_path / path.relative_to(STARTER)).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path.relative_to(STARTER)).write_bytes(path.read_bytes())
    weights = tmp_path / "onnx" / "transformer.int8.onnx"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)

    with pytest.raises(ModelCorrupt, match=r"transformer\.int8\.onnx"):
        TextToImage.open(tmp_path)


def test_a_precision_that_is_not_shipped_is_refused() -> None:
    """The error says what to do about it."""
    with pytest.raises(PrecisionMissing, match=r"models\.training\.export"):
        TextToImage.open(STARTER, precision="fp32")


def test_rendering_needs_no_torch() -> None:
    """Opening and rendering never import torch, diffusers, transformers or skia."""
    program = (
        "import sys; from models.pipeline import Shot, TextToImage;"
        f"model = TextToImage.open({str(STARTER)!r});"
        "shot = Shot(prompt='red mug', seed=1, width=128, height=128, steps=1, guidance=1.0);"
        "assert model.render([shot])[0].pixels.shape == (128, 128, 3);"
        "heavy = {'torch', 'diffusers', 'transformers', 'skia'} & set(sys.modules);"
        "assert not heavy, heavy"
    )

    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert 0 == result.returncode, result.stderr[-2000:]
