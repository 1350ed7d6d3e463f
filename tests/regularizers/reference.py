"""Regularizers restated row by row, as the papers print them; and what their tests share."""

import math
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hf_latent import Embeddings

FIELDS = ("embeds", "augmented", "independent", "independent_augmented", "log_variance", "raw", "teacher")
PLAIN = ("log_variance", "raw")
NAMES = ("image", "text", "sound")


def raw(modalities=2, rows=5, dim=4, *, dtype=torch.float64, seed=0):
    """Leaves: `{field: {modality: (rows, dim)}}`, not normalised."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda: torch.randn(rows, dim, generator=generator, dtype=torch.float64)  # noqa: E731
    return {field: {name: draw().to(dtype).requires_grad_() for name in NAMES[:modalities]} for field in FIELDS}


def scored(leaves, ids=None, present=None):
    """What `model.score` gives: unit vectors, and log variances as they are."""
    unit = {
        field: {m: value if field in PLAIN else F.normalize(value, dim=-1) for m, value in by_name.items()}
        for field, by_name in leaves.items()
    }
    return Embeddings(**unit, ids=ids, present=present)


def flat(leaves):
    return [tensor for by_name in leaves.values() for tensor in by_name.values()]


class LargestTensor(TorchDispatchMode):
    """Notes the elements of the largest tensor that any operation makes."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def part(z, *names):
    """The rows that have all of the modalities, or any at all where none is named, picked one by one."""
    if z.present is None:
        return z
    has = (lambda j: all(z.present[m][j] for m in names)) if names else lambda j: any(o[j] for o in z.present.values())
    rows = [j for j in range(len(z.tensors()[0])) if has(j)]
    found = z.map(lambda values: torch.stack([values[j] for j in rows]) if rows else values[:0])
    found.ids = None if z.ids is None else torch.tensor([z.ids[j].item() for j in rows], dtype=torch.int64)
    found.present = None
    return found


def average(values):
    values = list(values)
    return sum(values) / len(values)


def pair_average(names, function):
    return average(function(a, b) for a, b in combinations(names, 2))


def every_pair(rows, function):
    return sum(function(j, k) for j in range(rows) for k in range(rows))


def geometric_consistency(z, scale, augmented=True):
    def pair(a, b):
        own = part(z, a, b)
        v, t = own.embeds[a], own.embeds[b]
        total = every_pair(len(v), lambda j, k: (v[j] @ t[k] - v[k] @ t[j]) ** 2 + (v[j] @ v[k] - t[j] @ t[k]) ** 2)
        if augmented:
            va, ta = own.augmented[a], own.augmented[b]
            total = total + sum((v[j] @ t[j] - va[j] @ ta[j]) ** 2 for j in range(len(v)))
        total = total / (len(v) or 1)
        return total + views(a) + views(b) if augmented else total

    def views(m):
        own = part(z, m)
        v, va = own.embeds[m], own.augmented[m]
        return every_pair(len(v), lambda j, k: (v[j] @ v[k] - va[j] @ va[k]) ** 2) / (len(v) or 1)

    return pair_average(z.embeds, pair)


def brownian_bridge(z, scale, t=0.25, bridged=("image",)):
    def bridge(own, other):
        total, both = 0, part(z, own, other)
        for j in range(len(both.embeds[own])):
            middle = t * both.embeds[own][j] + (1 - t) * both.embeds[other][j]
            total = total + ((both.augmented[own][j] - middle / middle.norm()) ** 2).sum()
        return total / (len(both.embeds[own]) or 1)

    return average(average(bridge(own, other) for other in z.embeds if other != own) for own in bridged)


def feature_separation(z, scale, t=2.0, orthogonality=1.0, contrast=1.0, uniformity=1.0):
    share = 2 / len(z.embeds)
    ortho = con = kernel = 0
    for m in z.embeds:
        own = part(z, m)
        u, ua, rows = own.independent[m], own.independent_augmented[m], len(own.embeds[m])
        if not rows:
            continue
        ids = list(range(rows)) if own.ids is None else own.ids.tolist()
        ortho = ortho + share * sum((own.embeds[m][j] @ u[j]) ** 2 for j in range(rows)) / rows
        kernel = kernel + share * every_pair(rows, lambda j, k, u=u: (-t * ((u[j] - u[k]) ** 2).sum()).exp()) / rows
        for j in range(rows):
            others = [k for k in range(rows) if k == j or ids[k] != ids[j]]
            below = sum((scale * u[j] @ ua[k]).exp() for k in others)
            con = con - share * ((scale * u[j] @ ua[j]).exp() / below).log() / rows
    return orthogonality * ortho + contrast * con + uniformity * (kernel.log() if isinstance(kernel, Tensor) else 0)


