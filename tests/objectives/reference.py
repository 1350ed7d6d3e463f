"""Objectives restated row by row from scored embeddings, with nothing shared and nothing tiled."""

import math
from itertools import combinations, product

import torch

from tests.models.reference import nt_xent_by_rows
from tests.regularizers.reference import REFERENCES, average, part


def one_way_by_rows(anchors, columns, scale, ids=None):
    """InfoNCE written out row by row; equal ids are positives."""
    ids = list(range(len(anchors))) if ids is None else ids.tolist()
    total = 0.0
    for i in range(len(anchors)):
        exponentials = (scale * columns @ anchors[i]).exp()
        positives = [j for j in range(len(columns)) if ids[j] == ids[i]]
        total = total - average((exponentials[j] / exponentials.sum()).log() for j in positives)
    return total / (len(anchors) or 1)


def symmetric_by_rows(first, second, scale, ids=None):
    return (one_way_by_rows(first, second, scale, ids) + one_way_by_rows(second, first, scale, ids)) / 2


def clip(z, scale, config):
    pairs = [pair for pair in combinations(config.modalities, 2) if config.anchor in (None, *pair)]
    both = {(a, b): part(z, a, b) for a, b in pairs}
    loss = average(symmetric_by_rows(own.embeds[a], own.embeds[b], scale, own.ids) for (a, b), own in both.items())
    if not config.in_modal:
        return loss
    own = {m: part(z, m) for m in z.embeds}
    views = [one_way_by_rows(own[m].embeds[m], own[m].augmented[m], scale, own[m].ids) for m in own]
    return (loss + average(views)) / 2


def sigmoid(z, scale, config, modules):
    """A binary cross-entropy a pair of rows, in a loop."""

    def of_pair(a, b):
        own = part(z, a, b)
        rows = range(len(own.embeds[a]))
        ids = list(rows) if own.ids is None else own.ids.tolist()
        logits = [[scale * own.embeds[a][i] @ own.embeds[b][j] + modules["bias"].weight for j in rows] for i in rows]
        signs = [[1 if ids[i] == ids[j] else -1 for j in rows] for i in rows]
        losses = [-(signs[i][j] * logits[i][j]).sigmoid().log() for i in rows for j in rows]
        return sum(losses) / (len(rows) or 1)

    pairs = [pair for pair in combinations(config.modalities, 2) if config.anchor in (None, *pair)]
    return average(of_pair(a, b) for a, b in pairs)


def rows_and_ids(own):
    rows = range(len(own.tensors()[0]))
    return rows, list(rows) if own.ids is None else own.ids.tolist()


def smoothed_by_rows(logits, ids, smoothing):
    """A cross-entropy a row of a list of lists; equal ids share the target, some of which is everybody's."""
    total, rows = 0.0, range(len(ids))
    for i in rows:
        positives, everybody = [j for j in rows if ids[j] == ids[i]], sum(logits[i][k].exp() for k in rows)
        for j in rows:
            target = smoothing / len(ids) + (j in positives) * (1 - smoothing) / len(positives)
            total = total - target * (logits[i][j].exp() / everybody).log() if target else total
    return total / (len(ids) or 1)


def shape_by_rows(z, scale, config, shape):
    """The contrast of a shape of the anchor of one row and the others of another."""
    anchor = config.anchor or ("text" if "text" in config.modalities else next(iter(config.modalities)))
    own = part(z, *config.modalities)
    rows, ids = rows_and_ids(own)
    others = [own.embeds[m] for m in config.modalities if m != anchor]
    logits = [[-scale * shape(own.embeds[anchor][i], *(other[j] for other in others)) for j in rows] for i in rows]
    turned = [[logits[i][j] for i in rows] for j in rows]
    smoothing = config.objective_options.get("label_smoothing", 0.1)
    loss = (smoothed_by_rows(logits, ids, smoothing) + smoothed_by_rows(turned, ids, smoothing)) / 2
    weight = config.objective_options.get("cosine_weight", 0)
    return loss + weight * clip(z, scale, config) if weight else loss


def gram(z, scale, config):
    """The determinant of the Gram matrix of every pair of rows."""

    def volume(*vectors):
        return torch.stack([torch.stack([a @ b for b in vectors]) for a in vectors]).det().sqrt()

    return shape_by_rows(z, scale, config, volume)


def triangle(z, scale, config):
    def area(a, b, c):
        u, w = b - a, c - a
        below = (u @ u) * (w @ w) - (u @ w) ** 2
        return below.sqrt() / 2 if config.objective_options.get("root") else below / 2

    return shape_by_rows(z, scale, config, area)


