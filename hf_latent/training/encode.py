"""A Trainer's model as benchmarks see it, on one process or on many."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from peft import PeftModel
from torch import Tensor
from torch.utils.data import Dataset

from ..data.loaded import EvaluationData, Regions, Split
from ..evaluation.abilities import abilities_of, embed_texts, phrase_maps, rerank
from ..models.embeddings import Embeddings
from .distributed import world_size


class TrainerEncode:
    """The model of a [`LatentTrainer`], as `evaluation.Encode` describes it.

    What all processes compute together is asked for by the first one, while the others wait in [`run`]. Everything
    is computed once.

    Args:
        trainer: Its model is embedded with, whichever weights it has at the time.
        data: The rows that benchmarks may ask for.
    """

    def __init__(self, trainer: Any, data: EvaluationData) -> None:
        self._trainer, self._data = trainer, data
        model = self._model
        core: Any = model
        self.modalities, self.kinds = tuple(core.encoders), dict(core.config.kinds)
        self.compared = core.compared
        # Fused models have their extra heads behind what is embedded.
        independent = {"independent"} & set(getattr(core.config, "extra_heads", ()))
        self.gives = frozenset(independent if self.compared else {"fused"})
        self.abilities = abilities_of(core)
        self._known: dict[Any, Any] = {}

    @property
    def _model(self) -> Any:
        """The model itself, with its low-rank adapters if it has any."""
        model = self._trainer.accelerator.unwrap_model(self._trainer.model)
        return model.get_base_model() if isinstance(model, PeftModel) else model

    @property
    def temperature(self) -> float | None:
        """Of the contrast, where the modalities are compared."""
        return 1 / torch.as_tensor(self._model.scale).item() if self.compared else None

    @property
    def progress(self) -> bool:
        """Whether the Trainer shows progress bars."""
        return not self._trainer.args.disable_tqdm

    def __call__(self, rows: Dataset) -> Embeddings:
        return self._together("embed", rows)

    def features(self, rows: Dataset) -> np.ndarray:
        embeddings = self(rows)
        return self._once("features", rows, lambda: self._model.objective.features(embeddings).float().numpy())

    def texts(self, sentences: Sequence[str]) -> Tensor:
        return embed_texts(self._model, self._trainer.processing_class, sentences)

    def rerank(self, split: Split, columns: Mapping[str, str], candidates: int) -> tuple[Tensor, Tensor]:
        embeds = self(split.rows).embeds or {}
        model, processor = self._model, self._trainer.processing_class
        key = ("rerank", candidates)
        return self._once(key, split.rows, lambda: rerank(model, processor, split, columns, embeds, candidates))

    def maps(self, regions: Regions) -> np.ndarray | None:
        def found() -> np.ndarray | None:
            try:
                return phrase_maps(self._model, self._trainer.processing_class, regions)
            except ValueError as error:
                print(f"Phrases are not grounded: {error}")
                return None

        return self._once("maps", regions, found)

    def answer(self, rows: Dataset, answers: Sequence[str] | None, only: str | None = None) -> Tensor:
        return self._together("answer", rows, (None if answers is None else tuple(answers), only))

    def _once(self, what: Any, rows: Any, compute: Callable[[], Any]) -> Any:
        key = (what, id(rows))
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]

    def _together(self, what: str, rows: Any, argument: Any = None) -> Any:
        """What all processes compute, asked for by the first one."""

        def compute() -> Any:
            if world_size() > 1:
                _broadcast((what, self._name_of(rows), argument))
            return self._compute(what, rows, argument)

        return self._once((what, argument), rows, compute)

    def _compute(self, what: str, rows: Any, argument: Any) -> Any:
        if what == "embed":
            return self._trainer.embed(rows)
        answers, only = argument
        if answers is not None:
            return self._trainer.answer(rows, answers)
        return self._trainer.logits(rows, only)

    def _name_of(self, rows: Any) -> str:
        """The split whose rows these are: every process has its own copy."""
        for name in ("test", "validation", "train"):
            if (split := getattr(self._data, name)) is not None and split.rows is rows:
                return name
        raise ValueError("a benchmark can embed the rows of the splits of its data only")

    def run(self, measure: Callable[[], Any]) -> Any:
        """What `measure` returns on the first process, on all of them; its error is raised on all, too."""
        if world_size() == 1:
            return measure()
        if dist.get_rank() == 0:
            try:
                found, error = measure(), None
            except Exception as caught:
                found, error = None, caught
            _broadcast(("end", found, error))
            if error is not None:
                raise error
            return found
        while True:
            what, name, argument = _broadcast(None)
            if what == "end":
                if argument is not None:
                    raise argument
                return name
            self._compute(what, getattr(self._data, name).rows, argument)


def _broadcast(values: Any) -> Any:
    """What the first process gives, on all."""
    box = [values]
    dist.broadcast_object_list(box, src=0)
    return box[0]