def information_bottleneck(z, scale, mode="squared", pairs="pairwise", relative=False):
    factor = scale if relative else 1.0
    names = list(z.embeds)
    if pairs == "one_vs_all":
        z = part(z, *names)
        rows = len(z.embeds["image"])
        if not rows:
            return 0
        rest = {m: average(z.embeds[i] for i in names if i != m) for m in names}
        value = average(sum(((z.embeds[m][j] - rest[m][j]) ** 2).sum() for j in range(rows)) / rows for m in names)
        return factor * (value / 2 if mode == "cosine" else value)

    def kl(z, p, q, j):
        gaussian = lambda m: torch.distributions.Normal(z.embeds[m][j], (z.log_variance[m][j].tanh() / 2).exp())  # noqa: E731
        return torch.distributions.kl_divergence(gaussian(p), gaussian(q)).sum()

    def pair(a, b):
        own = part(z, a, b)
        one, other = own.embeds[a], own.embeds[b]
        of_row = {
            "squared": lambda j: ((one[j] - other[j]) ** 2).sum(),
            "cosine": lambda j: 1 - one[j] @ other[j],
            "kl": lambda j: (kl(own, a, b, j) + kl(own, b, a, j)) / 2,
        }[mode]
        return sum(of_row(j) for j in range(len(one))) / (len(one) or 1)

    return factor * pair_average(names, pair)


def alignment(z, scale, epsilon=0.01):
    def pair(a, b):
        own = part(z, a, b)
        squares = [(own.embeds[a][j] @ own.embeds[b][j]) ** 2 for j in range(len(own.embeds[a]))]
        return (
            average(1 / (square if square > epsilon else epsilon + 0 * square) for square in squares) if squares else 0
        )

    return pair_average(z.embeds, pair)


def _spread(x, y, t, ids):
    """The logarithm of the mean over pairs of different rows, with different ids."""
    ids = list(range(len(x))) if ids is None else ids.tolist()
    pairs = [(j, k) for j in range(len(x)) for k in range(len(x)) if ids[j] != ids[k]]
    kernel = [(-t * ((x[j] - y[k]) ** 2).sum()).exp() for j, k in pairs]
    return average(kernel).log() if kernel else 0


def uniformity(z, scale, t=2.0, cross=False):
    within = {m: part(z, m) for m in z.embeds}
    value = average(_spread(own.embeds[m], own.embeds[m], t, own.ids) for m, own in within.items())
    if not cross:
        return value
    across = lambda a, b: _spread(part(z, a, b).embeds[a], part(z, a, b).embeds[b], t, part(z, a, b).ids)  # noqa: E731
    return value + pair_average(z.embeds, across)


def centroid_uniformity(z, scale, t=2.0):
    own = part(z, *z.embeds)
    sums = [sum(own.embeds[m][j] for m in z.embeds) for j in range(len(own.embeds["image"]))]
    centroids = [total / total.norm() for total in sums]
    return _spread(centroids, centroids, t, own.ids)


def decorrelation(z, scale, common=0.875, off_diagonal=0.0051, in_modal=True):
    def standard(x):
        centred = [row - sum(x) / len(x) for row in x]
        return [row / (sum(c**2 for c in centred) / len(x) + 1e-5).sqrt() for row in centred]

    def distance(x, y, dims, target):
        x, y, total = standard(x), standard(y), 0
        for k in dims:
            for m in dims:
                correlation = sum(one[k] * other[m] for one, other in zip(x, y, strict=True)) / len(x)
                total = total + ((correlation - target) ** 2 if k == m else off_diagonal * correlation**2)
        return total

    def pair(a, b):
        own = part(z, a, b)
        x, y = own.embeds[a], own.embeds[b]
        if not len(x):
            return 0
        dims = list(range(x.shape[1]))
        shared = round(common * len(dims))
        return (distance(x, y, dims[:shared], 1) + distance(x, y, dims[shared:], 0)) / 2

    def views(m):
        own = part(z, m)
        x = own.embeds[m]
        return distance(x, own.augmented[m], list(range(x.shape[1])), 1) if len(x) else 0

    across = pair_average(z.embeds, pair)
    return (across + 2 * average(map(views, z.embeds))) / 3 if in_modal else across