def symile(z, scale, config):
    """Every anchor with every tuple that it is contrasted with, one by one."""
    own = part(z, *config.modalities)
    rows, ids = rows_and_ids(own)
    shifts = range(1, len(config.modalities)) if len(config.modalities) > 2 else [0]

    def of_anchor(anchor):
        others, total = [own.embeds[m] for m in config.modalities if m != anchor], 0.0
        for i in rows:
            tuples = [[i] * len(others)] + [[(k + p) % len(rows) for p in shifts] for k in rows if k != i]
            if config.objective_options.get("negatives") == "all":
                tuples = list(product(rows, repeat=len(others)))
            logits, positives = [], []
            for one in tuples:
                vector = scale * own.embeds[anchor][i]
                for other, row in zip(others, one, strict=True):
                    vector = vector * other[row]
                logits.append(vector.sum())
                positives += [logits[-1]] if all(ids[row] == ids[i] for row in one) else []
            total = total + sum(logit.exp() for logit in logits).log() - average(positives)
        return total / (len(rows) or 1)

    return average(of_anchor(m) for m in config.modalities if config.anchor in (None, m))


def pmrl(z, scale, config):
    """A singular value decomposition a row, and the sign that it leaves open."""
    own = part(z, *config.modalities)
    rows, ids = rows_and_ids(own)
    directions, loss = [], 0.0
    for i in rows:
        vectors = torch.stack([own.embeds[m][i] for m in config.modalities], dim=1)
        left, values, _ = torch.linalg.svd(vectors, full_matrices=False)
        exponentials = (values / config.objective_options.get("singular_temperature", 0.05)).exp()
        loss = loss - (exponentials[0] / exponentials.sum()).log() / len(rows)
        side = vectors.sum(dim=1) @ left[:, 0] / values[0]  # 0 where two vectors point apart
        side = side if abs(side) > 1e-4 else vectors[:, 0] @ left[:, 0]
        directions.append(left[:, 0] if side > 0 else -left[:, 0])
    loss = loss + one_way_by_rows(torch.stack(directions), torch.stack(directions), scale, own.ids) if ids else loss
    weight = config.objective_options.get("cosine_weight", 0)
    return loss + weight * clip(z, scale, config) if weight else loss


def comm(z, scale, config):
    terms = []
    for m in z.embeds:
        own = part(z, m)
        views = ((own.embeds, own.fused_augmented), (own.augmented, own.fused))
        terms.append(average(nt_xent_by_rows(view[m], joint, scale, own.ids) for view, joint in views))
    some = part(z)
    return average([*terms, nt_xent_by_rows(some.fused, some.fused_augmented, scale, some.ids)])


def infmasking(z, scale, config, modules, progress=0.0):
    """Row by row; `modules` hold the mask token, which the embeddings already know."""
    some, options = part(z), config.objective_options
    ids = list(range(len(some.fused))) if some.ids is None else some.ids.tolist()

    def masked(full, copies):
        total = 0
        for i, q in enumerate(full):
            own = [q @ copy for copy in copies[i]]
            middle = average(own)
            spread = options.get("variance_weight", 1.0) * progress * scale * average((s - middle) ** 2 for s in own)
            below = (scale * (middle + spread / 2)).exp()
            for j in (j for j in range(len(full)) if ids[j] != ids[i]):
                below = below + (scale * q @ full[j]).exp() + sum((scale * q @ copy).exp() for copy in copies[j])
            total = total + below.log() - scale * middle
        return total / (len(full) or 1)

    views = ((some.fused, some.fused_masked), (some.fused_augmented, some.fused_masked_augmented))
    terms = len(z.embeds) + 1
    weight = options.get("masked_weight", 1.0)
    return (terms * comm(z, scale, config) + weight * sum(masked(*view) for view in views)) / (terms + 2)


def coral(z, scale, config, modules):
    """Row by row; the masks are in the embeddings already."""

    def squared(first, second):
        rows = [(a @ b) ** 2 / (a @ a) / (b @ b) for a, b in zip(first, second, strict=True)]
        return sum(rows) / (len(rows) or 1)

    some = part(z)
    total = nt_xent_by_rows(some.fused, some.fused_augmented, scale, some.ids)
    weight = config.objective_options.get("weight", 1.0)
    for m in z.independent:
        own = part(z, m)
        total = total + nt_xent_by_rows(own.independent[m], own.independent_augmented[m], scale, own.ids)
        total = total + weight * squared(own.independent[m], own.fused)
        total = total + weight * squared(own.independent_augmented[m], own.fused_augmented)
    both = part(z, *z.independent)
    for view in (both.independent, both.independent_augmented):
        total = total + weight * squared(*view.values())
    return total


