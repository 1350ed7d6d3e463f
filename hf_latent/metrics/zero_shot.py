"""Zero-shot classification: an image takes the class whose name, put into a sentence, lies nearest.

`zero_shot(image_embeds, class_embeddings(embed_texts, class_names), labels)` gives top-k accuracies.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .arrays import TIE, blocks, cutoffs, integers, matrix, unit_rows
from .retrieval import ranks

TIES = ("wrong", "first")
TEMPLATES = ("a photo of a {}.",)
"""CLIP's prompt for photographs; `{}` is the class name. Data with captions of its own wants templates like them."""


def class_embeddings(
    embed_texts: Callable[[list[str]], ArrayLike | Tensor],
    class_names: Sequence[str | Sequence[str]],
    templates: Sequence[str] = TEMPLATES,
) -> NDArray[np.float64]:
    """(C, D) one unit vector a class: each prompt's embedding normalised, averaged over templates, normalised again.

    Args:
        embed_texts: texts -> (len(texts), D) floats. Called once for each template, with all names.
        class_names: C names, or several of a class as a list, over which its prompts are averaged, too. Classes of
            the same name cannot be told apart, which `zero_shot` counts as wrong.
        templates: sentences in which `{}` stands for the class name.

    Raises:
        ValueError: no template, one without `{}`, fewer than two classes, or as many embeddings as there are texts
            did not come back.

    Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (CLIP), ICML 2021.
    """
    if isinstance(class_names, str) or len(class_names) < 2:
        raise ValueError(f"Give a list of two or more class names; got {class_names!r}.")
    if isinstance(templates, str) or not templates:
        raise ValueError(f"Give a list of one or more templates; got {templates!r}.")
    if bad := [template for template in templates if "{}" not in template]:
        raise ValueError(f"The template {bad[0]!r} has no place for the class name; write {{}} where it goes.")

    aliases = [[name] if isinstance(name, str) else list(name) for name in class_names]
    if any(not own for own in aliases):
        raise ValueError(f"Class {[bool(own) for own in aliases].index(False)} has no name.")
    names = [name for own in aliases for name in own]

    def embed(template: str) -> Tensor:
        # not str.format: other braces in a template are text
        vectors = matrix(embed_texts([template.replace("{}", name) for name in names]), "text embeddings")
        if len(vectors) != len(names):
            raise ValueError(f"embed_texts gave {len(vectors)} embeddings for {len(names)} texts.")
        return unit_rows(vectors)

    means = torch.stack([embed(template) for template in templates]).mean(0)
    if len(names) > len(aliases):
        means = torch.stack([part.mean(0) for part in means.split([len(own) for own in aliases])])
    return unit_rows(means).numpy()


def zero_shot(
    image_embeds: ArrayLike | Tensor,
    class_embeds: ArrayLike | Tensor,
    labels: ArrayLike | Tensor,
    *,
    k: Sequence[int] = (1, 3, 5),
    ties: str = "wrong",
    mean_per_class: bool = False,
    chunk_size: int = 1024,
) -> dict[str, float]:
    """Accuracy of the nearest classes by cosine.

    Args:
        image_embeds: (N, D) floats; normalised here.
        class_embeds: (C, D) floats, one a class, C >= 2, as from `class_embeddings`; normalised here.
        labels: (N,) integers 0..C-1, rows of `class_embeds`.
        k: cut-offs. One above C would always be 100 and is left out.
        ties: What a class counts as that is as near as the right one: nearer (`wrong`), so that constant embeddings
            score 0 at k < C; or, as where the largest score is looked for, nearer if it stands before it (`first`).
        mean_per_class: Give it, too.
        chunk_size: images compared with all classes at once.

    Returns:
        `top1`, `top3`, `top5`: percent of images whose class is among the nearest k; chance is 100 k / C.
        `mean_per_class`: `top1` of the images of each class that has some, averaged over these classes.

    Raises:
        ValueError: fewer than two classes, labels that are not integers or out of range, different widths, NaN or
            infinite values, k below 1.

    Protocol: CLIP; Jiang et al. (CVPR 2023) report k = 1, 3, 5.
    """
    images, classes = matrix(image_embeds, "image embeddings"), matrix(class_embeds, "class embeddings", min_rows=2)
    label = integers(labels, "labels", len(images))
    if len(bad := ((label < 0) | (label >= len(classes))).nonzero()):
        row = int(bad[0])
        raise ValueError(
            f"{len(bad)} label(s) are not 0..{len(classes) - 1}, the rows of the class embeddings; the first is "
            f"{int(label[row])} in row {row}."
        )
    if ties not in TIES:
        raise ValueError(f"ties={ties!r}: write {' or '.join(TIES)}.")
    if ties == "first":
        rank = _first_ranks(unit_rows(images), unit_rows(classes), label, chunk_size)
    else:
        ids = torch.arange(len(classes))
        rank = ranks(images, label, classes, ids, names=("image", "class"), chunk_size=chunk_size)
    found = {f"top{top}": 100 * float((rank <= top).mean()) for top in cutoffs(k) if top <= len(classes)}
    if mean_per_class:
        right, counts = np.bincount(label, weights=rank == 1), np.bincount(label)
        found["mean_per_class"] = 100 * float((right[counts > 0] / counts[counts > 0]).mean())
    return found


def _first_ranks(images: Tensor, classes: Tensor, label: Tensor, chunk_size: int) -> NDArray[np.int64]:
    """(N,) rank of the right class, where of classes as near as each other the first is the nearest."""
    places, found = torch.arange(len(classes)), []
    for rows in blocks(len(images), chunk_size):
        scores = images[rows] @ classes.T
        right = scores.gather(1, label[rows, None])
        nearer = (scores > right + TIE) | (((scores - right).abs() <= TIE) & (places < label[rows, None]))
        found.append(1 + nearer.sum(1))
    return torch.cat(found).numpy()
