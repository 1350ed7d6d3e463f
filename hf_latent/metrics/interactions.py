"""Redundancy, uniqueness and synergy: which multimodal interactions the features of an image pair hold.

The four probes of CoMM's controlled experiment on pairs of Trifeature images that share their shape (Dufumier et al.,
"What to align in multimodal contrastive learning?", ICLR 2025, section on Trifeature).
"""

from collections.abc import Mapping

from numpy.typing import ArrayLike

from .linear_probe import ProbeResult, linear_probe

TASKS = ("redundancy", "uniqueness1", "uniqueness2", "synergy")

CHANCE: dict[str, float] = {
    "redundancy": 10.0,
    "uniqueness1": 10.0,
    "uniqueness2": 10.0,
    "synergy": 50.0,
    "synergy_unweighted": 50.0,
    "synergy_auroc": 0.5,
}
"""Score of a guess on Trifeature: 10 shapes (redundancy), 10 textures (uniqueness 1 and 2), 2 classes (synergy), in
percent of macro accuracy. About 10 % of the synergy labels are positive; macro accuracy and AUROC of a guess are the
same for any share."""


def interactions(
    train_features: ArrayLike,
    train_labels: Mapping[str, ArrayLike],
    test_features: ArrayLike,
    test_labels: Mapping[str, ArrayLike],
    *,
    protocol: str = "standard",
) -> dict[str, float]:
    """Probe the same features for each task.

    Synergy is reported three ways because about 10 % of its labels are positive: an unweighted probe predicts "no" for
    every row, hence exactly 50.0 macro accuracy, until the signal is strong.

    Args:
        train_features: (N, D) floats, extracted once for all tasks.
        train_labels: task -> (N,) integers. `redundancy`: the shape both images share; `uniqueness1`, `uniqueness2`:
            the texture of the first and of the second image; `synergy`: 1 where the first image's texture and the
            second one's colour follow the mapping, else 0. A task left out is not reported.
        test_features: (M, D) floats.
        test_labels: the same tasks -> (M,) integers.
        protocol: a name in `linear_probe.PROTOCOLS`; `comm2025` is the paper's.

    Returns:
        Those that apply of `redundancy`, `uniqueness1`, `uniqueness2` (macro accuracy, percent); `synergy` (macro
        accuracy of a class-weighted probe, percent); `synergy_unweighted` (macro accuracy of an unweighted probe,
        percent: the paper's figure, 71.9 for CoMM); `synergy_auroc` (AUROC of the class-weighted probe, 0..1).

    Raises:
        ValueError: an unknown task, tasks that differ between train and test, synergy labels that are not two classes,
            and whatever `linear_probe` refuses, with the task named.
    """
    if unknown := sorted((set(train_labels) | set(test_labels)) - set(TASKS)):
        raise ValueError(f"Unknown interaction task(s) {', '.join(unknown)}; the tasks are {', '.join(TASKS)}.")
    if set(train_labels) != set(test_labels):
        raise ValueError(
            f"Train labels are given for {sorted(train_labels)} and test labels for {sorted(test_labels)}; "
            "give both the same tasks."
        )

    def probe(task: str, balanced: bool = False) -> ProbeResult:
        try:
            train, test = (train_features, train_labels[task]), (test_features, test_labels[task])
            return linear_probe(*train, *test, protocol=protocol, balanced=balanced)
        except ValueError as error:
            raise ValueError(f"{task}: {error}") from error

    scores = {task: probe(task).balanced_accuracy for task in TASKS[:-1] if task in train_labels}
    if "synergy" in train_labels:
        weighted = probe("synergy", balanced=True)
        if weighted.auroc is None:
            raise ValueError("synergy: the labels must hold two classes, 0 and 1, in train and in test.")
        scores["synergy"] = weighted.balanced_accuracy
        scores["synergy_unweighted"] = probe("synergy").balanced_accuracy
        scores["synergy_auroc"] = weighted.auroc
    return scores
