"""A model without weights: it gives the embeddings, texts, answers and maps that a test has planted."""

import numpy as np
import torch

from hf_latent.data.loaded import EvaluationData, Split
from hf_latent.models.embeddings import Embeddings

E = np.eye(8)


def tensors(**vectors):
    return {name: torch.tensor(np.asarray(rows), dtype=torch.float32) for name, rows in vectors.items()}


def embeddings(independent=None, fused=None, **embeds):
    """Of modalities; `independent` is of modalities, too, and `fused` of all together."""
    return Embeddings(
        embeds=tensors(**embeds),
        independent=None if independent is None else tensors(**independent),
        fused=None if fused is None else tensors(fused=fused)["fused"],
    )


def split(ids, labels=None, **items):
    """Rows whose content nobody reads. Equal numbers of `items` are one image, one text, and so on."""
    ids = np.arange(ids) if isinstance(ids, int) else np.asarray(ids)
    values = {name: np.asarray(column) for name, column in (labels or {}).items()}
    return Split([f"row {i}" for i in range(len(ids))], ids, values, {k: np.asarray(v) for k, v in items.items()})


def data_of(test, *modalities, **options):
    columns = {name: f"column of {name}" for name in modalities or ("image", "text")}
    return EvaluationData(test=test, columns=columns, **options)


class Planted:
    """An `Encode`.

    Args:
        planted: Pairs of a split and its [`Embeddings`]; `features` are the fused ones.
        texts: Sentence -> vector.
        scores: What matching says, `(images, texts)`.
        answers: `(rows, answers)`.
        maps: `(phrases, rows, columns)`.
        kinds: Of modalities; by default those of their names, of an image and a text, too.
    """

    def __init__(
        self, *planted, compared=True, temperature=None, texts=None, scores=None, answers=None, maps=None, kinds=None
    ):
        self.planted = planted
        first = planted[0][1] if planted else Embeddings(embeds={})
        self.modalities = tuple(first.embeds)
        self.kinds = {name: name for name in ("image", "text", *self.modalities)} if kinds is None else dict(kinds)
        self.compared, self.temperature = compared, temperature
        self.gives = frozenset(name for name in ("independent", "fused") if getattr(first, name) is not None)
        given = {"texts": texts, "rerank": scores, "answer": answers, "maps": maps}
        self.abilities = frozenset(name for name, found in given.items() if found is not None)
        self.given, self.asked, self.progress = given, [], False

    def __call__(self, rows):
        (found,) = (found for part, found in self.planted if part.rows is rows)
        return found

    def features(self, rows):
        return self(rows).fused.numpy()

    def texts(self, sentences):
        self.asked.append(list(sentences))
        return torch.tensor(np.stack([self.given["texts"][sentence] for sentence in sentences]), dtype=torch.float32)

    def rerank(self, split, columns, candidates):
        self.asked.append(candidates)
        scores = torch.tensor(self.given["rerank"], dtype=torch.float32)
        return scores, scores.T

    def answer(self, rows, answers):
        self.asked.append((rows, answers))
        return torch.tensor(self.given["answer"], dtype=torch.float32)

    def maps(self, regions):
        return np.asarray(self.given["maps"], dtype=np.float32)


def values(found):
    return {measurement.key: measurement.value for measurement in found}


def chances(found):
    return {measurement.key: measurement.chance for measurement in found}
