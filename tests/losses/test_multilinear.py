"""The multilinear inner product: values of the official code, which tuples are contrasted, what pairs do not see."""

import pytest
import torch
import torch.nn.functional as F

from hf_latent.losses import symmetric_info_nce
from hf_latent.losses.multilinear import multilinear_info_nce
from tests.losses.golden import golden

A, B, C = map(golden, range(3))


def of_all_anchors(vectors, scale, **options):
    others = lambda m: [v for n, v in enumerate(vectors) if n != m]  # noqa: E731
    return sum(multilinear_info_nce(v, others(m), scale, **options) for m, v in enumerate(vectors)) / len(vectors)


def test_golden_values():
    assert of_all_anchors([A, B, C], 10.0, every=True) == pytest.approx(4.2358893523)
    assert of_all_anchors([A, B, C], 10.0) == pytest.approx(2.8156852336)


@pytest.mark.parametrize("every", [False, True])
def test_of_two_modalities_it_is_info_nce(every):
    ids = torch.tensor([0, 1, 1, 2])
    found = of_all_anchors([A, B], 10.0, every=every, ids=ids)
    torch.testing.assert_close(found, symmetric_info_nce(A, B, 10.0, ids=ids))


@pytest.mark.parametrize("modalities", [3, 4, 5])
def test_no_rolled_tuple_is_that_of_one_row(modalities):
    """Rows that are a basis: of a tuple of several rows the product is zero."""
    rows = torch.eye(6, dtype=torch.float64)
    loss = multilinear_info_nce(rows, [rows] * (modalities - 1), 10.0)
    torch.testing.assert_close(loss, (torch.tensor(10.0, dtype=torch.float64).exp() + 5).log() - 10)


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("ids", [None, torch.tensor([0, 1, 0, 1, 2, 2, 3, 3])])
def test_the_tuples_do_not_depend_on_the_number_of_processes(every, ids):
    vectors = [golden(m, rows=8) for m in range(3)]
    whole = of_all_anchors(vectors, 10.0, every=every, ids=ids)
    for processes in (2, 4):
        share = 8 // processes
        parts = [
            of_all_anchors(vectors, 10.0, every=every, ids=ids, rows=slice(n * share, (n + 1) * share))
            for n in range(processes)
        ]
        torch.testing.assert_close(sum(parts) / processes, whole)


def test_it_learns_an_xor_and_pairs_do_not():
    """z = x xor y: every two of the three are independent."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randint(2, (2, 512), generator=generator)
    bits = [x, y, x ^ y]

    def trained(loss):
        tables = [torch.randn(2, 4, generator=generator).requires_grad_() for _ in bits]
        optimizer = torch.optim.Adam(tables, lr=0.1)
        for _ in range(40):
            rows = torch.randint(512, (64,), generator=generator)
            value = loss([F.normalize(table, dim=1)[own[rows]] for table, own in zip(tables, bits, strict=True)])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        return [F.normalize(table, dim=1).detach() for table in tables]

    def pairs(vectors):
        a, b, c = vectors
        return sum(symmetric_info_nce(*pair, 10.0) for pair in ((a, b), (a, c), (b, c))) / 3

    def right(tables, score):
        """How often z is told from its contrary, by x and y."""
        a, b, c = (table[own] for table, own in zip(tables, bits, strict=True))
        return (score(a, b, c) > score(a, b, tables[2][1 - bits[2]])).double().mean().item()

    multilinear = trained(lambda vectors: of_all_anchors(vectors, 20.0))
    assert right(multilinear, lambda a, b, c: (a * b * c).sum(dim=1)) == 1
    contrasted = trained(pairs)
    assert right(contrasted, lambda a, b, c: ((a + b) * c).sum(dim=1)) < 0.8
