"""The contrast by classes, against the published value and the plain formula."""

import numpy as np
import pytest
import torch

from hf_latent import CoMMConfig, Embeddings, build_objective
from hf_latent.losses import loss_tile_size
from tests.models.small import small_batch, small_model

SPEC = {"a": {"encoder": "features", "input_dim": 3}}
GOAL = build_objective(CoMMConfig(modalities=SPEC, objective="supcon"))


def unit(k, rows=4, dim=3):
    i, j = np.arange(rows)[:, None], np.arange(dim)[None]
    values = np.sin(k + 1.3 * i + 0.7 * j**2 + 0.5 * i * j)
    return torch.tensor(values / np.linalg.norm(values, axis=1, keepdims=True))


def embeddings(labels, rows=4, **options):
    return Embeddings(fused=unit(1, rows), fused_augmented=unit(2, rows), labels=torch.tensor(labels), **options)


def plain(z, scale, classes):
    """Each of the 2N vectors against the 2N - 1 others, one by one."""
    vectors, classes = torch.cat([z.fused, z.fused_augmented]), list(classes) * 2
    total = 0.0
    for j in range(len(vectors)):
        others = [k for k in range(len(vectors)) if k != j]
        whole = sum((scale * vectors[j] @ vectors[k]).exp() for k in others)
        right = [k for k in others if classes[k] == classes[j]]
        total = total - sum(scale * vectors[j] @ vectors[k] - whole.log() for k in right) / len(right)
    return total / len(vectors)


def test_the_value_of_the_official_code():
    loss, terms = GOAL(embeddings([0, 1, 0, 1]), 1 / 0.07)
    assert loss.item() == pytest.approx(16.147089, abs=5e-7) == terms["supcon"].item()


@pytest.mark.parametrize(
    ("labels", "ids", "classes"),
    [
        ([0, 1, 0, 1, 2, 2], None, "ababcc"),
        ([0, -1, 0, -1, 2, -100], None, "axaycz"),  # rows without a label are classes of their own
        ([0, -1, 0, -1, 2, -1], [5, 7, 8, 7, 1, 0], "axaxcz"),  # together with rows of their id
    ],
)
def test_values_gradients_tiles_and_shares_of_rows(labels, ids, classes):
    options = {} if ids is None else {"ids": torch.tensor(ids)}
    z = embeddings(labels, 6, **options)
    inputs = [rows.requires_grad_() for rows in (z.fused, z.fused_augmented)]
    expected = plain(z, 3.0, classes)
    gradients = torch.autograd.grad(expected, inputs)
    with loss_tile_size(5):
        whole, _ = GOAL(z, 3.0)
        parts = sum(GOAL(z, 3.0, rows=slice(i, i + 2))[0] for i in (0, 2, 4)) / 3
        for found in (whole, parts):
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
            for ours, theirs in zip(torch.autograd.grad(found, inputs, retain_graph=True), gradients, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_the_model_contrasts_fused_vectors_without_its_head():
    model = small_model(("series", "table"), objective="supcon", temperature=0.07)
    first, second = small_batch(("series", "table")), small_batch(("series", "table"), seed=1)
    labels = torch.tensor([0, 1, 0, 1, 1, -1])
    found = model(first, second, labels=labels)
    raw = model(first, second, labels=labels, return_loss=False)
    vectors = {
        name: torch.nn.functional.normalize(getattr(raw, name), dim=-1) for name in ("fused", "fused_augmented")
    }
    torch.testing.assert_close(found.loss, plain(Embeddings(**vectors), 1 / 0.07, "abcbbz".replace("c", "a")))
    found.loss.backward()
    assert all(p.grad is None and not p.requires_grad for p in model.head.parameters())
    assert all(p.grad is not None for p in model.fusion.parameters())
    # Without labels there is no loss, and other objectives do not keep them.
    assert model(first, second).loss is None
    assert small_model(("series", "table"))(first, second, labels=labels).labels is None


def test_what_is_no_class_is_named():
    with pytest.raises(ValueError, match="supcon needs labels: .* or write data.target"):
        GOAL(Embeddings(fused=unit(1), fused_augmented=unit(2)), 1.0)
    with pytest.raises(ValueError, match="supcon reads one class a row"):
        GOAL(embeddings([0.5, 1.0, 2.0, 3.0]), 1.0)
