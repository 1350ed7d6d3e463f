"""Chunk by chunk gives the gradient of the whole batch: every objective and regularizer, dropout, accumulation."""

import pytest
import torch
import torch.nn.functional as F

from hf_latent.errors import UserError
from hf_latent.models.embeddings import Embeddings
from hf_latent.training.gradient_cache import cached_backward, random_state, set_random_state
from tests.training.runs import build, build_clip_trainer, build_trainer, curve, run

pytestmark = pytest.mark.filterwarnings("ignore:information_bottleneck with a temperature")


def assert_same_curve(one, other, rel=1e-9):
    assert len(one) == len(other) > 0
    for ours, theirs in zip(one, other, strict=True):
        assert ours.keys() == theirs.keys()
        for key, value in ours.items():
            assert theirs[key] == pytest.approx(value, rel=rel), (ours["step"], key)


@pytest.mark.parametrize("chunk", [1, 5, 12])
@pytest.mark.parametrize("clip", [True, False])
def test_weights_end_as_those_of_the_whole_batch(tmp_path, clip, chunk):
    trainers = [build(tmp_path, clip, double=True, max_steps=4, gradient_cache_chunk_size=c) for c in (None, chunk)]
    for trainer in trainers:
        trainer.train()
    plain, cached = trainers
    for (name, one), other in zip(plain.model.named_parameters(), cached.model.parameters(), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-7, atol=1e-9, msg=name)


@pytest.mark.parametrize("clip", [True, False])
def test_bf16_in_chunks_is_as_near_as_bf16_comes(tmp_path, clip):
    exact, plain, cached = (
        run(tmp_path, {"clip": clip, "max_steps": 1, **more})["gradient"]
        for more in ({}, {"bf16": True}, {"bf16": True, "gradient_cache_chunk_size": 5})
    )
    of_bf16 = (plain - exact).norm()
    assert 0 < of_bf16 < 0.1 * exact.norm()
    assert (cached - plain).norm() < of_bf16


def test_adapters_have_the_gradient_of_the_whole_batch(tmp_path):
    options = {"clip": True, "double": True, "max_steps": 3, "lora": {"rank": 2}}
    plain, cached = (run(tmp_path, {**options, **more}) for more in ({}, {"gradient_cache_chunk_size": 5}))
    assert_same_curve(plain["curve"], cached["curve"])
    torch.testing.assert_close(cached["gradient"], plain["gradient"], rtol=1e-9, atol=1e-12)


def test_accumulation_is_that_of_whole_batches(tmp_path):
    options = {"double": True, "max_steps": 3, "gradient_accumulation_steps": 2}
    with pytest.warns(UserWarning, match="adds no negatives: .* gradient_cache_chunk_size"):
        plain, cached = (
            build_clip_trainer(tmp_path, **options, **more) for more in ({}, {"gradient_cache_chunk_size": 5})
        )
    for trainer in (plain, cached):
        trainer.train()
    assert_same_curve(curve(plain), curve(cached))


@pytest.mark.parametrize("replay", [True, False])
def test_dropout_is_replayed(monkeypatch, replay):
    """Against the same chunks kept in one graph; without the replay the gradients differ, so the test can fail."""
    torch.manual_seed(0)
    tower = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 4)).double()
    inputs = torch.randn(10, 6, dtype=torch.float64).split(4)

    def chunk(rows):
        return Embeddings(embeds={"a": tower(rows)})

    def score(embeddings):
        rows = F.normalize(embeddings.embeds["a"], dim=-1)
        return (rows @ rows.T).logsumexp(dim=1).mean()

    state = random_state(torch.device("cpu"))
    retained = score(Embeddings.join([chunk(rows) for rows in inputs]))
    expected = torch.autograd.grad(retained, list(tower.parameters()))
    set_random_state(state, torch.device("cpu"))
    if not replay:
        monkeypatch.setattr("hf_latent.training.gradient_cache.set_random_state", lambda *_: None)
    embed = [lambda rows=rows: chunk(rows) for rows in inputs]
    loss = cached_backward(embed, score, lambda value: value.backward(), torch.device("cpu"))
    torch.testing.assert_close(loss, retained.detach(), rtol=1e-12, atol=0)
    same = all(torch.allclose(p.grad, g, rtol=1e-10) for p, g in zip(tower.parameters(), expected, strict=True))
    assert same == replay


def test_batch_norm_is_refused_or_frozen(tmp_path):
    with pytest.raises(UserError, match="freeze_batch_norm: true"):
        build_trainer(tmp_path, norm="batch", gradient_cache_chunk_size=4)
    options = {"norm": "batch", "double": True, "max_steps": 3, "freeze_batch_norm": True}
    plain, cached = (build_trainer(tmp_path, **options, **more) for more in ({}, {"gradient_cache_chunk_size": 5}))
    before = {name: value.clone() for name, value in cached.model.named_buffers() if name.startswith("encoders")}
    for trainer in (plain, cached):
        trainer.train()
    assert_same_curve(curve(plain), curve(cached))
    assert all(torch.equal(dict(cached.model.named_buffers())[name], value) for name, value in before.items())
    with pytest.raises(UserError, match="write 1 or more"):
        build_trainer(tmp_path, gradient_cache_chunk_size=0)
