"""Policies that an operator writes: tightened freely, loosened down to the floor, refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safety.categories import CATEGORIES, HARD_FLOOR, HARD_FLOOR_BLOCK_AT
from safety.policy import NEVER, STANDARD, STRICT, Policy, Stage
from safety.policy_book import EVERYBODY, PolicyBook, open_book, read_tenants
from safety.policy_files import load_policies
from safety.policy_floor import laxer_places
from schemas.errors import BadSettings, Unsupported

STAGES: tuple[Stage, ...] = ("prompt", "upload", "output")


def write(folder: Path, name: str, **content: Any) -> None:
    (folder / f"{name}.json").write_text(json.dumps(content), "utf-8")


def load(folder: Path) -> dict[str, Policy]:
    return {policy.name: policy for policy in load_policies(folder)}


def test_what_is_not_written_is_the_base(tmp_path: Path) -> None:
    """A file that names its base alone is that policy under another name, and so another digest."""
    write(tmp_path, "plain", base="strict")
    plain = load(tmp_path)["plain"]

    assert plain.model_copy(update={"name": "strict"}) == STRICT
    assert plain.digest != STRICT.digest


def test_toml_says_the_same_as_json(tmp_path: Path) -> None:
    """Both spellings give the same policy; a category of one's own may be named."""
    (tmp_path / "one.toml").write_text(
        'base = "standard"\nversion = 3\nperson_generation = "adult"\non_error = "review"\nkeep_quarantine_days = 7\n'
        '[output]\nrequire_categories = ["hate_symbols"]\nrequire_checks = ["hash_match"]\n'
        '[output.thresholds]\nip_logo = {review_at = 0.2, block_at = 0.3}\n"policy_custom:rivals" = {block_at = 0.1}\n',
        "utf-8",
    )
    (one,) = load_policies(tmp_path)

    assert (one.name, one.version, one.person_generation, one.on_error) == ("one", 3, "adult", "review")
    assert one.keep_quarantine_days == 7
    assert one.rules("output").required_categories == ("sexual", "hate_symbols")
    assert one.rules("output").required_checks == ("output_sanity", "image_screens", "hash_match")
    assert one.threshold("output", "ip_logo").block_at == 0.3
    assert one.threshold("output", "policy_custom:rivals").review_at == 0.1
    assert one.rules("prompt") == STANDARD.rules("prompt")


def test_a_base_may_be_a_file(tmp_path: Path) -> None:
    """A policy builds on another file's, whatever the order of their names."""
    write(tmp_path, "a", base="z", prompt={"thresholds": {"illicit": {"block_at": 0.2}}})
    write(tmp_path, "z", base="strict", person_generation="none")

    assert load(tmp_path)["a"].person_generation == "none"
    assert load(tmp_path)["a"].threshold("prompt", "illicit").block_at == 0.2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"base": "nowhere"}, "no base 'nowhere'"),
        ({"base": "bad"}, "each other's base"),
        ({}, "base"),
        ({"base": "strict", "polcy": 1}, "polcy"),
        ({"base": "strict", "on_error": "allow"}, "on_error"),
        ({"base": "strict", "output": {"thresholds": {"nonsense": {"block_at": 0.1}}}}, "not a category"),
        ({"base": "strict", "output": {"thresholds": {"sexual": {"block_at": -1}}}}, "greater than 0"),
        ({"base": "strict", "output": {"require_categories": ["nonsense"]}}, "not a category"),
        ({"base": "strict", "output": {"waive_categories": ["spam_text"]}}, "not required"),
        (
            {"base": "strict", "output": {"thresholds": {"sexual": {"review_at": 0.5, "block_at": 0.2}}}},
            "above block_at",
        ),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, content: dict[str, Any], said: str) -> None:
    """What cannot be a policy stops the start, with the file and the fault in one sentence."""
    write(tmp_path, "bad", **content)

    with pytest.raises(BadSettings, match=said) as refused:
        load_policies(tmp_path)
    assert "bad" in str(refused.value) and refused.value.field == "AQUATINT_POLICIES"


