"""The sampler that keeps equal ids out of one batch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_latent.errors import UserError
from hf_latent.training.sampling import UniqueIdSampler
from tests.training.runs import RandomCaptions, build_clip_trainer, curve


def most_batches(counts, batch):
    """How many batches can be filled, by taking the most frequent ids first."""
    counts, batches = sorted(counts, reverse=True), 0
    while sum(count > 0 for count in counts) >= batch:
        counts = sorted([count - 1 for count in counts[:batch]] + counts[batch:], reverse=True)
        batches += 1
    return batches


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=3, max_size=12), st.integers(1, 3), st.integers(0, 3))
def test_batches_have_distinct_ids_and_are_as_many_as_can_be(counts, batch, epoch):
    ids = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)) * 7, counts))
    sampler = UniqueIdSampler(ids, batch, seed=3)
    sampler.set_epoch(epoch)
    rows = list(sampler)
    assert len(rows) == len(set(rows)) == len(sampler) == batch * most_batches(counts, batch)
    for start in range(0, len(rows), batch):
        assert len(set(ids[rows[start : start + batch]])) == batch
    assert list(sampler) == rows


def test_epochs_differ_and_every_row_has_its_turn():
    ids = [0] * 8 + list(range(1, 9))
    sampler = UniqueIdSampler(ids, 4, seed=0)
    orders = []
    for epoch in range(40):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
    assert len({tuple(order) for order in orders}) == 40
    assert set(np.concatenate(orders).tolist()) == set(range(16))


def test_too_few_ids_are_refused():
    with pytest.raises(UserError, match="3 distinct ids, fewer than one global batch of 4"):
        UniqueIdSampler([0, 1, 2, 2, 2], 4, seed=0)


@pytest.mark.filterwarnings("ignore:information_bottleneck with a temperature")
def test_the_trainer_uses_it_and_resumes_in_its_order(tmp_path):
    options = {"unique_ids": True, "max_steps": 6, "lr_scheduler_type": "constant", "learning_rate": 1e-3}
    whole = build_clip_trainer(tmp_path / "run", **options, save_strategy="steps", save_steps=4)
    seen = []
    original = whole._with_views
    whole._with_views = lambda inputs, training, **key: (
        seen.append(inputs["ids"].tolist()) or original(inputs, training, **key)
    )
    whole.train()
    assert len(seen) == 6 and all(len(set(ids)) == len(ids) for ids in seen)
    again = build_clip_trainer(tmp_path / "again", **options)
    again.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-4"))
    assert curve(again) == curve(whole)


@pytest.mark.filterwarnings("ignore:information_bottleneck with a temperature")
def test_rows_without_ids_are_named(tmp_path):
    trainer = build_clip_trainer(tmp_path, unique_ids=True)
    trainer.train_dataset = [RandomCaptions()[i] for i in range(24)]
    with pytest.raises(UserError, match="this training set has no ids"):
        trainer.train()
