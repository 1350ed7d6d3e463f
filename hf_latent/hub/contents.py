"""What published files hold: finite numbers where numbers belong, words, pictures, and code of this library.

The names of the files are chosen in `shareable.py`; here every value in them is looked at.
"""

import inspect
import math
import pkgutil
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import transformers
from huggingface_hub.utils import HFValidationError, validate_repo_id
from PIL import Image
from safetensors import SafetensorError, safe_open
from transformers import CONFIG_MAPPING, PreTrainedConfig, PreTrainedModel, ProcessorMixin
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from .. import models
from ..errors import UserError, blamed_on
from ..models.encoders import ENCODERS
from ..recipe import MODELS
from ..results import BLOCK
from ..runs import CONFIG, read_json
from .card_fields import number, published_measurements, repository_id, tellable

SAVE_AGAIN = "write it anew with save_pretrained"
SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
TOKENIZER_PARTS = {
    *("version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder"),
    "model",
}
_NAME = re.compile(r"[\w.+/-]{1,128}", re.ASCII)  # of a class, a parameter or a setting
_ANY, _UNKNOWN, _DROP = object(), object(), object()


def refuse_non_finite(where: str, value: Any) -> None:
    """A UserError where nested settings hold NaN or Infinity, for which JSON has no word."""
    for key, item in _leaves(value, where):
        if isinstance(item, float) and not math.isfinite(item):
            raise UserError(f"{key} is {item}, which is not JSON: {SAVE_AGAIN}")


def finite(value: Any) -> Any:
    """A copy of nested measurements with None in place of NaN and Infinity."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def published_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Measurements, and the versions of the libraries that made them; everything else that a file may hold is left."""
    numbers = {key: number(value) for key, value in metrics.items() if value is None or _is_number(value)}
    versions = {key: value for key, value in metrics.items() if key.endswith("_version") and tellable(value)}
    found = {**numbers, **versions}
    kept = {key: metrics[key] if found[key] is not None else None for key in metrics if key in found and tellable(key)}
    if isinstance(metrics.get(BLOCK), Mapping):
        kept[BLOCK] = {key: each.described() for key, each in published_measurements(metrics).items()}
    return kept


def published_settings(path: Path, settings: Mapping[str, Any], left_out: list[str]) -> dict[str, Any]:
    """The settings in a JSON file that a model, a processor, a tokenizer or PEFT has written.

    Args:
        path: The file, whose name says what it is of.
        settings: What it holds.
        left_out: The keys that are not published are added to it: text that is more than a word, under a key that is
            not known to hold text.

    Raises:
        UserError: If a number is not finite, or text stands where the class that reads it expects a number.
    """
    refuse_non_finite(path.name, settings)
    with blamed_on(f"{path.name} cannot be read"):
        like = _like(path.name, settings)
    return _kept(path.name, settings, like, left_out)


def _kept(where: str, value: Any, like: Any, left_out: list[str]) -> Any:
    if like is _ANY:
        return value
    if isinstance(value, Mapping):
        known = like if isinstance(like, Mapping) else {}
        found = {
            key: _kept(
                f"{where}: {key}" if ":" not in where else f"{where}.{key}", item, known.get(key, _UNKNOWN), left_out
            )
            for key, item in value.items()
        }
        named = {key for key in found if _NAME.fullmatch(str(key)) or str(key).isidentifier()}
        return {key: item for key, item in found.items() if item is not _DROP and key in named}
    if isinstance(value, list):
        return [item for item in (_kept(where, item, like, left_out) for item in value) if item is not _DROP]
    if isinstance(value, str):
        if isinstance(like, int | float):
            raise UserError(f"{where}={value!r}: expected a number: {SAVE_AGAIN}")
        if value and not (tellable(value) or repository_id(value) if like is _UNKNOWN else _NAME.fullmatch(value)):
            left_out.append(where)
            return _DROP
    return value