@pytest.mark.parametrize("text", ["{", "[]", "\udcff", '{"base": "strict", "base2": NaN}'])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    """A file that is not what its ending says is refused by its name."""
    (tmp_path / "bad.json").write_bytes(text.encode("utf-8", "surrogateescape"))

    with pytest.raises(BadSettings, match=r"bad\.json"):
        load_policies(tmp_path)


def test_built_in_names_are_taken(tmp_path: Path) -> None:
    """No file can put another policy under the name of a built-in one."""
    write(tmp_path, "strict", base="standard")

    with pytest.raises(BadSettings, match="already"):
        load_policies(tmp_path)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("category", sorted(HARD_FLOOR))
def test_the_hard_floor_cannot_be_moved(tmp_path: Path, stage: Stage, category: str) -> None:
    """No file loosens a category of the hard floor above its limit, whatever the operator's floor."""
    write(tmp_path, "lax", base="standard", **{stage: {"thresholds": {category: {"block_at": 0.41}}}})

    with pytest.raises(BadSettings, match=f"{category} must block at {HARD_FLOOR_BLOCK_AT}"):
        load_policies(tmp_path)


def policy_with(stage: Stage, category: str, review_at: float, block_at: float) -> Policy:
    rules = STANDARD.rules(stage)
    others = [one for one in rules.thresholds if one.category != category]
    limit = STANDARD.threshold(stage, category).model_copy(
        update={"review_at": review_at, "block_at": block_at}
    )
    new = rules.model_copy(update={"thresholds": (*others, limit)})
    stages = tuple(new if one.stage == stage else one for one in STANDARD.stages)
    return STANDARD.model_copy(update={"name": "other", "stages": stages})


@given(
    stage=st.sampled_from(STAGES),
    category=st.sampled_from(sorted(set(CATEGORIES) - HARD_FLOOR)),
    limits=st.lists(st.floats(0.01, NEVER), min_size=2, max_size=2).map(sorted),
    score=st.floats(0, 1),
)
def test_what_is_not_laxer_lets_nothing_more_through(
    stage: Stage, category: str, limits: list[float], score: float
) -> None:
    """Whenever a policy decides more mildly than the floor about any score, that place is named."""
    policy = policy_with(stage, category, *limits)
    ours, floor = (one.threshold(stage, category).decide(score) for one in (policy, STANDARD))

    order = ["allow", "review", "block"]
    if order.index(ours) < order.index(floor):
        assert f"{stage}.{category}" in laxer_places(policy, STANDARD)
    if not laxer_places(policy, STANDARD):
        assert order.index(ours) >= order.index(floor)


def test_strict_is_nowhere_laxer_than_standard() -> None:
    """The two built-in policies are ordered, people included."""
    assert laxer_places(STRICT, STANDARD) == ()
    assert {"output.sexual", "person_generation", "output.required_categories.hate_symbols"} <= set(
        laxer_places(STANDARD, STRICT)
    )


def test_a_policy_below_the_floor_stops_the_start(tmp_path: Path) -> None:
    """A policy that somebody asked for and that is laxer than the floor is refused by its place."""
    write(tmp_path, "lax", base="standard", output={"thresholds": {"sexual": {"block_at": 0.9}}})
    custom = load_policies(tmp_path)

    with pytest.raises(BadSettings, match=r"'lax' is laxer .* output\.sexual"):
        open_book(custom, default="strict", floor="standard")
    assert open_book(custom, default="strict", floor="lax").named("lax")


def test_an_unused_policy_below_the_floor_is_not_offered() -> None:
    """With a strict floor the built-in standard policy is simply not there; as the default it is refused."""
    assert [policy.name for policy in open_book((), default="strict", floor="strict").all] == ["strict"]
    with pytest.raises(BadSettings, match="laxer"):
        open_book((), default="standard", floor="strict")


@pytest.mark.parametrize(
    ("names", "field"),
    [
        ({"default": "nix", "floor": "standard"}, "AQUATINT_POLICY"),
        ({"default": "strict", "floor": "nix"}, "AQUATINT_POLICY_FLOOR"),
        ({"default": "strict", "floor": "standard", "tenants": {"a": ("nix",)}}, "AQUATINT_TENANT_POLICIES"),
    ],
)
def test_an_unknown_name_is_refused_with_its_setting(names: dict[str, Any], field: str) -> None:
    """A setting that names a policy which is not there is the one that the error names."""
    with pytest.raises(BadSettings, match="nix") as refused:
        open_book((), **names)
    assert refused.value.field == field


