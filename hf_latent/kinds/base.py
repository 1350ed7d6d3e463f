"""What a kind of input tells of itself to data, cards and the Space."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from PIL import Image

from ..models.encoders import kind_of_spec
from ..models.registry import Registry

Shape = tuple[int | None, ...]
"""None is any length of at least 1."""
Decoder = Callable[[Any], Any]


class Kind:
    """A kind of input.

    Attributes:
        IMPORTS: The lines of Python that `example` needs.
        PICTURED: Whether a value has a thumbnail.
        OPENS_FILES: Whether texts in a column name files, which `decoder` reads.
    """

    IMPORTS: ClassVar[tuple[str, ...]] = ()
    PICTURED: ClassVar[bool] = True
    OPENS_FILES: ClassVar[bool] = False

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
