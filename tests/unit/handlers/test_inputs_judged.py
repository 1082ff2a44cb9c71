"""Pictures that requests bring are judged once per policy, and what is refused leaves nothing behind."""

from __future__ import annotations

import hashlib

import pytest
from kept_pictures import POLICY_DIGEST, ToyJudge, input_ports, upload_verdict
from pictures import a_picture, as_file

from handlers.inputs import Inputs
from schemas.errors import InputRefused, ScreenMissing, Unsupported
from schemas.object_keys import input_record_key
from schemas.verdict import CategoryScore, Decision, Verdict
from storage.objects.memory import MemoryStore

PNG, JPEG = as_file(a_picture()), as_file(a_picture(seed=2), "JPEG")
SHA = hashlib.sha256(PNG).hexdigest()
OTHER_POLICY = "6" * 64
FOUND = {
    "sexual": CategoryScore(score=0.93, threshold=0.4, source="toy"),
    "person": CategoryScore(score=0.1, threshold=0.5, source="toy"),
}


class World:
    """One tenant with one store, whose pictures lie at addresses, too."""

    def __init__(self) -> None:
        self.store, self.judge = MemoryStore(bucket="results"), ToyJudge()
        self.refused: list[tuple[str, Verdict]] = []
        self.fetched: list[tuple[str, str]] = []
        self.web = {"https://shop.example/a.png?sig=canary": PNG}
        self.restart()

    def restart(self, **ports: object) -> None:
        """As another process would: with nothing remembered."""

        def store(_tenant: str) -> MemoryStore:
            return self.store

        given = {"judge": self.judge, "fetch": self.fetch, "refused": lambda *told: self.refused.append(told)}
        self.inputs = Inputs(input_ports(store, store, **{**given, **ports}))

    def fetch(self, tenant: str, url: str) -> bytes:
        self.fetched.append((tenant, url))
        return self.web[url]


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("decision", [Decision.BLOCK, Decision.REVIEW])
def test_what_is_refused_is_not_kept(world: World, decision: Decision) -> None:
    """The caller learns the decision and the categories, no score; nothing is stored; whoever keeps count is told."""
    world.judge.verdict = upload_verdict(decision, categories=FOUND, reasons=("upload.classified",))
    with pytest.raises(InputRefused) as caught:
        world.inputs.accept("acme", PNG)
    assert caught.value.limit == {"decision": decision.value, "categories": ["sexual"]}
    assert "0.93" not in str(caught.value) and "toy" not in str(caught.value)
    assert list(world.store.list()) == []
    assert world.refused == [("acme", world.judge.verdict)]


def test_without_an_answer_nothing_is_kept(world: World) -> None:
    """A screen that failed is not the caller's fault, and no reason to let a picture in."""
    world.judge.verdict = upload_verdict(Decision.ERROR, reasons=("upload.screen_failed",))
    with pytest.raises(ScreenMissing, match="could not be checked"):
        world.inputs.accept("acme", PNG)
    assert list(world.store.list()) == [] and world.refused == []


def test_a_verdict_is_made_once(world: World) -> None:
    """It lies beside the picture, for every later request and every other process."""
    first = world.inputs.accept("acme", PNG)
    world.restart()
    again = world.inputs.resolve("acme", f"inputs/{SHA}", POLICY_DIGEST)
    assert again.verdict == first.verdict and len(world.judge.shown) == 1
    assert again.verdict is not None and [check.milliseconds for check in again.verdict.checks] == [0.0]


def test_each_policy_judges_for_itself(world: World) -> None:
    """A picture that one policy let in may be refused by another; the first still has it."""
    world.inputs.accept("acme", PNG)
    world.judge.verdict = upload_verdict(Decision.BLOCK, categories=FOUND)
    with pytest.raises(InputRefused):
        world.inputs.resolve("acme", f"inputs/{SHA}", OTHER_POLICY)
    assert world.inputs.resolve("acme", f"inputs/{SHA}", POLICY_DIGEST).sha256 == SHA
    assert [policy for _, policy in world.judge.shown] == [None, OTHER_POLICY]


