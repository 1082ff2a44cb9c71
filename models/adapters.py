"""`Adapter`: a low-rank addition to a model's attention layers (LoRA, Hu et al. 2021, arXiv:2106.09685), without torch.

An adapter is two files: `adapter.json`, whose digest names the adapter, and the weights it names by their sha256, in
diffusers' format. Weights of peft and kohya-ss are read too. The arrays go into the network as inputs, so that
changing an adapter costs nothing and leaves the model itself untouched.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError

from models.card import AdapterSupport, Frozen, ModelCard
from models.errors import AdapterCorrupt, AdapterMismatch, AdapterNotFound
from schemas.canonical import canonical

ADAPTER_FILE = "adapter.json"
WEIGHTS_FILE = "pytorch_lora_weights.safetensors"
#: layers of one block that take an adapter, in the order of their places
ADAPTER_TARGETS = (
    "attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0",
    "attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0",
)  # fmt: skip

Floats: TypeAlias = npt.NDArray[np.float32]
_MAX_CARD_BYTES = 1 << 20
_MAX_HEADER_BYTES = 1 << 20
_DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "F64": "<f8"}
#: diffusers and peft spell a place with dots, kohya-ss with underscores; the prefixes are those of their tools
_KEY = re.compile(
    r"(?:base_model\.model\.|transformer\.|unet\.|lora_unet_|lora_transformer_)?"
    r"transformer_blocks[._](?P<layer>\d{1,4})[._](?P<attention>attn[12])[._](?:processor\.)?"
    r"(?P<part>to_(?:q|k|v|out[._]0|out))(?P<old>_lora)?"
    r"\.(?P<role>lora_A|lora_B|lora_down|lora_up|lora\.down|lora\.up|down|up|alpha)"
    r"(?:\.default(?:_0)?)?(?:\.weight)?"
)
_Role: TypeAlias = Literal["down", "up", "alpha"]


class AdapterCard(Frozen):
    """What an adapter is, read from its `adapter.json`; the weights are named by digest, so this covers them."""

    format: Literal[1] = 1
    name: str = Field(min_length=1, max_length=100)
    base_model: str
    base_digest: str = Field(pattern=r"^[0-9a-f]{64}$", description="`ModelCard.base_digest` of its base")
    rank: int = Field(ge=1, le=1024)
    alpha: float = Field(gt=0, allow_inf_nan=False)
    trigger: tuple[str, ...] = Field(default=(), description="words of a prompt it was trained to answer to")
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    licence: str = ""
    scores: Mapping[str, float] = Field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The file as it is stored: canonical JSON (RFC 8785)."""
        return canonical(self.model_dump(mode="json"))


@dataclass(frozen=True, kw_only=True, eq=False)
class Adapter:
    """An adapter ready for use: `down` (P, W, R) and `up` (P, R, W), with alpha / rank inside `up`."""

    card: AdapterCard
    digest: str
    down: Floats
    up: Floats

    @property
    def rank(self) -> int:
        """R, the largest rank of its places."""
        return int(self.down.shape[2])

    @property
    def size_bytes(self) -> int:
        """Memory its arrays take."""
        return self.down.nbytes + self.up.nbytes


@dataclass(frozen=True, kw_only=True)
class WeightedAdapter:
    """An adapter and how strongly an image uses it; 1 is as trained, 0 is not at all."""

    adapter: Adapter
    weight: float = 1.0


def adapter_digest(adapter_json: bytes) -> str:
    """The name of an adapter: sha256, lower-case hex, of its `adapter.json` as stored."""
    return hashlib.sha256(adapter_json).hexdigest()


def load_adapter(folder: Path | str, card: ModelCard) -> Adapter:
    """Read an adapter's folder for one base model.

    Raises:
        AdapterNotFound: one of the two files is missing.
        AdapterCorrupt: a file is too large, malformed, altered, of wrong shapes or not finite.
        AdapterMismatch: it was made for another base model, or the base takes no adapters.
    """
    folder = Path(folder)
    limit = _weights_limit(_support_of(card))
    return read_adapter(
        _read_limited(folder / ADAPTER_FILE, _MAX_CARD_BYTES),
        _read_limited(folder / WEIGHTS_FILE, limit),
        card,
    )


