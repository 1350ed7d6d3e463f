"""The metrics as `evaluate.Metric`: what is fitted on or compared with at construction, test rows in batches.

    metric = LinearProbeMetric(train_features, train_labels)
    metric.compute(predictions=test_features, references=test_labels)
    # {"accuracy": ..., "balanced_accuracy": ..., "auroc": ..., "regularization": ...}

    metric = InteractionsMetric(train_features, {"redundancy": shapes, "synergy": follows_mapping})
    metric.add_batch(predictions=test_features, redundancy=test_shapes, synergy=test_follows_mapping)
    metric.compute()  # {"redundancy": ..., "synergy": ..., "synergy_unweighted": ..., "synergy_auroc": ...}

    metric = RetrievalMetric()  # a row is an image or a text: there may be several texts an image
    metric.add_batch(predictions=image_embeds, references=image_ids, modality=["image"] * len(image_ids))
    metric.add_batch(predictions=text_embeds, references=image_of_text, modality=["text"] * len(image_of_text))
    metric.compute()  # {"image_to_text_r1": ..., "text_to_image_median_rank": ...}

    metric = ZeroShotMetric(class_embeddings(embed_texts, class_names))
    metric.compute(predictions=image_embeds, references=labels)  # {"top1": ..., "top3": ..., "top5": ...}

    metric = GeometryMetric(["image", "text"])
    metric.compute(image=image_embeds, text=text_embeds)  # {"gap_centroid": ..., "cka": ..., ...}

    metric = TaskAccuracyMetric(kind="answers")
    metric.compute(predictions=answers, references=right_answers, groups=kinds_of_question)  # {"answer_accuracy": ...}

Needs evaluate and datasets; nothing else in the package imports this module.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from ..citations import LI_2021
from .geometry import geometry
from .interactions import interactions
from .linear_probe import linear_probe
from .retrieval import retrieval
from .tasks import Kind, task_accuracy
from .zero_shot import zero_shot

_COMM = """\
@inproceedings{dufumier2025comm,
  title={What to align in multimodal contrastive learning?},
  author={Dufumier, Benoit and Castillo-Navarro, Javiera and Tuia, Devis and Thiran, Jean-Philippe},
  booktitle={International Conference on Learning Representations},
  year={2025}
}"""
_UNIFORMITY = """\
@inproceedings{wang2020uniformity,
  title={Understanding Contrastive Representation Learning through Alignment and Uniformity on the Hypersphere},
  author={Wang, Tongzhou and Isola, Phillip},
  booktitle={International Conference on Machine Learning},
  year={2020}
}"""
_RETRIEVAL = """\
@inproceedings{karpathy2015deep,
  title={Deep Visual-Semantic Alignments for Generating Image Descriptions},
  author={Karpathy, Andrej and Fei-Fei, Li},
  booktitle={IEEE Conference on Computer Vision and Pattern Recognition},
  year={2015}
}"""
_CLIP = """\
@inproceedings{radford2021clip,
  title={Learning Transferable Visual Models From Natural Language Supervision},
  author={Radford, Alec and Kim, Jong Wook and others},
  booktitle={International Conference on Machine Learning},
  year={2021}
}"""
_VECTOR = datasets.Sequence(datasets.Value("float32"))
_INTEGER = datasets.Value("int64")


class LinearProbeMetric(evaluate.Metric):
    """`linear_probe` with `predictions` (M, D) the test features and `references` (M,) the test labels.

    Args:
        train_features: (N, D) floats.
        train_labels: (N,) integers.
        protocol: a name in `linear_probe.PROTOCOLS`.
        balanced: class-weighted loss.
        kwargs: those of `evaluate.Metric`.
    """

    def __init__(
        self,
        train_features: ArrayLike,
        train_labels: ArrayLike,
        *,
        protocol: str = "standard",
        balanced: bool = False,
        **kwargs: Any,
    ) -> None:
        self.train = (train_features, train_labels)
        self.protocol, self.balanced = protocol, balanced
        super().__init__(**kwargs)

    def _info(self) -> evaluate.MetricInfo:
        return _info("Accuracy of a linear classifier on frozen features.", ["references"])

    def _compute(self, predictions: ArrayLike, references: ArrayLike) -> dict[str, float | None]:
        test = (np.asarray(predictions), np.asarray(references))
        return asdict(linear_probe(*self.train, *test, protocol=self.protocol, balanced=self.balanced))


class InteractionsMetric(evaluate.Metric):
    """`interactions` with `predictions` (M, D) the test features and one column of labels (M,) for each task.

    Args:
        train_features: (N, D) floats.
        train_labels: task -> (N,) integers; these tasks are what `compute` takes.
        protocol: a name in `linear_probe.PROTOCOLS`.
        kwargs: those of `evaluate.Metric`.
    """

    def __init__(
        self,
        train_features: ArrayLike,
        train_labels: Mapping[str, ArrayLike],
        *,
        protocol: str = "standard",
        **kwargs: Any,
    ) -> None:
        self.train = (train_features, train_labels)
        self.protocol = protocol
        super().__init__(**kwargs)

    def _info(self) -> evaluate.MetricInfo:
        return _info("Linear probes of redundancy, uniqueness and synergy.", list(self.train[1]))

    def _compute(self, predictions: ArrayLike, **labels: ArrayLike) -> dict[str, float]:
        test_labels = {task: np.asarray(values) for task, values in labels.items()}
        return interactions(*self.train, np.asarray(predictions), test_labels, protocol=self.protocol)


class RetrievalMetric(evaluate.Metric):
    """`retrieval`; a row is one embedding of either modality.

    Columns: `predictions` the vectors, `references` their integer ids (a text's is its image's), `modality` one of
    `names`.

    Args:
        names: what the two modalities are called.
        k: cut-offs.
        kwargs: those of `evaluate.Metric`.
    """

    def __init__(
        self, *, names: tuple[str, str] = ("image", "text"), k: Sequence[int] = (1, 5, 10), **kwargs: Any
    ) -> None:
        self.names, self.k = names, k
        super().__init__(**kwargs)

    def _info(self) -> evaluate.MetricInfo:
        columns = {"predictions": _VECTOR, "references": _INTEGER, "modality": datasets.Value("string")}
        return _metric_info("Recall at k between two modalities, both ways.", columns, _RETRIEVAL)

    def _compute(self, predictions: ArrayLike, references: ArrayLike, modality: Sequence[str]) -> dict[str, float]:
        vectors, ids, names = np.asarray(predictions), np.asarray(references), np.asarray(modality)
        if unknown := sorted(set(names.tolist()) - set(self.names)):
            raise ValueError(f"The rows hold the modalities {unknown}; this metric has {list(self.names)}.")
        if missing := sorted(set(self.names) - set(names.tolist())):
            raise ValueError(f"No row holds the modality {missing[0]!r}; add its embeddings, too.")
        first, second = (names == name for name in self.names)
        return retrieval(vectors[first], vectors[second], ids[first], ids[second], k=self.k, names=self.names)


class ZeroShotMetric(evaluate.Metric):
    """`zero_shot` with `predictions` (N, D) the image embeddings and `references` (N,) the labels.

    Args:
        class_embeds: (C, D) floats, as from `class_embeddings`.
        k: cut-offs.
        kwargs: those of `evaluate.Metric`.
    """

    def __init__(self, class_embeds: ArrayLike, *, k: Sequence[int] = (1, 3, 5), **kwargs: Any) -> None:
        self.class_embeds, self.k = class_embeds, k
        super().__init__(**kwargs)

    def _info(self) -> evaluate.MetricInfo:
        columns = {"predictions": _VECTOR, "references": _INTEGER}
        return _metric_info("Accuracy of the class whose name lies nearest.", columns, _CLIP)

    def _compute(self, predictions: ArrayLike, references: ArrayLike) -> dict[str, float]:
        return zero_shot(np.asarray(predictions), self.class_embeds, np.asarray(references), k=self.k)


class GeometryMetric(evaluate.Metric):
    """`geometry`; a row is one sample, with one column of vectors for each modality, called by its name.

    Args:
        modalities: two or more names.
        k: neighbours of `mutual_knn`.
        kwargs: those of `evaluate.Metric`.
    """

    def __init__(self, modalities: Sequence[str] = ("image", "text"), *, k: int = 10, **kwargs: Any) -> None:
        self.modalities, self.k = tuple(modalities), k
        super().__init__(**kwargs)

    def _info(self) -> evaluate.MetricInfo:
        columns = dict.fromkeys(self.modalities, _VECTOR)
        return _metric_info("Gap, alignment, uniformity, effective rank, CKA, neighbours.", columns, _UNIFORMITY)

    def _compute(self, **embeddings: ArrayLike) -> dict[str, float]:
        return geometry({name: np.asarray(x) for name, x in embeddings.items()}, k=self.k)


class TaskAccuracyMetric(evaluate.Metric):
    """`task_accuracy` with `predictions` (N,) and `references` (N,) integers, `groups` (N,) names.

    Args:
        kind: "answers" or "classes".
        kwargs: those of `evaluate.Metric`.
    """

    def __init__(self, *, kind: Kind = "classes", **kwargs: Any) -> None:
        self.kind = kind
        super().__init__(**kwargs)

    def _info(self) -> evaluate.MetricInfo:
        columns = {"predictions": _INTEGER, "references": _INTEGER, "groups": datasets.Value("string")}
        return _metric_info("Accuracy over all, by class and by kind of question.", columns, LI_2021)

    def _compute(self, predictions: ArrayLike, references: ArrayLike, groups: Sequence[str]) -> dict[str, float]:
        return task_accuracy(np.asarray(predictions), np.asarray(references), groups, kind=self.kind)


def _info(description: str, label_columns: list[str]) -> evaluate.MetricInfo:
    return _metric_info(description, {"predictions": _VECTOR} | dict.fromkeys(label_columns, _INTEGER), _COMM)


def _metric_info(description: str, columns: dict[str, Any], citation: str) -> evaluate.MetricInfo:
    kinds = ((name, "a vector" if kind is _VECTOR else kind.dtype) for name, kind in columns.items())
    return evaluate.MetricInfo(
        description=description,
        citation=citation,
        inputs_description="; ".join(f"{name}: {kind} a row" for name, kind in kinds),
        features=datasets.Features(columns),
    )
