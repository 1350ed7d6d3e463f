"""Models with a head that reads rows of any modalities: what one says of a row, from all it has or from one alone."""

from typing import Any

import torch
from heads import names_of

from hf_latent.data.sample import Sample
from hf_latent.tasks import Task


class RowHead:
    """What a page asks a model that was trained on labels of rows.

    Args:
        model: The model, in evaluation mode.
        processor: Its processor.
        task: What it was trained for.
        sample: Rows of its data; None where they cannot be read.

    Attributes:
        said: Whether it tells `classes`, which of some `labels` a row has, or `numbers`.
        names: Of these.
        note: What should be said of its rows; nothing.
        pictures: The images of the rows, of which a page may be shown others; none, as it is shown rows alone.
    """

    tab = "Predictions"
    note = ""
    pictures: tuple[Any, ...] = ()

    def __init__(self, model: Any, processor: Any, task: Task, sample: Sample | None) -> None:
        self.model, self.processor, self.sample = model, processor, sample
        self.said = task.said(model.config)
        target = None if sample is None else sample.target
        self.label = None if sample is None or target is None else target.label
        known = () if sample is None or self.label is None else sample.labels[self.label].names
        self.names = names_of(model.config, known)

    @torch.no_grad()
    def says(self, row: int, only: str | None = None) -> list[float]:
        """Of a row of the sample: how probable each class, or each label, is; or the numbers.

        Args:
            row: Its place.
            only: A modality, to read that one alone.
        """
        assert self.sample is not None
        values = {name: [column[row]] for name, column in self.sample.values.items() if only in (None, name)}
        logits = self.model(**self.processor.batch(values)).logits[0]
        shares = {"classes": logits.softmax(0), "labels": logits.sigmoid()}.get(self.said, logits)
        return shares.tolist()

    def right(self, row: int) -> list[Any]:
        """Of a row of the sample: whether each class or label is right, or the right numbers; none where it is not
        known."""
        if self.sample is None or self.label is None:
            return []
        value = self.sample.known[self.label][row]
        if self.said == "classes":
            return [place == int(value) for place in range(len(self.names))] if value >= 0 else []
        return value.reshape(-1).tolist()
