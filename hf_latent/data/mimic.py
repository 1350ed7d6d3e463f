"""MIMIC-III as MultiBench prepares it: measurements of a day in intensive care, and five numbers of the patient."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..citations import JOHNSON_2016, LIANG_2021
from ..errors import UserError
from .description import Description
from .loaded import Label
from .published import Part, PublishedSource, check_shape
from .published_pickle import read_arrays
from .source import register_source

SEED = 10  # of the split, as officially
GROUPS = 20  # of diagnoses


@register_source("mimic")
@dataclass(frozen=True)
class MimicData(PublishedSource):
    """MIMIC-III: does a patient have a diagnosis of a group of ICD-9? `im.pk` of MultiBench, for which PhysioNet gives
    credentials.

    `series` is 24 hours of 12 measurements, `static` 5 numbers of the admission. NaN and infinity become 0; then each
    number is standardised by the training rows, where the official code takes all rows. The split is the official
    one: shuffled with seed 10, a tenth to validate, the next tenth to test, the rest to train.

    Args:
        path: The file: the pickle, which is read without running it, or `.npz` with `ep_tdata`, `adm_features_all` and
            `y_icd9`.
        group: Which of the 20 groups of diagnoses, from 0; 7 is that of the papers.
    """

    MODALITIES: ClassVar[tuple[str, ...]] = ("static", "series")
    PROBES: ClassVar[Mapping[str, Any]] = {"protocol": "comm2025", "balanced": True, "validation": True}

    group: int = 7

    @classmethod
    def described(cls, options: Mapping[str, Any]) -> Description:
        return Description(
            "measurements of intensive care, MIMIC-III as MultiBench prepares it",
            "a tenth of the admissions, which training never saw",
            limits=("It was trained on patients of one hospital, and is not for decisions about patients.",),
            citations=(JOHNSON_2016, LIANG_2021),
        )

    def parts(self, modalities: Sequence[str], progress: bool) -> tuple[Mapping[str, Label], Mapping[str, Part]]:
        if not 0 <= self.group < GROUPS:
            raise UserError(f"data.group={self.group}: write 0 to {GROUPS - 1}")
        arrays = read_arrays(self.path, ["ep_tdata", "adm_features_all", "y_icd9"])
        series, static, groups = arrays["ep_tdata"], arrays["adm_features_all"], arrays["y_icd9"]
        check_shape(self.path, "ep_tdata", series, None, None, None)
        check_shape(self.path, "adm_features_all", static, len(series), None)
        check_shape(self.path, "y_icd9", groups, len(series), GROUPS)
        places = shuffled_split(len(series))
        columns = {
            "series": standardised(series, places["train"], (0, 1)),
            "static": standardised(static, places["train"], (0,)),
        }
        labels = (groups[:, self.group] > 0).astype(np.int64)
        found = {
            role: Part({name: columns[name][own] for name in modalities}, own.tolist(), {"diagnosis": labels[own]})
            for role, own in places.items()
        }
        title = f"a diagnosis of group {self.group} of ICD-9"
        return {"diagnosis": Label(names=("no", "yes"), of=tuple(modalities), title=title)}, found


def shuffled_split(rows: int) -> dict[str, np.ndarray]:
    """The rows of each split, in the order of the official code."""
    order = list(range(rows))
    random.Random(SEED).shuffle(order)
    tenth, fifth = rows // 10, rows // 5
    parts = {"train": order[fifth:], "validation": order[:tenth], "test": order[tenth:fifth]}
    return {role: np.array(own, dtype=np.int64) for role, own in parts.items()}


def standardised(values: np.ndarray, train: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Numbers with mean 0 and deviation 1 over the training rows, float32; what is not finite is 0 before that."""
    values = np.where(np.isfinite(values), values, 0).astype(np.float64)
    mean, std = values[train].mean(axes), values[train].std(axes)
    return ((values - mean) / np.where(std > 0, std, 1)).astype(np.float32)