def read_adapter(adapter_json: bytes, weights: bytes, card: ModelCard) -> Adapter:
    """The same from the bytes of the two files; same errors."""
    support = _support_of(card)
    described = _read_card(adapter_json)
    if described.base_digest != card.base_digest:
        raise AdapterMismatch(
            ADAPTER_FILE,
            f"made for {described.base_model} {described.base_digest[:12]}, not for this {card.name}",
        )
    if len(weights) > _weights_limit(support):
        raise AdapterCorrupt(WEIGHTS_FILE, f"larger than {_weights_limit(support)} bytes")
    if (actual := hashlib.sha256(weights).hexdigest()) != described.weights_sha256:
        raise AdapterCorrupt(
            WEIGHTS_FILE, f"sha256 is {actual}, {ADAPTER_FILE} says {described.weights_sha256}"
        )
    down, up = _stack(_read_places(weights, support), described, support)
    return Adapter(card=described, digest=adapter_digest(adapter_json), down=down, up=up)


def combine(
    adapters: Sequence[WeightedAdapter], support: AdapterSupport | None = None
) -> tuple[Floats, Floats]:
    """Several adapters as one: their ranks side by side, each weight inside its `up`; (P, W, R) and (P, R, W).

    With none, R is 0 and `support` tells P and W (both 0 without it); weights of 0 leave an adapter out.
    """
    used = [one for one in adapters if one.weight != 0]
    if not used:
        places, width = (len(support.targets) * support.layers, support.width) if support else (0, 0)
        return np.zeros((places, width, 0), np.float32), np.zeros((places, 0, width), np.float32)
    down = np.concatenate([one.adapter.down for one in used], axis=2)  # (P, W, R)
    up = np.concatenate([one.adapter.up * np.float32(one.weight) for one in used], axis=1)  # (P, R, W)
    return down, up


def _support_of(card: ModelCard) -> AdapterSupport:
    if card.adapters is None:
        raise AdapterMismatch(ADAPTER_FILE, f"{card.name} takes no adapters")
    return card.adapters


def _weights_limit(support: AdapterSupport) -> int:
    """Bytes of the largest weights file worth opening: every place at full rank in float32, and a header."""
    places = len(support.targets) * support.layers
    return places * support.width * support.max_rank * 2 * 4 + _MAX_HEADER_BYTES


