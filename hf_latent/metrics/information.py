"""What two modalities tell about a target, and what aligning them costs: exact, for discrete distributions, in nats.

Jiang et al., "Understanding and Constructing Latent Modality Structures in Multi-modal Representation Learning"
(CVPR 2023), theorem 3.1: if the encoders of text and image are perfectly aligned, Z_T = Z_V with probability one, then

    alignment_cost(joint, g_text, g_image) >= information_gap(joint)

however good they are otherwise. A joint distribution is an array of probabilities p(x_T, x_V, y) with the axes X_T,
X_V, Y; an encoder is an array of integers, the label g(x) of each value x.

    joint = factor_joint(image_only=1.0)
    alignment_cost(joint, *aligned_encoders(joint)), information_gap(joint)     # (0.693..., 0.693...)
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Probabilities = NDArray[np.float64]
Encoder = NDArray[np.int64]


def conditional_entropy(joint: ArrayLike) -> float:
    """H(Y | X_1, ..., X_n) of probabilities p(x_1, ..., x_n, y), n >= 1: the least cross-entropy that any predictor of
    Y from the other axes can have.

    Raises:
        ValueError: fewer than two axes, or numbers that are no probabilities or do not sum to 1.
    """
    p = _probabilities(joint)
    return _entropy(p) - _entropy(p.sum(-1))


def mutual_information(joint: ArrayLike) -> float:
    """I(X_1, ..., X_n; Y) of probabilities p(x_1, ..., x_n, y), n >= 1; errors as `conditional_entropy`."""
    p = _probabilities(joint)
    return _entropy(p.sum(tuple(range(p.ndim - 1)))) + _entropy(p.sum(-1)) - _entropy(p)


def information_gap(joint: ArrayLike) -> float:
    """|I(X_T; Y) - I(X_V; Y)| of p(x_T, x_V, y): the paper's Delta_p, which no encoder changes.

    Raises:
        ValueError: not three axes, or numbers that are no probabilities or do not sum to 1.
    """
    p = _probabilities(joint, axes=3)
    return abs(mutual_information(p.sum(1)) - mutual_information(p.sum(0)))


def alignment_cost(joint: ArrayLike, g_text: ArrayLike, g_image: ArrayLike) -> float:
    """By how much the best prediction of Y from (Z_T, Z_V) is worse than from (X_T, X_V), in cross-entropy.

    inf_h CE(h(Z_T, Z_V), Y) - inf_h' CE(h'(X_T, X_V), Y) = H(Y | Z_T, Z_V) - H(Y | X_T, X_V)
    = I(X_T, X_V; Y) - I(Z_T, Z_V; Y): theorem 3.1's left side, for any encoders, aligned or not.

    Args:
        joint: (T, V, Y) probabilities.
        g_text: (T,) integers, Z_T = g_text[x_T].
        g_image: (V,) integers, Z_V = g_image[x_V].

    Raises:
        ValueError: as `information_gap`, or an encoder that is not one integer a value.
    """
    p = _probabilities(joint, axes=3)
    z_text, z_image = _encoder(g_text, "g_text", p.shape[0]), _encoder(g_image, "g_image", p.shape[1])
    encoded = np.zeros((*(len(np.unique(z)) for z in (z_text, z_image)), p.shape[2]))
    places = (np.unique(z, return_inverse=True)[1] for z in (z_text, z_image))
    np.add.at(encoded, np.ix_(*places), p)
    return conditional_entropy(encoded) - conditional_entropy(p)


def are_aligned(joint: ArrayLike, g_text: ArrayLike, g_image: ArrayLike) -> bool:
    """Whether Z_T = Z_V with probability one; arguments and errors as `alignment_cost`."""
    p = _probabilities(joint, axes=3)
    z_text, z_image = _encoder(g_text, "g_text", p.shape[0]), _encoder(g_image, "g_image", p.shape[1])
    return not p.sum(2)[z_text[:, None] != z_image].any()


def aligned_encoders(joint: ArrayLike) -> tuple[Encoder, Encoder]:
    """The best perfectly aligned encoders (T,) and (V,) of p(x_T, x_V, y): no others have a lower `alignment_cost`.

    Values that occur together must share a label, hence all that a chain of such pairs links; each chain gets a label
    of its own. That is the common part of X_T and X_V (Gacs and Koerner, "Common information is far less than mutual
    information", 1973), and any aligned encoder is a function of it. Errors as `information_gap`.
    """
    together = _probabilities(joint, axes=3).sum(2) > 0
    text = np.arange(len(together))
    image = np.arange(together.shape[1]) + len(together)  # a value that never occurs keeps a label of its own
    for _ in range(sum(together.shape)):  # a label travels one link a round, and no chain is longer
        image = np.where(together, text[:, None], image).min(0)
        text = np.where(together, image, text[:, None]).min(1)
    return text, image


def factor_joint(image_only: float, text_only: float = 0.0, shared: float = 1.0) -> Probabilities:
    """p(x_T, x_V, y) of three fair, independent bits: one in both modalities, one in the text only, one in the image
    only. Y shows each bit with the probability of that name, and else a blank, independently.

    So I(X_T; Y) = (shared + text_only) ln 2, I(X_V; Y) = (shared + image_only) ln 2, and the gap is their difference.

    Returns:
        (4, 4, 27): x_T = 2 shared + text's own, x_V = 2 shared + image's own; y has 3 digits, 0, 1 or blank.

    Raises:
        ValueError: an argument that is no probability.
    """
    shown = {"shared": shared, "text_only": text_only, "image_only": image_only}
    for name, chance in shown.items():
        if not 0 <= chance <= 1:
            raise ValueError(f"{name}={chance}: write a probability, 0 to 1")
    # what a fair bit is, and what Y shows of it
    common, text, image = (np.array([[q, 0, 1 - q], [0, q, 1 - q]]) / 2 for q in shown.values())
    bits = np.einsum("sa,tb,vc->stvabc", common, text, image).reshape(2, 2, 2, 27)
    joint = np.zeros((2, 2, 2, 2, 27))
    for bit in (0, 1):
        joint[bit, :, bit] = bits[bit]
    return joint.reshape(4, 4, 27)


def _entropy(p: Probabilities) -> float:
    p = p[p > 0]  # 0 ln 0 = 0
    return float(-(p * np.log(p)).sum())


def _probabilities(joint: ArrayLike, axes: int | None = None) -> Probabilities:
    p = np.asarray(joint, dtype=np.float64)
    if p.ndim < 2 or axes not in (None, p.ndim):
        wanted = "X_T, X_V, Y" if axes else "X, Y, with any number before Y"
        raise ValueError(f"The joint distribution needs the axes {wanted}; got the shape {p.shape}.")
    if not (p >= 0).all() or abs(p.sum() - 1) > 1e-9:  # NaN is not >= 0
        raise ValueError(
            f"Probabilities must be 0 or more and sum to 1, not {p.sum():.6g}; divide counts by their sum."
        )
    return p


def _encoder(labels: ArrayLike, name: str, values: int) -> Encoder:
    array = np.asarray(labels)
    if array.shape != (values,) or array.dtype.kind not in "iub":
        raise ValueError(f"{name} must hold an integer for each of {values} values; got {array.dtype} {array.shape}.")
    return array.astype(np.int64)
