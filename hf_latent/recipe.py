"""Recipes: one YAML file says what a run is. An unknown key is an error, and so is a value of the wrong type."""

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf

from .data.loading import SOURCES, Source
from .errors import UserError, blamed_on, suggest
from .evaluation.chosen import build_benchmarks
from .metrics.linear_probe import PROTOCOLS
from .models.configuration_base import LatentConfig
from .models.configuration_comm import CoMMConfig
from .models.configuration_latent_albef import LatentALBEFConfig
from .models.configuration_latent_clip import LatentCLIPConfig
from .models.embeddings import LatentPreTrainedModel
from .models.images import at_size, checkpoint_processor, mean_and_std, output_size, stored_processor
from .models.modeling_comm import CoMMModel
from .models.modeling_latent_albef_pretraining import LatentALBEFForPreTraining
from .models.modeling_latent_clip import LatentCLIPModel
from .models.plugins import failures, load_plugins
from .models.processing_comm import CoMMProcessor
from .options import checked, typed
from .pretrained import check_labels, check_read, finished_run, model_options, pretrained_options, tokenizers_of
from .recipe_file import PLUGINS, SECTIONS, import_plugins, in_file, read_values
from .resources import available_resources, resource_path
from .runs import CONFIG, OUTPUTS, RECIPE, read_json, run_file
from .tasks import TASKS
from .training.arguments import LatentTrainingArguments
from .training.lora import Lora
from .views import VIEWS, ImageView, View, build_view

MODELS: dict[str, tuple[type[LatentConfig], type[LatentPreTrainedModel]]] = {
    "comm": (CoMMConfig, CoMMModel),
    "latent_albef": (LatentALBEFConfig, LatentALBEFForPreTraining),
    "latent_clip": (LatentCLIPConfig, LatentCLIPModel),
}


def models() -> dict[str, tuple[type[LatentConfig], type[LatentPreTrainedModel]]]:
    """What a recipe may write as `model.type`: the models of `MODELS`, and the head of each task."""
    heads = {task.type_name: (cast(Any, task.model).config_class, task.model) for task in TASKS.values()}
    return MODELS | heads


@dataclass(frozen=True)
class Evaluation:
    """What is measured after training.

    Args:
        protocol: How the linear probes are fitted, a name in `hf_latent.metrics.PROTOCOLS`.
        batch_size: Rows that are embedded at a time.
        rerank: In retrieval, so many candidates of each query are ordered anew by a model that can tell pairs.
        benchmarks: Name -> options, `{}` for the defaults; by default all that columns, labels and the model allow. A
            name other than that of a benchmark needs `benchmark` among its options, and its keys begin with it.
        also: Benchmark files, by the names of those of the package or as YAML files, whose data the trained model is
            measured on, too.
        start: Measure before training, too: tables and the card then show what the model could do already.
    """

    protocol: str = "standard"
    batch_size: int = 256
    rerank: int = 16
    benchmarks: dict[str, Any] | None = None
    also: list[str] = field(default_factory=list)
    start: bool = False


@dataclass(frozen=True)
class Recipe:
    """A recipe that was read and checked; `values` is what was written, with the overrides applied.

    `pretrained` is the folder, or the name on the Hub, of the model that training begins with, if it names one;
    `image_processors` are those of the checkpoints that image towers begin with.
    """

    name: str
    values: dict[str, Any]
    config: LatentConfig
    model_class: type[LatentPreTrainedModel]
    data: Source
    views: dict[str, View]
    training: dict[str, Any]
    evaluation: Evaluation
    lora: Lora | None
    pretrained: str | None = None
    image_processors: dict[str, Any] = field(default_factory=dict)

    @property
    def output_dir(self) -> Path:
        return Path(self.training["output_dir"])

    @property
    def seed(self) -> int:
        return self.training["seed"]

    def to_yaml(self) -> str:
        return OmegaConf.to_yaml(OmegaConf.create(self.values))


