"""The recipes of an installation: the built-in ones and the operator's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from schemas.errors import BadSettings, NotFound
from schemas.problem import from_validation
from schemas.recipe import Recipe

BUILT_IN = Path(__file__).with_name("recipes")


class RecipeBook:
    """Recipes by name and version; a name alone means the newest version."""

    def __init__(self, recipes: Iterator[Recipe]) -> None:
        self._by_ref: dict[str, Recipe] = {}
        for recipe in recipes:
            known = self._by_ref.setdefault(recipe.ref, recipe)
            if known != recipe:
                raise BadSettings(f"recipe {recipe.ref} is defined twice, differently: give the change a new version")

    def get(self, reference: str) -> Recipe:
        """The recipe called ``name`` or ``name@version``; NotFound otherwise."""
        if "@" in reference:
            found = self._by_ref.get(reference)
        else:
            versions = [recipe for recipe in self._by_ref.values() if recipe.name == reference]
            found = max(versions, key=lambda recipe: recipe.version, default=None)
        if found is None:
            raise NotFound(f"there is no recipe {reference!r}; known: {', '.join(sorted(self._by_ref)) or 'none'}", field="recipe")
        return found

    def __iter__(self) -> Iterator[Recipe]:
        return iter(self._by_ref.values())

    def as_mapping(self) -> Mapping[str, Recipe]:
        return dict(self._by_ref)


def load_recipes(folder: Path | None) -> RecipeBook:
    """Built-in recipes plus every ``*.json`` of `folder`; BadSettings names the file and the field at fault."""
    if folder is not None and not folder.is_dir():
        raise BadSettings(f"{folder} is not a folder", field="AQUATINT_RECIPES")
    files = sorted(BUILT_IN.glob("*.json")) + sorted(folder.glob("*.json") if folder else [])
    return RecipeBook(_read(path) for path in files)


def _read(path: Path) -> Recipe:
    try:
        return Recipe.model_validate_json(path.read_bytes())
    except ValidationError as invalid:
        raise BadSettings(f"recipe {path.name}: {from_validation(invalid)}") from None
