"""What the data decides of a run: vocabularies, classes, and the processor that reads it."""

import copy
from collections.abc import Iterator, Mapping, Sized
from dataclasses import replace
from typing import Any, cast

import numpy as np
from torch.utils.data import IterableDataset, Subset

from .data.loaded import LoadedData
from .data.target import TARGET
from .errors import UserError, blamed_on, suggest
from .kinds import kind_of
from .memory import check_memory
from .models.configuration_base import LatentConfig
from .models.embeddings import LatentPreTrainedModel
from .models.encoders import Encoder
from .models.image_text import SharedSpacePreTrainedModel
from .models.modeling_latent_albef import LatentALBEFModel
from .models.processing_comm import KINDS, CoMMProcessor
from .models.processing_latent_albef import LatentALBEFProcessor
from .models.processing_latent_clip import LatentCLIPProcessor
from .models.text_towers import fit_config, fit_length, fit_tokenizer
from .recipe import Recipe
from .tasks import task_of
from .views import VIEWS, ImageView, View

PROBLEM_OF = {
    "class": "single_label_classification",
    "multilabel": "multi_label_classification",
    "number": "regression",
}


STANDARDIZED = 2048
"""Training rows whose features the standardisation of a head is fitted to."""


def build_processor(
    model: LatentPreTrainedModel,
    views: dict[str, View],
    tokenizers: dict[str, Any],
    image_processors: Mapping[str, Any] | None = None,
) -> CoMMProcessor | LatentCLIPProcessor:
    """The processor that makes of raw inputs what the model saw in evaluation.

    Args:
        model, views: Of a run.
        tokenizers: Of each text modality.
        image_processors: Of the checkpoints that image towers began with, if any did.
    """
    images = image_processors or {}
    modalities: dict[str, dict[str, Any]] = {}
    for name, encoder in model.encoders.items():
        kind, view = cast(Encoder, encoder).kind, views[name]
        modalities[name] = {"kind": kind, **cast(Encoder, encoder).processor_options, **view.processor_options}
        if kind not in view.kinds:
            known = " or ".join(key for key, cls in VIEWS.items() if kind in cls.kinds)
            raise UserError(f"views.{name}: its encoder reads {kind}; write kind: {known}")
        if isinstance(view, ImageView):
            check_memory(12 * view.size**2, f"a picture of views.{name}.size={view.size}")
            if name in images:
                modalities[name]["image_processor"] = images[name].to_dict()
        reads_tokenizer = KINDS[kind].reads_tokenizer
        if reads_tokenizer and name not in tokenizers:
            raise UserError(
                f"data.tokenizers.{name} is missing: name a checkpoint, or write words for one made of the captions"
            )
        if reads_tokenizer:
            with blamed_on(f"model.modalities.{name}"):
                length = fit_length(tokenizers[name], cast(Encoder, encoder).max_length)
            modalities[name].update(max_length=length, padding=cast(Encoder, encoder).padding)
    with blamed_on("model"):
        if isinstance(model, SharedSpacePreTrainedModel) and model.reads_image_text:
            image, padding = modalities["image"], modalities["text"]["padding"]
            fits = LatentALBEFProcessor if isinstance(model, LatentALBEFModel) else LatentCLIPProcessor
            if "image" in images:
                return fits(images["image"], tokenizers["text"], padding)
            options = (image["size"], tokenizers["text"], image["mean"], image["std"])
            squares = {key: image[key] for key in ("fit", "resample") if key in image}
            return fits.for_size(*options, padding=padding, **squares)
        return CoMMProcessor(modalities, tokenizers)


def fit_standardization(trainer: Any, rows: Any, most: int = STANDARDIZED) -> None:
    """Fit the standardisation of a head to the features of training rows, where it has one and they can be counted.

    Every process takes part, and finds the same.

    Args:
        trainer: With the model that training begins with.
        rows: To train on.
        most: Rows that are embedded, evenly spaced.
    """
    model = trainer.accelerator.unwrap_model(trainer.model)
    if not hasattr(model, "standardization") or not isinstance(rows, Sized):
        return
    chosen = np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int).tolist()
    model.standardization.fit(trainer.embed(Subset(cast(Any, rows), chosen)).fused)


def fit_image_sizes(model: LatentPreTrainedModel, views: Mapping[str, View]) -> None:
    """Towers with positions for pictures of one size get those for the size of their view, before they are trained."""
    for name, view in views.items():
        if isinstance(view, ImageView):
            model.resize_images(name, view.size)


