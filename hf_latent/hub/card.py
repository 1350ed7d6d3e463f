"""Model cards, written from what a run measured.

What a card may tell is chosen in `card_fields.py`; its words are in `model_cards/`, one template a model, on a base
that all share. Objectives and regularizers bring their own formulas and citations.
"""

import inspect
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from ..citations import HU_2022
from ..data.description import UNKNOWN, Description
from ..data.loaded import Missing
from ..data.loading import SOURCES
from ..errors import UserError, blamed_on, suggest
from ..evaluation import BENCHMARKS, Measurement
from ..files import replace
from ..kinds import kind_of
from ..models.configuration_base import LatentConfig
from ..objectives import Objective, RegularizedObjective, build_objective
from ..objectives.regularized import Weighted
from ..recipe import MODELS
from ..recipe_file import first_lines
from ..resources import available_resources, resource_path
from ..results import group_of
from ..runs import CONFIG, METRICS, RECIPE, read_json, read_metrics, refuse_links, run_file
from ..tasks import Task, task_of_config
from .card_fields import (
    fenced,
    markdown_text,
    model_name,
    number,
    one_line,
    published_measurements,
    published_model,
    repository_id,
    setting,
    shareable,
    tellable,
    told_calibration,
    told_missing,
    withheld,
)

CARD, ADAPTER = "README.md", "adapter_config.json"
TASKS = {
    "feature-extraction": "Measurement of frozen features",
    "other": "Labels of rows of several modalities",
    "visual-question-answering": "Visual question answering",
    **{f"zero-shot-{kind}-classification": f"Zero-shot {kind} classification" for kind in ("image", "audio", "video")},
}
# What a model without a head is for. CoMM has none: `pipeline("feature-extraction")` reads text alone.
PIPELINES = dict.fromkeys(("latent_albef", "latent_clip"), "zero-shot-image-classification")
FIGURES = {
    "latent_map.png": "Held-out data in the latent space, drawn in two dimensions and colored by label.",
    "losses.png": "The training loss and its terms.",
    "evaluations.png": "What was measured of the validation rows during training; dashed lines are chance.",
    **{file: caption for benchmark in BENCHMARKS.values() for file, caption in benchmark.figures.items()},
}
CONFIGS = {config.model_type: config for config, _ in MODELS.values()}
CONTRASTIVE = ("contrastive-learning", "representation-learning")


class _Dumper(yaml.SafeDumper):
    """Lists on one line, as people write recipes."""


_Dumper.add_representer(list, lambda dumper, items: dumper.represent_sequence("tag:yaml.org,2002:seq", items, True))


def write_card(run: Path, *, repository: str | None = None, license: str | None = None) -> Path:
    """Write `README.md` of a run from its config, recipe, metrics and figures.

    Args:
        run: The folder.
        repository: The id on the Hub that the code of the card loads; by default a place to fill in.
        license: Of the weights, as the Hub spells it, such as `apache-2.0`. By default the one that the card of the
            run has already, or none.

    Raises:
        UserError: If the folder holds no model of this library, or the license is no single word.
    """
    text = render_card(run, repository=repository, license=license)
    path = run / CARD
    partial = path.with_suffix(".md.partial")
    partial.unlink(missing_ok=True)  # never through a link
    with partial.open("x", encoding="utf-8", newline="\n") as file:
        file.write(text)
    replace(partial, path)
    return path


def render_card(
    run: Path, *, repository: str | None = None, license: str | None = None, adapters: str | None = None
) -> str:
    """The card of a run as Markdown with its YAML header. A recipe, metrics and figures may be missing.

    Args:
        run, repository, license: As in [`write_card`]; the repository also gives the card its title.
        adapters: As in [`render`], where the files of the run do not tell.
    """
    refuse_links(run, (CONFIG, RECIPE, CARD))
    config = read_json(run_file(run, CONFIG), "train it again")
    if (run / "adapter" / ADAPTER).is_file():
        adapters = "adapter"
    elif (run / ADAPTER).is_file():
        adapters = ""
    return render(
        repository.split("/")[-1] if repository else run.resolve().name,
        config,
        _read_recipe(run / RECIPE) if (run / RECIPE).is_file() else {},
        read_metrics(run) if (run / METRICS).is_file() else {},
        {file for file in FIGURES if (run / "figures" / file).is_file()},
        repository=repository,
        license=license or _license_of(run / CARD),
        adapters=adapters,
    )