def cross(z, scale, config):
    both = {(a, b): part(z, a, b) for a, b in combinations(z.embeds, 2)}
    return average(symmetric_by_rows(own.embeds[a], own.embeds[b], scale, own.ids) for (a, b), own in both.items())


def cross_self(z, scale, config):
    rows = {m: part(z, m) for m in z.embeds}
    if config.objective_options.get("clean"):
        views = [(rows[m].augmented[m], rows[m].third_augmented[m], scale, rows[m].ids) for m in rows]
        return cmc(z, scale, config) + average(nt_xent_by_rows(*each) for each in views)
    own = average(nt_xent_by_rows(rows[m].embeds[m], rows[m].augmented[m], scale, rows[m].ids) for m in rows)
    return cross(z, scale, config) + own


def cmc(z, scale, config):
    both = {(a, b): part(z, a, b) for a, b in combinations(z.embeds, 2)}
    return average(nt_xent_by_rows(own.embeds[a], own.embeds[b], scale, own.ids) for (a, b), own in both.items())


def simclr(z, scale, config, names=("image",)):
    own = {m: part(z, m) for m in names}
    return average(nt_xent_by_rows(own[m].embeds[m], own[m].augmented[m], scale, own[m].ids) for m in names)


def slip(z, scale, config):
    return cross(z, scale, config) + simclr(z, 10.0, config)


def factorcl_linear(z, scale, config, modules):
    """Six terms, every pair of rows in a loop; a critic is trained on what does not move the heads."""

    def unit(head, rows):
        return [row / row.norm() for row in head(rows)]

    def through(factor, own, m):
        first = unit(modules[factor][m], own.embeds[m])
        if not factor.endswith("given"):
            return first
        both = zip(first, unit(modules[factor][m], own.augmented[m]), strict=True)
        return [torch.cat(pair) / 2**0.5 for pair in both]

    def critic(x, y, matrix=None):
        return [[scale * (y_i if matrix is None else matrix @ y_i) @ x_j for x_j in x] for y_i in y]

    def right(logits, ids):
        rows = range(len(logits))
        ids = list(rows) if ids is None else ids.tolist()
        return [average(logits[i][j] for j in rows if ids[j] == ids[i]) for i in rows]

    def nce(logits, ids):
        terms = [good - sum(t.exp() for t in row).log() for row, good in zip(logits, right(logits, ids), strict=True)]
        return sum(terms) / len(terms) + math.log(len(terms)) if terms else 0

    def club(logits, ids):
        count = len(logits) or 1
        return sum(right(logits, ids)) / count - sum(sum(row) for row in logits) / count**2

    total = 0
    pairs = list(combinations(z.embeds, 2))
    for a, b in pairs:
        own = part(z, a, b)
        value = sum(nce(critic(through(f, own, a), through(f, own, b)), own.ids) for f in ("lower", "lower_given"))
        for f in ("upper", "upper_given"):
            x, y, matrix = through(f, own, a), through(f, own, b), modules[f"critic_{f}"].weight
            value = value - club(critic(x, y, matrix.detach()), own.ids)
            value = value + nce(critic([row.detach() for row in x], [row.detach() for row in y], matrix), own.ids)
        total = total - value / len(pairs)
    for m in z.embeds:
        own = part(z, m)
        views = unit(modules["own"][m], own.embeds[m]), unit(modules["own"][m], own.augmented[m])
        total = total - 2 * nce(critic(*views), own.ids) / len(z.embeds)
    return total


OF_CLIP = (clip, gram, pmrl, sigmoid, symile, triangle)
OF_COMM = (cmc, comm, coral, cross, cross_self, factorcl_linear, infmasking, simclr, slip)
OBJECTIVES = {function.__name__: function for function in (*OF_CLIP, *OF_COMM)}


def plain_loss(config, z, scale, modules=None, **told):
    """The objective of a config with its regularizers."""
    own = [modules] if modules is not None and len(modules) else []
    loss = OBJECTIVES[config.objective](z, scale, config, *own, **told)
    for name, spec in config.regularizers.items():
        options = {key: value for key, value in spec.items() if key != "weight"}
        loss = loss + spec["weight"] * REFERENCES[name](z, scale, **options)
    return loss
