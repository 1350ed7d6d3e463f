"""Objectives restated row by row from scored embeddings, with nothing shared and nothing tiled."""

from itertools import combinations

from tests.models.reference import nt_xent_by_rows
from tests.regularizers.reference import REFERENCES, average


def one_way_by_rows(anchors, columns, scale, ids=None):
    """InfoNCE written out row by row; equal ids are positives."""
    ids = list(range(len(anchors))) if ids is None else ids.tolist()
    total = 0.0
    for i in range(len(anchors)):
        exponentials = (scale * columns @ anchors[i]).exp()
        positives = [j for j in range(len(columns)) if ids[j] == ids[i]]
        total = total - average((exponentials[j] / exponentials.sum()).log() for j in positives)
    return total / len(anchors)


def symmetric_by_rows(first, second, scale, ids=None):
    return (one_way_by_rows(first, second, scale, ids) + one_way_by_rows(second, first, scale, ids)) / 2


def clip(z, scale, config):
    loss = symmetric_by_rows(z.embeds["image"], z.embeds["text"], scale, z.ids)
    if not config.in_modal:
        return loss
    return (loss + average(one_way_by_rows(z.embeds[m], z.augmented[m], scale, z.ids) for m in z.embeds)) / 2


def comm(z, scale, config):
    views = ((z.embeds, z.fused_augmented), (z.augmented, z.fused))
    terms = [average(nt_xent_by_rows(own[m], joint, scale, z.ids) for own, joint in views) for m in z.embeds]
    return average([*terms, nt_xent_by_rows(z.fused, z.fused_augmented, scale, z.ids)])


def cross(z, scale, config):
    return average(symmetric_by_rows(a, b, scale, z.ids) for a, b in combinations(z.embeds.values(), 2))


def cross_self(z, scale, config):
    own = average(nt_xent_by_rows(z.embeds[m], z.augmented[m], scale, z.ids) for m in z.embeds)
    return cross(z, scale, config) + own


OBJECTIVES = {function.__name__: function for function in (clip, comm, cross, cross_self)}


def plain_loss(config, z, scale):
    """The objective of a config with its regularizers."""
    loss = OBJECTIVES[config.objective](z, scale, config)
    for name, spec in config.regularizers.items():
        options = {key: value for key, value in spec.items() if key != "weight"}
        loss = loss + spec["weight"] * REFERENCES[name](z, scale, **options)
    return loss