def render(
    name: str,
    config: Mapping[str, Any],
    recipe: Mapping[str, Any],
    metrics: Mapping[str, Any],
    figures: set[str],
    *,
    repository: str | None = None,
    license: str | None = None,
    adapters: str | None = None,
) -> str:
    """Render a card from plain values; see [`render_card`].

    Args:
        name: Of the model.
        config: What `config.json` holds.
        recipe: The sections of a recipe; any may be missing.
        metrics: What `metrics.json` holds; without a measurement the card says that nothing was measured.
        figures: Those of `FIGURES` that lie in `figures/`.
        repository, license: As in [`write_card`].
        adapters: Where low-rank adapters lie: None, the name of a folder beside the merged model, or "" where the
            repository holds them in place of the weights.

    Raises:
        UserError: If the config is not of a model of this library, or names what is not known here.
    """
    if license is not None and not tellable(license):
        raise UserError(f"license={license!r}: write it as the Hub does, in one word, such as apache-2.0")
    objective = _objective(config)
    with blamed_on(RECIPE):
        shared, left_out = shareable(recipe), withheld(recipe)
    model = cast(LatentConfig, objective.config)
    base, regularizers = objective, {}
    if isinstance(objective, RegularizedObjective):
        base, regularizers = objective.objective, objective.regularizers
    data, task = _data(shared.get("data", {})), task_of_config(config)
    description = SOURCES[data["name"]].described(data) if data["name"] else UNKNOWN
    results = published_measurements(metrics)
    own = {key: measurement for key, measurement in results.items() if not measurement.data}
    others: dict[str, dict[str, Measurement]] = {}
    for key, measurement in results.items():
        if measurement.data:
            others.setdefault(measurement.data, {})[key] = measurement
    began: Any = (recipe.get("model") or {}).get("pretrained")
    started = _started(config)
    bases = list(dict.fromkeys(filter(None, map(repository_id, started))))
    bases = [began] if published_model(began) else bases
    low_rank = adapters is not None or "lora" in recipe
    missing = Missing.read(metrics, model.modalities)
    facts = {
        "name": name,
        "config": model,
        "data": description,
        "own_ids": "ids" in data["options"] and not shared["data"].get("ids"),
        "batch": number(shared.get("training", {}).get("global_batch_size")),
        "low_rank": low_rank,
        "calibrated": told_calibration(config.get("calibration")),
        "missing": told_missing(missing) if missing else "",
        "rows_lack": bool(missing and missing.without and any(missing.without.values())),
        "training": _training(shared.get("training", {}), metrics),
        "protocol": shared.get("evaluation", {}).get("protocol", "standard"),
        "recipe_yaml": fenced(yaml.dump(shared, Dumper=_Dumper, sort_keys=False)) if shared else "",
        "left_out": left_out,
        "whole": {"model", "data"} <= set(shared),
        "seed": number(metrics.get("seed")),
        "groups": _groups(own),
        "others": {name: _groups(part) for name, part in others.items()},
        "objective": {
            "name": model.objective,
            "summary": base.summary,
            "notation": base.notation,
            "formula": base.formula.splitlines(),
            "of_fused": "fused" in base.requires,
            "of_unique": "independent" in base.requires,
        },
        "regularizers": [_described(name, weighted) for name, weighted in regularizers.items()],
        "image_text": _reads_image_text(model),
        "examples": {name: _example(name, spec) for name, spec in model.modalities.items()},
        "example_imports": _example_imports(model.modalities),
        "started": bool(started or began),
        "began": None if published_model(began) else model_name(began),
        "auto": task.auto_class if task else "AutoModel",
        "task": task,
        "bases": bases,
        "adapters": adapters,
        "model_id": repository or "user/name",
        "published": repository is not None,
        "license": license,
        "figures_of": _figures_of(own),
        "figures": {file: caption for file, caption in FIGURES.items() if file in figures},
        "citations": _citations(base, regularizers.values(), description, low_rank),
    }
    header = _header(name, model, task, data, description, results, bases, list(regularizers), license, adapters)
    return f"---\n{header}\n---\n\n{_template(model).render(facts).strip()}\n"


