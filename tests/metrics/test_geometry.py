from itertools import permutations

import numpy as np
import pytest
import torch

from hf_latent.metrics import (
    alignment,
    cka,
    cknna,
    cycle_knn,
    effective_rank,
    geometry,
    lcs_knn,
    modality_gap,
    mutual_knn,
    uniformity,
)

T = np.arange(8.0)
A = np.stack([np.cos(T), np.sin(T), np.cos(2 * T)], axis=1)
B = np.stack([np.cos(T), np.sin(1.3 * T), np.sin(3 * T), np.cos(0.5 * T)], axis=1)

PAIR_MEASURES = {
    "gap": lambda a, b: list(modality_gap(a, b).values()),
    "alignment": alignment,
    "cka": cka,
    "cka unbiased": lambda a, b: cka(a, b, unbiased=True),
    "rbf": lambda a, b: cka(a, b, kernel="rbf"),
    "rbf unbiased": lambda a, b: cka(a, b, kernel="rbf", unbiased=True),
    "mutual_knn": lambda a, b: mutual_knn(a, b, 3),
    "cycle_knn": lambda a, b: cycle_knn(a, b, 3),
    "lcs_knn": lambda a, b: lcs_knn(a, b, 3),
    "cknna": lambda a, b: cknna(a, b, 3),
}
KNN = pytest.mark.parametrize("measure", [mutual_knn, cycle_knn, lcs_knn, cknna])
CHUNKS = pytest.mark.parametrize("chunk_size", [1, 3, 24, 1000])


def normalized(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def related(rows=24, dim=6, noise=1.0, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(rows, dim))
    return a, a + noise * rng.normal(size=(rows, dim)) + 0.3


def rotation(dim, seed=1):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))[0]


# ---- plain references: everything N x N, or in loops


def plain_hsic(p, q, unbiased):
    n = len(p)
    if not unbiased:
        h = np.eye(n) - 1 / n
        return np.trace(p @ h @ q @ h)
    p, q = p - np.diag(np.diag(p)), q - np.diag(np.diag(q))
    total = (p * q.T).sum() + p.sum() * q.sum() / ((n - 1) * (n - 2)) - 2 * (p @ q).sum() / (n - 2)
    return total / (n * (n - 3))


def plain_cka(a, b, kernel, sigma, unbiased):
    def gram(x):
        if kernel == "linear":
            return x @ x.T
        return np.exp(-((x[:, None] - x[None]) ** 2).sum(-1) / (2 * sigma**2))

    p, q = gram(a), gram(b)
    return plain_hsic(p, q, unbiased) / np.sqrt(plain_hsic(p, p, unbiased) * plain_hsic(q, q, unbiased))


def plain_neighbors(x, k):
    others = [[j for j in range(len(x)) if j != i] for i in range(len(x))]
    return [sorted(js, key=lambda j: -float(x[i] @ x[j]))[:k] for i, js in enumerate(others)]


def plain_mutual_knn(a, b, k):
    pairs = zip(plain_neighbors(a, k), plain_neighbors(b, k), strict=True)
    return np.mean([len(set(p) & set(q)) / k for p, q in pairs])


def plain_cycle_knn(a, b, k):
    near_a, near_b = plain_neighbors(a, k), plain_neighbors(b, k)
    return np.mean([any(i in near_a[j] for j in near_b[i]) for i in range(len(a))])


def plain_lcs_knn(a, b, k):
    def lcs(p, q):
        if not p or not q:
            return 0
        if p[0] == q[0]:
            return 1 + lcs(p[1:], q[1:])
        return max(lcs(p[1:], q), lcs(p, q[1:]))

    return np.mean([lcs(p, q) for p, q in zip(plain_neighbors(a, k), plain_neighbors(b, k), strict=True)])


def plain_cknna(a, b, k):
    def mask(x):
        m = np.zeros((len(x), len(x)))
        for i, near in enumerate(plain_neighbors(x, k)):
            m[i, near] = 1
        return m

    def similarity(x, y):
        m = mask(x) * mask(y)
        return plain_hsic(m * (x @ x.T), m * (y @ y.T), True)

    return similarity(a, b) / (np.sqrt(similarity(a, a) * similarity(b, b)) + 1e-6)


