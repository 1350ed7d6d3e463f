"""The benchmarks of the gap in detail, of mixed corpora and of clusters, on planted embeddings."""

import numpy as np
import pytest

from hf_latent.data.loaded import Label
from hf_latent.errors import UserError
from hf_latent.evaluation.clustering import Clustering
from hf_latent.evaluation.gap import Gap
from hf_latent.evaluation.mixed_retrieval import MixedRetrieval
from tests.evaluation.planted import E, Planted, data_of, embeddings, split, values


def run(benchmark, test, vectors, *modalities, **options):
    data = data_of(test, *modalities, **options)
    benchmark.check(data)
    return benchmark.run(Planted((test, vectors)), data)


def test_the_gap_of_each_pair():
    vectors = {"image": E[:6], "text": E[:6] + E[7], "audio": E[:6]}
    found = values(run(Gap(k=2), split(6), embeddings(**vectors), *vectors))
    assert found["gap_around_means_image_audio"] == pytest.approx(0, abs=1e-9)
    assert found["gap_of_means_image_audio"] == pytest.approx(0, abs=1e-9)
    assert found["gap_of_means_image_text"] + found["gap_around_means_image_text"] == pytest.approx(2 - 2 / 2**0.5)
    assert found["gap_relative_image_text"] > found["gap_relative_image_audio"]
    assert found["rank_me_image"] == pytest.approx(6, rel=1e-4)
    assert {"hubness_image_to_text", "hubness_text_to_image", "hubness_text_to_audio"} <= set(found)
    with pytest.raises(UserError, match="there are 3 rows that have image and text: 4 or more are needed"):
        run(Gap(), split(3), embeddings(image=E[:3], text=E[:3]))


def test_a_corpus_of_captions_and_pictures():
    """Two captions a picture; the other caption of a picture is no candidate."""
    ids = np.repeat(np.arange(3), 2)
    rows = split(ids, image=ids, text=np.arange(6))
    image = E[ids]
    text = E[ids] + 0.1 * E[np.arange(6) % 2 + 6]
    found = run(MixedRetrieval(k=[1, 2]), rows, embeddings(image=image, text=text))
    scores = values(found)
    assert scores["mixed_image_ndcg2"] == 100 and scores["mixed_text_r1"] == 100
    assert scores["mixed_image_own1"] == 0 and scores["mixed_image_own2"] == 0
    known = {measurement.key: measurement for measurement in found}
    assert known["mixed_image_ndcg2"].rows == 3 and known["mixed_text_ndcg2"].rows == 6
    assert known["mixed_text_own2"].chance == pytest.approx(100 * 4 / 7)  # of 6 captions less 2, and 3 pictures
    assert known["mixed_image_own2"].chance == pytest.approx(100 * 2 / 8)
    with pytest.raises(UserError, match="there are fewer candidates; write lower cut-offs"):
        run(MixedRetrieval(k=[50]), rows, embeddings(image=image, text=text))


def test_clusters_of_labels():
    kind = np.arange(12) % 3
    test = split(12, {"kind": kind})
    label = {"kind": Label(names=("a", "b", "c"))}
    noise = 0.01 * np.random.default_rng(0).normal(size=(12, 8))
    found = values(run(Clustering(), test, embeddings(image=E[kind] + noise, text=E[kind]), labels=label))
    assert found["cluster_kind_v_measure"] == pytest.approx(1) and found["cluster_kind_ari"] == pytest.approx(1)
    assert found["cluster_kind_modality_v_measure"] == pytest.approx(0, abs=1e-9)
    with pytest.raises(UserError, match="labels: 'kinds' is no label of classes: did you mean 'kind'"):
        run(Clustering(labels=["kinds"]), test, embeddings(image=E[kind], text=E[kind]), labels=label)
    with pytest.raises(UserError, match="needs a label of few classes"):
        run(Clustering(), split(12), embeddings(image=E[kind], text=E[kind]))