def _read_recipe(path: Path) -> dict[str, Any]:
    try:
        recipe = OmegaConf.to_container(OmegaConf.load(path))
    except (YAMLError, OmegaConfBaseException, TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {first_lines(error)}") from None
    if not isinstance(recipe, dict):
        raise UserError(f"{path} holds no recipe")
    return cast(dict[str, Any], recipe)


def _license_of(card: Path) -> str | None:
    """The license in the header of a card that was written before, by us or by hand."""
    try:
        found = ModelCard.load(card, ignore_metadata_errors=True).data.license if card.is_file() else None
    except (OSError, ValueError, YAMLError):
        return None
    return found if tellable(found) else None


def _objective(config: Mapping[str, Any]) -> Objective:
    """The objective of a config, whose own config is that of the model."""
    with blamed_on(CONFIG), warnings.catch_warnings(action="ignore"):
        name = str(config.get("model_type"))
        if name not in CONFIGS:
            raise UserError(f"{CONFIG} is of a {name!r} model: {suggest(name, CONFIGS)}")
        # Without the checkpoints that it started from: a card needs none of them.
        towers = {name: {**spec, "pretrained": None} for name, spec in (config.get("modalities") or {}).items()}
        return build_objective(CONFIGS[name].from_dict({**config, "clip": None, "modalities": towers}))


def _template(config: LatentConfig) -> Any:
    """The template of a head or of a model; the base where it has none of its own."""
    own = (f"{config.model_type}_{config.objective}.md.jinja", f"{config.model_type}.md.jinja")
    known = available_resources("model_cards")
    path = resource_path("model_cards", next((name for name in own if name in known), "base.md.jinja"))
    # A name or a setting is text: it must neither become markup nor be evaluated.
    environment = SandboxedEnvironment(
        loader=FileSystemLoader(path.parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["text"] = markdown_text
    return environment.get_template(path.name)


def _data(section: Mapping[str, Any]) -> dict[str, Any]:
    """The data section with its defaults; `path` only where it is a repository on the Hub, `name` None if unknown.

    Of a mixture, `path` is of the source that was measured on; `paths` has one for each source. `options` are those
    that the source has.
    """
    if section.get("name") not in SOURCES:
        return {"name": None, "path": None, "paths": [], "options": ()}
    defaults = {spec.name: spec.default for spec in fields(SOURCES[section["name"]])}
    numbers = {key: value for key, value in defaults.items() if isinstance(value, int | float)}
    own = {key: section[key] for key in numbers if isinstance(section.get(key), int | float)}
    sources = section.get("sources") or [section]
    tested: Mapping[str, Any] = next((source for source in sources if _test_split(source)), {})
    words = {"name": section["name"], "test_split": _test_split(tested), "options": tuple(defaults)}
    path, *paths = [
        name if "/" in name else None for name in (source.get("path") or "" for source in (tested, *sources))
    ]
    return {**numbers, **own, **words, "path": path if "sources" in section else paths[0], "paths": paths}


def _test_split(source: Mapping[str, Any]) -> str | None:
    splits = source.get("splits")
    return source.get("test_split") or (splits.get("test") if isinstance(splits, Mapping) else None)


def _started(config: Mapping[str, Any]) -> list[Any]:
    """The checkpoints that training started from, on the Hub or not."""
    towers = (config.get("modalities") or {}).values()
    return [name for name in (config.get("clip"), *(spec.get("pretrained") for spec in towers)) if name]


def _training(arguments: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[str]:
    """How it was trained, in a few words each."""
    steps = number(arguments.get("max_steps")) or 0
    words = {
        "num_train_epochs": "{:g} epochs" if steps <= 0 else "",
        "max_steps": "{:g} steps" if steps > 0 else "",
        "global_batch_size": "{:g} rows in a batch",
        "learning_rate": "learning rate {:g}",
        "weight_decay": "weight decay {:g}",
    }
    told = [text.format(value) for key, text in words.items() if (value := number(arguments.get(key))) is not None]
    words = {"train_loss": "mean loss {:.3f}", "train_runtime": "{:.0f} s of training"}
    words["train_samples_per_second"] = "{:.0f} rows a second"
    told += [text.format(value) for key, text in words.items() if (value := number(metrics.get(key))) is not None]
    for name in ("hf_latent", "torch", "transformers"):
        if tellable(version := metrics.get(f"{name}_version")):
            told.append(f"{name} {version}")
    return [text for text in told if text]


def _groups(results: Mapping[str, Measurement]) -> dict[str, dict[str, Any]]:
    """The measurements by group, in the order of a card."""
    found: dict[str, dict[str, Any]] = {}
    for measurement in results.values():
        group = group_of(measurement)
        empty: dict[str, Any] = {"title": group.title, "text": group.text, "structure": group.structure, "rows": []}
        rows = found.setdefault(measurement.group, empty)["rows"]
        unit = " %" if measurement.unit == "%" else ""
        chance = "" if measurement.chance is None else measurement.cell(measurement.chance) + unit
        value = measurement.cell(measurement.value) + unit
        reading = measurement.reading
        start = "" if measurement.start is None else measurement.cell(measurement.start) + unit
        rows.append({"title": measurement.title, "value": value, "chance": chance, "reading": reading, "start": start})
    for part in found.values():
        part["started"] = any(row["start"] for row in part["rows"])
        part["column"] = "Chance" if any(row["chance"] for row in part["rows"]) else "How to read it"
    return found


def _figures_of(results: Mapping[str, Measurement]) -> dict[str, list[str]]:
    """Group -> the figures behind its table: those of its benchmark, behind the first of its groups that is there."""
    there = [measurement.group for measurement in results.values()]
    found = {}
    for benchmark in BENCHMARKS.values():
        own = [group for group in there if group in benchmark.groups]
        if own and benchmark.figures:
            found[own[0]] = list(benchmark.figures)
    return found


def _described(name: str, weighted: Weighted) -> dict[str, Any]:
    """A regularizer as its class describes it, with its weight and hyper-parameters."""
    regularizer = weighted.regularizer
    cls = type(regularizer)
    words = inspect.getdoc(cls) or ""
    if words.startswith(f"{cls.__name__}("):  # what a dataclass without a docstring is given
        words = ""
    return {
        "name": name,
        "weighted": weighted,
        "summary": words.split("\n\n")[0].replace("\n", " "),
        "options": {spec.name: setting(getattr(regularizer, spec.name)) for spec in fields(cast(Any, regularizer))},
        "formula": regularizer.formula.splitlines(),
    }


def _example(name: str, spec: Mapping[str, Any]) -> str:
    """A value of a modality as Python, for the code of a card."""
    kind = kind_of(spec)
    return "..." if kind is None else kind.example(name, spec)


def _example_imports(specs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The lines that the examples of these modalities need."""
    kinds = [kind_of(spec) for spec in specs.values()]
    lines = {line for kind in kinds if kind is not None for line in kind.IMPORTS}
    return sorted(lines, key=lambda line: line.split()[1].lower())


def _reads_image_text(config: LatentConfig) -> bool:
    """Whether a model has a modality `image` of images and one `text` of texts, and no others."""
    return config.kinds == {"image": "image", "text": "text"}


def _citations(objective: Objective, regularizers: Iterable[Weighted], data: Description, low_rank: bool) -> list[str]:
    """The papers of what was used, each once."""
    found = [*objective.citations]
    for weighted in regularizers:
        found += weighted.regularizer.citations
    found += [HU_2022] if low_rank else []
    return list(dict.fromkeys([*found, *data.citations]))


def _header(
    name: str,
    config: LatentConfig,
    task: Task | None,
    data: Mapping[str, Any],
    description: Description,
    results: Mapping[str, Measurement],
    bases: list[str],
    regularizers: list[str],
    license: str | None,
    adapters: str | None,
) -> str:
    dataset = data.get("path") or data["name"] or "unknown"
    results = {key: measurement for key, measurement in results.items() if measurement.metric != "baseline"}
    evaluations = [
        EvalResult(
            task_type=measurement.task,
            task_name=TASKS.get(measurement.task, measurement.task),
            dataset_type=measurement.data or dataset,
            dataset_name=measurement.data or description.title or dataset,
            dataset_split=None if measurement.data else data.get("test_split") or "test",
            metric_type=measurement.metric,
            metric_name=key,
            metric_value=round(measurement.value, 4),
        )
        for key, measurement in results.items()
    ]
    tasks = [measurement.metric for measurement in results.values() if not group_of(measurement).structure]
    relation = "adapter" if adapters == "" else "finetune"
    tags = ["hf_latent", "multimodal"] if task else ["hf_latent", "multimodal", *CONTRASTIVE]
    header = ModelCardData(
        library_name="peft" if adapters == "" else "transformers",
        pipeline_tag=task.pipeline
        if task
        else PIPELINES.get(config.model_type)
        if _reads_image_text(config)
        else None,
        tags=[*tags, config.model_type, *(["lora"] if adapters is not None else []), *regularizers],
        base_model=(bases[0] if len(bases) == 1 else bases) or None,
        base_model_relation=relation if len(bases) == 1 else None,
        datasets=list(filter(None, data["paths"])) or None,
        metrics=list(dict.fromkeys(tasks)) or None,
        license=license,
        model_name=one_line(name),
        eval_results=evaluations or None,
    )
    return header.to_yaml(line_break="\n").strip()