PLAIN = {mutual_knn: plain_mutual_knn, cycle_knn: plain_cycle_knn, lcs_knn: plain_lcs_knn, cknna: plain_cknna}


# ---- values


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (lambda: cka(A, B), 0.566985),
        (lambda: cka(A, B, kernel="rbf", sigma=1.0), 0.681186),
        (lambda: cka(A, B, unbiased=True), 0.290706),
        (lambda: mutual_knn(A, B, 1), 0.25),
        (lambda: mutual_knn(A, B, 3), 0.666667),
        (lambda: cycle_knn(A, B, 3), 0.875),
        (lambda: lcs_knn(A, B, 3), 1.5),
        (lambda: cknna(A, B, 3), 0.211760),
    ],
)
def test_golden_values(value, expected):
    assert round(value(), 6) == expected


def test_golden_distances():
    i = np.arange(6.0)
    first = np.stack([np.cos(i), np.sin(i), np.cos(2 * i)], axis=1)
    second = np.stack([np.cos(1.1 * i), np.sin(i + 0.2), np.cos(2 * i)], axis=1)
    assert round(1 - modality_gap(first, second)["paired_cosine"], 6) == 0.025870
    assert round(alignment(first, second), 6) == 0.051740


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("rows", [5, 40])
def test_cka_against_the_definition(kernel, unbiased, rows):
    a, b = related(rows)
    b = b[:, :4] * 0.7
    got = cka(a, b, kernel=kernel, sigma=2.0, unbiased=unbiased)
    assert got == pytest.approx(plain_cka(a, b, kernel, 2.0, unbiased), abs=1e-11)
    assert cka(a, a, kernel=kernel, unbiased=unbiased) == pytest.approx(1, abs=1e-12)


def test_cka_does_not_care_for_scale_and_shift():
    a, b = related()
    for unbiased in (False, True):
        plain = cka(a, b, unbiased=unbiased)
        assert cka(1e-6 * a + 3, 1e4 * b, unbiased=unbiased) == pytest.approx(plain, abs=1e-7)
    near = cka(a, b, kernel="rbf", sigma=1e4, unbiased=True)  # a wide kernel is linear, but for its scale
    assert near == pytest.approx(cka(a, b, unbiased=True), abs=1e-5)


def test_unbiased_cka_of_unrelated_features_is_zero_and_the_biased_one_is_not():
    rng = np.random.default_rng(0)
    pairs = [(rng.normal(size=(20, 30)), rng.normal(size=(20, 30))) for _ in range(40)]
    assert abs(np.mean([cka(a, b, unbiased=True) for a, b in pairs])) < 0.03
    assert np.mean([cka(a, b) for a, b in pairs]) > 0.5


@KNN
@pytest.mark.parametrize("k", [2, 5])
def test_neighbours_against_loops(measure, k):
    a, b = related(noise=0.7)
    assert measure(a, b[:, :5], k) == pytest.approx(PLAIN[measure](a, b[:, :5], k), abs=1e-12)
    itself = {lcs_knn: k, cycle_knn: plain_cycle_knn(a, a, k)}.get(measure, 1)
    assert measure(a, a, k) == pytest.approx(itself, abs=1e-3)


@pytest.mark.parametrize("measure", [mutual_knn, cycle_knn, lcs_knn])
@CHUNKS
def test_neighbours_in_chunks(measure, chunk_size):
    a, b = related(noise=0.7)
    tied = np.repeat(a[:8], 3, axis=0)
    assert measure(a, b, 4, chunk_size=chunk_size) == pytest.approx(PLAIN[measure](a, b, 4), abs=1e-12)
    assert measure(tied, b, 4, chunk_size=chunk_size) == pytest.approx(measure(tied, b, 4), abs=1e-12)


