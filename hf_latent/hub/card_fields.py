"""What a card may tell of a run, and how text that others wrote gets into Markdown.

Only fields that are named here, or in the classes that a recipe is checked against, leave the machine; of their values
only numbers, single words, and names of repositories on the Hub. So no path, token, host or user name slips through.
"""

import inspect
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from transformers import CONFIG_MAPPING

from ..data.columns import LabelColumn
from ..data.hub_data import HubData
from ..data.loaded import Missing
from ..data.loading import SOURCES
from ..data.region_columns import RegionColumns
from ..data.target import TargetColumn
from ..data.tokenizers import WORDS
from ..evaluation import BENCHMARKS, Measurement
from ..models.configuration_base import LatentConfig
from ..models.encoders import ENCODERS
from ..pretrained import model_options
from ..recipe import Evaluation, models
from ..recipe_file import PLUGINS
from ..regularizers import regularizer_class
from ..results import read
from ..runs import OUTPUTS
from ..training.lora import Lora
from ..views import VIEWS

TRAINING_FIELDS = (
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "augment_first_view",
    "bf16",
    "data_seed",
    "decay_all",
    "early_stopping_patience",
    "early_stopping_threshold",
    "eval_steps",
    "eval_strategy",
    "fp16",
    "freeze_batch_norm",
    "global_batch_size",
    "gradient_accumulation_steps",
    "gradient_cache_chunk_size",
    "greater_is_better",
    "learning_rate",
    "learning_rates",
    "load_best_model_at_end",
    "loss_tile_size",
    "lr_scheduler_type",
    "max_grad_norm",
    "max_steps",
    "metric_for_best_model",
    "num_train_epochs",
    "optim",
    "per_device_train_batch_size",
    "save_steps",
    "save_strategy",
    "seed",
    "unique_ids",
    "warmup_steps",
    "weight_decay",
)
REPOSITORIES = ("clip", "pretrained", "path", "tokenizers")
"""The keys of a recipe whose values name something on the Hub, or a folder."""
PRETRAINED = "model.pretrained"
"""Where the value is a folder, the name of the run is told, and no more."""

_WORD = re.compile(r"[A-Za-z0-9][\w.+-]{0,63}", re.ASCII)
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
_TOLD = re.compile(r"[\w.,:;()?%²'+*=|\[\]-]{1,40}")  # a word of a sentence
_TOKEN = re.compile(r"^(hf|sk|pk|gh[a-z]|github|glpat|xox[a-z]|api|key|token|secret)[_-]|^eyJ|[A-Za-z0-9]{24}")
_DROP = object()