def book(tenants: dict[str, tuple[str, ...]] | None = None) -> PolicyBook:
    return open_book((), default="standard", floor="standard", tenants=tenants)


def test_anyone_may_ask_for_any_policy() -> None:
    """Without a mapping every installed policy may be asked for, and the default is taken when none is."""
    assert book().choose("acme", None) is STANDARD
    assert book().choose("acme", "strict") is STRICT
    with pytest.raises(Unsupported) as refused:
        book().choose("acme", "nix")
    assert refused.value.limit == ["standard", "strict"]


def test_a_tenant_cannot_leave_its_policies() -> None:
    """A tenant that is tied gets its own policy by default and no other; others are not touched by that."""
    tied = book({"acme": ("strict",)})

    assert tied.choose("acme", None) is STRICT and tied.choose("other", None) is STANDARD
    with pytest.raises(Unsupported):
        tied.choose("acme", "standard")
    assert tied.askers("standard") == ("everybody else",)
    assert tied.askers("strict") == ("acme", "everybody else")


def test_everybody_else_can_be_tied_too() -> None:
    """The star stands for every tenant that is not named."""
    tied = book({"acme": ("standard",), EVERYBODY: ("strict",)})

    assert tied.choose("stranger", None) is STRICT and tied.choose("acme", None) is STANDARD
    with pytest.raises(Unsupported):
        tied.choose("stranger", "standard")


def test_what_was_withdrawn_has_no_digest_here(tmp_path: Path) -> None:
    """The same name with other content is another policy; the digest of before stands for nothing any more."""
    write(tmp_path, "ours", base="strict")
    before = load(tmp_path)["ours"]
    write(tmp_path, "ours", base="strict", person_generation="none")
    now = open_book(load_policies(tmp_path), default="ours", floor="standard")

    assert now.of_digest(before.digest) is None
    assert now.of_digest(now.named("ours").digest) == now.default


def test_only_what_is_used_must_be_ready(tmp_path: Path) -> None:
    """Own policies, the default and those of tenants must be served; a built-in one that nobody uses need not be."""
    write(tmp_path, "ours", base="strict")
    custom = load_policies(tmp_path)

    assert [policy.name for policy in open_book(custom, default="strict", floor="standard").needed] == [
        "strict",
        "ours",
    ]
    tied = open_book((), default="strict", floor="standard", tenants={"a": ("standard",)})
    assert [policy.name for policy in tied.needed] == ["strict", "standard"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.toml", 'acme = "strict"\n"*" = ["standard", "strict"]\n'),
        ("t.json", '{"acme": "strict", "*": ["standard", "strict"]}'),
    ],
)
def test_tenants_are_read_from_a_table(tmp_path: Path, name: str, text: str) -> None:
    """TOML and JSON, one name or several, the tenant's own first."""
    (tmp_path / name).write_text(text, "utf-8")

    assert read_tenants(tmp_path / name) == {"acme": ("strict",), "*": ("standard", "strict")}


@pytest.mark.parametrize("text", ["acme = 1", "acme = []", "acme", "acme = [[]]"])
def test_a_wrong_table_of_tenants_is_refused(tmp_path: Path, text: str) -> None:
    """A table that is none, or leaves a tenant without a policy, stops the start."""
    (tmp_path / "t.toml").write_text(text, "utf-8")

    with pytest.raises(BadSettings) as refused:
        read_tenants(tmp_path / "t.toml")
    assert refused.value.field == "AQUATINT_TENANT_POLICIES"


def test_days_in_quarantine_left_open_do_not_count() -> None:
    """A policy that leaves them open has the digest of the policy before there was such a field; one that sets them has another."""
    form = STRICT.model_dump(mode="json", exclude={"keep_quarantine_days"})

    assert STRICT.hashed_form() == form
    assert STRICT.model_copy(update={"keep_quarantine_days": 3}).digest != STRICT.digest