@CHUNKS
def test_uniformity_against_loops_in_chunks(chunk_size):
    a, _ = related()
    z = normalized(a)
    for t in (2.0, 0.5):
        pairs = [np.exp(-t * ((z[i] - z[j]) ** 2).sum()) for i, j in permutations(range(24), 2)]
        assert uniformity(a, t, chunk_size=chunk_size) == pytest.approx(np.log(np.mean(pairs)), abs=1e-12)
    assert uniformity(np.eye(24), 1000.0, chunk_size=chunk_size) == pytest.approx(-2000)  # exp would underflow


def test_gap_and_alignment_against_loops():
    a, b = related()
    u, v = normalized(a), normalized(b)
    distances = [np.sqrt(((p - q) ** 2).sum()) for p, q in zip(u, v, strict=True)]
    got = modality_gap(5 * a, b)
    assert got["centroid_distance"] == pytest.approx(np.linalg.norm(u.mean(0) - v.mean(0)), abs=1e-12)
    assert got["paired_distance"] == pytest.approx(np.mean(distances), abs=1e-12)
    assert got["paired_cosine"] == pytest.approx(np.mean([p @ q for p, q in zip(u, v, strict=True)]), abs=1e-12)
    assert alignment(5 * a, b) == pytest.approx(np.mean(np.square(distances)), abs=1e-12)
    assert alignment(a, b, alpha=1) == pytest.approx(np.mean(distances), abs=1e-12)
    assert list(modality_gap(a, -a).values()) == pytest.approx([2 * np.linalg.norm(u.mean(0)), 2, -1])


def test_effective_rank():
    corners = np.concatenate([np.eye(5), -np.eye(5)])
    assert effective_rank(corners) == pytest.approx(5)
    assert effective_rank(corners + 7) == pytest.approx(5)
    assert effective_rank(corners + 7, centered=False) < 2
    assert effective_rank(np.outer(np.arange(6), [1, 2, 3])) == pytest.approx(1)
    two = corners[[0, 1, 5, 6]] * [3, 1, 1, 1, 1]
    assert effective_rank(two) == pytest.approx(np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25))))
    # squares would give exp of the entropy of (0.9, 0.1)


# ---- properties


@pytest.mark.parametrize("name", PAIR_MEASURES)
def test_a_common_rotation_and_row_order_change_nothing(name):
    a, b = (normalized(x) for x in related())
    measure, turn, order = PAIR_MEASURES[name], rotation(6), np.random.default_rng(2).permutation(24)
    assert measure(a @ turn, b @ turn) == pytest.approx(measure(a, b), abs=1e-9)
    assert measure(a[order], b[order]) == pytest.approx(measure(a, b), abs=1e-9)


@pytest.mark.parametrize("name", [name for name in PAIR_MEASURES if name not in ("gap", "alignment")])
def test_structure_does_not_see_where_one_modality_is_turned(name):
    a, b = (normalized(x) for x in related())
    assert PAIR_MEASURES[name](a @ rotation(6), b) == pytest.approx(PAIR_MEASURES[name](a, b), abs=1e-9)


def test_a_gap_between_equal_structures():
    a, _ = related()
    low, high = normalized(np.pad(a, ((0, 0), (0, 1)))), np.pad(a, ((0, 0), (0, 1))) * 1.0
    high[:, -1] = 3.0
    scores = geometry({"image": low, "text": high}, k=3)
    assert scores["gap_centroid"] > 0.5 and scores["gap_paired"] > 0.5
    assert scores["cka"] > 0.85


def constant(rows=101, dim=77):
    # a random row: its norm, its mean and its products are rounded
    return np.tile(np.random.default_rng(3).normal(size=dim), (rows, 1))


@pytest.mark.parametrize("name", [name for name in PAIR_MEASURES if name not in ("gap", "alignment")])
def test_constant_features_have_no_structure(name):
    a, _ = related(101, 77)
    assert abs(PAIR_MEASURES[name](a, constant())) < 0.2
    chance = {"mutual_knn": 3 / 100, "cycle_knn": 3 / 101}.get(name, 0)
    assert PAIR_MEASURES[name](constant(), constant()) == pytest.approx(chance, abs=1e-12)
    if name not in ("cycle_knn", "lcs_knn"):
        assert PAIR_MEASURES[name](a, constant()) == pytest.approx(chance, abs=1e-12)


