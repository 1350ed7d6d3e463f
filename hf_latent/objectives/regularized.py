"""Any objective, with the regularizers of the config added."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from torch import Tensor
from transformers import PreTrainedConfig

from ..models.embeddings import Embeddings
from ..models.plugins import missing
from ..models.registry import UnknownNameError
from ..regularizers import REGULARIZERS, Regularizer, build_regularizer
from .base import Objective


@dataclass(frozen=True)
class Weighted:
    """A regularizer and its weight: none before `start`, then rising linearly over `ramp`, shares of the training.

    Args:
        regularizer: What is weighted.
        weight: Its weight in the loss, 0 or more; 0 leaves it out.
        start: The share of training, 0 to 1, before which it is left out.
        ramp: The share of training over which the weight then rises linearly from 0.
    """

    regularizer: Regularizer
    weight: float = 1.0
    start: float = 0.0
    ramp: float = 0.0

    def __post_init__(self) -> None:
        for key, low, high in (("weight", 0.0, float("inf")), ("start", 0.0, 1.0), ("ramp", 0.0, 1.0)):
            value = getattr(self, key)
            number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
            if not number or not low <= value <= high:
                wanted = "0 or more" if high == float("inf") else "from 0 to 1"
                raise ValueError(f"{key}={value!r}: write a number {wanted}")

        if self.start + self.ramp > 1:
            raise ValueError(
                f"start={self.start} and ramp={self.ramp}: together at most 1, or it never has its weight"
            )

    def weight_at(self, progress: float) -> float:
        """The weight when the share `progress` of the training is done."""
        since = progress - self.start
        if since < 0:
            return 0.0
        return self.weight * min(1.0, since / self.ramp) if self.ramp else self.weight


def read_regularizers(specs: Mapping[str, Mapping[str, Any]]) -> dict[str, Weighted]:
    """`{name: {"weight", "start", "ramp", **hyperparameters}}` as regularizers; those of weight 0 are left out.

    Raises:
        ValueError: With the regularizer, its key and what to write instead.
    """
    found = {}
    for name, spec in specs.items():
        own = {key: spec[key] for key in ("weight", "start", "ramp") if key in spec}
        options = {key: value for key, value in spec.items() if key not in own}
        regularizer = build_regularizer(name, **options)
        try:
            found[name] = Weighted(regularizer, **own)
        except ValueError as error:
            raise ValueError(f"regularizer {name!r}: {error}") from None
    return {name: weighted for name, weighted in found.items() if weighted.weight}


def required_heads(specs: Mapping[str, Mapping[str, Any]], only_known: bool = False) -> set[str]:
    """The fields that the regularizers read, the heads that a model needs beside its projection among them.

    Args:
        specs: As of [`read_regularizers`].
        only_known: Leave out those that are not known here, instead of raising a ValueError.
    """
    known = {name: spec for name, spec in specs.items() if not only_known or name in REGULARIZERS}
    return set().union(*(weighted.regularizer.requires for weighted in read_regularizers(known).values()))


class RegularizedObjective(Objective):
    r"""\( L + \sum_r w_r(\text{progress}) R_r \). A regularizer reads the whole batch on every process.

    The terms are those of the objective, and each regularizer by its name, unweighted.
    """

    def __init__(self, objective: Objective, regularizers: Mapping[str, Weighted]) -> None:
        self.config, self.options = objective.config, objective.options
        self.objective = objective
        self.regularizers = dict(regularizers)
        self.requires = objective.requires.union(*(w.regularizer.requires for w in regularizers.values()))
        self.supports_missing = objective.supports_missing and all(
            weighted.regularizer.supports_missing for weighted in regularizers.values()
        )

    @property
    def reads_clean(self) -> bool:
        return self.objective.reads_clean

    def second_views(self, modalities: Iterable[str]) -> set[str]:
        names = list(modalities)
        needed = self.objective.second_views(names)
        return needed.union(*(weighted.regularizer.second_views(names) for weighted in self.regularizers.values()))

    def __call__(
        self,
        embeddings: Embeddings,
        scale: Tensor | float,
        *,
        rows: slice | None = None,
        progress: float = 0.0,
        queue: Any = None,
        modules: Any = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        z = self.checked(embeddings)
        own = {} if modules is None else {"modules": modules}
        loss, terms = self.objective(z, scale, rows=rows, progress=progress, queue=queue, **own)
        for name, weighted in self.regularizers.items():
            value = weighted.regularizer(z, scale)
            loss = loss + weighted.weight_at(progress) * value
            terms[name] = value.detach()
        return loss, terms

    def check_missing(self, embeddings: Embeddings) -> None:
        """As of the objective; a regularizer names itself."""
        self.objective.check_missing(embeddings)

    def of_rows(
        self, row_losses: dict[str, Tensor], progress: float = 0.0
    ) -> tuple[Tensor | float, dict[str, Tensor]]:
        return self.objective.of_rows(row_losses, progress)

    def features(self, embeddings: Embeddings) -> Tensor:
        return self.objective.features(embeddings)


def add_regularizers(objective: Objective, config: PreTrainedConfig) -> Objective:
    """The objective with the regularizers of the config, or as it is where there are none."""
    try:
        regularizers = read_regularizers(getattr(config, "regularizers", None) or {})
    except UnknownNameError as error:
        raise UnknownNameError(f"{error}{missing(getattr(config, 'plugins', None))}") from None
    if not regularizers:
        return objective
    for weighted in regularizers.values():
        weighted.regularizer.check_modalities(config.modalities)
    moved = [name for name, weighted in regularizers.items() if weighted.regularizer.temperature_sensitive]
    if moved and getattr(config, "learn_temperature", False):
        warnings.warn(
            f"{moved[0]} with a temperature that is learned: training lowers the temperature instead of leaving out "
            "what only one modality tells; write learn_temperature: false to compare weights",
            stacklevel=2,
        )
    return RegularizedObjective(objective, regularizers)
