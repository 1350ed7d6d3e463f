"""A finished model as benchmarks see it, on one process and without a Trainer."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from accelerate.utils import send_to_device
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from ..data.collator import ModelCollator, examples_of
from ..data.loaded import EvaluationData, Regions, Split
from ..data.texts import check_known
from ..models.embeddings import Embeddings
from .abilities import abilities_of, embed_texts, phrase_maps, rerank

KEPT = ("embeds", "independent", "fused")


class ModelEncode:
    """A model and its processor, as `evaluation.Encode` describes it. Rows may lack modalities that the model has.

    Everything is computed once.

    Args:
        model: In evaluation mode; it stays on its device.
        processor: Makes of values what it reads.
        data: Its `columns` say what of the rows is read.
        batch_size: Rows that are embedded at a time.
        workers: Processes that read rows.
        progress: Show progress bars.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        data: EvaluationData,
        batch_size: int = 256,
        workers: int = 0,
        progress: bool = True,
    ) -> None:
        self._model, self._processor, self._columns = model, processor, dict(data.columns)
        self._loading: dict[str, Any] = {"batch_size": batch_size, "num_workers": workers}
        self.progress = progress
        self.modalities, self.kinds = tuple(model.encoders), dict(model.config.kinds)
        self.compared = model.compared
        independent = {"independent"} & set(getattr(model.config, "extra_heads", ()))
        several = {"fused"} if len(data.columns) > 1 else set()
        self.gives = frozenset(independent if self.compared else several)
        self.abilities = abilities_of(model)
        self._known: dict[Any, Any] = {}

    @property
    def temperature(self) -> float | None:
        """Of the contrast, where the modalities are compared."""
        return 1 / torch.as_tensor(self._model.scale).item() if self.compared else None

    def __call__(self, rows: Dataset) -> Embeddings:
        return self._once("embed", rows, lambda: self._embedded(rows))

    def features(self, rows: Dataset) -> np.ndarray:
        return self._once("features", rows, lambda: self._model.objective.features(self(rows)).float().numpy())

    def texts(self, sentences: Sequence[str]) -> Tensor:
        return embed_texts(self._model, self._processor, sentences)

    def rerank(self, split: Split, columns: Mapping[str, str], candidates: int) -> tuple[Tensor, Tensor]:
        embeds = self(split.rows).embeds or {}
        found = partial(rerank, self._model, self._processor, split, columns, embeds, candidates)
        return self._once(("rerank", candidates), split.rows, found)

    def maps(self, regions: Regions) -> np.ndarray | None:
        return self._once("maps", regions, lambda: phrase_maps(self._model, self._processor, regions))

    def answer(self, rows: Dataset, answers: Sequence[str] | None, only: str | None = None) -> Tensor:
        key = ("answer", None if answers is None else tuple(answers), only)
        return self._once(key, rows, lambda: self._answered(rows, answers, only))

    def _once(self, what: Any, rows: Any, compute: Callable[[], Any]) -> Any:
        key = (what, id(rows))
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]

    @torch.no_grad()
    def _embedded(self, rows: Dataset) -> Embeddings:
        parts: dict[str, Any] = {}
        present: list[dict[str, Tensor]] = []
        for batch, there in self._batches(rows, "Embedding"):
            asked = {"present": there} if there is not None and self._model.supports_missing else {}
            found = self._model(**batch, **asked, return_loss=False)
            for field in KEPT:
                if isinstance(value := getattr(found, field, None), Mapping):
                    for name, own in value.items():
                        parts.setdefault(field, {}).setdefault(name, []).append(own.float().cpu())
                elif value is not None:
                    parts.setdefault(field, []).append(value.float().cpu())
            present += [] if there is None else [{name: own.cpu() for name, own in there.items()}]
        joined: dict[str, Any] = {
            field: {name: torch.cat(own) for name, own in value.items()}
            if isinstance(value, dict)
            else torch.cat(value)
            for field, value in parts.items()
        }
        if present:
            joined["present"] = {name: torch.cat([own[name] for own in present]) for name in present[0]}
        return Embeddings(**joined)

    @torch.no_grad()
    def _answered(self, rows: Dataset, answers: Sequence[str] | None, only: str | None) -> Tensor:
        options: dict[str, Tensor] = {}
        if answers is not None:
            check_known(self._processor.tokenizer, answers, "answer")
            listed = self._processor.tokenizer(
                list(answers), padding=True, padding_side="right", return_tensors="pt"
            ).to(self._model.device)
            options = {"answer_ids": listed["input_ids"], "answer_mask": listed["attention_mask"]}
        ask = self._model if answers is None else self._model.rank_answers
        found = []
        for batch, there in self._batches(rows, "Answering"):
            asked = {"present": there} if there is not None and self._model.supports_missing else {}
            read = batch if only is None else {**batch, "modalities": {only: batch["modalities"][only]}}
            found.append(ask(**read, **asked, **options))
        return torch.cat([(part if answers is not None else part.logits).float().cpu() for part in found])

    def _batches(self, rows: Any, title: str) -> Any:
        collate = ModelCollator(self._processor, self._columns, examples_of(rows, self._columns))
        loader = DataLoader(rows, collate_fn=collate, **self._loading)
        device = self._model.device
        with tqdm(total=len(rows), desc=title, unit="row", disable=not self.progress) as bar:
            for batch, present in loader:
                yield send_to_device(batch, device), send_to_device(present, device)
                bar.update(min(self._loading["batch_size"], bar.total - bar.n))
