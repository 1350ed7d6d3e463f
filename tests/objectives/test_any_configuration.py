"""Any model, objective, regularizers, ids, chunks, tiles and shares of rows, with or without missing modalities: the
gradient of the plain formula."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_latent.losses import loss_tile_size
from hf_latent.training.gradient_cache import cached_backward
from tests.models.small import small_batch, small_clip, small_model, small_pairs, small_triples
from tests.objectives.reference import OBJECTIVES, plain_loss
from tests.regularizers.test_regularizers import CASES
from tests.training.runs import INDEPENDENT, OF_CLIP

CLIP = ("clip", "gram", "pmrl", "sigmoid", "symile", "triangle")
OPTIONS = {
    "coral": {"weight": [0.0, 1.0, 10.0], "mask_ratio": [0.0, 0.75]},
    "cross": {"clean": [False, True]},
    "cross_self": {"clean": [False, True]},
    "gram": {"label_smoothing": [0.0, 0.1], "cosine_weight": [0.0, 0.5]},
    "pmrl": {"singular_temperature": [0.05, 1.0], "cosine_weight": [0.0, 0.5]},
    "symile": {"negatives": ["rolls", "all"]},
    "triangle": {"root": [False, True], "cosine_weight": [0.0, 0.5]},
}


@st.composite
def configurations(draw):
    weights = st.floats(0.01, 2)
    chosen = draw(st.lists(st.sampled_from(CASES), max_size=3, unique_by=lambda case: case[0]))
    objective = draw(st.sampled_from(list(OBJECTIVES)))
    regularizers = {name: {**options, "weight": draw(weights)} for name, options in chosen}
    if objective not in CLIP:
        regularizers = {name: spec for name, spec in regularizers.items() if name not in OF_CLIP}
    if objective == "coral":
        regularizers = {name: spec for name, spec in regularizers.items() if name not in INDEPENDENT}
    if objective not in CLIP and "brownian_bridge" in regularizers:
        regularizers["brownian_bridge"]["bridged"] = ["image"]
    options = {key: draw(st.sampled_from(values)) for key, values in OPTIONS.get(objective, {}).items()}
    more = [("series",)] if objective == "triangle" else [(), ("series",), ("series", "features")]
    more = more[: 2 if options.get("negatives") == "all" else None]  # the reference loops over all tuples
    shares = draw(st.integers(1, 3))
    return {
        "objective": objective,
        "objective_options": options,
        "in_modal": draw(st.booleans()),
        "fusion": draw(st.sampled_from(["attention", "linear", "mlp"])),
        "more": draw(st.sampled_from(more)),
        "anchor": draw(st.sampled_from([None] if objective == "pmrl" else [None, "text", "image"])),
        "regularizers": regularizers,
        "shares": shares,
        "rows": shares * draw(st.integers(2, 3)),
        "ids": draw(st.booleans()),
        # Of each modality, which of the rows have it, if any lacks one.
        "present": draw(st.none() | st.lists(st.lists(st.booleans(), min_size=9, max_size=9), min_size=4, max_size=4)),
        "chunk": draw(st.integers(1, 9)),
        "tile": draw(st.integers(1, 20)),
        "seed": draw(st.integers(0, 1000)),
    }


def model_and_batch(drawn):
    rows, seed, regularizers = drawn["rows"], drawn["seed"], drawn["regularizers"]
    if drawn["objective"] in CLIP:
        options = {key: drawn[key] for key in ("more", "anchor", "objective", "objective_options")}
        options["in_modal"] = drawn["in_modal"] and drawn["objective"] == "clip"
        model = small_clip(seed, regularizers=regularizers, learn_temperature=False, **options)
        model.prepare_training()
        with torch.no_grad():  # or a teacher would be equal to the student
            model.projections["image"].weight += 0.1
        second = {f"augmented_{key}": value for key, value in small_pairs(rows, seed + 1).items()}
        batch = {**small_pairs(rows, seed), **second}
        if drawn["more"]:
            first, second = (small_triples(rows, each, more=drawn["more"]) for each in (seed, seed + 1))
            batch = {"modalities": first, "augmented_modalities": second}
    else:
        names = ("image", "series")
        options = {key: drawn[key] for key in ("objective", "objective_options", "fusion")}
        options["regularizers"] = regularizers
        model = small_model(names, seed, **options)
        batch = {
            "modalities": small_batch(names, rows, seed),
            "augmented_modalities": small_batch(names, rows, seed + 1),
        }
        if drawn["objective"] in ("infmasking", "coral"):
            batch["mask_seeds"] = torch.arange(rows) + seed
        if drawn["objective"] == "cross_self" and drawn["objective_options"]["clean"]:
            batch["third_modalities"] = small_batch(names, rows, seed + 2)
    return model, batch


def rows_of(batch, rows):
    if isinstance(batch, dict):
        return {key: rows_of(value, rows) for key, value in batch.items()}
    return batch[rows]


@given(configurations())
@settings(max_examples=30, deadline=None)
def test_the_gradient_is_that_of_the_plain_formula(drawn):
    model, batch = model_and_batch(drawn)
    if drawn["ids"]:
        batch["ids"] = torch.arange(drawn["rows"]) // 2
    if drawn["present"] is not None:
        own = zip(model.encoders, drawn["present"], strict=False)
        batch["present"] = {name: torch.tensor(there[: drawn["rows"]]) for name, there in own}
    parameters = [p for p in model.parameters() if p.requires_grad]
    whole = model.score(model(**batch, return_loss=False))
    told = {"progress": 0.4} if drawn["objective"] == "infmasking" else {}
    expected = plain_loss(model.config, whole, model.scale, model.objective_modules, **told) + 0 * sum(
        rows.sum() for rows in whole.tensors()
    )
    wanted = torch.autograd.grad(expected, parameters, allow_unused=True)

    share = drawn["rows"] // drawn["shares"]
    shares = [slice(start, start + share) for start in range(0, drawn["rows"], share)]
    shares = shares if len(shares) > 1 else [None]
    parts = torch.arange(drawn["rows"]).split(drawn["chunk"])
    embed = [lambda rows=rows: model(**rows_of(batch, rows), return_loss=False) for rows in parts]

    def score(embeddings):
        """As so many processes: each scores its own rows, and their gradients are averaged."""
        z = model.score(embeddings)
        return torch.stack(
            [model.objective_of(z, rows=rows, progress=told.get("progress", 0.0))[0] for rows in shares]
        ).mean()

    with loss_tile_size(drawn["tile"]):
        loss = cached_backward(embed, score, lambda value: value.backward(), torch.device("cpu"))
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-10, atol=1e-12)
    found, wanted = (
        torch.cat(
            [torch.zeros_like(p).flatten() if g is None else g.flatten() for p, g in zip(parameters, gs, strict=True)]
        )
        for gs in ([p.grad for p in parameters], wanted)
    )
    assert (found - wanted).norm() <= 1e-9 * wanted.norm() + 1e-12


def test_a_wrong_gradient_would_be_seen(monkeypatch):
    monkeypatch.setattr("hf_latent.objectives.clip.symmetric_info_nce", lambda a, b, scale, **_: (a * b).sum() * scale)
    with pytest.raises(AssertionError):
        test_the_gradient_is_that_of_the_plain_formula()
