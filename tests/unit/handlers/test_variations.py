"""What fairness adds while a request is planned: never unasked, never in silence, never against a screen."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from control_plane import MODEL, WordScreen, a_planner

from deploy.fairness_rules import load_rules
from handlers.planner import Origin, Plan, Planner
from handlers.turns import Turns
from handlers.variations import Variations
from schemas.errors import BadSettings, Unsupported
from schemas.fairness import Rules, Variation
from schemas.render_spec import RenderSpec
from schemas.request import GenerationRequest

DIVERSE = Rules(mode="diversify")


def planner(rules: Rules = DIVERSE, *, tokens: int = 0) -> Planner:
    variations = Variations(rules={"acme": rules}, turns=Turns(None))
    return replace(
        a_planner(), variations=variations, count_tokens=lambda _model, prompt: len(prompt) if tokens else 0
    )


def shape(with_planner: Planner, tenant: str = "acme", row_key: str | None = None, **fields: object) -> Plan:
    request = GenerationRequest.model_validate({"prompt": "a doctor in a white coat", **fields})
    return with_planner.shape(request, Origin(tenant=tenant, row_key=row_key), 1000.0)


def prompts(plan: Plan) -> list[str]:
    return [RenderSpec.model_validate_json(one.spec).prompt for one in plan.images]


def variations(plan: Plan) -> list[Variation | None]:
    return [Variation.model_validate_json(one.fairness) if one.fairness else None for one in plan.images]


def test_it_is_off_for_whoever_has_not_turned_it_on() -> None:
    """Another tenant's prompt stays as it is, and nothing is told about it."""
    made = shape(planner(), tenant="other", n=2)

    assert prompts(made) == ["a doctor in a white coat"] * 2
    assert variations(made) == [None, None]
    assert made.turns == ()


def test_a_hundred_people_hit_the_target_and_come_again() -> None:
    """A hundred rows hold each share within one person; planned again in any order, they name the same images."""
    one = planner()
    made = [shape(one, row_key=f"sku-{row}") for row in range(100)]
    again = [shape(one, row_key=f"sku-{row}") for row in reversed(range(100))]
    counts = Counter(change.value for plan in made for v in variations(plan) if v for change in v.changes)

    assert {plan.images[0].digest for plan in made} == {plan.images[0].digest for plan in again}
    for value in ("18_34", "35_54", "55_plus", "light", "medium", "dark"):
        assert abs(counts[value] - 100 / 3) < 1
    assert (counts["feminine"], counts["masculine"], counts["androgynous"]) == (50, 50, 0)


def test_one_person_for_all_views_of_a_product() -> None:
    """Shots and sizes of one row show one person; a prompt without a row key has one for each shot."""
    row = shape(planner(), row_key="sku", n=3, size=["128x128", "160x96"])
    plain = shape(planner(), n=3, size=["128x128", "160x96"])

    assert len(set(prompts(row))) == 1
    assert len(set(prompts(plain))) == 3
    assert prompts(plain)[:3] == prompts(plain)[3:]


def test_everything_is_told() -> None:
    """The note holds the original, the effective prompt and each change with its words."""
    made = shape(planner(), row_key="sku")
    (told,) = variations(made)
    assert told is not None
    note = told.note(prompts(made)[0])

    assert note.original_prompt == "a doctor in a white coat"
    assert note.effective_prompt.startswith("a doctor, ") and note.effective_prompt.endswith(
        ", in a white coat"
    )
    assert [change.attribute for change in note.changes] == ["age_band", "skin_tone", "presentation"]
    assert all(change.phrase in note.effective_prompt for change in note.changes)


def test_report_tells_and_adds_nothing() -> None:
    """In mode report the prompt stays, and what would have been added is told."""
    made = shape(planner(Rules(mode="report")), row_key="sku")
    (told,) = variations(made)

    assert told is not None and told.changes
    assert prompts(made) == ["a doctor in a white coat"]
    assert told.note(prompts(made)[0]).original_prompt == "a doctor in a white coat"


def test_a_request_may_ask_for_less_and_not_for_more() -> None:
    """Off and report are a request's to choose; diversify is its tenant's."""
    assert variations(shape(planner(), fairness="off")) == [None]
    reporting = variations(shape(planner(), fairness="report"))[0]
    assert reporting is not None and reporting.mode == "report"
    for one, tenant in ((planner(Rules(mode="report")), "acme"), (planner(), "other"), (a_planner(), "acme")):
        with pytest.raises(Unsupported) as refused:
            shape(one, tenant=tenant, fairness="diversify")
        assert refused.value.field == "fairness"


@pytest.mark.parametrize(
    ("prompt", "reason"), [("a medieval doctor", "history"), ("a doctor and a nurse", "several_people")]
)
def test_a_prompt_that_is_left_alone_says_why(prompt: str, reason: str) -> None:
    """Nothing is added, and the reason is told."""
    made = shape(planner(), prompt=prompt)
    (told,) = variations(made)

    assert prompts(made) == [prompt]
    assert told is not None and (told.left_alone, told.changes) == (reason, ())


def test_what_was_added_is_screened_again() -> None:
    """If the effective prompt would be refused, the original is drawn and the refusal is not the customer's."""

    class NoAges(WordScreen):
        def check(self, prompt: str, negative_prompt: str = "") -> object:
            return super().check(prompt.replace("of age", "forbidden"), negative_prompt)

    made = shape(replace(planner(), screen=NoAges()), row_key="sku")
    (told,) = variations(made)

    assert prompts(made) == ["a doctor in a white coat"]
    assert told is not None and told.left_alone == "would_be_refused"
    assert made.job.blocked == 0


def test_what_does_not_fit_is_not_added() -> None:
    """A prompt that would grow beyond the model's tokens stays as it is."""
    made = shape(planner(tokens=1), prompt="a doctor in a white coat")
    (told,) = variations(made)

    assert MODEL.max_prompt_tokens == 64
    assert told is not None and told.left_alone == "too_long"


def test_a_group_is_mixed() -> None:
    """Several people are said to differ; no single look is given to all of them."""
    made = shape(planner(), prompt="engineers in a meeting")

    assert prompts(made) == [
        "engineers, of different ages, with different skin tones, of different genders, in a meeting"
    ]


def test_products_are_not_touched() -> None:
    """What a catalogue is made of stays as it is, without a word about it."""
    made = shape(planner(), prompt="a red mug on a white background", row_key="sku")

    assert (prompts(made), variations(made), made.turns) == (["a red mug on a white background"], [None], ())


def test_rules_are_read_by_tenant(tmp_path: Path) -> None:
    """The operator's file names tenants; a fault in it is named with tenant and field."""
    file = tmp_path / "fairness.json"
    file.write_text(json.dumps({"acme": {"mode": "diversify", "attributes": {"age_band": {"55_plus": 1}}}}))

    assert load_rules(file)["acme"].shares("age_band") == {"55_plus": 1.0}
    assert load_rules(None) == {}
    for text in ('{"acme": {"mode": "on"}}', "[", '{"acme": {"attributes": {"age_band": {"0_17": 1}}}}'):
        file.write_text(text)
        with pytest.raises(BadSettings):
            load_rules(file)
    with pytest.raises(BadSettings):
        load_rules(tmp_path / "none.json")
