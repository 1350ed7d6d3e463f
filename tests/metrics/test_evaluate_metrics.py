"""Retrieval, zero-shot and geometry as `evaluate.Metric`; the probes are in test_interactions.py."""

import numpy as np
import pytest

from hf_latent.metrics import geometry, retrieval, zero_shot

pytest.importorskip("evaluate")


@pytest.fixture
def embeddings():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(12, 6))
    image_of_text = np.repeat(np.arange(12), 3)
    texts = images[image_of_text] + rng.normal(size=(36, 6))
    return images.astype(np.float32), texts.astype(np.float32), image_of_text


def test_retrieval(embeddings, tmp_path):
    from hf_latent.metrics.evaluate_metrics import RetrievalMetric

    images, texts, image_of_text = embeddings
    metric = RetrievalMetric(cache_dir=str(tmp_path))
    for rows in (slice(0, 20), slice(20, None)):  # the kinds may be mixed in any order
        metric.add_batch(predictions=texts[rows], references=image_of_text[rows], modality=["text"] * len(texts[rows]))
        half = slice(0, 6) if rows.start == 0 else slice(6, None)
        metric.add_batch(predictions=images[half], references=np.arange(12)[half], modality=["image"] * 6)
    assert metric.compute() == retrieval(images, texts, text_ids=image_of_text)

    metric = RetrievalMetric(names=("scan", "report"), k=(2,), cache_dir=str(tmp_path))
    vectors, ids = np.concatenate([images, images]), np.tile(np.arange(12), 2)
    got = metric.compute(predictions=vectors, references=ids, modality=["scan"] * 12 + ["report"] * 12)
    assert got == retrieval(images, images, k=(2,), names=("scan", "report"))
    with pytest.raises(ValueError, match=r"modalities \['image'\]; this metric has \['scan', 'report'\]"):
        metric.compute(predictions=vectors, references=ids, modality=["scan"] * 12 + ["image"] * 12)
    with pytest.raises(ValueError, match="No row holds the modality 'report'"):
        metric.compute(predictions=vectors, references=ids, modality=["scan"] * 24)


def test_zero_shot(embeddings, tmp_path):
    from hf_latent.metrics.evaluate_metrics import ZeroShotMetric

    images, texts, image_of_text = embeddings
    metric = ZeroShotMetric(images, k=(1, 2), cache_dir=str(tmp_path))
    got = metric.compute(predictions=texts, references=image_of_text)
    assert got == zero_shot(texts, images, image_of_text, k=(1, 2)) and 0 < got["top1"] < got["top2"]


def test_geometry(embeddings, tmp_path):
    from hf_latent.metrics.evaluate_metrics import GeometryMetric

    images, texts, _ = embeddings
    columns = {"image": images, "text": texts[::3], "audio": texts[1::3]}
    metric = GeometryMetric(list(columns), k=3, cache_dir=str(tmp_path))
    for rows in (slice(0, 5), slice(5, None)):
        metric.add_batch(**{name: x[rows] for name, x in columns.items()})
    assert metric.compute() == geometry(columns, k=3)
    pair = GeometryMetric(k=3, cache_dir=str(tmp_path)).compute(image=images, text=texts[::3])
    assert pair == geometry({"image": images, "text": texts[::3]}, k=3)
