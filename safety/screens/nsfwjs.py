"""The weights of the JavaScript package nsfwjs as a classifier of ours.

nsfwjs (MIT, Infinite Red) carries a MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) whose weights are stored as
bytes. They are read out of the package without running it and written as an ONNX file of float32; the package itself
comes from its registry, by whoever installs the screen, and is known by its digest.
"""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safety import categories as ids
from safety.onnx_screen import ScreenFiles
from safety.screen_card import KnownAnswer, Label, ScreenCard
from safety.screens.js_module import NotAModule, exported_bytes, exported_object
from safety.screens.keras_graph import LayersUnsupported, graph_of_layers
from schemas.errors import ScreenMissing

NAME = "nsfwjs"
#: npm's own integrity of each release whose weights were compared with the original.
RELEASES = {
    "4.4.0": "sha512-krC1fgeTLXtZwgdpKJ0jm7hqv0gTSRQQRL+FhOaxaJ9Wj92t42BO3csO2odwgTAgZgf2RvkwPtp0R8Aa7dc+MA==",
    "4.3.0": "sha512-WTKDte0vp1X97N1h34P79G/hG+sVT3+TnDz9di1WseIJR93v11E4viNX7Vg9WsO6HYoR772Nzq2iM8jo3XBZ+g==",
}
LATEST = "4.4.0"
#: The ONNX file that every release becomes: the same bytes on every machine.
MODEL_SHA256 = "3cc57b9f9f7ef59e734d6f0e6f39ae6d98f7da205b8006540d4dd21d804bf11f"
SIDE = 224

_FOLDER = "package/dist/models/mobilenet_v2/"
_MEMBERS = (f"{_FOLDER}model.min.js", f"{_FOLDER}group1-shard1of1.min.js")
_MAX_PACKAGE_BYTES = 64 << 20
_MAX_MEMBER_BYTES = 8 << 20

CARD = ScreenCard(
    name=NAME,
    version="mobilenet_v2",
    licence="MIT",
    size=(SIDE, SIDE),
    layout="NCHW",
    resize="bilinear",
    output="probabilities",
    labels=(
        Label(name="drawing"),
        Label(name="hentai", category=ids.SEXUAL),
        Label(name="neutral"),
        Label(name="porn", category=ids.SEXUAL),
        # Swimwear and the like: half counts, so that it is never enough alone where a shop sells it.
        Label(name="sexy", category=ids.SEXUAL, weight=0.5),
    ),
    # Said by the original, nsfwjs under TensorFlow.js 4.22.0, about the same pixels.
    known_answers=(
        KnownAnswer(
            left=(0, 0, 0),
            right=(255, 255, 255),
            outputs=(0.6540736, 0.0318204, 0.2531127, 0.0544597, 0.0065336),
            tolerance=0.001,
        ),
        KnownAnswer(
            left=(230, 170, 140),
            right=(120, 70, 50),
            outputs=(0.9257467, 0.0213007, 0.0487553, 0.003507, 0.0006903),
            tolerance=0.001,
        ),
        KnownAnswer(
            left=(20, 60, 200),
            right=(240, 220, 40),
            outputs=(0.8102668, 0.0209295, 0.1588064, 0.0084623, 0.0015349),
            tolerance=0.001,
        ),
    ),
    recall="unmeasured",
    provenance=(
        "weights of the npm package nsfwjs; trained on pictures scraped from the web; sexual content only; "
        "drawings and abstract pictures give false alarms; how much it finds has not been measured"
    ),
)


def convert(package: bytes) -> ScreenFiles:
    """The classifier out of nsfwjs's npm package (a .tgz); ScreenMissing for anything that is not a known release."""
    if _integrity(package) not in RELEASES.values():
        known = ", ".join(RELEASES)
        raise _unusable(f"it is none of the known releases {known}")
    try:
        description, weights = _members(package)
        model = exported_object(description)
        tensors = _tensors(model["weightsManifest"], exported_bytes(weights))
        graph = graph_of_layers(model["modelTopology"]["model_config"]["config"], tensors, side=SIDE)
    except (NotAModule, LayersUnsupported, KeyError, ValueError, tarfile.TarError) as error:
        raise _unusable(str(error)) from error
    files = ScreenFiles(model=graph, card=CARD)
    if files.model_sha256 != MODEL_SHA256:
        raise _unusable("its weights became another model than the one that was compared with the original")
    return files


def _unusable(reason: str) -> ScreenMissing:
    return ScreenMissing(f"the nsfwjs package cannot be used: {reason}", field="image_screens")


def _integrity(package: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(package).digest()).decode()


def _members(package: bytes) -> tuple[str, str]:
    """The two files of the small model, as text."""
    if len(package) > _MAX_PACKAGE_BYTES:
        raise ValueError("the package is too large")
    with tarfile.open(fileobj=io.BytesIO(package), mode="r:gz") as archive:
        description, weights = (_text(archive, name) for name in _MEMBERS)
    return description, weights


def _text(archive: tarfile.TarFile, name: str) -> str:
    member = archive.getmember(name)
    file = archive.extractfile(member)
    if file is None or member.size > _MAX_MEMBER_BYTES:
        raise ValueError(f"{name} is no plain file of a sensible size")
    return file.read().decode("ascii")


def _tensors(manifest: Any, data: bytes) -> Mapping[str, NDArray[np.float32]]:
    return dict(_read(manifest[0]["weights"], data))


def _read(specs: list[dict[str, Any]], data: bytes) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Tensors lie one after the other; a byte b of one stands for b * scale + min."""
    at = 0
    for spec in specs:
        quantised, shape = spec["quantization"], tuple(spec["shape"])
        if quantised["dtype"] != "uint8" or spec["dtype"] != "float32":
            raise ValueError(f"{spec['name']} is stored in an unknown way")
        count = int(np.prod(shape))
        steps = np.frombuffer(data, dtype=np.uint8, count=count, offset=at).astype(np.float64)
        yield spec["name"], (steps * quantised["scale"] + quantised["min"]).astype(np.float32).reshape(shape)
        at += count
    if at != len(data):
        raise ValueError("there are more weights than tensors")
