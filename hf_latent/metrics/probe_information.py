"""What a linear probe tells of a label, as information: a lower bound of what a representation holds."""

import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .arrays import matrix


@dataclass(frozen=True)
class ProbeInformation:
    r"""What is left to know of a label once a representation is seen, in nats.

    Attributes:
        conditional_entropy: \(H = -\frac1N \sum_j \log p(y_j \mid z_j)\) of held-out rows.
        information: \(\log K - H\) of K classes, which are taken for equally frequent; below 0 where the probe is sure
            and wrong.
        ratio: The information over \(\log K\), the share of the uncertainty that is gone.
        accuracy: The share of held-out rows whose class the probe finds.
    """

    conditional_entropy: float
    information: float
    ratio: float
    accuracy: float


def probe_information(
    train: ArrayLike, train_labels: ArrayLike, test: ArrayLike, test_labels: ArrayLike, classes: int
) -> ProbeInformation:
    """The information that a logistic regression on standardised features has of a label.

    Standardisation hides how large the features are: of a space that has collapsed they are told as of any other, so
    look at its variance, too.

    Args:
        train, test: `(rows, dim)`; unit embeddings in the paper.
        train_labels, test_labels: `(rows,)`, whole numbers from 0 to `classes` - 1.
        classes: K, 2 or more. A class without a training row is given no probability but a tiny one.

    Raises:
        ValueError: If training rows are of fewer than two classes, or a label is out of range.

    Source: Almudevar et al., ICML 2025, section 4: scikit-learn's regression with C = 1, 100 iterations of L-BFGS.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    labels, truth = (np.asarray(each).astype(np.int64) for each in (train_labels, test_labels))
    for own in (labels, truth):
        if not len(own) or own.min() < 0 or own.max() >= classes:
            raise ValueError(f"Labels must be whole numbers from 0 to {classes - 1}, and there must be some.")
    if len(np.unique(labels)) < 2:
        raise ValueError("All training rows have one class: a probe needs two.")
    seen, held = matrix(train, "training features").numpy(), matrix(test, "held-out features").numpy()
    scaler = StandardScaler().fit(seen)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 100 iterations are the definition
        probe = LogisticRegression(max_iter=100).fit(scaler.transform(seen), labels)
    found = probe.predict_proba(scaler.transform(held))
    probabilities = np.zeros((len(truth), classes))
    probabilities[:, probe.classes_] = found
    right = probabilities[np.arange(len(truth)), truth]
    entropy = float(-np.log(np.maximum(right, np.finfo(np.float64).tiny)).mean())
    known = math.log(classes) - entropy
    accuracy = float((probabilities.argmax(axis=1) == truth).mean())
    return ProbeInformation(entropy, known, known / math.log(classes), accuracy)