def fit_recipe(recipe: Recipe, data: LoadedData) -> Recipe:
    """A recipe with the vocabularies, the classes and the splits of its data; the recipe that was read stays as it is.

    Raises:
        UserError: If what the recipe writes of them does not fit the data.
    """
    fitted = replace(recipe, config=copy.deepcopy(recipe.config), values=with_splits(recipe.values, data.splits))
    fit_encoders(fitted.config, data)
    fit_vocabularies(fitted.config, data.tokenizers)
    fit_classes(fitted, data)
    return fitted


def with_splits(values: Mapping[str, Any], found: Mapping[str, str]) -> dict[str, Any]:
    """The values of a recipe with the splits that were found in its data, where they are not written by old names."""
    data = values["data"]
    if not found or "split" in data or "test_split" in data:
        return dict(values)
    return {**values, "data": {**data, "splits": {**found, **(data.get("splits") or {})}}}


def fit_encoders(config: LatentConfig, data: LoadedData) -> None:
    """Encoders are told what they leave to the training rows, such as the categories of a table."""
    for name, spec in config.modalities.items():
        kind = kind_of(spec)
        if kind is None or name not in data.columns:
            continue
        key, rows = data.columns[name], cast(Any, data.train)
        joined = rows.joined(key) if hasattr(rows, "joined") else None
        with blamed_on(f"modalities.{name}"):
            config.modalities[name] = kind.fitted(spec, _values(name, rows, key), joined)


def _values(name: str, rows: Any, key: str) -> Iterator[Any]:
    """The values of a modality that are there, of the training rows; a UserError of a stream, which has no end."""
    if isinstance(rows, IterableDataset):
        raise UserError(
            f"model.modalities.{name}: its encoder is fitted to the training rows, and those of a stream are not "
            "known before they are read: write data.streaming: false"
        )
    values = rows.read_column(key) if hasattr(rows, "read_column") else (rows[i][key] for i in range(len(rows)))
    yield from (value for value in values if value is not None)


def fit_vocabularies(config: LatentConfig, tokenizers: dict[str, Any]) -> None:
    """A text encoder that is trained from scratch takes the vocabulary and the special tokens of its tokenizer."""
    for name, tokenizer in tokenizers.items():
        if name not in config.modalities:
            raise UserError(f"data.tokenizers.{name}: no such modality; {suggest(name, config.modalities)}")
        if getattr(config, "mlm_weight", 0) and tokenizer.mask_token is None:
            tokenizer.add_special_tokens({"mask_token": "[MASK]"})
        spec = config.modalities[name].get("config")
        fit_tokenizer(tokenizer, spec and spec.get("model_type"))
        for token in ("bos_token_id", "eos_token_id", "pad_token_id"):
            setattr(config, token, getattr(tokenizer, token))  # or the Trainer would, with a warning
        if spec is None:
            continue
        fit_config(spec, tokenizer)
        if spec["vocab_size"] < len(tokenizer):
            raise UserError(
                f"model.modalities.{name}: vocab_size={spec['vocab_size']}, but the tokenizer has {len(tokenizer)} "
                "tokens: leave vocab_size out"
            )


def fit_classes(recipe: Recipe, data: LoadedData) -> None:
    """A head takes the classes, the labels or the numbers of its data; a recipe may give them other names."""
    task = task_of(recipe.model_class)
    if task is None or task.labels == "answers":
        return
    if data.target is None:
        if task.labels == "any":
            raise UserError(
                f"data.name={recipe.data.NAME}: its rows have no labels for this head: write name: dataset, with the "
                "column that it should say as data.target"
            )
        return
    written, classes = recipe.values["model"], data.target.names
    if task.labels == "any":
        problem = PROBLEM_OF[data.target.kind]
        if (own := getattr(recipe.config, "problem_type", None)) not in (None, problem):
            raise UserError(
                f"model.problem_type={own}: data.target holds what {problem} reads: write that, or leave it out"
            )
        cast(Any, recipe.config).problem_type = problem
        classes = classes or (data.target.title or TARGET,)
    own = written.get("num_labels", len(written.get("id2label") or classes))
    if own != len(classes):
        raise UserError(
            f"model.num_labels: {own} labels, but the data has {len(classes)}: {', '.join(classes)}; leave it out"
        )
    if "id2label" not in written:
        recipe.config.id2label = dict(enumerate(classes))
        recipe.config.label2id = {name: number for number, name in enumerate(classes)}
