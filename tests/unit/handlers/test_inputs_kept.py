"""Pictures that requests bring: kept once, unchanged by whatever happens to the upload, and each tenant's own."""

from __future__ import annotations

import hashlib

import pytest
from kept_pictures import ToyJudge, input_ports, same_pixels
from pictures import a_picture, as_file

from handlers.inputs import Inputs
from safety.input_image import PictureReader
from schemas.errors import BadImage, BadInput, InputMissing, StoreUnavailable, Temporary
from schemas.input_image import MAX_INPUT_BYTES, CleanPicture
from schemas.object_keys import input_key
from storage.objects.memory import MemoryStore
from storage.objects.prefixed import PrefixedStore
from storage.objects.store import ObjectStore

PNG, OTHER = as_file(a_picture()), as_file(a_picture(seed=8), "JPEG")
SHA = hashlib.sha256(PNG).hexdigest()


class World:
    """Two tenants in one installation: "default" owns the stores, "bolt" has a folder in each."""

    def __init__(self) -> None:
        self.results, self.uploads = MemoryStore(bucket="results"), MemoryStore(bucket="uploads")
        self.looked: list[bytes] = []
        self.judge = ToyJudge()
        ports = input_ports(
            lambda tenant: self.of(self.results, tenant),
            lambda tenant: self.of(self.uploads, tenant),
            clean=self.look,
            judge=self.judge,
        )
        self.inputs = Inputs(ports, remembered=4)

    def of(self, store: MemoryStore, tenant: str) -> ObjectStore:
        return store if tenant == "default" else PrefixedStore(store, f"tenants/{tenant}")

    def look(self, data: bytes) -> CleanPicture:
        self.looked.append(data)
        return PictureReader().clean(data)

    def upload(self, key: str, data: bytes, tenant: str = "default") -> None:
        self.of(self.uploads, tenant).put(key, data, if_absent=False)


@pytest.fixture
def world() -> World:
    return World()


def test_what_is_named_is_copied_under_its_digest(world: World) -> None:
    """The bytes lie in the tenant's results store, whole and typed, before the picture is returned."""
    world.upload("photos/mug.png", PNG)
    found = world.inputs.resolve("default", "uploads/photos/mug.png")
    assert (found.sha256, found.width, found.height, found.media_type) == (SHA, 40, 24, "image/png")
    assert same_pixels(world.results.get(input_key(SHA)), PNG)
    info = world.results.head(input_key(SHA))
    assert info is not None and info.media_type == "image/png"


@pytest.mark.parametrize("change", ["overwritten", "deleted"])
def test_a_later_change_of_the_upload_changes_nothing(world: World, change: str) -> None:
    """Overwriting or deleting the upload leaves the kept picture as it was; the new one is another picture."""
    world.upload("mug.png", PNG)
    world.inputs.resolve("default", "uploads/mug.png")
    if change == "deleted":
        world.uploads.delete("mug.png")
        with pytest.raises(InputMissing):
            world.inputs.resolve("default", "uploads/mug.png")
    else:
        world.upload("mug.png", OTHER)
        assert world.inputs.resolve("default", "uploads/mug.png").sha256 == hashlib.sha256(OTHER).hexdigest()
    assert same_pixels(world.results.get(input_key(SHA)), PNG)


def test_a_manifest_full_of_one_picture_decodes_it_once(world: World) -> None:
    """The same reference again, unchanged, is neither read nor decoded again."""
    world.upload("mug.png", PNG)
    found = {world.inputs.resolve("default", "uploads/mug.png").sha256 for _ in range(100)}
    assert (found, len(world.looked)) == ({SHA}, 1)


def test_what_is_remembered_is_bounded(world: World) -> None:
    """Many pictures push the oldest out of memory; it is read again when it is named again, and decoded no second time."""
    for number in range(5):
        world.upload(f"{number}.png", as_file(a_picture(seed=number)))
        world.inputs.resolve("default", f"uploads/{number}.png")
    reads = list[str]()
    real = world.uploads.get_range

    def counted(key: str, start: int, length: int, *, etag: str | None = None) -> bytes:
        reads.append(key)
        return real(key, start, length, etag=etag)

    world.uploads.get_range = counted  # type: ignore[method-assign]
    world.inputs.resolve("default", "uploads/4.png")
    world.inputs.resolve("default", "uploads/0.png")
    assert (reads, len(world.looked)) == (["0.png"], 5)


