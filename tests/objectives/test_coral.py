"""COrAL: the loss at published values, the second encoders, the masks, and what is kept."""

import copy

import pytest
import torch
import torch.nn.functional as F

from hf_latent import CoMMConfig, CoMMModel, Embeddings, build_objective
from hf_latent.errors import UserError
from hf_latent.models.objective_modules import TokenMask
from hf_latent.models.unique_path import AttentionPooling
from hf_latent.pretrained import load_pretrained_model, pretrained_options
from hf_latent.training.lora import Lora, add_lora
from hf_latent.training.modality_dropout import row_seeds
from tests.models.small import ENCODERS, small_batch, small_bert, small_model
from tests.objectives.test_all_modalities import effective_rank
from tests.regularizers.test_published_values import sines

NAMES = ("image", "series")
SPEC = {"encoder": "features", "input_dim": 3}


def objective(modalities=("a", "b"), **options):
    config = {"modalities": {name: SPEC for name in modalities}, "objective": "coral", **options}
    return build_objective(CoMMConfig(**config))


def coral(names=NAMES, seed=0, **options):
    return small_model(names, seed, objective="coral", **options)


def test_golden_values():
    u = [sines(number) for number in range(7)]
    z = Embeddings(
        fused=u[1],
        fused_augmented=u[2],
        independent={"a": u[3], "b": u[5]},
        independent_augmented={"a": u[4], "b": u[6]},
    )
    loss, terms = objective()(z, 10.0)
    assert loss == pytest.approx(9.077719, abs=1e-6)
    assert set(terms) == {"joint", "unique_a", "unique_b", "orthogonality"}
    assert terms["orthogonality"] == pytest.approx(1.904848, abs=1e-6)
    assert sum(terms.values()) - terms["orthogonality"] == pytest.approx(7.172871, abs=1e-6)
    heavy = objective(objective_options={"weight": 10.0})
    assert heavy(z, 10.0)[0] == pytest.approx(26.221354, abs=1e-6)
    parts = [heavy(z, 10.0, rows=rows)[0] for rows in (slice(0, 2), slice(2, 4))]
    assert sum(parts) / 2 == pytest.approx(26.221354, abs=1e-6)


def plain_unique(model, name, inputs):
    """A second encoder, its perceptron and its pooling, row by row and token by token."""
    paths = model.unique
    output = paths.encoders[name](**inputs)
    tokens = paths.converters[name](output)
    first, norm, _, last = paths.perceptrons[name]
    rows = []
    for i, row in enumerate(tokens):
        hidden = []
        for j, token in enumerate(row):
            if output.attention_mask is None or output.attention_mask[i, j]:
                wide = first(token)
                middle = (wide - wide.mean()) / (wide.var(unbiased=False) + norm.eps).sqrt()
                hidden.append(last(F.gelu(middle * norm.weight + norm.bias)))
        weights = [(token @ paths.pooling[name].query).exp() for token in hidden]
        rows.append(sum(w * token for w, token in zip(weights, hidden, strict=True)) / sum(weights))
    return torch.stack(rows)


def test_the_unique_path_and_its_gradient_equal_plain_loops():
    model = coral()
    first, second = small_batch(NAMES, seed=1), small_batch(NAMES, seed=2)
    z = model(first, second, return_loss=False)
    parameters = list(model.unique.parameters())
    total, plain = 0.0, 0.0
    for name in NAMES:
        for found, view in ((z.independent, first), (z.independent_augmented, second)):
            wanted = plain_unique(model, name, view[name])
            torch.testing.assert_close(found[name], wanted, rtol=1e-10, atol=1e-12)
            total, plain = total + found[name].square().sum(), plain + wanted.square().sum()
    assert z.independent["image"].shape == (6, 8)
    found, wanted = (torch.autograd.grad(value, parameters) for value in (total, plain))
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


def test_pooling_leaves_padding_out():
    pool, tokens = AttentionPooling(3), torch.randn(2, 4, 3)
    pool.initialize()
    mask = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0]])
    found = pool(tokens, mask)
    torch.testing.assert_close(found[0], pool(tokens[:1, :2])[0])
    assert found.isfinite().all()


