"""What every view is, and how its options are checked."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Generator, Tensor

from ..models.registry import Registry

Inputs = dict[str, Tensor]
VIEWS: Registry[type["View"]] = Registry("view")

# Rules for options: what is valid, and what to write instead.
Rule = tuple[Callable[[Any], bool], str]
PROBABILITY: Rule = (lambda v: 0 <= v <= 1, "a number from 0 to 1")
AMOUNT: Rule = (lambda v: 0 <= v < math.inf, "a number, 0 or more")
RANGE: Rule = (lambda v: len(v) == 2 and 0 < v[0] <= v[1] < math.inf, "(low, high) with 0 < low <= high")
SHARES: Rule = (lambda v: RANGE[0](v) and v[1] <= 1, "(low, high) with 0 < low <= high <= 1")
TOKEN: Rule = (lambda v: isinstance(v, int) and v >= 0, "a token id of the tokenizer, a whole number")


@dataclass(frozen=True)
class View(ABC):
    """One modality's augmentation. `inputs` is what a collator gives; keys that a view does not touch pass through.

    Attributes:
        kinds: Of the encoders whose inputs it augments, keys of `models.processing_comm.KINDS`.
    """

    kinds: ClassVar[tuple[str, ...]]

    @abstractmethod
    def draw(self, rows: int, inputs: Inputs, generator: Generator) -> Inputs:
        """All random numbers of `rows` rows: CPU tensors with leading dimension `rows`.

        `inputs` tells shapes beyond the batch dimension only; its own batch may be smaller than `rows`.
        """

    @abstractmethod
    def augment(self, inputs: Inputs, noise: Inputs) -> Inputs:
        """`inputs` augmented with the numbers of `draw`, row by row; nothing is changed in place."""

    def for_tokenizer(self, tokenizer: Any) -> "View":
        """The view with the token ids that were left out taken from the tokenizer of its modality, if it has one."""
        return self

    def for_modality(self, options: Mapping[str, Any]) -> "View":
        """The view with what the processor knows of its modality, such as what a table holds."""
        return self

    @property
    def processor_options(self) -> dict[str, Any]:
        """What the processor has to know of the view, so that it makes what the plain view does."""
        return {}

    def plain(self, inputs: Inputs) -> Inputs:
        """The deterministic view, for evaluation: the inputs as they are, unless a view says otherwise."""
        return dict(inputs)


@VIEWS.register("none")
@dataclass(frozen=True)
class NoView(View):
    """No augmentation, for features computed beforehand."""

    kinds = ("text", "series", "table", "features", "audio")  # something must resize and normalise an image

    def draw(self, rows: int, inputs: Inputs, generator: Generator) -> Inputs:
        return {}

    def augment(self, inputs: Inputs, noise: Inputs) -> Inputs:
        return dict(inputs)


def send(numbers: Tensor, like: Tensor) -> Tensor:
    """Numbers of the CPU on the device of a tensor. The host does not wait: of a GPU, which copies on its own from
    pinned memory only, not for what it has still to do."""
    if like.device.type == "cuda":
        numbers = numbers.pin_memory()
    return numbers.to(like.device, non_blocking=True)


def take(inputs: Mapping[str, Tensor], key: str, kind: str) -> Tensor:
    if key not in inputs:
        raise ValueError(f"the {kind} view needs '{key}'; this modality has {', '.join(inputs) or 'nothing'}")
    if key == "values" and not inputs[key].is_floating_point():
        raise ValueError(f"the {kind} view needs floating values, got {inputs[key].dtype}")
    return inputs[key]


def check(options: object, names: str, valid: Callable[[Any], bool], wanted: str) -> None:
    """Refuse the first of the options `names` that is not valid; a value of another kind is not."""
    for name in names.split():
        value = getattr(options, name)
        try:
            good = valid(value)
        except (TypeError, LookupError):
            good = False
        if not good:
            raise ValueError(f"{name}={value!r}: write {wanted}")
