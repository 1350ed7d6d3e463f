"""What a kind of input tells of itself to data, cards and the Space."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from PIL import Image

from ..models.encoders import kind_of_spec
from ..models.registry import Registry

Shape = tuple[int | None, ...]
"""None is any length of at least 1."""
Decoder = Callable[[Any], Any]


@dataclass(frozen=True)
class Suggestion:
    """How a recipe may read a column: a small encoder that is trained from scratch, and its view.

    Attributes:
        why: What the column holds, in words.
        encoder, view: As a recipe writes them.
        about: What the encoder is, in words.
    """

    why: str
    encoder: Mapping[str, Any]
    view: Mapping[str, Any]
    about: str = "small, and trained from scratch"


class Kind:
    """A kind of input.

    Attributes:
        IMPORTS: The lines of Python that `example` needs.
        PICTURED: Whether a value has a thumbnail.
        OPENS_FILES: Whether texts in a column name files, which `decoder` reads.
        UNTYPED: Whether columns that `datasets` knows to hold images are left to `data.rows`, which names a broken
            one, and `decoder` reads others alone.
        SUFFIXES: How names of its files end, in small letters.
        NAMES: How its columns are called in data sets, in small letters and without a number at the end.
        SEVERAL: Whether each column of it is a modality of its own, such as each of several sensors.
        LISTED: Whether several columns hold several values of a row, such as its captions.
        ASKED_LAST: Whether `suggest` takes what no other kind does.
    """

    IMPORTS: ClassVar[tuple[str, ...]] = ()
    PICTURED: ClassVar[bool] = True
    OPENS_FILES: ClassVar[bool] = False
    UNTYPED: ClassVar[bool] = False
    SUFFIXES: ClassVar[tuple[str, ...]] = ()
    NAMES: ClassVar[tuple[str, ...]] = ()
    SEVERAL: ClassVar[bool] = False
    LISTED: ClassVar[bool] = False
    ASKED_LAST: ClassVar[bool] = False

    def shapes(self, spec: Mapping[str, Any]) -> Sequence[Shape]:
        """The shapes of a row that the encoder of a spec reads; none where it reads no numbers."""
        return ()

    def decoder(self, spec: Mapping[str, Any]) -> Decoder | None:
        """What reads a value of a column, whatever the column holds; None where values are read as they are.

        It is given values that name no file but by `pathlib.Path`, and raises a ValueError that says what is wrong.

        Args:
            spec: Of the encoder.

        Raises:
            UserError: If a package is missing that it needs.
        """
        return None

    def joins(self, spec: Mapping[str, Any]) -> bool:
        """Whether several columns may be one value, a list, which `decoder` reads."""
        return False

    def suggest(self, feature: Any, values: Sequence[Any]) -> Suggestion | None:
        """How a column may be read as this kind; None where it is of another.

        Args:
            feature: Of the column, as `datasets` has it.
            values: Some of its values, as they are stored; none where they are not known.
        """
        return None

    def fitted(self, spec: Mapping[str, Any], rows: Iterable[Any], columns: Sequence[str] | None) -> dict[str, Any]:
        """A spec with what it leaves to the data.

        Args:
            spec: Of the encoder, as a recipe writes it.
            rows: The values of the training rows, decoded; read only where something is left out.
            columns: The columns that a value joins, None where it is of one.

        Raises:
            ValueError: If the rows do not tell.
        """
        return dict(spec)

    def example(self, name: str, spec: Mapping[str, Any]) -> str:
        """A value as Python, for the code of a card.

        Args:
            name: Of the modality.
            spec: Of its encoder.
        """
        raise NotImplementedError

    def thumbnail(self, value: Any) -> Image.Image:
        """A small square picture of a value, where `PICTURED`."""
        raise NotImplementedError

    def player(self, value: Any, options: Mapping[str, Any]) -> str:
        """HTML that plays a value, to stand beside its thumbnail; empty where there is nothing to play.

        Args:
            value: As its data set has it.
            options: Of its modality, in the processor.
        """
        return ""


KINDS: Registry[Kind] = Registry("kind of input")


def register_kind(name: str) -> Callable[[type[Kind]], type[Kind]]:
    """A decorator that gives a kind its name, the key of `processing_comm.KINDS`."""

    def add(cls: type[Kind]) -> type[Kind]:
        KINDS.register(name)(cls())
        return cls

    return add


def kind_of(spec: Mapping[str, Any]) -> Kind | None:
    """The kind that the encoder of a spec reads; None where no such encoder, or model of it, is known."""
    return KINDS.get(kind_of_spec(spec))