def test_masks_are_zeros_of_one_modality_in_each_view():
    tokens = [torch.ones(800, 5, 2), torch.ones(800, 7, 2), torch.ones(800, 3, 2)]
    seeds = torch.arange(400)
    found = TokenMask(0.75)(tokens, (0, 1, 2), seeds)
    assert (found[0][400:] == 1).all() and (found[1][:400] == 1).all() and (found[2] == 1).all()
    for masked in (found[0][:400], found[1][400:]):
        assert torch.equal(masked[..., 0], masked[..., 1])
        assert (masked == 0).double().mean((0, 2)).tolist() == pytest.approx([0.75] * masked.shape[1], abs=0.07)
    assert not torch.equal(found[0][:400, :5], found[1][400:, :5])
    assert TokenMask(1.0)(tokens, (0, 1, 2), seeds)[0][:400].abs().sum() == 0
    assert all(map(torch.equal, TokenMask(0.0)(tokens, (0, 1, 2), seeds), tokens))
    # A row depends on its seed alone: not on its neighbours, nor on padding. Here one view of the second modality.
    longer = [torch.ones(3, 9, 2)]
    assert torch.equal(TokenMask(0.75)(longer, (0,), seeds[[7, 3, 5]])[0][:, :5], found[0][[7, 3, 5]])
    assert (TokenMask(0.75)(longer, (1,), seeds[:3])[0] == 1).all()


def test_masks_of_training_follow_their_seeds():
    model, batch = coral().train(), small_batch(NAMES, seed=1)
    seeds = row_seeds(seed=3, position=12, global_rows=6)
    embed = lambda **told: model(batch, batch, return_loss=False, **told)  # noqa: E731
    z, again = embed(mask_seeds=seeds), embed(mask_seeds=seeds)
    assert torch.equal(z.fused, again.fused)
    assert not torch.allclose(z.fused, embed(mask_seeds=seeds + 1).fused)
    assert not torch.allclose(z.fused, z.fused_augmented)
    assert not torch.allclose(z.embeds["image"], z.augmented["image"])
    # The unique path is not masked, nor is anything in evaluation.
    torch.testing.assert_close(z.independent, z.independent_augmented)
    model.eval()
    whole = embed(mask_seeds=seeds)
    torch.testing.assert_close(whole.fused, whole.fused_augmented)
    torch.testing.assert_close(whole.fused, model.get_fused_features(batch))
    # What is zero is seen all the same.
    tokens, masks = model._tokens(batch, None, NAMES)
    tokens = [torch.zeros_like(tokens[0]), tokens[1]]
    with torch.no_grad():
        model.train().objective_modules["token_mask"].ratio = 1.0
        everything = model(batch, return_loss=False).fused
        torch.testing.assert_close(everything, model._join(tokens, masks, NAMES, [[0, 1]])[:, 0])
        assert not torch.allclose(everything, model.get_fused_features({"series": batch["series"]}))


def test_second_encoders_begin_as_the_first_and_are_trained_apart():
    model = coral()
    for own, other in ((model.unique.encoders, model.encoders), (model.unique.converters, model.converters)):
        for mine, theirs in zip(own.parameters(), other.parameters(), strict=True):
            assert torch.equal(mine, theirs) and mine is not theirs
    model(small_batch(NAMES, seed=1), small_batch(NAMES, seed=2)).loss.backward()
    unique, shared = model.unique.encoders["image"], model.encoders["image"]
    for mine, theirs in zip(unique.parameters(), shared.parameters(), strict=True):
        assert mine.grad.norm() > 0 and not torch.allclose(mine.grad, theirs.grad)
    # Nothing is left without a gradient: DistributedDataParallel would wait for it.
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert model.score(model(small_batch(NAMES), return_loss=False)).embeds is None


def test_features_are_what_is_shared_and_unique():
    model, batch = coral().eval(), small_batch(NAMES)
    z = model(batch, return_loss=False)
    found = model.objective.features(z)
    assert found.shape == (6, 32)
    torch.testing.assert_close(found, torch.cat([z.fused, z.independent["image"], z.independent["series"]], dim=1))
    z.present = {"image": torch.arange(6) > 1, "series": torch.ones(6, dtype=torch.bool)}
    lacking = model.objective.features(z)
    assert not lacking[:2, 16:24].any() and torch.equal(lacking[2:], found[2:])
    alone = model({"series": batch["series"]}, return_loss=False)
    assert list(alone.independent) == ["series"]


@pytest.mark.parametrize("regularizers", [{}, {"alignment": {"weight": 1.0}}])
def test_a_placeholder_changes_nothing(regularizers):
    model = coral(regularizers=regularizers)
    first, second = small_batch(NAMES, seed=1), small_batch(NAMES, seed=2)
    present = {"image": torch.tensor([1, 1, 0, 1, 0, 1]).bool(), "series": torch.tensor([1, 0, 1, 1, 1, 1]).bool()}
    found = []
    for value in (1.0, 50.0):
        for view in (first, second):
            pixels = view["image"]["pixel_values"]
            pixels[~present["image"]] = value
        model.zero_grad()
        loss = model(first, second, present=present, mask_seeds=torch.arange(6)).loss
        loss.backward()
        found.append(torch.cat([loss.reshape(1).detach(), *(p.grad.flatten() for p in model.parameters())]))
    assert torch.equal(*found) and found[0].isfinite().all()