def orthogonality(z, scale, shared="embeds", augmented=False):
    def squares(own, x, y):
        return sum((x[j] @ y[j]) ** 2 for j in range(len(x))) / (len(x) or 1)

    terms = []
    for first, u in (("embeds", "independent"), ("augmented", "independent_augmented"))[: 1 + augmented]:
        for a, b in combinations(z.embeds, 2):
            own = part(z, a, b)
            terms.append(squares(own, getattr(own, u)[a], getattr(own, u)[b]))
        for m in z.embeds:
            own = part(z, m)
            terms.append(squares(own, getattr(own, u)[m], getattr(own, first)[m]))
    return average(terms)


def distillation(z, scale, alpha=0.5, temperature=1.0, s=100.0):
    def pair(a, b):
        own = part(z, a, b)
        rows = range(len(own.embeds[a]))
        ids = list(rows) if z.ids is None else own.ids.tolist()
        total = 0.0
        for first, second in ((a, b), (b, a)):
            for j in rows:
                logits = torch.stack([s * own.embeds[first][j] @ own.embeds[second][k] for k in rows]) / temperature
                taught = torch.stack([s * own.teacher[first][j] @ own.teacher[second][k] for k in rows]) / temperature
                same = [float(ids[k] == ids[j]) for k in rows]
                right = torch.tensor(same, dtype=torch.float64) / sum(same)
                q = alpha * right + (1 - alpha) * taught.detach().softmax(0)
                total = total + temperature**2 * (q * (q.log() - logits.log_softmax(0))).nansum() / len(rows)
        return total / 2

    return pair_average(z.embeds, pair)


def in_modal_separation(z, scale, similarity_of="text"):
    def pair(a, b):
        own = part(z, *dict.fromkeys((a, b, similarity_of)))
        e = own.teacher[similarity_of].detach()
        rows = range(len(e))
        ids = list(rows) if z.ids is None else own.ids.tolist()
        total = 0.0
        for m in (a, b):
            v = own.embeds[m]
            for j in rows:
                positive = scale * own.embeds[a][j] @ own.embeds[b][j]
                others = [k for k in rows if ids[k] != ids[j]]
                logits = [positive, *(scale * (1 - e[j] @ e[k]) * (v[j] @ v[k]) for k in others)]
                total = total - torch.stack(logits).log_softmax(0)[0] / len(rows) / 2
        return total

    return pair_average(z.embeds, pair)


def splitmix(number):
    """The finaliser of SplitMix64."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        number = (number ^ (number >> shift)) * factor % 2**64
    return number ^ (number >> 31)


def reference_of(row, dim, seed):
    """By Box and Muller, of the upper 24 bits."""
    golden = 0x9E3779B97F4A7C15
    key = splitmix((row + golden * (seed + 1)) % 2**64)
    draws = [(splitmix((key + golden * (k + 1)) % 2**64) >> 40) / 2**24 + 2**-25 for k in range(2 * dim)]
    return [math.sqrt(-2 * math.log(draws[k])) * math.cos(2 * math.pi * draws[dim + k]) for k in range(dim)]


def random_references(z, scale, seed=0):
    total = 0.0
    for m, rows in z.raw.items():
        there = [j for j in range(len(rows)) if z.present is None or z.present[m][j]]
        dim = rows.shape[1]
        for j in there:
            row = j if z.ids is None else z.ids[j].item()
            reference = torch.tensor(reference_of(row, dim, seed), dtype=torch.float64)
            total = total + (rows[j] - reference).square().sum() / len(there) / dim
    return total


REFERENCES = {
    function.__name__: function
    for function in (
        *(geometric_consistency, brownian_bridge, feature_separation, information_bottleneck, alignment),
        *(uniformity, centroid_uniformity, decorrelation, orthogonality, distillation, random_references),
        in_modal_separation,
    )
}
