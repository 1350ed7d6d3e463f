"""Information of linear probes: golden values, missing classes, and what is no label."""

import math

import numpy as np
import pytest

from hf_latent.metrics.probe_information import probe_information


def golden():
    j = np.arange(90)
    z = np.stack(
        [np.cos(1.7 * j) + 0.8 * (j % 3 == 1), np.sin(0.9 * j) + 0.8 * (j % 3 == 2), np.cos(0.37 * j)], axis=1
    )
    return z[:60], j[:60] % 3, z[60:], j[60:] % 3


def test_values_are_those_of_the_official_recipe():
    found = probe_information(*golden(), classes=3)
    assert found.conditional_entropy == pytest.approx(0.876010, abs=2e-6)
    assert found.information == pytest.approx(0.222602, abs=2e-6)
    assert found.ratio == pytest.approx(0.202621, abs=2e-6)
    assert found.accuracy == pytest.approx(0.533333, abs=1e-6)


def test_a_class_that_training_lacks_shifts_no_other():
    train, labels, test, truth = golden()
    found = probe_information(train, 2 * labels, test, 2 * truth, classes=6)  # of 0, 2 and 4
    assert found.conditional_entropy == pytest.approx(probe_information(*golden(), classes=3).conditional_entropy)
    assert found.information == pytest.approx(math.log(6) - found.conditional_entropy)
    unseen = probe_information(train, labels, test, np.full(len(truth), 3), classes=4)
    assert unseen.accuracy == 0 and np.isfinite(unseen.conditional_entropy) and unseen.information < -100


def test_what_is_no_label_is_refused():
    train, labels, test, truth = golden()
    for own, told, words in (
        (labels + 1, truth, "0 to 2"),
        (labels, truth - 1, "0 to 2"),
        (0 * labels, truth, "one class"),
    ):
        with pytest.raises(ValueError, match=words):
            probe_information(train, own, test, told, classes=3)
