"""Zero-shot classification: an image takes the class whose name, put into a sentence, lies nearest.

`zero_shot(image_embeds, class_embeddings(embed_texts, class_names), labels)` gives top-k accuracies.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .arrays import cutoffs, integers, matrix, unit_rows
from .retrieval import ranks

TEMPLATES = ("a photo of a {}.",)
"""CLIP's prompt for photographs; `{}` is the class name. Data with captions of its own wants templates like them."""


def class_embeddings(
    embed_texts: Callable[[list[str]], ArrayLike | Tensor],
    class_names: Sequence[str],
    templates: Sequence[str] = TEMPLATES,
) -> NDArray[np.float64]:
    """(C, D) one unit vector a class: each prompt's embedding normalised, averaged over templates, normalised again.

    Args:
        embed_texts: texts -> (len(texts), D) floats. Called once for each template, with C texts.
        class_names: C names. Classes of the same name cannot be told apart, which `zero_shot` counts as wrong.
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

    def embed(template: str) -> Tensor:
        # not str.format: other braces in a template are text
        vectors = matrix(embed_texts([template.replace("{}", name) for name in class_names]), "text embeddings")
        if len(vectors) != len(class_names):
            raise ValueError(f"embed_texts gave {len(vectors)} embeddings for {len(class_names)} texts.")
        return unit_rows(vectors)

    return unit_rows(torch.stack([embed(template) for template in templates]).mean(0)).numpy()


def zero_shot(
    image_embeds: ArrayLike | Tensor,
    class_embeds: ArrayLike | Tensor,
    labels: ArrayLike | Tensor,
    *,
    k: Sequence[int] = (1, 3, 5),
    chunk_size: int = 1024,
) -> dict[str, float]:
    """Accuracy of the nearest classes by cosine.

    Args:
        image_embeds: (N, D) floats; normalised here.
        class_embeds: (C, D) floats, one a class, C >= 2, as from `class_embeddings`; normalised here.
        labels: (N,) integers 0..C-1, rows of `class_embeds`.
        k: cut-offs. One above C would always be 100 and is left out.
        chunk_size: images compared with all classes at once.

    Returns:
        `top1`, `top3`, `top5`: percent of images whose class is among the nearest k; chance is 100 k / C. A class as
        near as the right one counts as nearer, so constant embeddings score 0 at k < C.

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
    ids = torch.arange(len(classes))
    rank = ranks(images, label, classes, ids, names=("image", "class"), chunk_size=chunk_size)
    return {f"top{top}": 100 * float((rank <= top).mean()) for top in cutoffs(k) if top <= len(classes)}
