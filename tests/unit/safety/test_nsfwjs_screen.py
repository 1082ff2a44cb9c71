"""The weights of nsfwjs as a classifier of ours: the same answers as the original, and nothing but known packages."""

import base64
import hashlib
import importlib.util
import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from safety.screens import nsfwjs
from schemas.errors import ScreenMissing

FIXTURES = Path(__file__).parents[2] / "fixtures" / "safety"
#: Path of nsfwjs-4.4.0.tgz or nsfwjs-4.3.0.tgz, made by `npm pack nsfwjs@4.4.0`; its weights are not ours to ship.
PACKAGE = "NSFWJS_PACKAGE"


@pytest.fixture(scope="module")
def package() -> bytes:
    if not os.environ.get(PACKAGE):
        pytest.skip(
            f"{PACKAGE} names no package: run `npm pack nsfwjs@{nsfwjs.LATEST}` and set it to compare with the original"
        )
    return Path(os.environ[PACKAGE]).read_bytes()


def synthetic_pictures(side: int) -> dict[str, np.ndarray]:
    spec = importlib.util.spec_from_file_location("screen_pictures", FIXTURES / "screen_pictures.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pictures(side)  # type: ignore[no-any-return]


def test_it_answers_like_the_original(package: bytes) -> None:
    """All five probabilities of ten pictures equal those of nsfwjs under TensorFlow.js to five decimals."""
    reference = json.loads((FIXTURES / "nsfwjs_answers.json").read_text("utf-8"))
    pictures = synthetic_pictures(reference["side"])
    screen = nsfwjs.convert(package).open()

    found = screen.outputs([pictures[name] for name in reference["answers"]])
    assert len(found) == 10
    assert [label.name for label in nsfwjs.CARD.labels] == reference["classes"]
    np.testing.assert_allclose(found, list(reference["answers"].values()), rtol=0, atol=5e-6)


def test_the_known_answers_are_the_originals(package: bytes) -> None:
    """The card's known answers were said by the original, so the self-test compares with it at every start."""
    nsfwjs.convert(package).open().self_test()


def packed(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def test_an_unknown_package_is_refused() -> None:
    """Whatever the package is called, only the bytes that were compared with the original are read at all."""
    with pytest.raises(ScreenMissing, match=r"4\.4\.0"):
        nsfwjs.convert(packed({"package/package.json": b"{}"}))


MODEL, WEIGHTS = (
    "package/dist/models/mobilenet_v2/model.min.js",
    "package/dist/models/mobilenet_v2/group1-shard1of1.min.js",
)
DESCRIBED = b't.exports={modelTopology:{model_config:{config:{layers:[],output_layers:[["x",0,0]]}}},weightsManifest:[{weights:[]}]}'


@pytest.mark.parametrize(
    "members",
    [
        {},
        {MODEL: DESCRIBED},
        {MODEL: DESCRIBED, WEIGHTS: b'n.exports="AAAA"'},
        {MODEL: DESCRIBED, WEIGHTS: b'n.exports=""'},
        {MODEL: b"t.exports={}", WEIGHTS: b'n.exports=""'},
        {MODEL: b"\xff\xfe", WEIGHTS: b'n.exports=""'},
        {MODEL: b" " * (9 << 20), WEIGHTS: b'n.exports=""'},
    ],
    ids=["empty", "no weights", "weights left over", "no output", "no model", "not text", "too large"],
)
def test_a_damaged_package_is_refused(members: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a package of the right digest that does not hold what it should ends in one typed error."""
    data = packed(members)
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
    monkeypatch.setattr(nsfwjs, "RELEASES", {"0": integrity})

    with pytest.raises(ScreenMissing, match="cannot be used"):
        nsfwjs.convert(data)


def test_what_counts_as_what() -> None:
    """Two classes count fully as sexual content, the suggestive one by half, the others not at all."""
    weights = {label.name: (label.category, label.weight) for label in nsfwjs.CARD.labels if label.category}

    assert weights == {"porn": ("sexual", 1.0), "hentai": ("sexual", 1.0), "sexy": ("sexual", 0.5)}
    assert nsfwjs.CARD.recall == "unmeasured"
