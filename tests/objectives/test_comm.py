"""The objectives on scored embeddings."""

import pytest
import torch

from hf_latent import CoMMConfig, Embeddings, build_objective
from hf_latent.losses import nt_xent, symmetric_info_nce
from tests.models.small import small_batch, small_model

SPEC = {"a": {"encoder": "features", "input_dim": 3}, "b": {"encoder": "features", "input_dim": 3}}


def scored(rows=6):
    torch.manual_seed(0)
    unit = lambda: torch.nn.functional.normalize(torch.randn(rows, 4, dtype=torch.float64), dim=-1)  # noqa: E731
    return Embeddings(
        embeds={"a": unit(), "b": unit()},
        augmented={"a": unit(), "b": unit()},
        fused=unit(),
        fused_augmented=unit(),
        ids=torch.arange(rows),
    )


def objective(**options):
    return build_objective(CoMMConfig(modalities=SPEC, **options))


def test_comm_is_the_mean_of_its_terms():
    z = scored()
    single = {
        name: (nt_xent(z.embeds[name], z.fused_augmented, 10.0) + nt_xent(z.augmented[name], z.fused, 10.0)) / 2
        for name in "ab"
    }
    joint = nt_xent(z.fused, z.fused_augmented, 10.0)
    loss, terms = objective()(z, 10.0)
    torch.testing.assert_close(loss, (single["a"] + single["b"] + joint) / 3)
    assert set(terms) == {"a", "b", "joint"} and not terms["joint"].requires_grad
    torch.testing.assert_close(objective(loss_terms="joint")(z, 10.0)[0], joint)
    torch.testing.assert_close(objective(loss_terms="single")(z, 10.0)[0], (single["a"] + single["b"]) / 2)
    weighted, _ = objective(loss_weights=[1.0, 0.0, 2.0])(z, 10.0)
    torch.testing.assert_close(weighted, (single["a"] + 2 * joint) / 3)


def test_baselines():
    z = scored()
    cross = symmetric_info_nce(z.embeds["a"], z.embeds["b"], 10.0)
    torch.testing.assert_close(objective(objective="cross")(z, 10.0)[0], cross)
    own = sum(nt_xent(z.embeds[name], z.augmented[name], 10.0) for name in "ab") / 2
    torch.testing.assert_close(objective(objective="cross_self")(z, 10.0)[0], cross + own)
    assert "augmented" not in objective(objective="cross").requires
    assert objective(objective="cross").features(z).shape == (6, 8)
    assert objective().features(z) is z.fused


@pytest.mark.parametrize("name", ["comm", "cross", "cross_self"])
def test_the_mean_over_processes_is_the_whole_batch(name):
    z, goal = scored(), objective(objective=name)
    parts = torch.stack([goal(z, 10.0, rows=slice(i, i + 2))[0] for i in (0, 2, 4)])
    torch.testing.assert_close(parts.mean(), goal(z, 10.0)[0])


def test_missing_views_and_weights_are_named():
    z = scored()
    z.augmented = z.fused_augmented = None
    with pytest.raises(ValueError, match="CoMMObjective needs augmented, fused_augmented"):
        objective()(z, 10.0)
    with pytest.raises(ValueError, match="give 3 numbers, for a, b, joint"):
        objective(loss_weights=[1.0])


def test_the_loss_comes_where_the_batch_holds_what_the_objective_reads():
    names = ("image", "features")
    batch, second = small_batch(names, seed=1), small_batch(names, seed=2)
    assert small_model(names, objective="cross")(batch).loss is not None
    model = small_model(names)
    assert model(batch).loss is None and model(batch, second).loss is not None
    assert model({"image": batch["image"]}, {"image": second["image"]}).loss is None
