"""The contract of a source of data, and how it is found by its name."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar

from ..errors import UserError
from ..models.registry import Registry
from .composer import Composer
from .description import UNKNOWN, Description
from .loaded import EvaluationData, LoadedData, TargetKind
from .sample import ROWS, Role, Sample, sample_of

SOURCES: Registry[type["Source"]] = Registry("source of data")
_Class = TypeVar("_Class", bound=type["Source"])


@dataclass(frozen=True)
class Reader:
    """What the model reads that data is loaded for.

    Attributes:
        encoders: The encoder of each modality, as in a model's config.
        labels: Of a head, what it says; `any` where the data are to decide. `contrast` of a model whose objective
            reads the classes of rows, which may be missing. None of others.
        images: How many images a head reads with a sentence.
        classes: How many classes a head tells apart; None of others.
        problem: The `problem_type` of the config of a head, where one is written.
    """

    encoders: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    labels: TargetKind | Literal["any", "contrast"] | None = None
    images: int = 1
    classes: int | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Source(ABC):
    """Data that a recipe names; its fields are the options that the recipe writes.

    Attributes:
        NAME: What a recipe writes as `data.name`; set by `register_source`.
    """

    NAME: ClassVar[str]

    @abstractmethod
    def load(self, progress: bool = False) -> LoadedData:
        """The training rows, and what to measure a model with.

        Args:
            progress: Show how far it is, where it takes long.
        """

    def load_for(self, reader: Reader, progress: bool = False) -> LoadedData:
        """As `load`, of a source that needs to know what reads the rows."""
        return self.load(progress)

    def evaluation_for(self, reader: Reader, train: bool = False, progress: bool = False) -> EvaluationData:
        """What to measure a model with that was trained on other data.

        Args:
            reader: What reads the rows.
            train: Whether training rows are needed, to fit probes on.
            progress: Show how far it is, where it takes long.

        Raises:
            UserError: If there are no rows to measure on.
        """
        found = self.load_for(reader, progress).evaluation
        if found is None:
            raise UserError("data: there are no rows to measure on: name a split of them")
        return found

    def sample(self, rows: int = ROWS, reader: Reader | None = None, role: Role = "test") -> Sample:
        """Some rows to look at, by default of all that is loaded: of those to report, else of those to train on, which
        the title says.

        Args:
            rows: How many, at most.
            reader: What reads them.
            role: `test` for rows to report, `train` for rows to fit probes on.

        Raises:
            UserError: If the data cannot be read.
        """
        return sample_of(self.load_for(reader or Reader()), rows, role)

    def composer(self) -> Composer | None:
        """What builds rows from chosen parts, if the data are made so; by default none."""
        return None

    @classmethod
    def stands_in_for(cls, modalities: Mapping[str, Mapping[str, Any]], reader: Reader) -> "Source | None":
        """Data to show a model on whose recipe names none; by default no source offers itself.

        Args:
            modalities: What the model's processor reads, `{name: {"kind": "image", "size": 224}}`.
            reader: The model.
        """
        return None

    @classmethod
    def described(cls, options: Mapping[str, Any]) -> Description:
        """What a card tells of the data, from the numbers of a data section and its repositories on the Hub."""
        return UNKNOWN

    def repositories(self) -> Sequence[str]:
        """The ids of the data sets on the Hub that it reads; by default none."""
        return ()

    def local_reads(self) -> Mapping[str, Any]:
        """The keys of the data section that make this machine read something, with their values, but for a data set
        of the Hub: what the recipe of a stranger may not name. By default the source itself."""
        return {"data.name": self.NAME}


class RenderedSource(Source):
    """Data that is made by this library and reads nothing."""

    def local_reads(self) -> Mapping[str, Any]:
        return {}


def register_source(name: str) -> Callable[[_Class], _Class]:
    """Class decorator: a source that recipes name `name`."""

    def register(cls: _Class) -> _Class:
        SOURCES.register(name)(cls)
        cls.NAME = name
        return cls

    return register