def _like(name: str, settings: Mapping[str, Any]) -> Any:
    """The keys that the reader of a file knows, each with a value of the kind that it expects."""
    if name == CONFIG:
        return _model_like(settings)
    if name in ("special_tokens_map.json", "added_tokens.json"):
        return _ANY  # tokens, and their numbers
    if name == "tokenizer_config.json":
        tokens = (*PreTrainedTokenizerBase.SPECIAL_TOKENS_ATTRIBUTES, "added_tokens_decoder", "extra_special_tokens")
        return {**dict.fromkeys(tokens, _ANY), "tokenizer_class": "", "processor_class": "", "auto_map": _ANY}
    if name == "adapter_config.json":
        free = dict.fromkeys(("auto_mapping", "exclude_modules", "modules_to_save", "target_modules"), _ANY)
        return {**free, "base_model_name_or_path": ""}
    if name == "processor_config.json":
        image = _image_like(settings.get("image_processor"))
        own = {
            name: {"image_processor": _image_like(spec.get("image_processor")), "cells": _ANY}
            for name, spec in (settings.get("modalities") or {}).items()
            if isinstance(spec, Mapping)
        }
        return {"image_processor": image, "modalities": own, "processor_class": "", "auto_map": _ANY}
    return _image_like(settings) if name == "preprocessor_config.json" else {}


def _model_like(settings: Mapping[str, Any]) -> dict[str, Any]:
    known = {config.model_type: config for config, _ in MODELS.values()}
    name = settings.get("model_type")
    towers = settings.get("modalities") or {}
    if name not in known or not isinstance(towers, Mapping):
        raise UserError(f"{CONFIG} is of no model of hf_latent: model_type={name!r}")
    own = {name: _tower_like(spec) for name, spec in towers.items()}
    return {**_labelled(known[name]()), "modalities": own, "auto_map": _ANY}


def _tower_like(spec: Any) -> dict[str, Any]:
    spec = spec if isinstance(spec, Mapping) else {}
    encoder = ENCODERS.get(spec.get("encoder", ""))
    options = inspect.signature(encoder).parameters if encoder else {}
    numbers = {key: option.default for key, option in options.items() if option.default is not option.empty}
    kind = str((spec.get("config") or {}).get("model_type"))
    config = _labelled(CONFIG_MAPPING[kind]()) if kind in CONFIG_MAPPING else {}
    # The cells of a table are its vocabulary.
    return {**numbers, "config": config, "cells": _ANY}


def _labelled(config: PreTrainedConfig) -> dict[str, Any]:
    """The settings of a configuration; the names of classes are anybody's."""
    return {**config.to_dict(), "id2label": _ANY, "label2id": _ANY}


def _image_like(settings: Any) -> dict[str, Any]:
    name = settings.get("image_processor_type") if isinstance(settings, Mapping) else None
    cls = getattr(transformers, f"{name}Pil", None) or getattr(transformers, str(name), None)
    own = cls().to_dict() if isinstance(cls, type) else {}
    return {**own, "image_processor_type": "", "processor_class": "", "auto_map": _ANY}


def check_index(name: str, index: Mapping[str, Any]) -> None:
    """A UserError where the index of shards names other files than shards, or holds more than it needs."""
    shards = index.get("weight_map")
    if not isinstance(shards, Mapping) or not all(SHARD.fullmatch(str(shard)) for shard in shards.values()):
        raise UserError(f"{name} names other files than the shards of a model: {SAVE_AGAIN}")
    metadata = index.get("metadata") or {}
    if not isinstance(metadata, Mapping):
        raise UserError(f"{name}: metadata={metadata!r}: {SAVE_AGAIN}")
    wrong = [key for key, value in metadata.items() if not _is_number(value)]
    wrong += [key for key in index if key not in ("metadata", "weight_map")]
    wrong += [key for key in shards if not _NAME.fullmatch(str(key))]
    if wrong:
        raise UserError(f"{name} holds {wrong[0]!r}, which is not of the index of a model: {SAVE_AGAIN}")


