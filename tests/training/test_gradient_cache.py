"""Chunk by chunk gives the gradient of the whole batch: every objective and regularizer, dropout, accumulation."""

import pytest
import torch
import torch.nn.functional as F

from hf_latent.errors import UserError
from hf_latent.models.embeddings import Embeddings
from hf_latent.training.gradient_cache import cached_backward, random_state, set_random_state
from tests.training.runs import build_clip_trainer, build_trainer, curve
from tests.training.test_trainer import torchrun

pytestmark = pytest.mark.filterwarnings("ignore:information_bottleneck with a temperature")


def assert_same_curve(one, other, rel=1e-9):
    assert len(one) == len(other) > 0
    for ours, theirs in zip(one, other, strict=True):
        assert ours.keys() == theirs.keys()
        for key, value in ours.items():
            assert theirs[key] == pytest.approx(value, rel=rel), (ours["step"], key)


@pytest.mark.parametrize("chunk", [1, 5, 12])
@pytest.mark.parametrize("build", ["clip", "comm", "cross_self"])
def test_the_curve_is_that_of_the_whole_batch(tmp_path, build, chunk):
    def run(**options):
        make = build_clip_trainer if build == "clip" else build_trainer
        more = {} if build == "clip" else {"objective": build}
        trainer = make(tmp_path, double=True, max_steps=4, **more, **options)
        trainer.train()
        return trainer

    plain, cached = run(), run(gradient_cache_chunk_size=chunk)
    assert_same_curve(curve(plain), curve(cached))
    for (name, one), other in zip(plain.model.named_parameters(), cached.model.parameters(), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-7, atol=1e-9, msg=name)


def test_accumulation_is_that_of_whole_batches(tmp_path):
    options = {"double": True, "max_steps": 3, "gradient_accumulation_steps": 2}
    with pytest.warns(UserWarning, match="adds no negatives: .* gradient_cache_chunk_size"):
        plain, cached = (
            build_clip_trainer(tmp_path, **options, **more) for more in ({}, {"gradient_cache_chunk_size": 5})
        )
    for trainer in (plain, cached):
        trainer.train()
    assert_same_curve(curve(plain), curve(cached))


@pytest.mark.parametrize("clip", [True, False])
def test_two_processes_with_chunks_give_the_curve_of_one(tmp_path, clip):
    trainer = (build_clip_trainer if clip else build_trainer)(tmp_path / "one", double=True)
    trainer.train()
    (tmp_path / "two").mkdir()
    options = {"double": True, "gradient_cache_chunk_size": 4, **({"clip": True} if clip else {})}
    assert_same_curve(curve(trainer), torchrun(tmp_path / "two", 2, options)["curve"], rel=1e-6)


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
