"""Rank correlations against SciPy, and a partial one by regression of ranks."""

import numpy as np
import pytest
from scipy import stats

from hf_latent.metrics.correlation import partial_rank_correlation, rank_correlation


def test_it_is_spearmans():
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(2, 30))
    tied = np.round(x)
    for a, b in ((x, y), (tied, y), (x, x), (x, -(x**3))):
        assert rank_correlation(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    assert np.isnan(rank_correlation(x, np.ones(30)))


def test_a_third_variable_is_taken_out():
    draw = np.random.default_rng(1)
    z = draw.normal(size=400)
    x, y = z + 0.5 * draw.normal(size=400), z + 0.5 * draw.normal(size=400)
    ranks = [stats.rankdata(each) for each in (x, y, z)]
    left = [each - np.polyval(np.polyfit(ranks[2], each, 1), ranks[2]) for each in ranks[:2]]
    found = partial_rank_correlation(x, y, z)
    assert found == pytest.approx(np.corrcoef(*left)[0, 1])
    assert abs(found) < 0.15 < 0.6 < rank_correlation(x, y)
    assert np.isnan(partial_rank_correlation(x, y, x))


def test_what_cannot_be_ranked_is_refused():
    for x, y in (([1, 2], [1, 2]), ([1, 2, 3], [1, 2]), ([1, 2, np.nan], [1, 2, 3])):
        with pytest.raises(ValueError, match="Give"):
            rank_correlation(x, y)
