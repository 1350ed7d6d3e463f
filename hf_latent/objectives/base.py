"""The contract of an objective, and how a config finds its own."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import PreTrainedConfig

from ..errors import suggest
from ..losses.rows import Rows, TermRows
from ..models.embeddings import Embeddings
from ..models.registry import Registry

# By the model type that they are of.
OBJECTIVES: dict[str, Registry[type["Objective"]]] = {}

# From modality A to modality B, as `losses.one_way_info_nce` computes it.
INFO_NCE_FORMULA = (
    r"L_{A \to B} = -\frac{1}{N} \sum_j \log \frac{e^{\langle z^A_j, z^B_j \rangle / \tau}}"
    r"{\sum_k e^{\langle z^A_j, z^B_k \rangle / \tau}}"
)


@dataclass(frozen=True)
class NoOptions:
    """Of an objective that has none."""


class Objective:
    """A scalar to minimise, computed from the scored embeddings of a whole batch.

    Attributes:
        requires: The fields of [`Embeddings`] that it reads; what nobody requires is not computed.
        supports_missing: Whether rows may lack a modality: each term is then the mean over the rows that have all that
            it reads, which alone are its anchors, positives and negatives; see [`select`].
        Options: A frozen dataclass of its hyper-parameters, checked in `__post_init__`, which a config gives as
            `objective_options`.
        options: Those of the config.

    Raises:
        ValueError: If an option is unknown or does not fit; it says what to write.
    """

    requires: frozenset[str] = frozenset({"embeds"})
    supports_missing: bool = False
    Options: ClassVar[type] = NoOptions

    def __init__(self, config: PreTrainedConfig) -> None:
        self.config = config
        self.options = self._read_options()

    def _read_options(self) -> Any:
        known = [field.name for field in fields(self.Options)]
        given = getattr(self.config, "objective_options", None) or {}
        for key in given:
            if key not in known:
                name = getattr(self.config, "objective", "")
                raise ValueError(
                    f"objective_options.{key}: the objective {name!r} has no such option; {suggest(key, known)}"
                )
        try:
            return self.Options(**given)
        except ValueError as error:
            raise ValueError(f"objective_options.{error}") from None

    def modules(self) -> dict[str, nn.Module]:
        """What it trains beside the model, such as a bias: by its name, kept and saved by the model as
        `objective_modules`, and given to each call as `modules`. One whose parameters are not those of layers of
        torch is an [`ObjectiveModule`]."""
        return {}

    @property
    def reads_clean(self) -> bool:
        """Whether the first view is the rows as they are, although the model's paper augments it."""
        return False

    @property
    def summary(self) -> str:
        """What a model was trained with, as part of a sentence of its card."""
        return ""

    @property
    def formula(self) -> str:
        """What it computes with this config, for model cards: LaTeX without delimiters, one displayed formula a line.
        Markdown would eat a backslash before punctuation."""
        return ""

    @property
    def notation(self) -> str:
        """A sentence on those symbols of the formula that no other formula of the model's family has."""
        return ""

    @property
    def citations(self) -> tuple[str, ...]:
        """BibTeX of the papers that it is from, for model cards; see `hf_latent.citations`."""
        return ()

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
        """
        Args:
            embeddings: Scored embeddings of the whole batch.
            scale: The inverse temperature.
            rows: The rows that this process scores; all by default.
            progress: The share of training that is done, 0 to 1, for schedules.
            queue: Embeddings of earlier batches, for objectives that keep them.
            modules: Those of [`modules`], of the model; given where there are some.

        Returns:
            The loss, and its detached terms by name.
        """
        raise NotImplementedError

    def of_rows(
        self, row_losses: dict[str, Tensor], progress: float = 0.0
    ) -> tuple[Tensor | float, dict[str, Tensor]]:
        """The part of the loss that is of losses of rows (see [`Embeddings`]), linear in their sums, and its terms."""
        return 0.0, {}

    def second_views(self, modalities: Iterable[str]) -> set[str]:
        """Those of the modalities whose second view it reads."""
        return set(modalities) if "augmented" in self.requires else set()

    def third_views(self, modalities: Iterable[str]) -> set[str]:
        """Those of the modalities whose third view it reads."""
        return set(modalities) if "third_augmented" in self.requires else set()

    def features(self, embeddings: Embeddings) -> Tensor:
        """The representation that stands for a row when its model is probed, from raw embeddings."""
        raise NotImplementedError

    def checked(self, embeddings: Embeddings) -> Any:
        """The embeddings, once it is clear that all that this objective requires is there; a ValueError otherwise."""
        missing = sorted(field for field in self.requires if getattr(embeddings, field) is None)
        if missing:
            name = type(self).__name__
            views = any(field.endswith("augmented") for field in missing)
            remedy = "give the model a second view of the batch" if views else "the model was made without these heads"
            raise ValueError(f"{name} needs {', '.join(missing)}: {remedy}")
        self.check_missing(embeddings)
        return embeddings

    def check_missing(self, embeddings: Embeddings) -> None:
        """A ValueError where rows lack modalities that this objective cannot do without."""
        if embeddings.present is not None and not self.supports_missing:
            raise ValueError(f"{type(self).__name__} needs every modality of every row: write data.on_missing: drop")


def select(embeddings: Embeddings, modalities: Iterable[str] = (), rows: slice | None = None) -> tuple[Any, Rows]:
    """What a term reads that is of some modalities.

    Args:
        embeddings: Of the whole batch.
        modalities: That the term reads; none for a term of all modalities together, of rows that have any.
        rows: Those of the batch that this process scores.

    Returns:
        The rows that have all of these modalities, and which of them this process scores.
    """
    names = tuple(modalities)
    there = embeddings.rows_with(*names)
    if there is None:
        return embeddings, rows
    return embeddings.having(*names), TermRows.of(there, rows)


def register_objective(model_type: str, name: str) -> Any:
    """Class decorator: the objective `name` of the models of `model_type`."""

    def register(cls: type[Objective]) -> type[Objective]:
        _of(model_type).register(name)(cls)
        return cls

    return register


def base_objective(config: PreTrainedConfig) -> Objective:
    """The contrastive objective that a model's config names.

    Raises:
        ValueError: If there is none of that name for the model, or its options do not fit.
    """
    return _of(config.model_type).find(str(getattr(config, "objective", None)))(config)


def objective_modules(config: PreTrainedConfig) -> dict[str, nn.Module]:
    """What the objective of a config trains beside the model; nothing where the objective is not known here."""
    cls = _of(config.model_type).get(str(getattr(config, "objective", None)), Objective)
    return {} if cls.modules is Objective.modules else cls(config).modules()


def _of(model_type: str) -> Registry[type[Objective]]:
    return OBJECTIVES.setdefault(model_type, Registry(f"objective of {model_type}"))
