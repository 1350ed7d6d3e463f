"""Chance levels against brute force: every constant answer, every draw of candidates."""

from itertools import combinations, product

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from hf_latent.metrics import chance, mutual_knn

LABELS = [[0, 0, 0, 2, 2, 3], [0], [1, 1, 1], [4, 0, 4, 0, 1]]
TAGS = [
    [[1, 0, 0], [1, 1, 0], [1, 0, 1], [0, 0, 0]],
    [[0, 1], [0, 1], [0, 0]],
    [[1, 1, 1, 0], [1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 1], [1, 1, 1, 0]],
]


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("k", [1, 2, 3, 9])
def test_top_k_is_the_best_constant_list(labels, k):
    lists = combinations(range(10), k)
    best = max(np.isin(labels, chosen).mean() for chosen in lists)
    assert chance.top_k_chance(labels, k) == pytest.approx(100 * best)


@pytest.mark.filterwarnings("ignore:A single label was found")
@pytest.mark.parametrize("labels", LABELS)
def test_balanced_accuracy_is_that_of_any_constant_class(labels):
    found = {balanced_accuracy_score(labels, [label] * len(labels)) for label in set(labels)}
    assert chance.balanced_chance(labels) == pytest.approx(100 * max(found))


def brute_recall(right, candidates, k):
    """The share of all draws that hold a right candidate, the first of the list, mean over queries."""
    draws = list(combinations(range(candidates), k))
    return np.mean([np.mean([min(draw) < count for draw in draws]) for count in right])


@pytest.mark.parametrize("right", [[1], [1, 1, 2], [3, 1, 0], [5, 2]])
@pytest.mark.parametrize("candidates", [5, 8])
def test_recall_counts_the_draws_with_a_right_candidate(right, candidates):
    for k in range(1, candidates + 1):
        expected = 100 * brute_recall(right, candidates, k)
        assert chance.recall_chance(right, candidates, k) == pytest.approx(expected)


@pytest.mark.parametrize("right", [[1], [1, 1, 2], [2, 1, 1, 3]])
def test_median_rank_is_the_first_that_half_of_the_queries_reach(right):
    for candidates in range(max(right), 13):
        ranks = [r for r in range(1, candidates + 1) if brute_recall(right, candidates, r) > 0.5 - 1e-9]
        assert chance.median_rank_chance(right, candidates) == ranks[0]


def test_median_rank_of_many_candidates():
    """One right of N: recall r / N, of which half is reached at N / 2, exactly."""
    for candidates in (10, 50, 1000, 4998):
        assert chance.median_rank_chance([1, 1], candidates) == candidates / 2
        assert chance.median_rank_chance([1], candidates + 1) == candidates / 2 + 1


def constant_answers(truth):
    """Every set of classes, said of all rows."""
    truth = np.array(truth, dtype=bool)
    return truth, [np.tile(said, (len(truth), 1)) for said in product([False, True], repeat=truth.shape[1])]


@pytest.mark.parametrize("truth", TAGS)
@pytest.mark.parametrize("average", ["macro", "weighted", "micro"])
def test_f1_is_that_of_the_best_constant_set(truth, average):
    truth, answers = constant_answers(truth)
    best = max(f1_score(truth, said, average=average, zero_division=0) for said in answers)
    assert getattr(chance, f"{average}_f1_chance")(truth) == pytest.approx(100 * best)


def test_f1_of_rows_without_any_class():
    nothing = np.zeros((3, 2), dtype=bool)
    assert chance.macro_f1_chance(nothing) == chance.weighted_f1_chance(nothing) == 0
    assert chance.micro_f1_chance(nothing) == 0


@pytest.mark.parametrize("truth", [[1.0, 2, 4, 9], [0.0, 0, 5], [3.0]])
def test_errors_are_those_of_the_best_constant_number(truth):
    said = np.linspace(-1, 10, 11001)[:, None]
    differences = said - np.array(truth)
    assert chance.squared_error_chance(truth) == pytest.approx((differences**2).mean(1).min(), abs=1e-5)
    assert chance.absolute_error_chance(truth) == pytest.approx(np.abs(differences).mean(1).min(), abs=1e-3)


@pytest.mark.parametrize(("rows", "k"), [(5, 1), (6, 2), (6, 4)])
def test_neighbours_of_unrelated_spaces(rows, k):
    """All neighbours that another space can have, and what `mutual_knn` makes of a space without any structure."""
    own, others = set(range(k)), list(combinations(range(rows - 1), k))
    expected = np.mean([len(own & set(other)) / k for other in others])
    assert chance.neighbours_chance(rows, k) == pytest.approx(expected)
    rng = np.random.default_rng(0)
    assert mutual_knn(rng.normal(size=(rows, 3)), np.ones((rows, 3)), k) == pytest.approx(expected)