def load_recipe(
    source: str | Path, overrides: Sequence[str] = (), changes: Sequence[Mapping[str, Any]] = ()
) -> Recipe:
    """Read a recipe and check all of it.

    Args:
        source: A YAML file, or the name of a recipe that ships with the package.
        overrides: `section.key=value`, applied on top.
        changes: The same as nested mappings, applied one after the other before the overrides.

    Raises:
        UserError: With the file, the key and what to write instead.
    """
    path = find_recipe(source)
    for override in overrides:
        if "=" not in override or not override.split("=")[0].strip("."):
            raise UserError(f"{override!r} is not an override: write section.key=value")
    values = read_values(path, (*changes, OmegaConf.from_dotlist(list(overrides))))
    with in_file(path):
        import_plugins(values)
        return parse_recipe(values, name=path.stem, run=finished_run(path))


def load_run(run: Path, pixels: Mapping[str, Mapping[str, Any]]) -> Recipe:
    """The recipe of a finished run, whose model is that of `config.json`: no checkpoint that it began with is read.

    Args:
        run: The folder.
        pixels: Size, mean and deviation of each image modality, as the processor has them.

    Raises:
        UserError: If the folder holds no recipe, or the recipe of another model.
    """
    path = run_file(run, RECIPE)
    values = read_values(path)
    with in_file(path):
        _check_sections(values)
        config_class, model_class = _model_type(values["model"])
        found = read_json(run_file(run, CONFIG), "train it again").get("model_type")
        if found != config_class.model_type:
            raise UserError(
                f"the folder holds a model of type {found!r}, its recipe is of {config_class.model_type!r}"
            )
        with blamed_on(CONFIG):
            config = cast(Any, config_class).from_pretrained(run)
        return _recipe(values, path.stem, config, model_class, None, pixels)


def without_progress(recipe: Recipe) -> Recipe:
    """The recipe without progress bars. Its `values`, which a run folder keeps, stay as they were written."""
    return replace(recipe, training={**recipe.training, "disable_tqdm": True})


def find_recipe(source: str | Path) -> Path:
    """The file of a recipe, by its path or by the name of one that ships with the package."""
    path = Path(source)
    if path.is_file():
        return path
    name = path.name if path.suffix else f"{path.name}.yaml"
    if path.parent in (Path("."), Path("training_args")) and name in available_resources("training_args"):
        return resource_path("training_args", name)
    raise UserError(f"no recipe at {source}: {suggest(name, available_resources('training_args'))}")


def parse_recipe(values: Mapping[str, Any], name: str, run: Path | None = None) -> Recipe:
    """Check the values of a recipe and build what they describe; see [`load_recipe`]. `run` is the finished run that
    the recipe is of, if it is of one: then it stands in for the model that training began with."""
    _check_sections(values)
    config, model_class = _model(values["model"], run)
    pretrained = values["model"].get("pretrained")
    checkpoint = None if pretrained is None else str(run or pretrained)
    stored = _stored_images(config, checkpoint)
    whole = None if config.by_modality else checkpoint
    processors = _checkpoint_images(config, whole, values.get("views", {}), stored)
    pixels = stored | {name: _pixels_of(processor) for name, processor in processors.items()}
    recipe = _recipe(values, name, config, model_class, pretrained, pixels)
    own = {name: _like_view(processor, recipe.views[name]) for name, processor in processors.items()}
    recipe = replace(recipe, image_processors=own)
    if not hasattr(recipe.data, "tokenizers"):
        return recipe
    tokenizers = _checkpoint_tokenizers(config, checkpoint) | recipe.data.tokenizers
    return replace(recipe, data=replace(cast(Any, recipe.data), tokenizers=tokenizers))


def _check_sections(values: Mapping[str, Any]) -> None:
    if "structures" in values:
        raise UserError("this is a study, of many runs: train them with hf-latent study")
    for section, content in values.items():
        if section not in SECTIONS:
            raise UserError(f"unknown section {section!r}: {suggest(section, SECTIONS)}")
        if not isinstance(content, Mapping) and section != PLUGINS:
            raise UserError(f"section {section}: expected keys and values, found {content!r}")
    for section in ("model", "data"):
        if section not in values:
            raise UserError(f"section {section} is missing")


