"""What the synergy probe reaches on features that hold no synergy: one-hot factors of a pair, and nothing learned.

The held-out combinations are those that training lacks: a color that is frequent among the training pictures of a
shape is rare among the held-out ones. A probe that knows one side of a pair, a shape with a texture or with a color,
therefore learns a frequency of the positive class that is the reverse of that on held-out pairs.
"""

import argparse
from collections.abc import Mapping

import numpy as np

from hf_latent.data.trifeature import (
    COLORS,
    SHAPES,
    TEXTURES,
    TrifeaturePairs,
    load_trifeature,
)
from hf_latent.metrics import linear_probe


def one_hot(*factors: tuple[np.ndarray, int]) -> np.ndarray:
    """(N, product of the sizes) one column for each combination of the factors' classes."""
    ids, size = np.zeros(len(factors[0][0]), dtype=np.int64), 1
    for values, count in factors:
        ids, size = ids * count + values, size * count
    return np.eye(size, dtype=np.float32)[ids]


def features(pairs: TrifeaturePairs) -> Mapping[str, np.ndarray]:
    """What a representation may know of a pair; the last knows both sides at once, which is synergy."""
    first, second = pairs.index.T
    shape = pairs.source.shape[first], len(SHAPES)
    texture, color = (pairs.source.texture[first], len(TEXTURES)), (pairs.source.color[second], len(COLORS))
    apart = one_hot(texture), one_hot(color)
    with_shape = one_hot(shape, texture), one_hot(shape, color)
    return {
        "texture 1": apart[0],
        "color 2": apart[1],
        "texture 1, color 2": np.hstack(apart),
        "shape with texture 1": with_shape[0],
        "shape with color 2": with_shape[1],
        "shape with texture 1, shape with color 2": np.hstack(with_shape),
        "texture 1 with color 2: the synergy": one_hot(texture, color),
    }


def main() -> None:
    """Print a row for each kind of features: macro accuracy and AUROC of each seed of the data."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 1, 2])
    found: dict[str, list[str]] = {}
    seeds = parser.parse_args().seeds
    for seed in seeds:
        trifeature = load_trifeature(image_size=8, renders=1, seed=seed)
        train, test = trifeature.pairs("train"), trifeature.pairs("test")
        known, asked = features(train), features(test)
        for name in known:
            labels = train.labels["synergy"], test.labels["synergy"]
            result = linear_probe(known[name], labels[0], asked[name], labels[1], balanced=True)
            found.setdefault(name, []).append(f"{result.balanced_accuracy:.1f}, {result.auroc:.3f}")
    heads = [f"data seed {seed}" for seed in seeds]
    print(f"| one-hot features | {' | '.join(heads)} |\n|---|{'---|' * len(seeds)}")
    for name, cells in found.items():
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
