"""From slots to a request: an event that names a recipe, or a row of a manifest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import ValidationError

from schemas.description import DescriptionPlan
from schemas.errors import AquatintError, MissingField, OutOfRange, UnknownField, WrongType
from schemas.problem import from_validation
from schemas.recipe import Recipe, slot_names, substitute
from schemas.request import GenerationRequest, RecipeInvocation, Webhook
from schemas.states import Lane

#: Columns that steer a row and are not slots, and what they are called in a request.
CONTROLS: Mapping[str, str] = {
    "size": "size",
    "sizes": "size",
    "count": "n",
    "n": "n",
    "seed": "seed",
    "steps": "steps",
    "guidance": "guidance",
    "model": "model",
    "format": "format",
    "quality": "quality",
    "start_by": "start_by",
    "finish_by": "finish_by",
    "image": "image",
    "mask": "mask",
    "strength": "strength",
    "control_kind": "control.0.kind",
    "control_image": "control.0.image",
    "control_weight": "control.0.weight",
    "adapters": "adapters",
    "languages": "languages",
    "decorative": "decorative",
    "fairness": "fairness",
}
_COLUMNS = {name: column for column, name in CONTROLS.items() if "." in name}
#: Further columns of a manifest that has a prompt column instead of a recipe.
PLAIN = ("prompt", "negative_prompt", "key", "alt", "row_key")
#: Those of them that are about the file and its words.
_OUTPUT = frozenset({"format", "quality", "languages", "decorative"})
_WHOLE = frozenset({"n", "seed", "steps", "quality"})
_UNSAFE_IN_KEY = re.compile(r"[^A-Za-z0-9._-]+")


class RecipeBook(Protocol):
    def get(self, reference: str) -> Recipe: ...


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A request with what the recipe says beyond it."""

    request: GenerationRequest
    recipe: str | None
    row_key: str | None
    #: What a recipe or a column says about the picture in words; None = what the prompt says.
    words: DescriptionPlan | None = None


def from_invocation(book: RecipeBook, invocation: RecipeInvocation) -> Prepared:
    """The request of an event that names a recipe; NotFound for an unknown one, typed errors for its slots."""
    recipe = book.get(invocation.recipe)
    extra: dict[str, Any] = {"webhook": invocation.webhook, "lane": invocation.lane or Lane.INTERACTIVE}
    return _from_recipe(recipe, invocation.slots, extra)


def from_cells(
    recipe: Recipe | None, cells: Mapping[str, str], webhook: Webhook | None, *, row: int
) -> Prepared:
    """The request of a manifest row; an error carries the row."""
    try:
        slots = set(recipe.slots) if recipe else set(PLAIN)
        own = {name: text for name, text in cells.items() if name in slots}
        rest = {name: text for name, text in cells.items() if name not in slots}
        fields = {**_controls(rest), "webhook": webhook, "lane": Lane.BULK}
        return _from_recipe(recipe, own, fields) if recipe else _plain(own, fields)
    except AquatintError as error:
        field = column_of(error.field)
        raise type(error)(error.detail, field=field, limit=error.limit, row=row) from None


def column_of(field: str | None) -> str | None:
    """What a field of a request is called in a manifest, where it has a column of another name."""
    if field is not None and field.startswith("adapters."):
        return "adapters"
    if field is not None and field.startswith(("output.alt", "output.languages", "output.decorative")):
        return field.split(".")[1]
    return _COLUMNS.get(field or "", field)


def nested(cells: Mapping[str, Any]) -> dict[str, Any]:
    """A line of JSONL in our own form, in which control and adapters may also stand as flat as in a table."""
    fields = {name: value for name, value in cells.items() if not name.startswith("control_")}
    control = {
        name.removeprefix("control_"): value for name, value in cells.items() if name.startswith("control_")
    }
    if control and "control" in cells:
        raise UnknownField("the control is there twice", field=f"control_{next(iter(control))}")
    if isinstance(fields.get("adapters"), str):
        fields["adapters"] = parse_adapters(fields["adapters"])
    return {**fields, "control": [control]} if control else fields


def check_columns(recipe: Recipe | None, columns: set[str]) -> None:
    """UnknownField or MissingField for a set of column names that no row could make a request of."""
    known = set(recipe.slots) if recipe else set(PLAIN)
    for name in sorted(columns - known - CONTROLS.keys()):
        raise UnknownField(f"there is no column {name!r}", field=name, limit=sorted(known | CONTROLS.keys()))
    required = (
        {name for name, slot in recipe.slots.items() if slot.required and not slot.default}
        if recipe
        else {"prompt"}
    )
    for name in sorted(required - columns):
        raise MissingField(f"column {name!r} is missing", field=name)
    fields = [CONTROLS[name] for name in sorted(columns - known)]
    if len(set(fields)) < len(fields):
        raise OutOfRange(
            "two columns mean the same: use one of count, n and one of size, sizes", field="header"
        )


