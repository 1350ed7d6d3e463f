"""Regularizers restated row by row, as the papers print them; and what their tests share."""

from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hf_latent import Embeddings

FIELDS = ("embeds", "augmented", "independent", "independent_augmented", "log_variance")
NAMES = ("image", "text", "sound")


def raw(modalities=2, rows=5, dim=4, *, dtype=torch.float64, seed=0):
    """Leaves: `{field: {modality: (rows, dim)}}`, not normalised."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda: torch.randn(rows, dim, generator=generator, dtype=torch.float64)  # noqa: E731
    return {field: {name: draw().to(dtype).requires_grad_() for name in NAMES[:modalities]} for field in FIELDS}


def scored(leaves, ids=None):
    """What `model.score` gives: unit vectors, and log variances as they are."""
    unit = {
        field: {m: value if field == "log_variance" else F.normalize(value, dim=-1) for m, value in by_name.items()}
        for field, by_name in leaves.items()
    }
    return Embeddings(**unit, ids=ids)


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


def average(values):
    values = list(values)
    return sum(values) / len(values)


def pair_average(names, function):
    return average(function(a, b) for a, b in combinations(names, 2))


def every_pair(rows, function):
    return sum(function(j, k) for j in range(rows) for k in range(rows))


def geometric_consistency(z, scale, augmented=True):
    def pair(a, b):
        v, t = z.embeds[a], z.embeds[b]
        total = every_pair(len(v), lambda j, k: (v[j] @ t[k] - v[k] @ t[j]) ** 2 + (v[j] @ v[k] - t[j] @ t[k]) ** 2)
        if augmented:
            va, ta = z.augmented[a], z.augmented[b]
            total = total + every_pair(len(v), lambda j, k: (v[j] @ v[k] - va[j] @ va[k]) ** 2)
            total = total + every_pair(len(v), lambda j, k: (t[j] @ t[k] - ta[j] @ ta[k]) ** 2)
            total = total + sum((v[j] @ t[j] - va[j] @ ta[j]) ** 2 for j in range(len(v)))
        return total / len(v)

    return pair_average(z.embeds, pair)


def brownian_bridge(z, scale, t=0.25, bridged=("image",)):
    def bridge(own, other):
        total = 0
        for j in range(len(z.embeds[own])):
            middle = t * z.embeds[own][j] + (1 - t) * z.embeds[other][j]
            total = total + ((z.augmented[own][j] - middle / middle.norm()) ** 2).sum()
        return total / len(z.embeds[own])

    return average(average(bridge(own, other) for other in z.embeds if other != own) for own in bridged)


def feature_separation(z, scale, t=2.0, orthogonality=1.0, contrast=1.0, uniformity=1.0):
    rows, share = len(z.embeds["image"]), 2 / len(z.embeds)
    ids = list(range(rows)) if z.ids is None else z.ids.tolist()
    ortho = con = kernel = 0
    for m in z.embeds:
        u, ua = z.independent[m], z.independent_augmented[m]
        ortho = ortho + share * sum((z.embeds[m][j] @ u[j]) ** 2 for j in range(rows)) / rows
        kernel = kernel + share * every_pair(rows, lambda j, k, u=u: (-t * ((u[j] - u[k]) ** 2).sum()).exp()) / rows
        for j in range(rows):
            others = [k for k in range(rows) if k == j or ids[k] != ids[j]]
            below = sum((scale * u[j] @ ua[k]).exp() for k in others)
            con = con - share * ((scale * u[j] @ ua[j]).exp() / below).log() / rows
    return orthogonality * ortho + contrast * con + uniformity * kernel.log()


def information_bottleneck(z, scale, mode="squared", pairs="pairwise", relative=False):
    factor = scale if relative else 1.0
    rows, names = len(z.embeds["image"]), list(z.embeds)
    if pairs == "one_vs_all":
        rest = {m: average(z.embeds[i] for i in names if i != m) for m in names}
        value = average(sum(((z.embeds[m][j] - rest[m][j]) ** 2).sum() for j in range(rows)) / rows for m in names)
        return factor * (value / 2 if mode == "cosine" else value)

    def kl(p, q, j):
        gaussian = lambda m: torch.distributions.Normal(z.embeds[m][j], (z.log_variance[m][j].tanh() / 2).exp())  # noqa: E731
        return torch.distributions.kl_divergence(gaussian(p), gaussian(q)).sum()

    def pair(a, b):
        one, other = z.embeds[a], z.embeds[b]
        of_row = {
            "squared": lambda j: ((one[j] - other[j]) ** 2).sum(),
            "cosine": lambda j: 1 - one[j] @ other[j],
            "kl": lambda j: (kl(a, b, j) + kl(b, a, j)) / 2,
        }[mode]
        return sum(of_row(j) for j in range(rows)) / rows

    return factor * pair_average(names, pair)


def alignment(z, scale, epsilon=0.01):
    def pair(a, b):
        squares = [(z.embeds[a][j] @ z.embeds[b][j]) ** 2 for j in range(len(z.embeds[a]))]
        return average(1 / (square if square > epsilon else epsilon + 0 * square) for square in squares)

    return pair_average(z.embeds, pair)


REFERENCES = {
    function.__name__: function
    for function in (geometric_consistency, brownian_bridge, feature_separation, information_bottleneck, alignment)
}
