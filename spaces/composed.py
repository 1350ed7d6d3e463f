"""What rows that are built from chosen parts tell linear probes: by each modality alone, and by all together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from explorer import Explorer

from hf_latent.data.composer import ALL, Chosen, Composer
from hf_latent.errors import UserError
from hf_latent.metrics import Probe, fit_probe, score_probe
from hf_latent.metrics.chance import balanced_chance
from hf_latent.models.embeddings import Embeddings

ROWS = 2000
REFERENCE = 600


@dataclass(frozen=True)
class Answer:
    """What one probe says of a row: a class, its probability, and whether it is right, where one class is."""

    said: str
    share: float
    right: bool | None


class ComposedProbes:
    """Linear probes of every question on every view, fitted on training rows.

    Attributes:
        composer: What builds rows and asks.
        accuracy: Question -> view -> macro accuracy on held-out rows, in percent.
        chance: Question -> that of a guess.
        fits: Of the composer's rule, choices of one side by those of the other: the probability of its answer that
            the probe of all modalities gives, its mean over held-out rows; NaN where there is no row. None without.
        reference: Held-out rows to find neighbours among.
    """

    def __init__(self, explorer: Explorer, composer: Composer) -> None:
        self.explorer, self.composer, self.views = explorer, composer, tuple(composer.views)
        train, test = composer.rows("train", ROWS), composer.rows("test", ROWS)
        read, held_out = (self._features(explorer.embed(rows.values)) for rows in (train, test))
        self.probes: dict[str, dict[str, Probe]] = {}
        self.accuracy: dict[str, dict[str, float]] = {}
        self.chance: dict[str, float] = {}
        for name, question in composer.questions.items():
            labels, unseen = train.labels[name], test.labels[name]
            probes = {view: fit_probe(read[view], labels, balanced=question.balanced) for view in self.views}
            scores = {view: score_probe(probe, held_out[view], unseen) for view, probe in probes.items()}
            self.probes[name] = probes
            self.accuracy[name] = {view: score.balanced_accuracy for view, score in scores.items()}
            self.chance[name] = balanced_chance(unseen)
        self.fits: np.ndarray | None = None
        rule = composer.rule
        if rule is not None:
            probe = self.probes[rule.question][ALL]
            answer = composer.questions[rule.question].label.names.index(rule.answer)
            said = probe.probabilities(held_out[ALL])[:, probe.classes.tolist().index(answer)]
            sides = [test.chosen[modality][:, factor] for modality, factor in (rule.down, rule.across)]
            sizes = [len(composer.factors[name][factor].choices) for name, factor in (rule.down, rule.across)]
            self.fits = means((sides[0], sides[1]), said, (sizes[0], sizes[1]))
        self.reference = test
        self.size = min(REFERENCE, len(next(iter(test.items.values()))))
        # All features share one large part, which would make every cosine nearly 1.
        self._mean = {view: rows[: self.size].mean(0) for view, rows in held_out.items()}
        self._directions = {view: self._direction(view, rows[: self.size]) for view, rows in held_out.items()}

    def checked(self, modality: str, choices: tuple[Any, ...]) -> tuple[Any, ...]:
        """Choices of the factors of a modality.

        Raises:
            UserError: If there are too few or too many.
        """
        if len(choices) != len(self.composer.factors[modality]):
            raise UserError(f"{modality} has {len(self.composer.factors[modality])} parts, and not {len(choices)}")
        return choices

    def embed(self, values: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """View -> (1, D) of one row, given as the value of each modality."""
        return self._features(self.explorer.embed({name: [value] for name, value in values.items()}))

    def answers(self, row: Mapping[str, np.ndarray], chosen: Chosen) -> dict[str, dict[str, Answer]]:
        """Question -> view -> what its probe says of a row that was built from choices."""
        truth = self.composer.truth(chosen)
        found: dict[str, dict[str, Answer]] = {}
        for name, probes in self.probes.items():
            found[name] = {}
            for view, probe in probes.items():
                shares = probe.probabilities(row[view])[0]
                said = self.composer.questions[name].label.names[probe.classes[shares.argmax()]]
                wanted = truth[name][view]
                found[name][view] = Answer(said, float(shares.max()), None if wanted is None else said == wanted)
        return found

    def neighbours(self, row: Mapping[str, np.ndarray], count: int) -> dict[str, list[tuple[int, float]]]:
        """View -> the most similar reference rows, best first, and their cosines.

        By one modality, a value counts once: of the rows that hold it, the one that is most similar by all.
        """
        cosine = {view: rows @ self._direction(view, row[view])[0] for view, rows in self._directions.items()}
        found = {}
        for view, score in cosine.items():
            order = np.lexsort((-cosine[ALL], -score))
            shown = order if view == ALL else self.reference.items[view][order]
            best = order[np.sort(np.unique(shown, return_index=True)[1])[:count]]
            found[view] = [(int(row), float(score[row])) for row in best]
        return found

    def agreement(self, chosen: Chosen, row: int, view: str) -> list[str]:
        """In what a reference row agrees with choices, of what a view sees."""
        found = []
        for name, places in self.composer.compared.items():
            seen = [(modality, factor) for modality, factor in places if view in (ALL, modality)]
            if seen and all(self.chosen_of(row)[m][factor] == chosen[m][factor] for m, factor in seen):
                found.append(name)
        return found

    def chosen_of(self, row: int) -> dict[str, tuple[str, ...]]:
        """The choices of a reference row, in words."""
        return {name: self.composer.names(name, numbers[row]) for name, numbers in self.reference.chosen.items()}

    def _features(self, embeddings: Embeddings) -> dict[str, np.ndarray]:
        found: dict[str, Any] = {**(embeddings.embeds or {}), ALL: embeddings.fused}
        return {view: found[view].float().numpy() for view in self.views}

    def _direction(self, view: str, rows: np.ndarray) -> np.ndarray:
        centred = rows - self._mean[view]
        return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)


def means(cells: tuple[np.ndarray, np.ndarray], values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The mean value in each cell of a table of that shape, NaN in empty ones."""
    total, count = np.zeros((2, *shape))
    np.add.at(total, cells, values)
    np.add.at(count, cells, 1)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
