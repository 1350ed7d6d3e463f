"""Models on an accelerator: everything that they make is there, in kinds of numbers that it has, and as on a CPU."""

import pytest
import torch
from torch.utils._pytree import tree_leaves

from hf_latent import (
    LatentALBEFForImageTextRetrieval,
    LatentALBEFForQuestionAnswering,
)
from hf_latent.metrics.arrays import matrix
from hf_latent.models.feature_queue import FeatureQueue
from hf_latent.models.latent_converter import grid_positions
from tests.fake_device import FakeDevice, OnDevice, put, put_model
from tests.models.small import small_albef, small_batch, small_clip, small_model, small_pairs

FLOAT = torch.float32
ALL = ("image", "series", "table", "features")


def of_albef(cls, ask):
    return lambda: (small_albef(cls=cls, dtype=FLOAT), small_pairs(dtype=FLOAT), ask)


def fused(model, batch):
    return model(**batch)


def reranked(model, batch):
    output, encoded = model.embed({"pixel_values": batch.pop("pixel_values")}, batch)
    tokens = model.fusion.image_tokens(encoded["image"]), encoded["text"].tokens, batch["attention_mask"]
    return model.rerank(model.score(output).embeds["image"] @ model.score(output).embeds["text"].T, *tokens, k=3)


def ranked(model, batch):
    answers = torch.tensor([[2, 5, 3, 0], [2, 6, 7, 3]])
    return model.rank_answers(**batch, answer_ids=put(answers), answer_mask=put((answers > 0).long()))


def mapped(model, batch):
    return model.grounding_maps(**batch)


CASES = {
    "comm": lambda: (small_model(ALL, dtype=FLOAT), small_batch(ALL, dtype=FLOAT), lambda m, b: m(modalities=b)),
    "comm of means": lambda: (
        small_model(ALL, dtype=FLOAT, fusion_pooling="mean", fusion_layers=2),
        small_batch(ALL, dtype=FLOAT),
        lambda m, b: m(modalities=b),
    ),
    "comm of concatenated means": lambda: (
        small_model(ALL, dtype=FLOAT, fusion="mlp"),
        small_batch(ALL, dtype=FLOAT),
        lambda m, b: m(modalities=b),
    ),
    "clip": lambda: (small_clip(dtype=FLOAT), small_pairs(dtype=FLOAT), fused),
    "retrieval": of_albef(LatentALBEFForImageTextRetrieval, fused),
    "rerank": of_albef(LatentALBEFForImageTextRetrieval, reranked),
    "maps": of_albef(LatentALBEFForImageTextRetrieval, mapped),
    "answers": of_albef(LatentALBEFForQuestionAnswering, ranked),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_models_stay_on_the_device(case):
    model, batch, ask = case()
    put_model(model.eval())
    with FakeDevice() as found, torch.no_grad():
        output = ask(model, put(batch))
    assert all(isinstance(rows, OnDevice) for rows in tree_leaves(output) if isinstance(rows, torch.Tensor))
    assert not found.mixed and not found.wide


def test_positions_are_those_of_a_cpu():
    """MPS has no float64."""
    with FakeDevice() as found:
        there = grid_positions(3, 5, 16, like=put(torch.ones(2)))
    assert isinstance(there, OnDevice) and not found.wide
    assert torch.equal(there.data_on_cpu, grid_positions(3, 5, 16, like=torch.ones(2)))


def test_a_queue_is_not_asked_how_many_it_holds():
    queue = put_model(FeatureQueue(5, 1, ["image"]))
    assert len(queue.embeddings().ids) == 0
    with FakeDevice() as found:
        for held in (3, 5, 5):
            queue.push({"image": put(torch.zeros(3, 1))}, None)
            assert len(queue.embeddings().ids) == held
    assert not found.waits
    full = FeatureQueue(5, 1, ["image"])
    full.push({"image": torch.zeros(4, 1)}, None)
    fresh = FeatureQueue(5, 1, ["image"])
    assert len(fresh.embeddings().ids) == 0
    fresh.load_state_dict(full.state_dict())
    assert len(fresh.embeddings().ids) == 4
    fresh.count = torch.tensor(2)
    assert len(fresh.embeddings().ids) == 2
    with torch.inference_mode():
        fresh.count = torch.tensor(1)
        assert len(fresh.embeddings().ids) == 1
        fresh.push({"image": torch.zeros(2, 1)}, None)
        assert len(fresh.embeddings().ids) == 3


def test_metrics_take_what_is_on_the_device():
    with FakeDevice() as found:
        rows = matrix(put(torch.ones(3, 2)), "rows")
    assert rows.dtype == torch.float64 and not isinstance(rows, OnDevice) and not found.wide