def check_weights_file(path: Path) -> None:
    """A UserError where a file holds no weights, or text beside them."""
    try:
        with safe_open(path, "pt") as weights:
            metadata = weights.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path.name} holds no weights ({error}): {SAVE_AGAIN}") from None
    wrong = [key for key, text in metadata.items() if key != "format" or text != "pt"]
    if wrong:
        raise UserError(f"{path.name} holds {wrong[0]!r} beside the weights: {SAVE_AGAIN}")


def check_tokenizer_file(path: Path) -> None:
    """A UserError where `tokenizer.json` is not what the tokenizers library writes."""
    content = read_json(path, SAVE_AGAIN)
    refuse_non_finite(path.name, content)
    strange = sorted(content.keys() - TOKENIZER_PARTS)
    if strange:
        raise UserError(f"{path.name} holds {strange[0]!r}, which is not of a tokenizer: {SAVE_AGAIN}")


def check_adapter(name: str, adapter: Mapping[str, Any]) -> None:
    """A UserError where PEFT would import the base model of adapters from another library than this one."""
    mapping = adapter.get("auto_mapping") or {}
    library = mapping.get("parent_library") if isinstance(mapping, Mapping) else mapping
    own = library is None or str(library).startswith(f"{models.__name__}.")
    core = adapter.get("megatron_core")  # PEFT imports this, too
    if not own or core not in (None, "megatron.core"):
        raise UserError(f"{name} imports {(core if own else library)!r}, which is not of hf_latent: {SAVE_AGAIN}")
    base = adapter.get("base_model_name_or_path")
    if base:
        try:
            validate_repo_id(base)
        except HFValidationError:
            raise UserError(f"{name}: base_model_name_or_path={base!r} names no model of the Hub") from None


def write_picture(path: Path, target: Path) -> None:
    """Write the pixels of a PNG file, and nothing else that the file holds.

    Raises:
        UserError: If it is no PNG file.
    """
    with blamed_on(f"{path} is no PNG file that can be read"), Image.open(path, formats=["PNG"]) as image:
        pixels = image.copy()
    pixels.info = {}
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    pixels.save(target, format="PNG")


@cache
def own_code() -> dict[str, Path]:
    """`module.Class` of each class of `models/` that transformers can load, with the file of its module."""
    found = {}
    for info in pkgutil.iter_modules(models.__path__):
        module: Any = import_module(f"{models.__name__}.{info.name}")
        for name, cls in vars(module).items():
            loadable = isinstance(cls, type) and issubclass(cls, PreTrainedConfig | PreTrainedModel | ProcessorMixin)
            if loadable and cls.__module__ == module.__name__:
                found[f"{info.name}.{name}"] = Path(module.__file__)
    return found


def modules_of(name: str, auto_map: Any) -> set[Path]:
    """The modules of this library that an `auto_map` names.

    Args:
        name: The file that it stands in.
        auto_map: `{Auto class: "module.Class"}`.

    Raises:
        UserError: If it names anything but a class of this library: it would run on the machine of whoever loads the
            model with `trust_remote_code`.
    """
    if not isinstance(auto_map or {}, Mapping):
        raise UserError(f"{name}: auto_map={auto_map!r}: {SAVE_AGAIN}")
    known = own_code()
    for auto, reference in (auto_map or {}).items():
        if not isinstance(reference, str) or reference not in known or not hasattr(transformers, str(auto)):
            raise UserError(
                f"{name}: auto_map names {reference!r} as {auto}, which is no class of hf_latent: {SAVE_AGAIN}"
            )
    return {known[reference] for reference in (auto_map or {}).values()}


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping | list):
        for name, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _leaves(item, f"{key}.{name}")
    else:
        yield key, value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def auto_maps(settings: Any) -> Iterator[Any]:
    """Every `auto_map` in nested settings."""
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            if key == "auto_map":
                yield value
            else:
                yield from auto_maps(value)