def shareable(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a recipe that may be published, in its order."""
    return _divided(recipe)[0]


def withheld(recipe: Mapping[str, Any]) -> list[str]:
    """The keys that a recipe needs and whose values stay at home, such as `data.path` where it is a folder."""
    return _divided(recipe)[1]


def _divided(recipe: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    left_out: list[str] = []
    kept: dict[str, Any] = {}
    for section, allowed in _schema(recipe):
        content = _kept(section, recipe[section], allowed, left_out)
        if content and content is not _DROP:
            kept[section] = content
    return {section: kept[section] for section in recipe if section in kept}, left_out


def _schema(recipe: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The sections of a recipe with what each may hold: names, mapped to what they hold where that is a mapping."""
    found = {name: recipe[name] for name in recipe if isinstance(recipe[name], Mapping)}
    if isinstance(recipe.get(PLUGINS), list):
        yield PLUGINS, None
    if "model" in found:
        yield "model", _model_schema(found["model"])
    if "lora" in found:
        yield "lora", _names(Lora)
    if "data" in found and found["data"].get("name") in SOURCES:
        source = SOURCES[found["data"]["name"]]
        own = {**_names(source), "name": None, **_modalities(found["data"], ("columns", "tokenizers", "splits"))}
        if "labels" in own:
            own["labels"] = _labels_schema(found["data"].get("labels"))
        if isinstance(found["data"].get("target"), Mapping):
            own["target"] = _names(TargetColumn)
        if isinstance(found["data"].get("regions"), Mapping):
            own["regions"] = _names(RegionColumns)
        if own.get("tokenizers"):
            made = {name for name, value in found["data"]["tokenizers"].items() if isinstance(value, Mapping)}
            own["tokenizers"] = {name: {WORDS: None} if name in made else None for name in own["tokenizers"]}
        if "sources" in own:
            parts = found["data"].get("sources") if isinstance(found["data"].get("sources"), list) else []
            parts = [part if isinstance(part, Mapping) else {} for part in parts]
            own["sources"] = [{**_names(HubData), **_modalities(part, ("columns",))} for part in parts]
        yield "data", own
    if "views" in found:
        views = {name: view for name, view in found["views"].items() if _modality(name) and isinstance(view, Mapping)}
        known = {name: VIEWS[view["kind"]] for name, view in views.items() if view.get("kind") in VIEWS}
        yield "views", {name: {**_names(view), "kind": None} for name, view in known.items()}
    if "training" in found:
        rates = found["training"].get("learning_rates")
        parts = dict.fromkeys(filter(tellable, rates)) if isinstance(rates, Mapping) else None
        yield "training", {**dict.fromkeys(TRAINING_FIELDS), "learning_rates": parts}
    if "evaluation" in found:
        yield "evaluation", {**_names(Evaluation), "benchmarks": _benchmarks_schema(found["evaluation"])}


def _labels_schema(labels: Any) -> dict[str, Any]:
    """What each label of a data section may hold: a column, or options."""
    found = labels if isinstance(labels, Mapping) else {}
    return {
        name: _names(LabelColumn) if isinstance(spec, Mapping) else None
        for name, spec in found.items()
        if _modality(name)
    }


def _benchmarks_schema(section: Mapping[str, Any]) -> dict[str, Any] | None:
    written = section.get("benchmarks")
    if not isinstance(written, Mapping):
        return None
    kinds = {
        name: str((options or {}).get("benchmark", name)) if isinstance(options, Mapping | None) else ""
        for name, options in written.items()
    }
    return {
        name: {**_names(BENCHMARKS[kind]), "benchmark": None} if written[name] else None
        for name, kind in kinds.items()
        if kind in BENCHMARKS and _modality(name)
    }


def _model_schema(model: Mapping[str, Any]) -> dict[str, Any]:
    known = models().get(str(model.get("type")))
    schema: dict[str, Any] = {
        **dict.fromkeys(model_options(*known) if known else LatentConfig.options()),
        "type": None,
    }
    if "id2label" in schema and isinstance(model.get("id2label"), Mapping):
        schema["id2label"] = dict.fromkeys(key for key in model["id2label"] if isinstance(key, int))
    towers = model.get("modalities") or {}
    schema["modalities"] = {name: _tower_schema(spec) for name, spec in towers.items() if _modality(name)}
    weight = dict.fromkeys(("weight", "start", "ramp"))
    regularizers = model.get("regularizers") or {}
    schema["regularizers"] = {name: {**weight, **_names(regularizer_class(name))} for name in regularizers}
    return schema


def _tower_schema(spec: Any) -> dict[str, Any]:
    spec = spec if isinstance(spec, Mapping) else {}
    schema: dict[str, Any] = dict.fromkeys(("encoder", "frozen", "pooling", "pretrained"))
    if spec.get("encoder") in ENCODERS:
        schema |= dict.fromkeys(inspect.signature(ENCODERS[spec["encoder"]]).parameters)
    kind = str((spec.get("config") or {}).get("model_type"))
    known = CONFIG_MAPPING[kind]().to_dict() if kind in CONFIG_MAPPING else {}
    schema["config"] = dict.fromkeys({*known, "model_type"} - {"_name_or_path", "transformers_version"})
    return schema


def _names(cls: Any) -> dict[str, None]:
    return dict.fromkeys(spec.name for spec in fields(cls))


def _modality(name: Any) -> bool:
    return isinstance(name, str) and name.isidentifier() and tellable(name)


def _modalities(data: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any]:
    """What of a data section is keyed by modality."""
    return {key: dict.fromkeys(filter(_modality, data[key])) for key in keys if isinstance(data.get(key), Mapping)}


def _kept(where: str, content: Any, allowed: Any, left_out: list[str], repository: bool = False) -> Any:
    if isinstance(allowed, Mapping):
        if content is None:
            return None
        if not isinstance(content, Mapping):
            return _drop(where, left_out)
        found = {
            key: _kept(f"{where}.{key}", content[key], allowed[key], left_out, repository or key in REPOSITORIES)
            for key in content
            if key in allowed
        }
        return {key: value for key, value in found.items() if value is not _DROP}
    if isinstance(allowed, list):
        if not isinstance(content, list):
            return _drop(where, left_out)
        parts = zip(content, allowed, strict=True)
        kept = [_kept(f"{where}.{number}", *part, left_out) for number, part in enumerate(parts)]
        return [{} if part is _DROP else part for part in kept]
    if where == PRETRAINED and isinstance(content, str):
        if published_model(content):
            return content
        left_out.append(where)
        return model_name(content) or _DROP
    if repository and isinstance(content, str):
        return content if repository_id(content) else _drop(where, left_out)
    if isinstance(content, list | tuple) and all(_plain(item) for item in content):
        return list(content)
    return content if _plain(content) else _drop(where, left_out)


def _drop(where: str, left_out: list[str]) -> Any:
    left_out.append(where)
    return _DROP


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, bool) or number(value) is not None or tellable(value)


