"""Objectives of all modalities together: what they read of a config, and what the cosine beside them mends."""

import pytest
import torch
import torch.nn.functional as F

from hf_latent import Embeddings, LatentCLIPConfig, LatentCLIPModel
from tests.losses.golden import golden
from tests.models.small import ENCODERS, small_clip, small_triples

NAMES = ("image", "text", "series")
A, B, C = map(golden, range(3))


def objective(name, modalities=3, anchor=None, **options):
    more = ["series", "table"][: modalities - 2]
    return small_clip(objective=name, objective_options=options, more=more, anchor=anchor).objective


def loss(own, *vectors, scale=10.0, ids=None):
    return own(Embeddings(embeds=dict(zip(NAMES, vectors, strict=True)), ids=ids), scale)[0]


def shape_objective(name, **options):
    return objective(name, label_smoothing=0.0, **options)


@pytest.mark.parametrize("name", ["gram", "triangle"])
def test_the_anchor_is_the_text_or_what_is_chosen(name):
    found = [loss(objective(name, anchor=anchor), A, B, C) for anchor in (None, *NAMES)]
    assert found[0] == found[2] and len({round(value.item(), 6) for value in found}) == 3
    towers = {"image": ENCODERS["image"], "series": ENCODERS["series"], "table": ENCODERS["table"]}
    config = LatentCLIPConfig(modalities=towers, objective=name, projection_dim=8)
    assert LatentCLIPModel(config).objective.anchor == "image"


@pytest.mark.parametrize("name", ["gram", "triangle"])
def test_the_cosine_sees_opposite_vectors_and_a_third_that_says_nothing(name):
    """Without it two modalities that agree are enough, and opposite ones have no volume either."""
    alone, third = C[:1].expand(4, -1), -A if name == "gram" else A
    assert loss(shape_objective(name), A, third, alone) < loss(shape_objective(name), A, B, C)
    both = shape_objective(name, cosine_weight=1.0)
    assert loss(both, A, third, alone) > loss(both, A, B, C)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("gram", {"in_modal": True}, "in_modal: the objective gram compares the modalities alone: leave it out"),
        (
            "gram",
            {"objective_options": {"label_smoothing": 1}},
            "label_smoothing=1: write a number from 0 to less tha",
        ),
        ("gram", {"objective_options": {"cosine_weight": -1}}, "objective_options.cosine_weight=-1: write a number 0"),
        ("gram", {"objective_options": {"root": True}}, "objective_options.root: .*'gram' has no such option"),
        ("triangle", {"objective_options": {"root": 1}}, "objective_options.root=1: write true or false"),
        ("triangle", {}, "triangle needs three modalities, not image, text: write objective: gram"),
        ("symile", {"objective_options": {"negatives": "many"}}, "negatives='many': write rolls or all"),
        ("pmrl", {"anchor": "text"}, "anchor: the objective pmrl treats all modalities alike: leave it out"),
        ("pmrl", {"objective_options": {"singular_temperature": 0}}, "singular_temperature=0: write a number above 0"),
    ],
)
def test_mistakes_are_told(name, options, words):
    config = {"modalities": small_clip().config.modalities, "objective": name, "projection_dim": 8, **options}
    with pytest.raises(ValueError, match=words):
        _ = LatentCLIPModel(LatentCLIPConfig(**config)).objective


def effective_rank(vectors):
    values = torch.linalg.svdvals(vectors - vectors.mean(dim=0))
    shares = values / values.sum()
    return torch.special.entr(shares).sum().exp()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gram", "triangle", "symile", "pmrl"])
def test_random_rows_are_learned_without_a_collapse(name):
    cold = {"temperature": 0.01, "min_temperature": 1e-4} if name == "symile" else {}
    model = small_clip(dtype=torch.float32, objective=name, more=["series"], **cold)
    batch = small_triples(rows=16, dtype=torch.float32)
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=3e-3), []
    for _ in range(60):
        output = model(modalities=batch, return_loss=True)
        losses.append(output.loss.item())
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        model.on_optimizer_step()
    assert losses[-1] < 0.7 * losses[0]
    for vectors in output.embeds.values():
        assert effective_rank(F.normalize(vectors, dim=1)) > 2