def _from_recipe(recipe: Recipe, slots: Mapping[str, str], extra: Mapping[str, Any]) -> Prepared:
    values = recipe.fill(dict(slots))
    fields: dict[str, Any] = {
        "prompt": substitute(recipe.prompt, values),
        "negative_prompt": substitute(recipe.negative_prompt, values),
        "model": recipe.model,
        "steps": recipe.steps,
        "guidance": recipe.guidance,
        "adapters": recipe.adapters,
        **extra,
    }
    if recipe.key:
        fields["output"] = {**fields.get("output", {}), "key": _key(recipe, values)}
    return Prepared(
        request=_validated(fields),
        recipe=recipe.ref,
        row_key=values[recipe.row_key]
        if recipe.row_key
        else "\x1f".join(values[name] for name in sorted(values)),
        words=_words(recipe, values, fields["prompt"]),
    )


def _words(recipe: Recipe, values: Mapping[str, str], prompt: str) -> DescriptionPlan:
    """The recipe's sentences with its slots filled; only slots that the prompt shows are part of the picture."""
    alts = {**({recipe.lang: recipe.alt} if recipe.alt else {}), **recipe.alts}
    drawn = slot_names(recipe.prompt)
    said = {name for text in (*alts.values(), *recipe.long_descriptions.values()) for name in slot_names(text)}
    return DescriptionPlan(
        prompt=prompt,
        languages=recipe.languages or (recipe.lang,),
        role="decorative" if recipe.decorative else "informative",
        slots={name: values[name] for name in sorted(drawn)},
        slots_lang=recipe.lang,
        alts={lang: substitute(text, dict(values)) for lang, text in alts.items()},
        long_descriptions={
            lang: substitute(text, dict(values)) for lang, text in recipe.long_descriptions.items()
        },
        unscreened=tuple(values[name] for name in sorted(said - drawn) if values[name]),
    )


def _plain(cells: Mapping[str, str], extra: Mapping[str, Any]) -> Prepared:
    if not cells.get("prompt", "").strip():
        raise MissingField("the prompt is empty", field="prompt")
    fields: dict[str, Any] = {
        "prompt": cells["prompt"],
        "negative_prompt": cells.get("negative_prompt", ""),
        **extra,
    }
    if cells.get("key"):
        fields["output"] = {**fields.get("output", {}), "key": cells["key"]}
    if cells.get("alt", "").strip():
        # In the first language that is asked for.
        output = fields.get("output", {})
        lang = (output.get("languages") or ["en"])[0]
        fields["output"] = {**output, "languages": output.get("languages") or [lang], "alt": {lang: cells["alt"].strip()}}
    return Prepared(
        request=_validated(fields),
        recipe=None,
        row_key=cells.get("row_key") or None,
    )


def _key(recipe: Recipe, values: Mapping[str, str]) -> str:
    """The key with slots as single path parts: a value cannot climb out of its folder. `{shot}` and `{size}` stay."""
    safe = {name: _UNSAFE_IN_KEY.sub("-", text).strip(".-") or "-" for name, text in values.items()}
    return substitute(recipe.key, {**safe, "shot": "{shot}", "size": "{size}"})


def _controls(cells: Mapping[str, str]) -> dict[str, Any]:
    """Request fields from the steering columns; an empty cell means the default."""
    fields: dict[str, Any] = {}
    output: dict[str, Any] = {}
    control: dict[str, Any] = {}
    for column, raw in cells.items():
        text = raw.strip()
        name = CONTROLS.get(column)
        if name is None:
            raise UnknownField(f"there is no column {column!r}", field=column, limit=sorted(CONTROLS))
        if not text:
            continue
        if name in _OUTPUT:
            output[name] = _value(name, text, column)
        elif name.startswith("control."):
            control[name.rpartition(".")[2]] = text
        else:
            fields[name] = _value(name, text, column)
    if output:
        fields["output"] = output
    if control:
        fields["control"] = [control]
    return fields


def _value(name: str, text: str, column: str) -> Any:
    if name in ("size", "languages"):
        return [part for part in re.split(r"[\s;]+", text) if part]
    if name == "adapters":
        return parse_adapters(text)
    if name in _WHOLE:
        try:
            return int(text)
        except ValueError:
            raise WrongType(f"{text[:40]!r} is not a whole number", field=column) from None
    return text


def parse_adapters(text: str) -> list[dict[str, str]]:
    """``"acme:0.8;other"`` as the request spells it."""
    parts = [part.partition(":") for part in re.split(r"\s*;\s*", text.strip(" ;"))]
    return [{"name": name.strip()} | ({"weight": weight} if colon else {}) for name, colon, weight in parts]


def _validated(fields: Mapping[str, Any]) -> GenerationRequest:
    try:
        return GenerationRequest.model_validate(
            {name: value for name, value in fields.items() if value is not None}
        )
    except ValidationError as invalid:
        raise from_validation(invalid) from None
