"""Bits that pairs of modalities tell of labels, on planted embeddings."""

import numpy as np
import pytest

from hf_latent.data.loaded import Label
from hf_latent.errors import UserError
from hf_latent.evaluation.decomposition import Decomposition
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
    assert {m.key for m in found if m.headline} == {f"bits_kind_image_text_{p}" for p in ("redundancy", "synergy")}
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


def test_what_is_missing_is_told():
    with pytest.raises(UserError, match="labels: 'knd' is no label of classes: did you mean 'kind'"):
        measured(lambda a, b: a, Decomposition(labels=["knd"]))
    with pytest.raises(UserError, match="300 clusters need more, so write fewer"):
        measured(lambda a, b: a, Decomposition(clusters=300))
    with pytest.raises(UserError, match="fitted on training rows, and there are none"):
        Decomposition().check(data_of(split(9, {"kind": np.arange(9) % 2}), labels={"kind": Label(names=("a", "b"))}))
