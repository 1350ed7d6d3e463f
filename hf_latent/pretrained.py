"""Recipes that begin with a trained model: `model.pretrained` names its folder, or its name on the Hub."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict, cast, get_type_hints

from transformers.utils import logging as transformers_logging

from .data.tokenizers import load_tokenizer
from .errors import UserError, blamed_on, suggest
from .models.configuration_base import LatentConfig
from .models.embeddings import LatentPreTrainedModel
from .resources import available_resources
from .runs import CONFIG, OUTPUTS

# Written by a model about itself.
_OF_A_FILE = (
    *("architectures", "auto_map", "dtype", "extra_heads", "model_type", "objective", "plugins", "regularizers"),
    *("torch_dtype", "transformers_version", "_name_or_path"),
)


# The children that a model takes over whole; the heads of objectives and regularizers may be new, or stay behind.
_CARRIED = frozenset({"converters", "encoders", "fusion", "head", "logit_scale", "projections"})


class HeadOptions(TypedDict):
    """What a recipe writes of a model beside the options of its config; of one without a head `pretrained` alone.

    Attributes:
        pretrained: The model that training begins with: the folder of a finished run, or its name on the Hub.
        num_labels: How many classes there are; by default as many as the data has.
        id2label: The name of each class, by its number from 0 on; by default those of the data.
    """

    pretrained: str
    num_labels: int
    id2label: dict[int, str]


def model_options(config_class: type[LatentConfig], model_class: type[LatentPreTrainedModel]) -> dict[str, Any]:
    """The keys that a recipe may write for a model, with their types."""
    options = {key: kind for key, kind in config_class.options().items() if key not in model_class.unread_options}
    own = get_type_hints(HeadOptions)
    if model_class.label_layer is None:
        own = {"pretrained": own["pretrained"]}
    return options | own


def check_read(options: Mapping[str, Any], model_class: type[LatentPreTrainedModel], name: str) -> None:
    """Refuse keys of pre-training that a head does not read, and keys of a head that pre-training does not."""
    does = "a model with a head" if model_class.task is None else "pre-training"
    for key in sorted(model_class.unread_options):
        if key in options:
            raise UserError(f"model.{key}: {name} does not read it, {does} does: leave it out")


def check_labels(options: Mapping[str, Any]) -> None:
    """Refuse names of classes that are not those of 0, 1, 2 ..."""
    names = options.get("id2label")
    wanted = list(range(options.get("num_labels", len(names or ()))))
    if names is not None and sorted(names) != wanted:
        raise UserError(
            f"model.id2label names {', '.join(map(str, names)) or 'nothing'}: name each of the {len(wanted)} labels, "
            "from 0 on"
        )


def pretrained_options(
    source: str,
    options: Mapping[str, Any],
    config_class: type[LatentConfig],
    run: Path | None = None,
    model_class: type[LatentPreTrainedModel] | None = None,
) -> dict[str, Any]:
    """The options of a pre-trained model's config, with the recipe's on top. Regularizers are those of the recipe.

    Args:
        source: The folder, or the name on the Hub.
        options: Of the recipe.
        run: The finished run of this recipe, if that is what is read: its own config stands in for the pre-trained
            one's, which may be gone.
        model_class: Of the model that begins; the objective of one of the same class goes on.

    Raises:
        UserError: If there is no such model, it is of another type, or a key cannot change.
    """
    if run is None:
        _refuse_missing_run(source)
    found: Any = None
    file, reason = Path(source) / CONFIG, ""
    try:
        found, _ = config_class.get_config_dict(str(run or source))
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
    if not found or not isinstance(found, dict):
        if file.is_file():
            reason = f"{file} is no config of a model"
        elif file.is_absolute() or file.parent.is_dir():
            reason = f"there is no {file}"
        raise UserError(
            f"model.pretrained={source!r} cannot be read ({reason}): write the folder of a finished run, or the name "
            "of a model on the Hub"
        )
    if found.get("model_type") != config_class.model_type:
        kind = found.get("model_type")
        raise UserError(
            f"model.pretrained={source!r} holds a model of type {kind!r}: name one of {config_class.model_type!r}"
        )
    known = found.get("modalities") or {}
    for name in options.get("modalities") or {}:
        if name not in known:
            raise UserError(
                f"model.modalities.{name}: {source} was trained with {', '.join(map(str, known))}: "
                f"{suggest(name, known)}, or leave it out"
            )
    for key in config_class.fixed:
        if key in options and options[key] != found.get(key, getattr(config_class, key)):
            was = found.get(key, getattr(config_class, key))
            raise UserError(f"model.{key}={options[key]}: {source} was trained with {was}, which stays: leave it out")
    left_out = {*_OF_A_FILE, *config_class.not_inherited}
    left = {key: value for key, value in found.items() if key not in left_out}
    if model_class is not None and found.get("architectures") == [model_class.__name__] and "objective" in found:
        left["objective"] = found["objective"]
    if options.get("objective", found.get("objective")) != found.get("objective"):
        left.pop("objective_options", None)  # they are of the objective
    if "num_labels" in options or "id2label" in options:
        for key in ("id2label", "label2id", "num_labels"):
            left.pop(key, None)
    return _merged(left, options)


def _refuse_missing_run(source: str) -> None:
    """A UserError where `source` is the folder of a run that is not there; otherwise the Hub would be asked for it."""
    path = Path(source)
    ships = f"{path.name}.yaml" in available_resources("training_args")
    if path.is_dir() or not (ships or path.parts[:1] == (OUTPUTS,)):
        return
    first = f"train it first, with hf-latent train {path.name}, or write" if ships else "write"
    raise UserError(f"model.pretrained={source!r}: there is no such folder; {first} the folder of a finished run")


def _merged(before: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(before)
    for key, value in change.items():
        nested = key != "id2label" and isinstance(value, Mapping) and isinstance(before.get(key), Mapping)
        merged[key] = _merged(before[key], value) if nested else value
    return merged


def tokenizers_of(source: str, config: LatentConfig) -> dict[str, str]:
    """Where the tokenizers of a pre-trained model lie, by the modalities of its texts."""
    texts = [name for name, kind in config.kinds.items() if kind == "text"]
    return {name: f"{source}/tokenizer_{name}" if config.by_modality else source for name in texts}


def check_vocabulary(source: str, tokenizer: Any, modality: str = "text") -> None:
    """Refuse a tokenizer whose numbers stand for other words than those of the pre-trained model, if that came with
    one."""
    try:
        own = load_tokenizer(source, [])
    except UserError:
        return
    known = tokenizer.get_vocab()
    if any(known.get(word) != number for word, number in own.get_vocab().items()):
        raise UserError(
            f"data.tokenizers.{modality}: its vocabulary is not that which {source} was trained with; leave it out"
        )


def load_pretrained_model(
    model_class: type[LatentPreTrainedModel], source: str, config: LatentConfig
) -> LatentPreTrainedModel:
    """A model that begins as a pre-trained one: what it has more is new, or begins as a part of that model.

    Raises:
        UserError: If weights do not fit.
    """
    with blamed_on(f"model.pretrained={source!r} cannot be loaded"), _quiet():
        model, report = cast(Any, model_class).from_pretrained(
            source, config=config, ignore_mismatched_sizes=True, output_loading_info=True
        )
    differ = {str(key) for kind in ("missing_keys", "unexpected_keys") for key in report[kind]}
    wrong = {key for key in differ if key.split(".")[0] in _CARRIED}
    # Entries are names, or tuples that begin with one.
    other = (key if isinstance(key, str) else key[0] for key in report["mismatched_keys"])
    last = model_class.label_layer
    wrong |= {key for key in other if last is None or f"{last}." not in key}
    if wrong:
        raise UserError(
            f"model.pretrained={source!r}: {len(wrong)} of its weights do not fit this model, as {min(wrong)}: leave "
            "out what changes the towers, the encoders or the fusion"
        )
    if Path(source).is_dir():  # PEFT would keep it in what is saved, and it is the name of no model elsewhere
        cast(Any, model).name_or_path = ""
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the table of what is new in a head: that it is, is what the recipe asks for."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)


def finished_run(recipe: Path) -> Path | None:
    """The run that a recipe stands in, where its model stands beside it."""
    return recipe.parent if (recipe.parent / CONFIG).is_file() else None