def _read_limited(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise AdapterNotFound(path.name, "not there") from None
    except OSError as error:
        raise AdapterCorrupt(path.name, error.strerror or "unreadable") from error
    if len(data) > limit:
        raise AdapterCorrupt(path.name, f"larger than {limit} bytes")
    return data


def _read_card(adapter_json: bytes) -> AdapterCard:
    if len(adapter_json) > _MAX_CARD_BYTES:
        raise AdapterCorrupt(ADAPTER_FILE, f"larger than {_MAX_CARD_BYTES} bytes")
    try:
        return AdapterCard.model_validate_json(adapter_json)
    except ValidationError as error:
        first = error.errors()[0]
        raise AdapterCorrupt(ADAPTER_FILE, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _read_places(weights: bytes, support: AdapterSupport) -> Mapping[int, Mapping[_Role, Floats]]:
    """The arrays of each place: down (R, W), up (W, R), and alpha where the file has its own."""
    places: dict[int, dict[_Role, Floats]] = {}
    for name, array in _read_tensors(weights):
        match = _KEY.fullmatch(name)
        if match is None or int(match["layer"]) >= support.layers:
            raise AdapterCorrupt(WEIGHTS_FILE, f"{name[:120]} is no place this model has")
        part = "to_out.0" if match["part"].startswith("to_out") else match["part"]
        target = f"{match['attention']}.{part}"
        if target not in support.targets:
            raise AdapterCorrupt(WEIGHTS_FILE, f"{name[:120]} is no layer that takes an adapter")
        place = int(match["layer"]) * len(support.targets) + support.targets.index(target)
        roles = places.setdefault(place, {})
        if (role := _role(match["role"])) in roles:
            raise AdapterCorrupt(WEIGHTS_FILE, f"{name[:120]} comes twice")
        roles[role] = array
    if not places:
        raise AdapterCorrupt(WEIGHTS_FILE, "holds no weights")
    return places


def _read_tensors(weights: bytes) -> Iterator[tuple[str, Floats]]:
    from safetensors import SafetensorError, deserialize

    if len(weights) < 8 or int.from_bytes(weights[:8], "little") > min(_MAX_HEADER_BYTES, len(weights) - 8):
        raise AdapterCorrupt(WEIGHTS_FILE, "its header is cut off or too large")
    try:
        tensors = deserialize(weights)  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise AdapterCorrupt(WEIGHTS_FILE, str(error)) from error
    for name, tensor in tensors:
        yield name, _to_floats(name, tensor)


def _to_floats(name: str, tensor: Mapping[str, Any]) -> Floats:
    if tensor["dtype"] not in _DTYPES:
        raise AdapterCorrupt(WEIGHTS_FILE, f"{name[:120]} has the type {tensor['dtype']}, not a float")
    raw = np.frombuffer(tensor["data"], _DTYPES[tensor["dtype"]])
    if tensor["dtype"] == "BF16":  # the upper half of a float32
        raw = (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
    with np.errstate(over="ignore"):
        array = raw.astype(np.float32).reshape(tensor["shape"])
    if not np.isfinite(array).all():
        raise AdapterCorrupt(WEIGHTS_FILE, f"{name[:120]} holds NaN or infinity")
    return array


def _role(spelling: str) -> _Role:
    if spelling == "alpha":
        return "alpha"
    return "down" if spelling == "lora_A" or spelling.endswith("down") else "up"


def _stack(
    places: Mapping[int, Mapping[_Role, Floats]], described: AdapterCard, support: AdapterSupport
) -> tuple[Floats, Floats]:
    """All places as two arrays (P, W, R) and (P, R, W), zero where the adapter has nothing."""
    count, width = len(support.targets) * support.layers, support.width
    ranks = {place: _rank_of(place, roles, width) for place, roles in places.items()}
    rank = max(ranks.values())
    if rank != described.rank:
        raise AdapterCorrupt(WEIGHTS_FILE, f"has rank {rank}, {ADAPTER_FILE} says {described.rank}")
    if rank > support.max_rank:
        raise AdapterCorrupt(
            WEIGHTS_FILE, f"has rank {rank}, more than the {support.max_rank} this model takes"
        )
    down, up = np.zeros((count, width, rank), np.float32), np.zeros((count, rank, width), np.float32)
    for place, roles in places.items():
        own = ranks[place]
        alpha = float(roles["alpha"].reshape(-1)[0]) if "alpha" in roles else described.alpha
        down[place, :, :own] = roles["down"].T
        with np.errstate(over="ignore"):
            up[place, :own] = roles["up"].T * np.float32(alpha / own)
    if not np.isfinite(up).all():
        raise AdapterCorrupt(WEIGHTS_FILE, "its alpha is too large")
    return down, up


def _rank_of(place: int, roles: Mapping[_Role, Floats], width: int) -> int:
    layer, target = divmod(place, len(ADAPTER_TARGETS))
    name = f"block {layer} {ADAPTER_TARGETS[target]}"
    if "down" not in roles or "up" not in roles:
        raise AdapterCorrupt(WEIGHTS_FILE, f"{name} has only one of its two halves")
    down, up = roles["down"].shape, roles["up"].shape
    if len(down) != 2 or down[0] < 1 or down[1] != width or up != (width, down[0]):
        raise AdapterCorrupt(
            WEIGHTS_FILE, f"{name} has the shapes {down} and {up}, not (R, {width}) and ({width}, R)"
        )
    if "alpha" in roles and roles["alpha"].size != 1:
        raise AdapterCorrupt(WEIGHTS_FILE, f"{name} has an alpha of {roles['alpha'].size} numbers")
    return int(down[0])
