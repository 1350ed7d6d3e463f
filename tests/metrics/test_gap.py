"""Measures of the gap, of mixed corpora and of clusters: values of the papers' code, loops, and cases by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hf_latent.metrics import modality_gap
from hf_latent.metrics.clustering import clustering
from hf_latent.metrics.gap import gap_split, hubness, rank_me, relative_gap
from hf_latent.metrics.mixed_retrieval import mixed_retrieval
from tests.losses.golden import golden

A, B, C = map(golden, range(3))


def test_golden_values():
    assert relative_gap(A, B) == pytest.approx(0.1471509142)
    split = gap_split(A, B)
    assert split == pytest.approx({"gap_of_means": 0.0658363785, "gap_around_means": 0.2741923872})
    assert math.sqrt(split["gap_of_means"]) == pytest.approx(modality_gap(A, B)["centroid_distance"])
    assert hubness(A, B, 2) == 0
    assert rank_me(A) == pytest.approx(3.6054205531)


def test_the_relative_gap_is_that_of_a_loop():
    rng = np.random.default_rng(0)
    a, b = (F.normalize(torch.tensor(rng.normal(size=(6, 4))), dim=1).numpy() for _ in range(2))
    far = lambda x, y: (1 - x @ y) / 2  # noqa: E731
    pairs = np.mean([far(a[i], b[i]) for i in range(6)])
    within = [np.mean([far(x[i], x[j]) for i in range(6) for j in range(6) if i != j]) for x in (a, b)]
    assert relative_gap(3 * a, b) == pytest.approx(pairs / (pairs + np.mean(within)))
    assert relative_gap(a, a) == pytest.approx(1e-3 / (1e-3 + within[0]))


@pytest.mark.parametrize("chunk_size", [1, 3, 100])
def test_hubs(chunk_size):
    """Five queries near one candidate, of four; the counts are 5, 3, 1, 1 with two neighbours each."""
    candidates = np.eye(4)
    queries = np.array([[1, 0.5, 0, 0]] * 3 + [[1, 0, 0.5, 0], [1, 0, 0, 0.5]])
    counts = np.array([5, 3, 1, 1.0])
    expected = (((counts - counts.mean()) / counts.std()) ** 3).mean()
    assert hubness(queries, candidates, 2, chunk_size) == pytest.approx(expected)
    assert hubness(np.ones((3, 4)), candidates, 2, chunk_size) == 0  # what ties shares the places
    with pytest.raises(ValueError, match="k=5: write a number from 1 to 4"):
        hubness(queries, candidates, 5)


@pytest.mark.parametrize("chunk_size", [1, 100])
def test_a_mixed_corpus(chunk_size):
    """The published case: queries b, corpus b and a, the own row left out."""
    eye = np.eye(4, dtype=bool)
    corpus = {"b": B, "a": A}
    found = mixed_retrieval(B, corpus, {"a": eye}, own="b", left_out=eye, k=[1, 3], chunk_size=chunk_size)
    assert found["own3"] == pytest.approx(100 / 6) and found["r1"] == found["ndcg1"] == 100
    # Everything right counts in the best order: one of three found at the first place is not all there is.
    right = np.array([[True, True, True]])
    own = np.zeros((1, 1), dtype=bool)
    found = mixed_retrieval(
        np.array([[1.0, 0]]),
        {"q": [[-1.0, 0]], "a": [[1.0, 0], [0, 1], [0, -1]]},
        {"a": right},
        own="q",
        left_out=own,
        k=[1, 2],
    )
    assert found["ndcg1"] == 100 and found["r1"] == 100 and found["own1"] == 0
    assert found["ndcg2"] == pytest.approx(100)


def test_a_gap_hides_what_belongs_together():
    """Texts lie near each other, and far from their images."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(20, 6))
    shift = np.zeros(6)
    shift[0] = 30
    eye = np.eye(20, dtype=bool)
    for gap in (0, 1):
        corpus = {"text": shared + gap * shift, "image": shared - gap * shift}
        found = mixed_retrieval(corpus["text"], corpus, {"image": eye}, own="text", left_out=eye, k=[5])
        assert found["own5"] == 100 if gap else found["own5"] < 60
        assert found["r5"] == (0 if gap else 100)
    with pytest.raises(ValueError, match="No query has anything right"):
        mixed_retrieval(corpus["text"], corpus, {}, own="text", left_out=eye)


def test_clusters():
    assert clustering({"a": A, "b": B}, {"a": np.arange(4), "b": np.arange(4)})["v_measure"] == pytest.approx(1)
    assert clustering({"a": A, "b": B}, {"a": np.arange(4), "b": np.arange(4)})["ari"] == pytest.approx(1)
    rng = np.random.default_rng(0)
    classes = np.arange(40) % 2
    rows = np.eye(6)[classes] + 0.05 * rng.normal(size=(40, 6))
    together = clustering({"a": rows, "b": rows}, {"a": classes, "b": classes})
    assert together["v_measure"] == pytest.approx(1) and together["modality_v_measure"] == pytest.approx(0, abs=1e-9)
    apart = clustering({"a": rows + 9 * np.eye(6)[4], "b": rows + 9 * np.eye(6)[5]}, {"a": classes, "b": classes})
    assert apart["modality_v_measure"] == pytest.approx(1) and apart["ari"] < 0.01
    with pytest.raises(ValueError, match="clusters need two classes"):
        clustering({"a": rows}, {"a": np.zeros(40, int)})