def _recipe(
    values: Mapping[str, Any],
    name: str,
    config: LatentConfig,
    model_class: type[LatentPreTrainedModel],
    pretrained: str | None,
    pixels: Mapping[str, Mapping[str, Any]],
) -> Recipe:
    """The checked sections of a recipe whose model is known."""
    training = {"output_dir": f"{OUTPUTS}/{name}", "seed": 42, **values.get("training", {})}
    training = checked("training", training, LatentTrainingArguments)
    evaluation = parse_evaluation(values.get("evaluation", {}))
    data = parse_data(values["data"])
    for modality in getattr(data, "columns", {}):
        if modality not in config.modalities:
            raise UserError(f"data.columns.{modality}: no such modality; {suggest(modality, config.modalities)}")
    return Recipe(
        name=name,
        values={section: copy.copy(values[section]) for section in SECTIONS if section in values},
        config=config,
        model_class=model_class,
        data=data,
        views=_views(values.get("views", {}), config, getattr(data, "image_size", None), pixels),
        training=training,
        evaluation=evaluation,
        lora=Lora(**checked("lora", values["lora"], Lora)) if "lora" in values else None,
        pretrained=pretrained,
    )


def _model(section: Mapping[str, Any], run: Path | None) -> tuple[LatentConfig, type[LatentPreTrainedModel]]:
    config_class, model_class = _model_type(section)
    options = dict(section)
    name = str(options.pop("type"))
    check_read(options, model_class, name)
    options = typed("model", options, model_options(config_class, model_class))
    check_labels(options)
    pretrained = options.pop("pretrained", None)
    if pretrained is not None and options.get("clip"):
        raise UserError("model.clip and model.pretrained both say what training begins with: leave one out")
    try:
        # Of the checkpoints that the recipe names alone: those that a pre-trained model names are not read.
        options = config_class.resolve_checkpoints(options)
        if pretrained is not None:
            options = pretrained_options(pretrained, options, config_class, run, model_class)
        config = config_class(**options)
    except UserError:
        raise
    except (OSError, TypeError, ValueError) as error:
        raise UserError(f"model: {error}") from None
    if not config.modalities:
        raise UserError("model.modalities is missing: name each modality and its encoder")
    return config, model_class


def _model_type(section: Mapping[str, Any]) -> tuple[type[LatentConfig], type[LatentPreTrainedModel]]:
    name = str(section.get("type"))
    if name not in models():
        load_plugins()  # one may bring a task
    if name not in models():
        raise UserError(f"model.type={name!r}: {suggest(name, models())}{failures()}")
    return models()[name]


def parse_evaluation(section: Mapping[str, Any]) -> Evaluation:
    """The section `evaluation` of a recipe, checked."""
    evaluation = Evaluation(**checked("evaluation", section, Evaluation))
    for key in ("batch_size", "rerank"):
        if getattr(evaluation, key) < 1:
            raise UserError(f"evaluation.{key}={getattr(evaluation, key)}: write 1 or more")
    build_benchmarks(evaluation.benchmarks or {})
    if evaluation.protocol not in PROTOCOLS:
        raise UserError(f"evaluation.protocol={evaluation.protocol!r}: {suggest(evaluation.protocol, PROTOCOLS)}")
    return evaluation


def parse_data(section: Mapping[str, Any]) -> Source:
    """The section `data` of a recipe, checked; nothing of the data is read."""
    options = dict(section)
    name = str(options.pop("name", None))
    if name not in SOURCES:
        raise UserError(f"data.name={name!r}: {suggest(name, SOURCES)}{failures()}")
    return SOURCES[name](**checked("data", options, SOURCES[name]))


