"""What holds for every regularizer."""

import pytest
import torch

from hf_latent import Embeddings
from hf_latent.regularizers import build_regularizer
from tests.regularizers.reference import FIELDS, NAMES, REFERENCES, flat, raw, scored

CASES = [
    ("geometric_consistency", {}),
    ("geometric_consistency", {"augmented": False}),
    ("brownian_bridge", {}),
    ("brownian_bridge", {"t": 0.6, "bridged": ["text", "image"]}),
    ("feature_separation", {}),
    ("feature_separation", {"t": 1, "orthogonality": 2.0, "contrast": 0, "uniformity": 0.5}),
    ("feature_separation", {"orthogonality": 0, "contrast": 0.5, "uniformity": 0.0}),
    ("information_bottleneck", {}),
    ("information_bottleneck", {"relative": True}),
    ("information_bottleneck", {"mode": "cosine"}),
    ("information_bottleneck", {"mode": "kl"}),
    ("information_bottleneck", {"pairs": "one_vs_all"}),
    ("information_bottleneck", {"mode": "cosine", "pairs": "one_vs_all"}),
    ("alignment", {}),
    ("alignment", {"epsilon": 0.2}),
    ("uniformity", {}),
    ("uniformity", {"t": 1, "cross": True}),
    ("centroid_uniformity", {}),
    ("decorrelation", {"common": 0.5}),
    ("decorrelation", {"common": 1.0, "off_diagonal": 0.5, "in_modal": False}),
    ("orthogonality", {}),
    ("orthogonality", {"augmented": True}),
    ("distillation", {}),
    ("distillation", {"alpha": 0, "temperature": 20.0}),
    ("random_references", {}),
    ("random_references", {"seed": 7}),
    ("in_modal_separation", {}),
    ("in_modal_separation", {"similarity_of": "image"}),
]
# Of each modality, which rows have it: some, none of one, one row of each that no other has.
LACKING = [
    [[1, 1, 0, 1, 1], [1, 0, 1, 1, 0], [0, 1, 1, 1, 1]],
    [[1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [1, 1, 0, 0, 1]],
    [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0]],
]
every_case = pytest.mark.parametrize("name, options", CASES, ids=lambda part: str(part))


@every_case
@pytest.mark.parametrize("modalities", [2, 3])
@pytest.mark.parametrize("ids", [None, [0, 1, 0, 2, 1]])
def test_values_and_gradients(name, options, modalities, ids):
    compare(name, options, modalities, ids, [])


@every_case
@pytest.mark.parametrize("lacking", LACKING)
def test_rows_may_lack_a_modality(name, options, lacking):
    compare(name, options, 3, [0, 1, 0, 2, 1], lacking)


def compare(name, options, modalities, ids, lacking):
    """With the plain formula; `lacking` says of each modality which rows have it."""
    leaves = raw(modalities)
    present = {m: torch.tensor(there, dtype=torch.bool) for m, there in zip(NAMES[:modalities], lacking, strict=False)}
    z = scored(leaves, None if ids is None else torch.tensor(ids), present or None)
    fast, slow = build_regularizer(name, **options)(z, 3.0), REFERENCES[name](z, 3.0, **options)
    slow = slow + 0 * sum(leaf.sum() for leaf in flat(leaves))  # of no rows it is a plain number
    torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-14)
    ours = torch.autograd.grad(fast, flat(leaves), retain_graph=True, allow_unused=True)
    theirs = torch.autograd.grad(slow, flat(leaves), allow_unused=True)
    for one, other in zip(ours, theirs, strict=True):
        if one is None or other is None:
            assert (one is None or not one.any()) and (other is None or not other.any())
        else:
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    for m, there in present.items():  # what stands in place of a missing value is not read
        placeholders = [gradient[~there] for gradient in gradients_of(m, leaves, ours) if gradient is not None]
        assert not any(gradient.any() for gradient in placeholders)


def gradients_of(modality, leaves, gradients):
    places = [name for by_name in leaves.values() for name in by_name]
    return [gradient for name, gradient in zip(places, gradients, strict=True) if name == modality]


@every_case
def test_no_row_is_special(name, options):
    z, order = scored(raw(3), torch.tensor([0, 1, 0, 2, 1])), torch.tensor([3, 0, 4, 1, 2])
    shuffled = z.map(lambda tensor: tensor[order])
    shuffled.ids = z.ids[order]
    regularizer = build_regularizer(name, **options)
    torch.testing.assert_close(regularizer(shuffled, 3.0), regularizer(z, 3.0), rtol=1e-12, atol=1e-12)


