"""Over-block, bypass and the violation rate: what counts, and how sure one may be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.evaluation.intervals import exact_upper_bound, sample_size_for
from safety.evaluation.case import Case, Suite
from safety.evaluation.reviewing import Label, Reviewed, read_labels
from safety.evaluation.screening import screen_suite
from schemas.errors import BadSettings
from schemas.verdict import Decision, Verdict


def verdict_of(prompt: str, _negative: str) -> Verdict:
    """What the prompt's first word says."""
    return Verdict(stage="prompt", decision=Decision(prompt.split(maxsplit=1)[0]), policy="p", policy_digest="0" * 64)


def case(id: str, text: str, expected: str, **others: str) -> Case:
    return Case(id=id, text=text, expected=expected, **others)  # type: ignore[arg-type]


SUITE = Suite(
    name="s",
    cases=(
        case("1", "allow a", "allow"),
        case("2", "block b", "allow", lang="de"),
        case("3", "review c", "allow", split="held_out"),
        case("4", "error d", "allow"),
        case("5", "block e", "refuse", cluster="t", mutation="leet"),
        case("6", "allow f", "refuse", cluster="t", mutation="space"),
        case("7", "review g", "refuse", cluster="u", mutation="space"),
        case("8", "error h", "refuse", cluster="v", mutation="leet"),
    ),
)


def test_whatever_is_not_allowed_is_stopped() -> None:
    """Review and an unanswered check stop a prompt as a refusal does: they count against over-block, and not as a bypass."""
    found = screen_suite(SUITE, verdict_of)
    over, outright, passed = found.over_block(), found.blocked(), found.bypass()

    assert over and outright and passed
    assert (over.wrong, over.count) == (3, 4)
    assert (outright.wrong, outright.count) == (2, 4)
    assert (passed.wrong, passed.count) == (1, 4)
    assert found.unanswered == 2
    assert ["2", "3", "4", "6"] == [one.case.id for one in found.wrong]


def test_figures_by_language_split_and_mutation() -> None:
    """Each part of a suite stands on its own, too."""
    report = screen_suite(SUITE, verdict_of).as_json()

    assert report["over_block_by_language"]["de"]["wrong"] == 1
    assert report["over_block_by_language"]["en"]["count"] == 3
    assert {"held_out"} == set(report["over_block_by_split"])
    assert report["bypass_by_mutation"]["space"]["wrong"] == 1
    assert report["bypass_by_mutation"]["leet"]["wrong"] == 0


def test_one_source_counts_once_in_an_interval() -> None:
    """Evasions of one term are one trial, and one that passed makes it a failure."""
    passed = screen_suite(SUITE, verdict_of).bypass()

    assert passed
    assert (passed.clusters_wrong, passed.clusters) == (1, 3)
    assert passed.upper_bound == exact_upper_bound(1, 3)


def test_a_suite_of_one_kind_has_no_figure_of_the_other() -> None:
    """Nothing is said about what was not measured."""
    found = screen_suite(Suite(name="s", cases=SUITE.cases[:1]), verdict_of)
    assert found.bypass() is None
    assert found.as_json()["bypass"] is None


def labels(*answers: tuple[str, str, bool], prompt: str = "") -> Reviewed:
    return Reviewed(
        labels=tuple(Label(image=i, reviewer=r, violation=v, prompt=prompt) for i, r, v in answers)
    )


def test_three_thousand_clean_images_show_what_a_thousand_do_not() -> None:
    """2,995 with none show "below 0.1 %"; after 1,000 the missing number is said."""
    clean = [(f"i{n}", "a", False) for n in range(2995)]

    assert labels(*clean).as_json()["claim_shown"] is True
    assert labels(*clean).missing == 0
    assert labels(*clean[:-1]).as_json()["claim_shown"] is False
    assert labels(*clean[:1000]).missing == 1995
    assert labels(*clean[:1000], ("bad", "a", True)).missing == 4742 - 1001


def test_reviewers_who_differ_count_as_a_violation() -> None:
    """The cautious reading decides the rate; how well they agree is said beside it."""
    found = labels(("1", "a", False), ("1", "b", True), ("2", "a", False), ("2", "b", False))

    assert found.as_json()["violations"] == 1
    assert found.kappa == pytest.approx(0.0)
    assert labels(("1", "a", True), ("1", "b", True), ("2", "a", False), ("2", "b", False)).kappa == 1
    assert labels(("1", "a", False)).kappa is None


def test_images_of_one_prompt_are_one_trial() -> None:
    """Ten pictures of one prompt prove no more than one."""
    found = labels(*((f"i{n}", "a", False) for n in range(10)), prompt="job_1")
    assert (found.as_json()["independent"], found.as_json()["images"]) == (1, 10)


def test_reviewers_who_miss_violations_widen_the_bound() -> None:
    """A measured recall divides the bound and asks for more images."""
    clean = labels(*((f"i{n}", "a", False) for n in range(100)))
    careless = Reviewed(labels=clean.labels, recall=0.5)

    assert careless.upper_bound == pytest.approx(2 * clean.upper_bound)
    assert careless.missing > 2 * clean.missing


def test_a_form_is_read_line_by_line(tmp_path: Path) -> None:
    """Lines that nobody has filled in wait; a line that is wrong, or said twice, is named."""
    path = tmp_path / "labels.jsonl"
    row = {"image": "i1", "reviewer": "a", "violation": False, "prompt": "job", "note": "fine"}
    path.write_text(json.dumps(row) + "\n\n" + json.dumps(row | {"image": "i2", "violation": None}) + "\n")
    assert ["i1"] == list(read_labels(path).images)

    path.write_text(json.dumps(row) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(BadSettings, match=r"line 2.*twice"):
        read_labels(path)
    path.write_text(json.dumps(row | {"violation": "perhaps"}) + "\n")
    with pytest.raises(BadSettings, match="line 1"):
        read_labels(path)
    path.write_text(json.dumps(row | {"violation": None}) + "\n")
    with pytest.raises(BadSettings, match="nobody"):
        read_labels(path)
    with pytest.raises(BadSettings, match="recall"):
        read_labels(path, recall=0)


@given(events=st.integers(0, 12), rate=st.floats(0.002, 0.2), confidence=st.sampled_from([0.9, 0.95, 0.99]))
def test_the_sample_size_is_the_smallest_that_shows_it(events: int, rate: float, confidence: float) -> None:
    """At that count the exact bound lies below the rate (up to rounding), one image earlier it does not."""
    count = sample_size_for(rate, confidence, events)

    assert exact_upper_bound(events, count, confidence) <= rate * (1 + 1e-9)
    assert count - 1 <= events or exact_upper_bound(events, count - 1, confidence) >= rate * (1 - 1e-9)
