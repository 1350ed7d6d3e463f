"""Bits that pairs of modalities tell of labels, on planted embeddings."""

import numpy as np
import pytest

from hf_latent.data.loaded import Label
from hf_latent.errors import UserError
from hf_latent.evaluation.decomposition import Decomposition
from hf_latent.metrics.batch_decomposition import BatchEstimate
from hf_latent.metrics.decomposition import Decomposition as Parts
from tests.evaluation.planted import E, Planted, data_of, embeddings, split, values


def measured(label, benchmark=None, rows=200, seed=0):
    """Two coins, one a modality, and a label of both."""
    parts = []
    for number in range(2):
        rng = np.random.default_rng(seed + number)
        coins = rng.integers(2, size=(2, rows))
        noise = 0.01 * rng.normal(size=(rows, 8))
        parts.append(
            (split(rows, {"kind": label(*coins)}), embeddings(image=E[coins[0]] + noise, text=E[coins[1]] + noise))
        )
    (train, _), (test, _) = parts
    data = data_of(test, train=train, labels={"kind": Label(names=("a", "b"))})
    benchmark = benchmark or Decomposition(clusters=2, draws=10)
    benchmark.check(data)
    found = benchmark.run(Planted(*parts), data)
    described = {m.key for m in benchmark.describe(Planted(*parts), data)}
    assert {m.key for m in found if m.title} == described
    by = "batch_" if benchmark.estimators == ["batch"] else ""
    assert {m.key for m in found if m.headline} == {
        f"bits_kind_image_text_{by}{part}" for part in ("redundancy", "synergy")
    }
    return {key.removeprefix("bits_kind_image_text_"): value for key, value in values(found).items()}


def test_a_label_that_both_tell_only_together():
    found = measured(lambda a, b: a ^ b)
    assert found["synergy"] > 0.98 and found["redundancy"] < 0.02
    assert found["synergy_low"] <= found["synergy"] + 0.02 and found["synergy_high"] > 0.95
    assert found["probe_both"] < 0.1  # a linear probe does not tell it


def test_a_label_of_one_modality():
    found = measured(lambda a, b: b)
    assert found["unique2"] > 0.95 and found["unique1"] < 0.02 and found["synergy"] < 0.02
    assert found["probe_text"] > 0.9 and found["probe_image"] < 0.05 and found["probe_both"] > 0.9
    assert found["probe_redundancy_low"] <= 0.05 and found["probe_synergy_high"] < 0.1


def test_networks_tell_it_without_clusters(monkeypatch):
    monkeypatch.setattr("hf_latent.metrics.batch_decomposition.BATCH", 64)
    monkeypatch.setattr("hf_latent.metrics.batch_decomposition.LEAST_STEPS", 150)
    found = measured(lambda a, b: a ^ b, Decomposition(estimators=["batch"]), rows=300)
    assert set(found) == {f"batch_{part}" for part in ("redundancy", "unique1", "unique2", "synergy", "excess")}
    assert found["batch_synergy"] > 0.9 and found["batch_redundancy"] < 0.05 and abs(found["batch_excess"]) < 0.05


def test_estimators_are_chosen(monkeypatch):
    estimate = BatchEstimate(Parts(0.1, 0.2, 0.3, 0.4), 0.3, 0.4, 1.0, 0.05)
    asked = []
    monkeypatch.setattr(
        "hf_latent.evaluation.decomposition.decompose_by_networks",
        lambda train, test, **options: asked.append((len(train[2]), len(test[2]), options)) or estimate,
    )
    found = measured(lambda a, b: b, Decomposition(clusters=2, draws=2))
    assert not asked and "synergy" in found and "probe_both" in found and "batch_synergy" not in found
    every = measured(
        lambda a, b: b, Decomposition(clusters=2, draws=2, estimators=["clusters", "probes", "batch"], seed=5)
    )
    assert asked == [(200, 200, {"seed": 5, "progress": False})]
    batch = {key: value for key, value in every.items() if key.startswith("batch_")}
    assert batch == {
        "batch_redundancy": 0.1,
        "batch_unique1": 0.2,
        "batch_unique2": 0.3,
        "batch_synergy": 0.4,
        "batch_excess": 0.05,
    }
    assert {key: value for key, value in every.items() if key not in batch} == found


def test_what_is_missing_is_told():
    with pytest.raises(UserError, match="estimators: 'bach': did you mean 'batch'"):
        measured(lambda a, b: a, Decomposition(estimators=["bach"]))
    with pytest.raises(UserError, match=r"estimators=\[\]: write one or more of clusters, probes, batch"):
        measured(lambda a, b: a, Decomposition(estimators=[]))
    with pytest.raises(UserError, match="seed=-1: write 0 or more"):
        measured(lambda a, b: a, Decomposition(seed=-1))
    with pytest.raises(UserError, match="has 60 classes in training rows: the estimator batch tells of 50 at most"):
        sixty = split(600, {"kind": np.arange(600) % 60})
        labels = {"kind": Label(names=tuple(map(str, range(60))))}
        Decomposition(labels=["kind"], estimators=["batch"]).check(data_of(sixty, train=sixty, labels=labels))
    with pytest.raises(UserError, match="labels: 'knd' is no label of classes: did you mean 'kind'"):
        measured(lambda a, b: a, Decomposition(labels=["knd"]))
    with pytest.raises(UserError, match="300 clusters need more, so write fewer"):
        measured(lambda a, b: a, Decomposition(clusters=300))
    with pytest.raises(UserError, match="fitted on training rows, and there are none"):
        Decomposition().check(data_of(split(9, {"kind": np.arange(9) % 2}), labels={"kind": Label(names=("a", "b"))}))