@every_case
def test_what_is_not_required_is_not_read(name, options):
    z, regularizer = scored(raw()), build_regularizer(name, **options)
    kept = Embeddings(**{field: dict(getattr(z, field)) for field in regularizer.requires})
    viewed = regularizer.second_views(z.embeds)
    for field in regularizer.requires & {"augmented", "independent_augmented"}:
        setattr(kept, field, {modality: getattr(z, field)[modality] for modality in viewed})
    assert torch.equal(regularizer(kept, 3.0), regularizer(z, 3.0))
    for field in regularizer.requires - {"embeds"}:
        partial = kept.map(lambda tensor: tensor)
        del getattr(partial, field)["image"]
        with pytest.raises(ValueError, match=f"{name} needs {field} of image"):
            regularizer(partial, 3.0)
        setattr(partial, field, None)
        with pytest.raises(ValueError, match=f"{name} needs {field} of image"):
            regularizer(partial, 3.0)
    with pytest.raises(ValueError, match="two modalities or more, and here is image"):
        regularizer(scored(raw(1)), 3.0)
    with pytest.raises(ValueError, match="here is none"):
        regularizer(Embeddings(), 3.0)


@every_case
@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_finite_and_scored_in_float32(name, options, rows, dtype):
    leaves = raw(rows=rows, dtype=dtype)
    z, regularizer = scored(leaves), build_regularizer(name, **options)
    with torch.autocast("cpu", torch.bfloat16):
        value = regularizer(z, 100.0)
    assert value.dtype == torch.float32 and value.isfinite()
    assert torch.equal(value, regularizer(z.map(torch.Tensor.float), 100.0))
    gradients = torch.autograd.grad(value, flat(leaves), allow_unused=True)
    assert all(gradient.isfinite().all() for gradient in gradients if gradient is not None)


def paired_distance(z):
    return (z.embeds["image"] - z.embeds["text"]).norm(dim=-1).mean()


def similarity_asymmetry(z):
    similarity = z.embeds["image"] @ z.embeds["text"].T
    return (similarity - similarity.T).abs().mean()


def distance_from_bridge(z):
    middle = 0.25 * z.embeds["image"] + 0.75 * z.embeds["text"]
    return (z.augmented["image"] - middle / middle.norm(dim=-1, keepdim=True)).norm(dim=-1).mean()


def overlap(z):
    return (z.embeds["image"] * z.independent["image"]).sum(-1).abs().mean()


def nearness(z):
    """The mean similarity of different rows, less the largest of all where they spread."""
    return (z.embeds["image"] @ z.embeds["image"].T).fill_diagonal_(0).mean()


def nearness_of_centroids(z):
    rows = z.embeds["image"] + z.embeds["text"]
    rows = rows / rows.norm(dim=-1, keepdim=True)
    return (rows @ rows.T).fill_diagonal_(0).mean()


def overlap_of_independent(z):
    return (z.independent["image"] * z.independent["text"]).sum(-1).square().mean()


def correlation_of_the_last(z):
    """Of the dimensions that are unique."""
    image, text = ((own - own.mean(0)) / own.std(0) for own in (z.embeds["image"], z.embeds["text"]))
    return (image * text).mean(0)[7:].abs().mean()


def distance_of_raw(z):
    return (z.raw["image"] - z.raw["text"]).norm(dim=-1).mean()


MEASURES = {
    "in_modal_separation": paired_distance,
    "random_references": distance_of_raw,
    "uniformity": nearness,
    "centroid_uniformity": nearness_of_centroids,
    "decorrelation": correlation_of_the_last,
    "orthogonality": overlap_of_independent,
    "geometric_consistency": similarity_asymmetry,
    "brownian_bridge": distance_from_bridge,
    "feature_separation": overlap,
    "information_bottleneck": paired_distance,
    "alignment": paired_distance,
}