def test_a_kept_picture_that_was_removed_is_kept_again(world: World) -> None:
    """What is remembered is not trusted beyond the store: the copy is made anew if it is gone."""
    world.upload("mug.png", PNG)
    world.inputs.resolve("default", "uploads/mug.png")
    world.results.delete(input_key(SHA))
    world.inputs.resolve("default", "uploads/mug.png")
    assert same_pixels(world.results.get(input_key(SHA)), PNG)


def test_bytes_that_were_sent_are_named_by_their_digest(world: World) -> None:
    """Sending twice changes nothing, and the answer can be resolved."""
    assert world.inputs.accept("bolt", PNG) == world.inputs.accept("bolt", PNG)
    assert world.inputs.resolve("bolt", f"inputs/{SHA}").sha256 == SHA
    kept = f"tenants/bolt/{input_key(SHA)}"
    assert [entry.key for entry in world.results.list()] == [kept, f"{kept}.json"]


def test_an_earlier_result_can_be_named(world: World) -> None:
    """A rendered picture, or the customer's own copy of one, goes into the next."""
    for key in (f"images/ab/{'ab' * 32}.png", "catalogue/mug.png"):
        world.results.put(key, PNG)
        assert world.inputs.resolve("default", f"results/{key}").sha256 == SHA


@pytest.mark.parametrize(
    "reference",
    [
        "uploads/secret.png",
        "results/images/secret.png",
        f"inputs/{SHA}",
        "uploads/tenants/default/secret.png",
        "uploads/../secret.png",
    ],
)
def test_another_tenants_picture_cannot_be_named(world: World, reference: str) -> None:
    """A tenant's references end in its own stores: what another has is not there, by any path."""
    world.upload("secret.png", PNG)
    world.results.put("images/secret.png", PNG)
    world.inputs.accept("default", PNG)
    with pytest.raises((InputMissing, ValueError)):
        world.inputs.resolve("bolt", reference)
    assert [entry.key for entry in world.results.list("tenants/bolt/")] == []


@pytest.mark.parametrize("reference", ["uploads/tenants/bolt/s.png", "results/tenants/bolt/images/s.png"])
def test_the_owner_of_the_stores_cannot_name_a_tenants_folder(world: World, reference: str) -> None:
    """The stores' own tenant sees them from the root, but no folder of another tenant."""
    world.upload("s.png", PNG, "bolt")
    world.of(world.results, "bolt").put("images/s.png", PNG)
    with pytest.raises(ValueError, match=r"tenants|results/KEY"):
        world.inputs.resolve("default", reference)


def test_too_large_an_upload_is_not_read(world: World) -> None:
    """The size is known before a byte is read."""
    world.upload("huge.png", b"\x89PNG\r\n\x1a\n" + bytes(MAX_INPUT_BYTES))
    with pytest.raises(BadImage) as caught:
        world.inputs.resolve("default", "uploads/huge.png")
    assert (caught.value.limit, world.looked) == (MAX_INPUT_BYTES, [])


@pytest.mark.parametrize("data", [b"", b"no picture", PNG[:-50]])
def test_nothing_bad_is_kept(world: World, data: bytes) -> None:
    """What is refused leaves nothing in the store."""
    world.upload("bad.png", data)
    with pytest.raises(BadInput):
        world.inputs.resolve("default", "uploads/bad.png")
    with pytest.raises(BadImage):
        world.inputs.accept("default", data)
    assert list(world.results.list()) == []


def test_tampered_bytes_are_not_taken_for_those_that_were_sent(world: World) -> None:
    """Somebody with access to the bucket who replaces a kept picture is found out."""
    world.inputs.accept("default", PNG)
    world.results.put(input_key(SHA), OTHER, if_absent=False)
    with pytest.raises(BadImage):
        world.inputs.resolve("default", f"inputs/{SHA}")


def test_an_upload_that_is_being_replaced_may_be_asked_for_again(world: World) -> None:
    """Changed between the look and the read: not the caller's fault, and never a mixture."""
    world.upload("mug.png", PNG)
    real = world.uploads.get_range

    def replaced(key: str, start: int, length: int, *, etag: str | None = None) -> bytes:
        world.upload("mug.png", OTHER)
        return real(key, start, length, etag=etag)

    world.uploads.get_range = replaced  # type: ignore[method-assign]
    with pytest.raises(Temporary) as caught:
        world.inputs.resolve("default", "uploads/mug.png")
    assert caught.value.retryable and world.looked == []


def test_a_store_that_does_not_answer_is_not_the_callers_fault(world: World) -> None:
    """The store's own error passes through."""

    def down(_key: str) -> None:
        raise StoreUnavailable

    world.uploads.head = down  # type: ignore[assignment]
    with pytest.raises(StoreUnavailable):
        world.inputs.resolve("default", "uploads/mug.png")