def tellable(value: Any) -> bool:
    """Whether a value is one word, and does not look like a token."""
    return isinstance(value, str) and bool(_WORD.fullmatch(value)) and not _TOKEN.search(value)


def sentence(value: Any) -> str:
    """The value if it is made of words, none of which names a place or looks like a token; else nothing."""
    words = value.split() if isinstance(value, str) else []
    told = all(_TOLD.fullmatch(word) and not _TOKEN.search(word) for word in words)
    return " ".join(words) if told and "\\" not in str(value) and "://" not in str(value) else ""


def published_measurements(metrics: Mapping[str, Any]) -> dict[str, Measurement]:
    """The measurements of a run, by keys that may be told, each with its words as far as they may be."""
    found = {}
    for key, measurement in read(metrics).items():
        if tellable(key):
            texts = ("group", "reading", "short", "metric", "task", "data")
            words: dict[str, Any] = {name: sentence(getattr(measurement, name)) for name in texts}
            found[key] = replace(measurement, title=sentence(measurement.title) or key, **words)
    return found


def told_missing(missing: Missing) -> str:
    """How many training rows lack which modality, in a sentence or two."""
    without = {name: count for name, count in (missing.without or {}).items() if tellable(name)}
    lack = [f"{count:,} lack{'s' if count == 1 else ''} `{name}`" for name, count in without.items() if count]
    told = []
    if lack:
        listed = " and ".join(filter(None, [", ".join(lack[:-1]), lack[-1]]))
        told.append(f"Of the {missing.rows:,} training rows, {listed}; they were used with what they have.")
    elif without:
        told.append(f"Each of the {missing.rows:,} training rows has all modalities.")
    if missing.dropped:
        gone = "1 row lacks" if missing.dropped == 1 else f"{missing.dropped:,} rows lack"
        told.append(
            f"{gone} a modality and {'was' if missing.dropped == 1 else 'were'} left out of the training rows."
        )
    elif missing.without is None:
        told.append("No training row was left out for lack of a modality.")
    return " ".join(told)


def told_calibration(told: Any) -> dict[str, Any] | None:
    """What a config says of its calibration, as far as it may be told; None without one."""
    if not isinstance(told, Mapping):
        return None
    rows, data, method = (told.get(key) for key in ("rows", "data", "method"))
    named = repository_id(data) or (data if tellable(data) else None)
    return {"method": method, "rows": number(rows), "data": named}


def repository_id(value: Any) -> str | None:
    """The value if it can be the name of a repository on the Hub: `user/name` or `name`, and no folder here."""
    named = isinstance(value, str) and _REPOSITORY.fullmatch(value) and ".." not in value and "--" not in value
    if not named or any(_TOKEN.search(part) for part in value.split("/")) or Path(value).exists():
        return None
    return value


def number(value: Any) -> float | None:
    """The value if it is a finite number."""
    valid = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    return float(value) if valid else None


def published_model(value: Any) -> str | None:
    """The value if it names a model on the Hub, `user/name`, and no run here or in the default folder of runs."""
    found = repository_id(value)
    return found if found and "/" in found and found.split("/")[0] != OUTPUTS else None


def model_name(value: Any) -> str | None:
    """What a model that training began with is called: its name on the Hub, or of the folder of a run, never where
    that lies."""
    name = published_model(value) or (Path(value).name if isinstance(value, str) else None)
    return name if published_model(value) or tellable(name) else None


def setting(value: Any) -> str:
    """A hyper-parameter in words; what may hold anything else stays at home."""
    if isinstance(value, list | tuple):
        return ", ".join(map(setting, value)) or "none"
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return f"{value:g}" if isinstance(value, int | float) else value if tellable(value) else "not shown"


def one_line(value: Any) -> str:
    """`value` on one line, without characters that are not seen."""
    return "".join(character for character in " ".join(str(value).split()) if character.isprintable())


def markdown_text(value: Any) -> str:
    """`value` on one line, with nothing left that Markdown, HTML or a renderer of formulas would interpret."""
    entities = {character: f"&#{ord(character)};" for character in "&<>\\`*[]{}|~$:@#"}
    line = "".join({**entities, "_": r"\_"}.get(character, character) for character in one_line(value))
    return re.sub(r"(?i)\bwww\.", lambda found: f"{found[0][:3]}&#46;", line)  # or it would be a link


def fenced(text: str) -> str:
    """`text` for a code block: it must not be able to close the block."""
    return text.replace("```", "'''").strip()