def test_collapse_shows():
    assert effective_rank(constant()) == 0
    assert effective_rank(constant(), centered=False) == pytest.approx(1)
    assert uniformity(constant()) == pytest.approx(0, abs=1e-12)
    assert cka(np.eye(9), np.eye(9), unbiased=True) == 0  # no off-diagonal structure, and no quotient of roundings
    zeros = geometry({"a": np.zeros((12, 3)), "b": np.zeros((12, 3))})
    assert zeros["paired_cosine"] == zeros["cka"] == zeros["effective_rank_a"] == 0


def test_ties_share_the_last_places():
    a = np.repeat(np.eye(4), 5, axis=0)  # 20 rows in 4 groups: 4 others tie for 2 places
    assert mutual_knn(a, a, 2) == pytest.approx(2 / 4)
    assert mutual_knn(a, a, 4) == pytest.approx(1)
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(400):  # the mean over random orders of tied rows
        near = [
            [set(rng.permutation([j for j in range(20) if j // 5 == i // 5 and j != i])[:2]) for i in range(20)]
            for _ in range(2)
        ]
        drawn.append(np.mean([len(p & q) / 2 for p, q in zip(*near, strict=True)]))
    assert mutual_knn(a, a, 2) == pytest.approx(np.mean(drawn), abs=0.02)


def test_ties_are_ties_in_spite_of_rounding():
    rng = np.random.default_rng(0)
    a, b = np.repeat(np.eye(4), 5, axis=0) @ rotation(4), rng.normal(size=(20, 4))
    rounded = a * (1 + 1e-14 * rng.normal(size=a.shape))
    for measure in (mutual_knn, cycle_knn, lcs_knn, cknna):
        for scale in (1e-6, 1e6):
            assert measure(scale * rounded, scale * b, 2) == pytest.approx(measure(scale * a, scale * b, 2), rel=1e-6)
            assert measure(scale * rounded, scale * a, 2) == pytest.approx(measure(scale * a, scale * a, 2), rel=1e-6)
    assert cknna(100 * a, 100 * rounded, 2) == pytest.approx(1, abs=1e-5)


# ---- together, and what is refused


def test_geometry_is_the_mean_over_pairs():
    a, b = related()
    c = np.random.default_rng(5).normal(size=a.shape)
    three = {"image": a, "text": 3 * b, "audio": c}
    got = geometry(three, k=4, chunk_size=7)
    pairs = [
        geometry({p: three[p], q: three[q]}, k=4)
        for p, q in (("image", "text"), ("image", "audio"), ("text", "audio"))
    ]
    for name in ("gap_centroid", "gap_paired", "paired_cosine", "alignment", "cka", "cka_unbiased", "mutual_knn"):
        assert got[name] == pytest.approx(np.mean([pair[name] for pair in pairs]), abs=1e-12)
    u, v = normalized(a), normalized(b)
    gap = modality_gap(a, b)
    assert pairs[0]["gap_centroid"] == pytest.approx(gap["centroid_distance"], abs=1e-12)
    assert pairs[0]["gap_paired"] == pytest.approx(gap["paired_distance"], abs=1e-12)
    assert pairs[0]["paired_cosine"] == pytest.approx(gap["paired_cosine"], abs=1e-12)
    assert pairs[0]["alignment"] == pytest.approx(alignment(a, b), abs=1e-12)
    assert pairs[0]["cka"] == pytest.approx(cka(u, v), abs=1e-12)
    assert pairs[0]["cka_unbiased"] == pytest.approx(cka(u, v, unbiased=True), abs=1e-12)
    assert pairs[0]["mutual_knn"] == pytest.approx(mutual_knn(u, v, 4), abs=1e-12)
    for name, x in three.items():
        assert got[f"uniformity_{name}"] == pytest.approx(uniformity(x), abs=1e-12)
        assert got[f"effective_rank_{name}"] == pytest.approx(effective_rank(normalized(x)), abs=1e-12)
    assert len(got) == 13 and all(type(value) is float for value in got.values())


def test_tensors_are_taken_and_left_alone():
    a, b = (torch.tensor(x, dtype=torch.bfloat16, requires_grad=True) for x in related())
    before = a.detach().clone()
    with torch.inference_mode():
        got = geometry({"image": a, "text": b}, k=3)
    plain = geometry({"image": a.detach().float().numpy(), "text": b.detach().float().numpy()}, k=3)
    assert got == plain and torch.equal(a.detach(), before)
    x = related()[0]
    kept = x.copy()
    effective_rank(x), uniformity(x), cka(x, x), mutual_knn(x, x, 3)
    assert np.array_equal(x, kept)


def test_one_modality_of_another_width_is_compared_by_structure_only():
    a, b = related()
    assert 0 < cka(a, b[:, :3]) < 1 and 0 < mutual_knn(a, b[:, :3], 3) < 1
    with pytest.raises(ValueError, match="6 and 3 wide.*cka"):
        modality_gap(a, b[:, :3])
    with pytest.raises(ValueError, match=r"in one space; got a \(24, 6\), b \(24, 3\)"):
        geometry({"a": a, "b": b[:, :3]})


@pytest.mark.parametrize("name", PAIR_MEASURES)
def test_broken_features_are_refused(name):
    a, b = related()
    b[5, 1] = np.nan
    with pytest.raises(ValueError, match=r"second features are NaN or infinite in 1 row\(s\), first in row 5"):
        PAIR_MEASURES[name](a, b)
    with pytest.raises(ValueError, match="24 first and 20 second features"):
        PAIR_MEASURES[name](a, a[:20])
    with pytest.raises(ValueError, match="There are 1 rows of first features; this needs at least"):
        PAIR_MEASURES[name](a[:1], a[:1])
    with pytest.raises(ValueError, match=r"must be \(N, D\)"):
        PAIR_MEASURES[name](a[0], a[0])


@KNN
@pytest.mark.parametrize("k", [0, 24, 100])
def test_as_many_neighbours_as_there_are_others(measure, k):
    with pytest.raises(ValueError, match=rf"k={k}: write [12] to 23"):
        measure(*related(), k)


def test_other_errors():
    a, b = related()
    for call, message in [
        (lambda: uniformity(a[:1]), "1 rows of features; this needs at least 2"),
        (lambda: uniformity(np.full((3, 2), np.inf)), "NaN or infinite in 3"),
        (lambda: uniformity(a, chunk_size=0), "chunk_size=0: write 1 or more"),
        (lambda: effective_rank(a * np.nan), "NaN or infinite"),
        (lambda: cka(a[:3], b[:3], unbiased=True), "needs at least 4"),
        (lambda: cka(a, b, kernel="cosine"), "Unknown kernel 'cosine'; choose one of linear, rbf"),
        (lambda: cka(a, b, kernel="rbf", sigma=0), "sigma=0: write a number above 0"),
        (lambda: cknna(a, b, 1), "k=1: write 2 to 23"),
        (lambda: geometry({"a": a}), r"two or more modalities; got \['a'\]"),
        (lambda: geometry({"a": a, "b": b * np.nan}), "b embeddings are NaN or infinite in 24 row"),
        (lambda: geometry({"a": a, "b": b}, k=24), "k=24: write 1 to 23"),
        (lambda: geometry({"a": a[:3], "b": b[:3]}), "3 rows of a embeddings; this needs at least 4"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def test_no_kernel_of_all_pairs_is_made():
    """The largest tensor stays near chunk_size x N."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        entries = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            for tensor in out if isinstance(out, (tuple, list)) else [out]:
                if isinstance(tensor, torch.Tensor):
                    self.entries = max(self.entries, tensor.numel())
            return out

    a, b = related(600, 4)
    with Largest() as largest:
        geometry({"a": a, "b": b}, chunk_size=16)
        cycle_knn(a, b, 3, chunk_size=16)
        lcs_knn(a, b, 3, chunk_size=16)
    assert 16 * 600 <= largest.entries < 20 * 600
