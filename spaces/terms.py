"""What each term of a training objective sees in one pair."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from explorer import Explorer
from torch import Tensor

from hf_latent.models.embeddings import Embeddings
from hf_latent.views import Views

BATCH = 100


class Terms:
    """How much of each term of a model's objective a row is answerable for, in a batch of rows of its sample.

    Of a term L that is a mean over N rows, row i's share is N L(all) - (N - 1) L(all but i): its own loss, and what it
    adds to those of the others by being among their negatives. Where rows do not meet, it is the row's own loss.

    Args:
        explorer: A model whose recipe tells of its views.

    Attributes:
        weights: Regularizer -> its weight in the loss.
        usual: Term -> (N,) the shares of the batch's own rows, sorted.
    """

    def __init__(self, explorer: Explorer) -> None:
        self.explorer, self.views = explorer, cast(Views, explorer.views)
        self.objective = explorer.model.objective
        count = min(BATCH, len(explorer.sample))
        rows = {name: values[:count] for name, values in explorer.sample.values.items()}
        self.batch = self._embed(rows, explorer.sample.ids[:count])
        self._terms = self._measure(self.batch)
        rest = [self._measure(_take(self.batch, [k for k in range(count) if k != row])) for row in range(count)]
        shares = [_share(self._terms, less, count) for less in rest]
        self.usual = {term: np.sort([share[term] for share in shares]) for term in self._terms}
        regularizers = getattr(self.objective, "regularizers", {})
        self.weights = {name: weighted.weight for name, weighted in regularizers.items()}

    def shares(self, values: Mapping[str, Sequence[Any]], ids: Sequence[int]) -> list[dict[str, float]]:
        """Of each of some rows, added to the batch alone: its share of each term.

        Args:
            values: The raw values of each modality.
            ids: Of each row; those of the batch with the same id are its positives.
        """
        rows = self._embed(values, ids)
        joined = [Embeddings.join([self.batch, _take(rows, [row])]) for row in range(len(ids))]
        return [_share(self._measure(batch), self._terms, len(self.batch.ids) + 1) for batch in joined]

    def _embed(self, values: Mapping[str, Sequence[Any]], ids: Any) -> Any:
        embeddings = self.explorer.embed_views(values, self.views)
        embeddings.ids = torch.as_tensor(ids)
        return embeddings

    @torch.no_grad()
    def _measure(self, embeddings: Embeddings) -> dict[str, float]:
        model = self.explorer.model
        _, terms = self.objective(model.score(embeddings), model.scale, progress=1.0)
        return {name: value.item() for name, value in terms.items()}


def _take(embeddings: Any, rows: list[int]) -> Embeddings:
    def taken(tensor: Tensor) -> Tensor:
        return tensor[rows]

    part = embeddings.map(taken)
    part.ids = embeddings.ids[rows]
    return part


def _share(all_rows: Mapping[str, float], all_but_one: Mapping[str, float], rows: int) -> dict[str, float]:
    return {term: rows * value - (rows - 1) * all_but_one[term] for term, value in all_rows.items()}
