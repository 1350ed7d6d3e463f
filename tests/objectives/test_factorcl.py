"""FactorCL with linear critics: the bounds at published values, and which terms train what."""

import pytest
import torch
import torch.nn.functional as F

from hf_latent.losses.mutual_information import club_bound, info_nce_bound
from hf_latent.losses.rows import TermRows
from tests.models.small import small_batch, small_model
from tests.regularizers.test_published_values import sines

NAMES = ("image", "series")


def test_golden_values():
    u1, u2 = sines(1), sines(2)
    assert info_nce_bound(u1, u2, 2.0) == pytest.approx(0.348750, abs=1e-6)
    assert club_bound(u1, u2, 2.0) == pytest.approx(1.108521, abs=1e-6)
    parts = [club_bound(u1, u2, 2.0, rows=rows) for rows in (slice(0, 2), slice(2, 4))]
    assert sum(parts) / 2 == pytest.approx(1.108521, abs=1e-6)
    nothing = TermRows.of(torch.zeros(4, dtype=torch.bool))
    assert all(bound(u1[:0], u2[:0], 2.0, rows=nothing) == 0 for bound in (info_nce_bound, club_bound))


def model_and_embeddings():
    model = small_model(NAMES, objective="factorcl_linear")
    first, second = (small_batch(NAMES, seed=seed) for seed in (1, 2))
    return model, model.score(model(first, second, return_loss=False))


def test_a_critic_of_club_is_trained_by_info_nce_alone():
    model, z = model_and_embeddings()
    modules = model.objective_modules
    loss, _ = model.objective_of(z)
    critic = modules["critic_upper"].weight
    found = torch.autograd.grad(loss, critic, retain_graph=True)[0]
    heads = [F.normalize(modules["upper"][name](z.embeds[name]), dim=1) for name in NAMES]
    fit = -info_nce_bound(heads[0].detach(), F.linear(heads[1].detach(), critic), 10.0)
    torch.testing.assert_close(found, torch.autograd.grad(fit, critic)[0])
    lowered = club_bound(heads[0], F.linear(heads[1], critic.detach()), 10.0)
    weight = modules["upper"]["image"].weight
    wanted = torch.autograd.grad(lowered, weight)[0]
    torch.testing.assert_close(torch.autograd.grad(loss, weight)[0], wanted)


def test_terms_and_what_is_kept(tmp_path):
    model, z = model_and_embeddings()
    loss, terms = model.objective_of(z)
    assert set(terms) == {"lower", "lower_given", "upper", "upper_given", "own", "critics"}
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path, dtype=torch.float64)
    torch.testing.assert_close(again.objective_of(z)[0], loss)
    with pytest.raises(ValueError, match="factorcl_linear: it is of what modalities share: give two"):
        _ = small_model(NAMES[:1], objective="factorcl_linear").objective
