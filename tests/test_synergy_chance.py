"""Why a representation without synergy is below chance on synergy, as cards and benchmarks/RESULTS.md say."""

import numpy as np

from benchmarks.synergy_chance import features
from hf_latent.data.trifeature import load_trifeature
from hf_latent.data.trifeature_data import TrifeatureData
from hf_latent.metrics import linear_probe


def test_what_one_side_tells_of_synergy_is_reversed_on_held_out_pairs():
    trifeature = load_trifeature(image_size=8, renders=1)

    def counts(images):  # of each color with each shape
        return np.bincount(images.caption_ids, minlength=100)

    assert (counts(trifeature.train) + counts(trifeature.test) == 10).all()
    assert np.corrcoef(counts(trifeature.train), counts(trifeature.test))[0, 1] < -0.999
    train, test = trifeature.pairs("train"), trifeature.pairs("test")
    known, asked = features(train), features(test)
    scores = {}
    for name in ("shape with texture 1", "shape with color 2", "texture 1 with color 2: the synergy"):
        labels = train.labels["synergy"], test.labels["synergy"]
        scores[name] = linear_probe(known[name], labels[0], asked[name], labels[1], balanced=True).auroc
    *sides, both = scores.values()
    assert max(sides) < 0.45 and both > 0.9999
    note = TrifeatureData.described({"biased": False, "image_size": 8}).notes["interactions"]
    assert "may lie below chance" in note
