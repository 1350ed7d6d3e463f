"""Which data a model is shown on, and a small part of it: what the recipe of its run names, or what stands in."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from hf_latent.data.loading import SOURCES, Source
from hf_latent.data.sample import Sample
from hf_latent.data.source import Reader
from hf_latent.errors import UserError, suggest
from hf_latent.options import checked
from hf_latent.runs import RECIPE
from hf_latent.trust import permitted


def read_recipe(folder: Path) -> dict[str, Any]:
    """The recipe of a run as plain values; empty where the folder has none."""
    if not (folder / RECIPE).is_file():
        return {}
    try:
        recipe = yaml.safe_load((folder / RECIPE).read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{folder / RECIPE} cannot be read: {error}") from None
    if not isinstance(recipe, dict) or not all(isinstance(section, dict) for section in recipe.values()):
        raise UserError(f"{folder / RECIPE} is no recipe: it has no sections")
    return recipe


def source_of(recipe: Mapping[str, Any], modalities: Mapping[str, Mapping[str, Any]], reader: Reader) -> Source:
    """The data that a recipe names; a source that offers itself where it names none.

    Raises:
        UserError: If the data section cannot be read, or no source offers itself for these modalities.
    """
    options = dict(recipe.get("data", {}))
    if options:
        name = str(options.pop("name", None))
        if name not in SOURCES:
            raise UserError(f"data.name={name!r}: {suggest(name, SOURCES)}")
        return SOURCES[name](**checked("data", options, SOURCES[name]))
    for source in SOURCES.values():
        found = source.stands_in_for(modalities, reader)
        if found is not None:
            return found
    raise UserError(f"there is no {RECIPE} that names data with the modalities {', '.join(modalities)}")


def find_sample(
    recipe: Mapping[str, Any], modalities: Mapping[str, Mapping[str, Any]], reader: Reader, folder: Path, trust: bool
) -> tuple[Source | None, Sample | None, str]:
    """The data of a run, rows of them, and what should be said of these.

    Args:
        recipe: Of the run; empty where there is none.
        modalities: What its processor reads.
        reader: The model.
        folder, trust: Where the run lies, and whether to read what its recipe names; see `hf_latent.trust`.

    Returns:
        The source, None where it may not be read; its sample, None where it cannot; and then why.
    """
    source: Source | None = None
    try:
        source = permitted(source_of(recipe, modalities, reader), folder, trust)
        sample = source.sample(reader=reader)
        missing = sorted(set(modalities) - set(sample.values))
        if missing:
            raise UserError(f"it has no {', '.join(missing)}")
        sample = replace(sample, values={name: sample.values[name] for name in modalities})
    except UserError as error:
        return source, None, f"The data of this model cannot be read here ({error}): there are no rows to show."
    if recipe.get("data"):
        return source, sample, ""
    return source, sample, f"No recipe says which data this model is of: {source.NAME} stands in for it."
