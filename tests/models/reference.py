"""Plain restatements that the fast paths are compared with. Slow on purpose: one pass a subset, nothing shared."""

import torch
import torch.nn.functional as F


def fuse_one_subset(fusion, tokens, masks):
    """The fusion transformer on the tokens of one subset, as the paper draws it: concatenate, attend, pool."""
    x = torch.cat(tokens, dim=1)
    real = torch.cat(
        [torch.ones(t.shape[:2], dtype=torch.bool) if m is None else m for t, m in zip(tokens, masks, strict=True)], 1
    )
    if fusion.class_token is not None:
        x = torch.cat([fusion.class_token.expand(len(x), -1, -1), x], dim=1)
        real = torch.cat([torch.ones(len(x), 1, dtype=torch.bool), real], dim=1)
    for layer in fusion.layers:
        normed = layer.attention_norm(x)
        query = layer.query(normed)
        key, value = layer.key_value(normed).chunk(2, dim=-1)
        size = query.shape[-1] // layer.num_heads
        heads = []
        for h in range(layer.num_heads):
            part = slice(h * size, (h + 1) * size)
            scores = query[..., part] @ key[..., part].transpose(1, 2) / size**0.5
            heads.append(scores.masked_fill(~real[:, None], float("-inf")).softmax(-1) @ value[..., part])
        x = x + layer.output(torch.cat(heads, dim=-1))
        expanded = layer.expand(layer.mlp_norm(x))
        x = x + layer.contract(expanded * torch.sigmoid(1.702 * expanded))
    x = fusion.norm(x)
    if fusion.class_token is not None:
        return x[:, 0]
    return (x * real[..., None]).sum(1) / real.sum(1, keepdim=True)


def fuse_by_rows(fusion, tokens, subsets, masks, places):
    """The fusions of concatenated means, row by row and subset by subset: rows of numbers, no batch."""
    whole = []
    for row in range(len(tokens[0])):
        vectors = []
        for subset in subsets:
            parts = [torch.zeros(tokens[0].shape[-1], dtype=tokens[0].dtype) for _ in range(fusion.modalities)]
            for position in subset:
                every = range(tokens[position].shape[1])
                real = [i for i in every if masks[position] is None or masks[position][row, i]]
                for i in real:
                    parts[places[position]] = parts[places[position]] + tokens[position][row, i] / len(real)
            hidden = torch.cat(parts)
            for layer in fusion.layers:
                hidden = layer.weight @ hidden + layer.bias if hasattr(layer, "weight") else hidden * (hidden > 0)
            vectors.append(hidden)
        whole.append(torch.stack(vectors))
    return torch.stack(whole)


def fuse(fusion, tokens, subset, masks):
    """One subset of all modalities of a model, by whichever fusion it has."""
    if hasattr(fusion, "modalities"):
        return fuse_by_rows(fusion, tokens, [subset], masks, range(len(tokens)))[:, 0]
    return fuse_one_subset(fusion, [tokens[i] for i in subset], [masks[i] for i in subset])


def nt_xent_by_rows(first, second, scale, ids=None):
    """NT-Xent written out row by row."""
    z = torch.cat([first, second])
    ids = list(range(len(first))) if ids is None else ids.tolist()
    ids = ids + ids
    total = 0.0
    for i in range(len(z)):
        others = [j for j in range(len(z)) if j != i]
        exponentials = {j: (scale * (z[i] * z[j]).sum()).exp() for j in others}
        normaliser = sum(exponentials.values())
        positives = [j for j in others if ids[j] == ids[i]]
        total = total - sum((exponentials[j] / normaliser).log() for j in positives) / len(positives)
    return total / (len(z) or 1)


def comm_loss(model, first, second):
    """The CoMM loss with separate encoder, fusion and head passes for every view and subset."""
    names = list(model.encoders)
    views = []
    for view in (first, second):
        outputs = [model.encoders[name](**view[name]) for name in names]
        tokens = [model.converters[name](output) for name, output in zip(names, outputs, strict=True)]
        masks = [output.attention_mask for output in outputs]
        subsets = [[i] for i in range(len(names))] + [list(range(len(names)))]
        fused = [fuse(model.fusion, tokens, subset, masks) for subset in subsets]
        views.append([F.normalize(model.head(z), dim=-1) for z in fused])
    z1, z2 = views
    scale = 1 / model.config.temperature
    terms = [
        (nt_xent_by_rows(z1[i], z2[-1], scale) + nt_xent_by_rows(z2[i], z1[-1], scale)) / 2 for i in range(len(z1))
    ]
    return sum(terms) / len(terms)