def test_saved_and_loaded_bitwise_and_other_objectives_of_the_same_folder(tmp_path):
    model, batch = coral(dtype=torch.float32).eval(), small_batch(NAMES, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.unique.parameters():
            parameter.add_(0.1)
    model.save_pretrained(tmp_path / "coral")
    again = CoMMModel.from_pretrained(tmp_path / "coral").eval()
    assert again.config.objective == "coral"
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    ours, theirs = (m.objective.features(m(batch, return_loss=False)) for m in (model, again))
    assert torch.equal(ours, theirs)
    # As CoMM the unique paths are left behind.
    plain, report = CoMMModel.from_pretrained(
        tmp_path / "coral", objective="comm", objective_options={}, output_loading_info=True
    )
    assert not report["unexpected_keys"] and not report["missing_keys"] and plain.unique is None
    assert torch.equal(plain.eval().get_fused_features(batch), model.get_fused_features(batch))
    # A CoMM that becomes COrAL gives both paths its encoders.
    comm = small_model(NAMES, 3, dtype=torch.float32)
    comm.save_pretrained(tmp_path / "comm")
    source = str(tmp_path / "comm")
    options = pretrained_options(source, {"objective": "coral", "objective_options": {"weight": 2.0}}, CoMMConfig)
    begun = load_pretrained_model(CoMMModel, source, CoMMConfig(**options))
    assert begun.objective.options.weight == 2
    for own in (begun.encoders, begun.unique.encoders):
        for mine, theirs in zip(own.parameters(), comm.encoders.parameters(), strict=True):
            assert torch.equal(mine, theirs)
    assert begun.unique.pooling["image"].query.std() > 0.2 and torch.isfinite(begun(batch, batch).loss)


def test_frozen_and_pretrained_encoders(tmp_path):
    specs = {"image": {**ENCODERS["image"], "frozen": True}, "series": ENCODERS["series"]}
    model = coral(modalities=specs).train()
    assert not model.unique.encoders["image"].training and model.unique.encoders["series"].training
    assert not any(p.requires_grad for p in model.unique.encoders["image"].parameters())
    assert all(p.requires_grad for p in model.unique.converters["image"].parameters())
    changed = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in changed.encoders.parameters():
            parameter.add_(1.0)
    changed.load_pretrained()  # of encoders that name no checkpoint
    for own, other in zip(changed.unique.encoders.parameters(), changed.encoders.parameters(), strict=True):
        assert torch.equal(own, other)
    text = {"encoder": "auto", "config": small_bert(layers=1)}
    words = coral(modalities={"text": text, "image": ENCODERS["image"]})
    words.resize_token_embeddings(50)
    tokens = {"text": {"input_ids": torch.full((2, 3), 45)}, **small_batch(("image",), rows=2)}
    assert words(tokens, return_loss=False).independent["text"].isfinite().all()
    with pytest.raises(UserError, match="lora: the objective coral trains a second encoder"):
        add_lora(words, Lora())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"objective_options": {"weight": -1}}, "objective_options.weight=-1: write a number of 0 or more"),
        ({"objective_options": {"mask_ratio": 1.5}}, "objective_options.mask_ratio=1.5: write a number from 0 to 1"),
        ({"modalities": ("a", "b", "c")}, "objective coral: it masks .* there are 3: give two modalities"),
        ({"modalities": ("a",)}, "there are 1: give two modalities"),
        ({"regularizers": {"feature_separation": {}}}, "leave out the regularizers that need the head independent"),
    ],
)
def test_mistakes_are_told(options, words):
    with pytest.raises(ValueError, match=words):
        objective(**options)


@pytest.mark.slow
def test_random_rows_are_learned_without_a_collapse():
    model = coral(dtype=torch.float32)
    first, second = (small_batch(NAMES, rows=16, seed=seed, dtype=torch.float32) for seed in (1, 2))
    for name, view in second.items():  # two noisy views of one row
        key = "pixel_values" if name == "image" else "values"
        view[key] = first[name][key] + 0.3 * view[key]
    second["series"]["attention_mask"] = first["series"]["attention_mask"]
    optimizer, losses, angles = torch.optim.AdamW(model.parameters(), lr=3e-3), [], []
    for step in range(80):
        z = model(first, second, mask_seeds=torch.arange(16) + 16 * step, return_loss=False)
        loss, terms = model.objective_of(model.score(z))
        losses.append(loss.item())
        angles.append(terms["orthogonality"].item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5]) and sum(angles[-5:]) < 0.5 * sum(angles[:5])
    z = model.eval()(first, return_loss=False)
    for vectors in (z.fused, *z.independent.values()):
        assert effective_rank(F.normalize(vectors, dim=1)) > 2