def test_a_new_screen_looks_again(world: World) -> None:
    """A verdict of before it was installed says nothing about what it would find."""
    world.inputs.accept("acme", PNG)
    world.judge.installed = "toy and a hash list"
    world.judge.verdict = upload_verdict(Decision.BLOCK, categories=FOUND)
    with pytest.raises(InputRefused):
        world.inputs.resolve("acme", f"inputs/{SHA}", POLICY_DIGEST)


def test_what_is_kept_tells_no_scores(world: World) -> None:
    """The record lies in the customer's bucket: what was found, and not how strongly."""
    world.judge.verdict = upload_verdict(categories=FOUND)
    world.inputs.accept("acme", PNG)
    kept = world.store.get(input_record_key(SHA))
    assert b"0.93" not in kept and b'"person"' not in kept


def test_a_forged_verdict_is_not_believed(world: World) -> None:
    """Who owns the bucket cannot write a verdict: the picture is judged anew, or not used."""
    world.judge.verdict = upload_verdict(Decision.BLOCK, categories=FOUND)
    world.store.put(f"inputs/{SHA[:2]}/{SHA}", PNG)
    world.store.put(input_record_key(SHA), b'{"facts": {}, "verdicts": {}}')
    with pytest.raises(InputRefused):
        world.inputs.resolve("acme", f"inputs/{SHA}", POLICY_DIGEST)


def test_a_file_from_before_there_were_records_gets_one(world: World) -> None:
    """It is looked at, judged and replaced by a clean copy the first time it is named again."""
    world.store.put(f"inputs/{SHA[:2]}/{SHA}", PNG)
    assert world.inputs.resolve("acme", f"inputs/{SHA}", POLICY_DIGEST).verdict is not None
    assert len(world.judge.shown) == 1 and world.store.head(input_record_key(SHA)) is not None


def test_a_picture_at_an_address_is_kept_like_any_other(world: World) -> None:
    """Fetched once for a manifest full of it, named by its digest from then on; the address is written nowhere."""
    (url,) = world.web
    found = [world.inputs.resolve("acme", url, POLICY_DIGEST).sha256 for _ in range(5)]
    assert found == [SHA] * 5 and world.fetched == [("acme", url)]
    assert not any(b"canary" in world.store.get(entry.key) for entry in world.store.list())


def test_addresses_are_fetched_for_each_tenant(world: World) -> None:
    """What one tenant may see at an address says nothing about another."""
    (url,) = world.web
    for tenant in ("acme", "bolt"):
        world.inputs.resolve(tenant, url, POLICY_DIGEST)
    assert [tenant for tenant, _ in world.fetched] == ["acme", "bolt"]


def test_without_fetching_the_way_to_go_is_told() -> None:
    """Where the operator turned it off, the answer says what to do instead."""
    store = MemoryStore(bucket="results")
    inputs = Inputs(input_ports(lambda _tenant: store, lambda _tenant: store))
    with pytest.raises(Unsupported, match="POST /v1/inputs"):
        inputs.resolve("acme", "https://shop.example/a.png", POLICY_DIGEST)


def test_metadata_is_stripped_and_marks_are_noted_first(world: World) -> None:
    """What the original said about its origin lies beside the clean copy, which says nothing."""
    seen: list[bytes] = []

    def origin(data: bytes) -> bytes:
        seen.append(data)
        return b"an ingredient"

    marked = as_file(a_picture(), "JPEG", exif=b"Exif\0\0secret camera", comment=b"secret note")
    world.restart(origin=origin)
    sha = world.inputs.accept("acme", marked).sha256
    assert seen == [marked]
    assert world.store.get(f"inputs/{sha[:2]}/{sha}.c2pa") == b"an ingredient"
    assert b"secret" not in world.store.get(f"inputs/{sha[:2]}/{sha}")
