"""The contract of a regularizer, and how it is found by its name."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from itertools import combinations
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from ..errors import suggest
from ..losses.contrastive import wide
from ..models.embeddings import Embeddings
from ..models.registry import Registry

REGULARIZERS: Registry[type["Regularizer"]] = Registry("regularizer")
_OF_SECOND_VIEWS = frozenset({"augmented", "independent_augmented"})
_Class = TypeVar("_Class", bound=type["Regularizer"])


@dataclass(frozen=True)
class Regularizer(ABC):
    """An unweighted scalar that says how far a batch of embeddings is from a structure.

    A subclass is a frozen dataclass of its hyper-parameters, checked in `__post_init__`, and a pure function `value`.

    Attributes:
        name: The name that it is registered under.
        temperature_sensitive: Whether a temperature that is learned can undo it, so that whoever combines the two
            should warn.
        supports_missing: Whether rows may lack a modality: each of its terms is then of the rows that have all that
            it reads. A [`PairwiseRegularizer`] does.
    """

    name: ClassVar[str]
    temperature_sensitive: ClassVar[bool] = False
    supports_missing: ClassVar[bool] = False

    @property
    def formula(self) -> str:
        r"""What it computes with these hyper-parameters, for model cards: LaTeX without delimiters, one displayed
        formula a line. A card says what z, N and \tau are. Markdown would eat a backslash before punctuation."""
        return ""

    @property
    def citations(self) -> tuple[str, ...]:
        """BibTeX of the papers that it is from, for model cards; see `hf_latent.citations`."""
        return ()

    @property
    def requires(self) -> frozenset[str]:
        """The fields of [`Embeddings`] that it reads, given its hyper-parameters; others need not be computed."""
        return frozenset({"embeds"})

    def second_views(self, modalities: Iterable[str]) -> set[str]:
        """Those of the modalities whose second view it reads."""
        return set(modalities) if self.requires & _OF_SECOND_VIEWS else set()

    def check_modalities(self, modalities: Iterable[str]) -> None:
        """Refuse modalities that it cannot work on.

        Raises:
            ValueError: If there are fewer than two.
        """
        names = list(modalities)
        if len(names) < 2:
            raise ValueError(f"{self.name} needs two modalities or more, and here is {', '.join(names) or 'none'}")

    def __call__(self, embeddings: Embeddings, scale: Tensor | float) -> Tensor:
        """
        Args:
            embeddings: Scored embeddings of the whole batch: L2-normalised `(batch, dim)` tensors by modality, but
                `log_variance` as the model gives it.
            scale: The inverse temperature.

        Returns:
            Scalar, unweighted, in float32 or wider.

        Raises:
            ValueError: If something that it requires is missing, or the modalities do not fit.
        """
        modalities = set(embeddings.embeds or ())
        self.check_modalities(modalities)
        for field in sorted(self.requires):
            needed = self.second_views(modalities) if field in _OF_SECOND_VIEWS else modalities
            found = getattr(embeddings, field)
            if isinstance(found, Tensor):
                continue
            missing = sorted(needed - set(found or ()))
            if missing:
                raise ValueError(f"{self.name} needs {field} of {', '.join(missing)}")
        if embeddings.present is not None and not self.supports_missing:
            raise ValueError(f"{self.name} needs every modality of every row: write data.on_missing: drop")
        z = embeddings.map(wide)
        device = next(iter(z.tensors())).device
        with torch.autocast(device.type, enabled=False):
            return self.value(z, scale)

    @abstractmethod
    def value(self, z: Any, scale: Tensor | float) -> Tensor:
        """The scalar, from [`Embeddings`] that hold all that `requires` names, in float32 or wider."""

    def demand(self, field: str, valid: bool, wanted: str) -> None:
        """Refuse a hyper-parameter that is not valid, and say what to write."""
        if not valid:
            raise ValueError(f"{self.name}.{field}={getattr(self, field)!r}: write {wanted}")

    def demand_one_of(self, field: str, known: Sequence[str]) -> None:
        """Refuse a hyper-parameter that is none of the known words."""
        value = getattr(self, field)
        if value not in known:
            raise ValueError(f"{self.name}.{field}={value!r}: {suggest(value, known)}")


@dataclass(frozen=True)
class PairwiseRegularizer(Regularizer):
    """One that is the mean over pairs of modalities, of the rows that have both."""

    supports_missing: ClassVar[bool] = True

    def pairs_of(self, modalities: Iterable[str]) -> list[tuple[str, str]]:
        """The pairs, unordered ones by default."""
        return list(combinations(modalities, 2))

    def value(self, z: Any, scale: Tensor | float) -> Tensor:
        return mean(of_rows(z, pair, partial(self.of_pair, *pair, scale=scale)) for pair in self.pairs_of(z.embeds))

    def of_pair(self, a: str, b: str, z: Any, scale: Tensor | float) -> Tensor:
        """The value of one pair, from the rows that have both, at least one."""
        raise NotImplementedError


def of_rows(z: Any, modalities: Iterable[str], term: Callable[[Any], Tensor]) -> Tensor:
    """A term of the rows that have all of some modalities; of none it is zero, with zero gradients.

    Args:
        z: [`Embeddings`] of the whole batch.
        modalities: That the term reads.
        term: Gives the term from the rows that have them.
    """
    part = z.having(*modalities)
    tensors = part.tensors()
    return term(part) if len(tensors[0]) else torch.stack([rows.sum() for rows in tensors]).sum()


def is_number(value: Any) -> bool:
    """Whether a hyper-parameter is a finite number; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def mean(values: Iterable[Tensor]) -> Tensor:
    """The mean of scalars."""
    return torch.stack(list(values)).mean()


def register_regularizer(name: str) -> Callable[[_Class], _Class]:
    """Class decorator: make a [`Regularizer`] known to configs as `name`."""

    def register(cls: _Class) -> _Class:
        REGULARIZERS.register(name)(cls)
        cls.name = name
        return cls

    return register


def regularizer_class(name: str) -> type[Regularizer]:
    """The class that is registered under that name; a ValueError says what to write if there is none."""
    return REGULARIZERS.find(name)


def build_regularizer(name: str, /, **hyperparameters: Any) -> Regularizer:
    """The regularizer of that name.

    Raises:
        ValueError: If the name or a hyper-parameter is unknown, or a value does not fit; it says what to write.
    """
    cls = regularizer_class(name)
    known = [field.name for field in fields(cls)]
    for key in hyperparameters:
        if key not in known:
            raise ValueError(f"unknown hyper-parameter {name}.{key}: {suggest(key, known)}")
    return cls(**hyperparameters)