@pytest.mark.parametrize("name, measure", MEASURES.items())
def test_gradient_descent_lowers_what_it_is_about(name, measure):
    leaves = raw(rows=16, dim=8)
    if name == "alignment":  # which is blind to the sign, so it needs pairs that begin on one side
        with torch.no_grad():
            leaves["embeds"]["text"] += 2 * leaves["embeds"]["image"]
    before, regularizer = measure(scored(leaves)), build_regularizer(name)
    optimizer = torch.optim.SGD(flat(leaves), lr=2.0)
    for _ in range(40):
        optimizer.zero_grad()
        regularizer(scored(leaves), 5.0).backward()
        optimizer.step()
    assert measure(scored(leaves)) < 0.5 * before


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("geometric", {}, "no regularizer 'geometric': did you mean 'geometric_consistency'"),
        (
            "brownian_bridge",
            {"bridge": ["image"]},
            r"brownian_bridge.bridge: did you mean 'bridged'\? known: bridged, t",
        ),
        ("alignment", {"weight": 1.0}, "alignment.weight: known: epsilon"),
        ("alignment", {"epsilon": 0}, "alignment.epsilon=0: write a number above 0, at most 1"),
        ("alignment", {"epsilon": "small"}, "epsilon='small': write a number"),
        ("alignment", {"epsilon": float("nan")}, "epsilon=nan: write a number"),
        ("brownian_bridge", {"t": -0.1}, "t=-0.1: write a number from 0 to 1"),
        ("brownian_bridge", {"t": "random"}, "t='random': write a number from 0 to 1"),
        ("brownian_bridge", {"bridged": "image"}, r"bridged='image': write a list of modalities, such as \[image\]"),
        ("brownian_bridge", {"bridged": []}, r"bridged=\[\]: write a list"),
        ("brownian_bridge", {"bridged": ["image", "image"]}, "write each modality once"),
        ("feature_separation", {"t": -2}, "t=-2: write a number above 0"),
        ("feature_separation", {"contrast": -1}, "contrast=-1: write a number, 0 or more"),
        ("feature_separation", {"uniformity": True}, "uniformity=True: write a number, 0 or more"),
        ("feature_separation", {"orthogonality": 0, "contrast": 0, "uniformity": 0}, "a weight above 0"),
        ("geometric_consistency", {"augmented": 1}, "augmented=1: write true or false"),
        ("information_bottleneck", {"mode": "cos"}, "mode='cos': did you mean 'cosine'"),
        ("information_bottleneck", {"mode": ["kl"]}, "known: cosine, kl, squared"),
        ("information_bottleneck", {"pairs": "all"}, "known: one_vs_all, pairwise"),
        ("information_bottleneck", {"mode": "kl", "pairs": "one_vs_all"}, "write pairwise, or another mode than kl"),
        ("information_bottleneck", {"relative": "no"}, "relative='no': write true or false"),
        ("distillation", {"alpha": 1.5}, "alpha=1.5: write a number from 0 to 1"),
        ("distillation", {"scale": 0}, "scale=0: write a number above 0"),
        ("random_references", {"seed": 0.5}, "seed=0.5: write a whole number"),
        (
            "in_modal_separation",
            {"similarity_of": ["text"]},
            r"similarity_of=\['text'\]: write the name of a modality",
        ),
    ],
)
def test_mistakes_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        build_regularizer(name, **options)


def test_the_modality_whose_likeness_counts_must_be_there():
    message = (
        r"in_modal_separation.similarity_of='text': no modality 'text'; .*write the modality whose likeness counts"
    )
    with pytest.raises(ValueError, match=message):
        build_regularizer("in_modal_separation").check_modalities(["image", "caption"])
    build_regularizer("in_modal_separation", similarity_of="caption").check_modalities(["image", "caption"])


def test_requires_follows_the_hyperparameters():
    needs = {(name, str(options)): build_regularizer(name, **options).requires for name, options in CASES}
    assert all("embeds" in fields and fields <= set(FIELDS) for fields in needs.values())
    assert needs["geometric_consistency", "{'augmented': False}"] == {"embeds"}
    assert build_regularizer("feature_separation").requires == {"embeds", "independent", "independent_augmented"}
    assert build_regularizer("feature_separation", contrast=0).requires == {"embeds", "independent"}
    assert build_regularizer("information_bottleneck", mode="kl").requires == {"embeds", "log_variance"}
    assert build_regularizer("brownian_bridge").second_views(["image", "text"]) == {"image"}
    assert build_regularizer("geometric_consistency").second_views(["image", "text"]) == {"image", "text"}
    assert build_regularizer("feature_separation").second_views(["image", "text"]) == {"image", "text"}
    assert build_regularizer("feature_separation", contrast=0).second_views(["image", "text"]) == set()
    sensitive = {name for name in REFERENCES if build_regularizer(name).temperature_sensitive}
    assert sensitive == {"information_bottleneck"}
    assert len({build_regularizer(name, **options) for name, options in CASES}) == len(CASES)  # they hash and compare
