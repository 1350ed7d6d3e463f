"""From rows to the batch that a model reads."""

from collections.abc import Sequence
from typing import Any

import torch

from ..models.processing_comm import CoMMProcessor


class LatentCollator:
    """Stacks rows into `{"modalities": {name: {...}}, "ids": (batch,)}`; the views are made later, on the device.

    Args:
        processor: Says what each modality is.
        columns: The column of each modality, `{modality: column}`; its own name by default.

    Rows are dicts with a value a column and, optionally, `ids`.
    """

    def __init__(self, processor: CoMMProcessor, columns: dict[str, str] | None = None) -> None:
        self.processor = processor
        self.columns = {name: (columns or {}).get(name, name) for name in processor.modalities}

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = {
            "modalities": {
                name: self.processor.stack(name, [row[column] for row in rows])
                for name, column in self.columns.items()
            }
        }
        if "ids" in rows[0]:
            batch["ids"] = torch.tensor([row["ids"] for row in rows])
        return batch
