"""What every kind of input is to a processor: raw values of one modality in, tensors for its encoder out."""

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor


class InputKind:
    """How the values of one modality become tensors.

    A subclass lies in a `kind_*.py` of its own, and `KINDS` of `processing_comm.py` holds it: the folder is loaded by
    `trust_remote_code`, where nothing is looked for.

    Args:
        name: Of the modality, for errors.
        options: What the processor stores of it, `{"kind": ..., **options}`; what is left out is filled in.
        tokenizer: Of a kind that reads one.

    Raises:
        ValueError: If the options cannot be used.
    """

    kind: ClassVar[str]
    reads_tokenizer: ClassVar[bool] = False

    def __init__(self, name: str, options: dict[str, Any], tokenizer: Any = None) -> None:
        self.name, self.options, self.tokenizer = name, options, tokenizer

    def stack(self, values: Sequence[Any], **text: Any) -> dict[str, Tensor]:
        """A batch before any view.

        Args:
            values: One a row.
            text: Arguments of `inputs.tokenize`, for a kind that reads a tokenizer.

        Raises:
            ValueError: If a value cannot be read; it names the row.
        """
        raise NotImplementedError

    def finish(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """What the model reads where no view was made: that which the plain view of evaluation gives."""
        return inputs
