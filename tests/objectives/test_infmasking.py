"""InfMasking: the loss at published values, the masks, and where they are drawn."""

import pytest
import torch

from hf_latent import CoMMConfig, Embeddings, build_objective
from hf_latent.losses.masked import masked_info_nce
from hf_latent.models.objective_modules import MaskToken
from hf_latent.pretrained import pretrained_options
from hf_latent.training.modality_dropout import row_seeds
from tests.models.small import small_batch, small_model
from tests.regularizers.test_published_values import sines

NAMES = ("image", "series")
SPEC = {"encoder": "features", "input_dim": 3}


def objective(**options):
    return build_objective(CoMMConfig(modalities={"a": SPEC, "b": SPEC}, objective="infmasking", **options))


def test_golden_values():
    u = [sines(number) for number in range(13)]
    z = Embeddings(
        embeds={"a": u[1], "b": u[2]},
        fused=u[3],
        augmented={"a": u[4], "b": u[5]},
        fused_augmented=u[6],
        fused_masked=torch.stack(u[7:10], dim=1),
        fused_masked_augmented=torch.stack(u[10:13], dim=1),
    )
    loss, terms = objective()(z, 10.0, progress=0.1)  # the published epoch 9 of 100
    expected = {"masked": 6.761034, "masked_augmented": 6.912930, "a": 2.851396, "b": 12.145080, "joint": 15.341661}
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(expected, abs=1e-6)
    assert loss == pytest.approx(8.802420, abs=1e-6)
    assert objective(loss_weights=[1, 1, 5])(z, 10.0, progress=0.1)[0] == pytest.approx(21.075749, abs=1e-6)
    heavy = objective(objective_options={"masked_weight": 2.0, "variance_weight": 0.5})
    masked = [
        masked_info_nce(u[first], torch.stack(u[k : k + 3], dim=1), 10.0, 0.1).item() for first, k in ((3, 7), (6, 10))
    ]
    assert heavy(z, 10.0, progress=0.2)[0] == pytest.approx((2 * sum(masked) + 30.338137) / 5, abs=1e-6)
    z.fused_masked = z.fused_masked_augmented = None  # as in evaluation
    assert objective()(z, 10.0)[0] == pytest.approx(30.338137 / 3, abs=1e-6)


def test_shares_of_masked_tokens():
    token = MaskToken(2, copies=400, ratio=0.8)
    token.weight.data.fill_(9.0)
    tokens = [torch.zeros(3, 10, 2), torch.zeros(3, 1, 2), torch.zeros(3, 10, 2)]
    real = torch.arange(10) < torch.tensor([[10], [5], [0]])
    seeds = torch.tensor([5, 6, 7])
    found = [(own[..., 0] == 9).unflatten(0, (3, 400)) for own in token(tokens, [None, None, real], (0, 1, 2), seeds)]
    assert (found[0].sum(-1) == 8).all() and found[1].all()
    assert found[2].sum(-1).unique(dim=1).tolist() == [[8], [4], [0]] and not (found[2] & ~real[:, None]).any()
    assert found[0].double().mean(1).flatten().tolist() == pytest.approx([0.8] * 30, abs=0.08)
    assert (found[0][0] != found[0][1]).any() and (found[0][0] != found[2][0]).any()
    many = MaskToken(1, copies=1, ratio=0.35)([torch.ones(1, 180, 1)], [None], (0,), seeds[:1])[0]
    assert (many == 0).sum() == 63  # 0.65 * 180 is 117, but for rounding
    # A row depends on its seed and its real tokens alone: not on its neighbours, its place, or padding.
    padded = [torch.zeros(2, 14, 2), torch.zeros(2, 1, 2), torch.zeros(2, 12, 2)]
    masks = [torch.arange(14).expand(2, 14) < 10, None, torch.arange(12) < torch.tensor([[0], [5]])]
    again = [(own[..., 0] == 9).unflatten(0, (2, 400)) for own in token(padded, masks, (0, 1, 2), seeds[[2, 1]])]
    for own, wanted in zip(again, found, strict=True):
        assert torch.equal(own[..., : wanted.shape[-1]], wanted[[2, 1]])


def test_masks_of_training_follow_their_seeds():
    model = small_model(NAMES, objective="infmasking", objective_options={"copies": 3, "mask_ratio": 0.5})
    first, second = (small_batch(NAMES, seed=seed) for seed in (1, 2))
    seeds = row_seeds(seed=3, position=12, global_rows=6)
    embed = lambda **told: model(first, second, return_loss=False, **told)  # noqa: E731
    z, again = embed(mask_seeds=seeds), embed(mask_seeds=seeds)
    assert z.fused_masked.shape == z.fused_masked_augmented.shape == (6, 3, 16)
    assert torch.equal(z.fused_masked, again.fused_masked)
    assert not torch.allclose(z.fused_masked, embed(mask_seeds=seeds + 1).fused_masked)
    assert not torch.allclose(z.fused_masked[:, 0], z.fused_masked[:, 1])
    assert torch.equal(row_seeds(seed=3, position=12, global_rows=6, rows=slice(2, 4)), seeds[2:4])
    torch.manual_seed(0)
    drawn = embed().fused_masked
    assert not torch.allclose(drawn, embed().fused_masked)
    # Both views of one input have masks of their own.
    same = model(first, first, mask_seeds=seeds, return_loss=False)
    torch.testing.assert_close(same.fused, same.fused_augmented)
    assert not torch.allclose(same.fused_masked, same.fused_masked_augmented)
    model(first, second).loss.backward()
    assert model.objective_modules["mask_token"].weight.grad.norm() > 0
    assert model.eval()(first, second).fused_masked is None


def test_the_token_is_kept_and_heads_do_without(tmp_path):
    from hf_latent import CoMMForSequenceClassification

    model = small_model(NAMES, objective="infmasking", objective_options={"copies": 2})
    weight = model.objective_modules["mask_token"].weight
    assert 0.01 < weight.std() < 0.04
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path, dtype=torch.float64)
    assert torch.equal(again.objective_modules["mask_token"].weight, weight)
    assert not len(CoMMForSequenceClassification.from_pretrained(tmp_path, num_labels=2).objective_modules)


def test_options_are_of_their_objective(tmp_path, monkeypatch):
    small_model(NAMES, objective="infmasking", objective_options={"copies": 2}).save_pretrained(tmp_path)
    for name, options in (("infmasking", {"copies": 2}), ("supcon", None)):
        found = pretrained_options(str(tmp_path), {"objective": name}, CoMMConfig)
        assert found.get("objective_options") == options
    # Code that was loaded from the Hub knows no objective, and loads all the same.
    monkeypatch.setattr("hf_latent.models.configuration_base.from_library", lambda name: None)
    assert CoMMConfig.from_pretrained(tmp_path).objective_options == {"copies": 2}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"copies": 0}, "copies=0: write a whole number of at least 1"),
        ({"mask_ratio": 1.5}, "mask_ratio=1.5: write a number above 0, at most 1"),
        ({"variance_weight": -1}, "variance_weight=-1: write a number of 0 or more"),
    ],
)
def test_mistakes_are_told(options, words):
    with pytest.raises(ValueError, match=f"objective_options.{words}"):
        objective(objective_options=options)
