"""The shipped model keeps the promises of its room."""

import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest

from models.card import load_card
from models.errors import ModelCorrupt, PrecisionMissing
from models.pipeline import FailedImage, RenderedImage, Shot, TextToImage

ROOT = Path(__file__).parents[3]
STARTER = ROOT / "models" / "starter"
MEGABYTE = 1_000_000

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
    fields = {"prompt": prompt, "seed": seed, "width": 128, "height": 128, "steps": 4, "guidance": 3.0}
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
        shot(prompt, seed=i, width=sizes[i % 3][0], height=sizes[i % 3][1], guidance=1.0 if i == 4 else 3.0)
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
        model, shot(), shot(seed=8), shot(PROMPTS[1]), shot(negative_prompt="close-up")
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
    sentence = "a stunning red ceramic mug, best price, on a white background"
    odd, plain = model.render([shot(sentence, steps=8), shot("a red mug on a white background", steps=8)])

    assert isinstance(odd, RenderedImage)
    assert isinstance(plain, RenderedImage)
    assert ("stunning", "ceramic", "best", "price") == odd.unknown_words
    difference = np.median(odd.pixels.astype(int) - plain.pixels, axis=(0, 1))
    assert np.abs(difference).max() < 20


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
        p.relative_to(STARTER).as_posix() for p in files if p.suffix in (".onnx", ".safetensors", ".json")
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
        "shot = Shot(prompt='red mug', seed=1, width=128, height=128, steps=1, guidance=3.0);"
        "assert model.render([shot])[0].pixels.shape == (128, 128, 3);"
        "heavy = {'torch', 'diffusers', 'transformers', 'skia'} & set(sys.modules);"
        "assert not heavy, heavy"
    )

    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert 0 == result.returncode, result.stderr[-2000:]