def _checkpoint_tokenizers(config: LatentConfig, checkpoint: str | None) -> dict[str, str]:
    """The tokenizers of the checkpoints that text towers start from, or the whole model."""
    if checkpoint is not None:
        return tokenizers_of(checkpoint, config)
    started = {name: spec.get("pretrained") for name, spec in config.modalities.items()}
    if getattr(config, "clip", None):
        started["text"] = config.clip
    return {name: checkpoint for name, checkpoint in started.items() if checkpoint and config.kinds[name] == "text"}


def _stored_images(config: LatentConfig, checkpoint: str | None) -> dict[str, dict[str, Any]]:
    """The settings of each modality of images or clips of a model that training begins with, where these are kept by
    modality."""
    if checkpoint is None or not config.by_modality:
        return {}
    with blamed_on(f"model.pretrained={checkpoint!r} has no processor that can be loaded"):
        kept = CoMMProcessor.get_processor_dict(checkpoint)[0]["modalities"]
    wanted = ("size", "mean", "std", "fit", "resample", "image_processor")
    return {
        name: {key: options[key] for key in wanted if key in options}
        for name, options in kept.items()
        if all(key in options for key in ("size", "mean", "std"))
    }


def _checkpoint_images(
    config: LatentConfig, whole: str | None, views: Mapping[str, Any], stored: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    """The image processors of the checkpoints that image towers, or the whole model, begin with; none where the view
    says itself how to make a square. `stored` are settings by modality; those of a processor are taken out of them."""
    found: dict[str, Any] = {}
    for name, spec in config.modalities.items():
        if name in stored:
            own, view = stored[name].pop("image_processor", None), views.get(name)
            if own is not None and isinstance(view, Mapping) and not view.get("fit"):
                found[name] = stored_processor(own)
            continue
        clip = getattr(config, "clip", None) if name == "image" else None
        view, checkpoint = views.get(name), whole or clip or spec.get("pretrained")
        if checkpoint and isinstance(view, Mapping) and _is_of_pixels(view) and not view.get("fit"):
            with blamed_on(f"views.{name}: write fit, mean and std"):
                processor = checkpoint_processor(checkpoint)
            if processor is not None:
                found[name] = processor
            elif whole is None:  # a model of this library reads pictures as its views make them
                warnings.warn(f"{checkpoint} has no image processor: pictures are squashed to a square", stacklevel=4)
    return found


def _is_of_pixels(view: Mapping[str, Any]) -> bool:
    """Whether a view is told size, mean and deviation of images."""
    return issubclass(VIEWS.get(str(view.get("kind")), View), ImageView)


def _pixels_of(processor: Any) -> dict[str, Any]:
    """The options of a view that an image processor tells."""
    mean, std = mean_and_std(processor)
    return {"size": output_size(processor), "mean": mean, "std": std}


def _like_view(processor: Any, view: Any) -> Any:
    """An image processor with the size, mean and deviation of a view."""
    with blamed_on("views"):
        scaled = at_size(processor, view.size)
    if mean_and_std(scaled) == (list(view.mean), list(view.std)):
        return scaled
    return type(scaled).from_dict({**scaled.to_dict(), "image_mean": list(view.mean), "image_std": list(view.std)})


def _views(
    section: Mapping[str, Any],
    config: LatentConfig,
    image_size: int | None,
    pixels: Mapping[str, Mapping[str, Any]],
) -> dict[str, View]:
    views = {}
    for modality, options in section.items():
        if modality not in config.modalities:
            raise UserError(f"views.{modality}: no such modality; {suggest(modality, config.modalities)}")
        if not isinstance(options, Mapping):
            raise UserError(f"views.{modality}={options!r}: write kind: ... and its options")
        options = dict(options)
        if _is_of_pixels(options):
            own = dict(pixels.get(modality, {}))
            if image_size is not None:
                own["size"] = image_size
            options = {**own, **options}
        try:
            views[modality] = build_view(str(options.pop("kind", None)), **options)
        except (TypeError, ValueError) as error:
            raise UserError(f"views.{modality}: {error}") from None
    for modality in config.modalities:
        if modality not in views:
            raise UserError(f"views.{modality} is missing: write its augmentation, or kind: none")
    return views
