"""Do clusters follow classes, or modalities?"""

from collections.abc import Mapping
from importlib import import_module

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from .arrays import integers, matrix, unit_rows

STARTS = 20


def clustering(
    embeddings: Mapping[str, ArrayLike | Tensor], labels: Mapping[str, ArrayLike], *, seeds: int = 3
) -> dict[str, float]:
    """k-means of the rows of all modalities together, k the number of classes, against classes and modalities.

    Args:
        embeddings: modality -> (N, D) floats, normalised here; numbers of rows may differ.
        labels: modality -> (N,) integers, the class of each row.
        seeds: Runs that are averaged, each the best of 20 starts.

    Returns:
        `v_measure` and `ari` of the clusters and the classes, 1 where they are the same and 0 for unrelated ones (the
        first a little above); `modality_v_measure`, the V-measure of the clusters and the modalities, which is 0 where
        clusters hold what belongs together of all modalities.

    Raises:
        ValueError: fewer than two classes, or fewer rows than classes.

    Source: Rosenberg and Hirschberg, EMNLP 2007 (V-measure); Hubert and Arabie, 1985 (adjusted Rand index).
    """
    cluster, metrics = import_module("sklearn.cluster"), import_module("sklearn.metrics")
    parts = {name: unit_rows(matrix(x, f"{name} embeddings")).numpy() for name, x in embeddings.items()}
    known = [integers(labels[name], f"{name} labels", len(x)).numpy() for name, x in parts.items()]
    rows, classes = np.concatenate(list(parts.values())), np.concatenate(known)
    modality = np.repeat(np.arange(len(parts)), [len(x) for x in parts.values()])
    count = len(np.unique(classes))
    if count < 2 or len(rows) <= count:
        raise ValueError(f"There are {len(rows)} rows of {count} classes: clusters need two classes, and more rows.")
    found: dict[str, list[float]] = {"v_measure": [], "ari": [], "modality_v_measure": []}
    for seed in range(seeds):
        with import_module("threadpoolctl").threadpool_limits(1):
            own = cluster.KMeans(count, n_init=STARTS, random_state=seed).fit_predict(rows)
        found["v_measure"].append(metrics.v_measure_score(classes, own))
        found["ari"].append(metrics.adjusted_rand_score(classes, own))
        found["modality_v_measure"].append(metrics.v_measure_score(modality, own))
    return {key: float(np.mean(values)) for key, values in found.items()}
