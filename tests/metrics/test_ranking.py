"""Orders of candidates against plain loops, and values worked out elsewhere."""

import math

import numpy as np
import pytest
import torch

from hf_latent.metrics.other_probes import multilabel_probe
from hf_latent.metrics.ranking import average_precision, ndcg, ndcg_chance
from hf_latent.metrics.retrieval import retrieval, scored_retrieval

# Six texts and three images, of which text 0 and 1 are of image 0, text 2 of image 1, the others of image 2.
SCORES = torch.tensor(
    [[0.9, 0.1, 0.2], [0.3, 0.5, 0.4], [0.2, 0.6, 0.6], [0.7, 0.1, 0.8], [0.2, 0.3, 0.1], [0, 0.55, 0.5]]
).double()
OWNERS = torch.tensor([0, 0, 1, 2, 2, 2])
RIGHT = OWNERS[:, None] == torch.arange(3)


def plain_ndcg(scores, right, k):
    order = sorted(range(len(scores)), key=lambda j: (-scores[j], right[j]))
    gained = sum(right[j] / math.log2(place + 2) for place, j in enumerate(order[:k]))
    return gained / sum(1 / math.log2(place + 2) for place in range(min(k, sum(right))))


def test_golden_values_of_captions():
    found = scored_retrieval(SCORES.T, SCORES, np.arange(3), OWNERS, k=(1, 2))
    ways = {key: round(value, 2) for key, value in found.items()}
    assert (ways["text_to_image_r1"], ways["text_to_image_r2"]) == (33.33, 66.67)  # a tie counts against the query
    assert ways["text_to_image_median_rank"] == 2 and ways["image_to_text_r1"] == 100
    untied = SCORES.clone()
    untied[2, 1] += 1e-6
    assert scored_retrieval(untied.T, untied, np.arange(3), OWNERS)["text_to_image_r1"] == 50
    assert ndcg(untied, RIGHT, 3).mean() == pytest.approx(0.771822, abs=1e-6)
    assert ndcg(untied.T, RIGHT.T, 3).mean() == pytest.approx(0.874546, abs=1e-6)


@pytest.mark.parametrize("k", [1, 2, 5, 20])
def test_against_a_plain_loop(k):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 4, (30, 9), generator=generator).double()  # many ties
    right = torch.rand(30, 9, generator=generator) < 0.3
    right[:, 0] |= ~right.any(1)
    expected = [plain_ndcg(*row, k) for row in zip(scores.tolist(), right.tolist(), strict=True)]
    np.testing.assert_allclose(ndcg(scores, right, k), expected, atol=1e-12)
    assert ndcg(scores, torch.zeros_like(right), k).tolist() == [0] * 30
    drawn = torch.rand(20_000, 9, generator=generator)
    rows = torch.zeros(20_000, 9, dtype=torch.bool)
    rows[:, :2], rows[:10_000, 2:5] = True, True
    counts = rows.sum(1).numpy()
    assert 100 * ndcg(drawn, rows, k).mean() == pytest.approx(ndcg_chance(counts, 9, k), abs=1.0)


def test_retrieval_gives_it_on_request():
    rng = np.random.default_rng(0)
    images, texts, owners = rng.normal(size=(6, 4)), rng.normal(size=(12, 4)), np.arange(12) % 6
    found = retrieval(images, texts, text_ids=owners, ndcg=[3], chunk_size=5)
    assert not any("ndcg" in key for key in retrieval(images, texts, text_ids=owners))
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (images, texts)]
    cosines, right = unit[0] @ unit[1].T, owners == np.arange(6)[:, None]
    for way, scores, own in (("image_to_text", cosines, right), ("text_to_image", cosines.T, right.T)):
        expected = np.mean([plain_ndcg(*row, 3) for row in zip(scores.tolist(), own.tolist(), strict=True)])
        assert found[f"{way}_ndcg3"] == pytest.approx(100 * expected)


def test_average_precision():
    scores, truth = [0.9, 0.8, 0.7, 0.6, 0.5], [1, 0, 1, 0, 1]
    assert average_precision(scores, truth) == pytest.approx(0.755556, abs=1e-6)
    assert average_precision(scores, truth, eleven_points=True) == pytest.approx(0.763636, abs=1e-6)
    assert average_precision([1, 1, 1, 1], [1, 0, 0, 0]) == 0.25 and math.isnan(average_precision([1, 2], [0, 0]))
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    scores, truth = rng.normal(size=50), rng.random(50) < 0.3
    assert average_precision(scores, truth) == pytest.approx(sklearn.average_precision_score(truth, scores))


def test_a_probe_of_several_classes_tells_their_mean():
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    features = rng.normal(size=(80, 6))
    labels = features[:, :3] + rng.normal(size=(80, 3)) > 0.3
    labels[40:, 2] = False  # no row to measure on
    found = multilabel_probe(features[:40], labels[:40], features[40:], labels[40:])
    linear = pytest.importorskip("sklearn.linear_model")
    train, test = ((part - features[:40].mean(0)) / features[:40].std(0) for part in (features[:40], features[40:]))
    best = []
    for cost in (1e-3, 1e-2, 1e-1, 1.0, 10.0):
        fits = [linear.LogisticRegression(C=cost, max_iter=200).fit(train, labels[:40, c]) for c in range(2)]
        scores = [fit.decision_function(test) for fit in fits]
        best.append(100 * np.mean([sklearn.average_precision_score(labels[40:, c], scores[c]) for c in range(2)]))
    assert min(abs(found["map"] - value) for value in best) < 1e-6  # of the C that was chosen
