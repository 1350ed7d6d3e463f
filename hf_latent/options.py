"""Options that people write, as arguments of a dataclass: an unknown key or a wrong type is an error."""

import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, cast

from huggingface_hub.dataclasses import type_validator
from huggingface_hub.errors import StrictDataclassFieldValidationError

from .errors import UserError, suggest


def checked(section: str, values: Mapping[str, Any], cls: type) -> dict[str, Any]:
    """`values` as keyword arguments of the dataclass `cls`, with names and types checked."""
    hints = typing.get_type_hints(cls)
    own = {spec.name: spec for spec in fields(cls) if spec.init}
    options = typed(section, values, {key: hints[key] for key in own})
    missing = [k for k, s in own.items() if s.default is MISSING and s.default_factory is MISSING and k not in options]
    if missing:
        raise UserError(f"{section}.{missing[0]} is missing")
    return options


def typed(section: str, values: Mapping[str, Any], hints: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for key, value in values.items():
        if key not in hints:
            raise UserError(f"unknown key {section}.{key}: {suggest(key, hints)}")
        (item,) = typing.get_args(hints[key])[:1] or (None,)
        if isinstance(value, list) and is_dataclass(item) and all(isinstance(part, Mapping) for part in value):
            parts = ((f"{section}.{key}.{number}", part) for number, part in enumerate(value))
            found[key] = [cast(Any, item)(**checked(place, part, cast(type, item))) for place, part in parts]
            continue
        whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63  # a float holds it
        if whole and float in (hints[key], *typing.get_args(hints[key])) and int not in typing.get_args(hints[key]):
            value = float(value)
        if isinstance(value, Mapping) and "dict[str, float]" in str(hints[key]):
            value = {k: float(v) if type(v) is int and abs(v) < 2**63 else v for k, v in value.items()}
        if isinstance(value, list) and "list[float]" in str(hints[key]):
            value = [float(item) if isinstance(item, int) and abs(item) < 2**63 else item for item in value]
        if value is False and str in typing.get_args(hints[key]) and bool not in typing.get_args(hints[key]):
            value = "no"  # what YAML makes of an unquoted no
        try:
            type_validator(f"{section}.{key}", value, hints[key])
        except (TypeError, StrictDataclassFieldValidationError):
            wanted = getattr(hints[key], "__name__", None) or str(hints[key])
            wanted = str(hints[key]) if typing.get_args(hints[key]) else wanted
            raise UserError(f"{section}.{key}={value!r}: expected {wanted}") from None
        found[key] = value
    return found
