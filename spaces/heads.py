"""Models with a head, which reads images with a sentence: what one is asked, and what it says."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from hf_latent.data.sample import Sample
from hf_latent.tasks import Task

EXAMPLES, BEAMS = 6, 8
RANKED = 128  # answers that are scored whole, those whose first word is the likeliest


class Head:
    """What a page asks a model that was trained on labels of images with a sentence.

    Args:
        model: The model, in evaluation mode.
        processor: Its processor.
        task: What it was trained for.
        sample: Rows of its data; None where they cannot be read.

    Attributes:
        images: How many images it reads with a sentence.
        writes: Whether it answers in words.
        sentence: What the sentence is: a question, a statement ...
        examples: Images and sentence of some rows; none where the data have no such rows.
        note: Why there are none; empty where there are some.
        answers: What it chooses from; empty of a model that answers in words where its data has no list of answers.
    """

    tab = "Questions"

    def __init__(self, model: Any, processor: Any, task: Task, sample: Sample | None) -> None:
        self.model, self.processor = model, processor
        self.images, self.writes = task.images, task.labels == "answers"
        target = None if sample is None else sample.target
        self.sentence = (target.sentence if target else "") or task.sentence
        rows, self.note = [], ""
        if sample is not None:
            rows = rows_of(sample)
            if any(len(pictures) != self.images for pictures, _ in rows):
                rows, self.note = [], f"The rows of its data have not {self.images} images each: none is shown here."
        places = np.linspace(0, len(rows) - 1, min(EXAMPLES, len(rows))).round().astype(int) if rows else ()
        self.examples = [rows[place] for place in places]
        self.pictures = [picture for pictures, _ in rows for picture in pictures]
        known: tuple[str, ...] = ()
        if sample is not None and target is not None and target.kind == task.labels:
            known = sample.labels[target.label].names
        self.answers = list(known) if self.writes else names_of(model.config, known)

    @torch.no_grad()
    def shares(self, images: Sequence[Any], sentence: str) -> list[tuple[str, float]]:
        """Answers and how probable they are, the likeliest first: among those of the list, or among all classes; where
        there is no list, how probable it is that the model writes them."""
        inputs = self._inputs(images, sentence)
        if not self.writes:
            found = self.model(**inputs).logits[0].softmax(0)
            answers = self.answers
        elif self.answers:
            tokens = self.processor.tokenizer(self.answers, padding=True, padding_side="right", return_tensors="pt")
            listed = {"answer_ids": tokens["input_ids"], "answer_mask": tokens["attention_mask"]}
            found = self.model.rank_answers(**inputs, **listed, k=min(RANKED, len(self.answers)))[0].softmax(0)
            answers = self.answers
        else:
            beams = {"num_beams": BEAMS, "num_return_sequences": BEAMS, "length_penalty": 0.0}
            written = self.model.generate(**inputs, **beams, return_dict_in_generate=True, output_scores=True)
            found, answers = written.sequences_scores.exp(), self._words(written.sequences)
        order = found.argsort(descending=True).tolist()
        return [(answers[place], float(found[place])) for place in order]

    def writing(self, images: Sequence[Any], sentence: str) -> str:
        """The answer that a model writes, word by word."""
        return self._words(self.model.generate(**self._inputs(images, sentence)))[0]

    def _inputs(self, images: Sequence[Any], sentence: str) -> dict[str, Any]:
        image = images[0] if self.images == 1 else list(images)
        return self.processor.batch({"image": [image], "text": [sentence]})

    def _words(self, tokens: Any) -> list[str]:
        return [words.strip() for words in self.processor.tokenizer.batch_decode(tokens, skip_special_tokens=True)]


def names_of(config: Any, classes: Sequence[str]) -> list[str]:
    """The names of a model's classes; where it has none, those of its data."""
    names = [str(config.id2label[number]) for number in range(config.num_labels)]
    unnamed = names == [f"LABEL_{number}" for number in range(config.num_labels)]
    return list(classes) if unnamed and len(classes) == len(names) else names


def rows_of(sample: Sample) -> list[tuple[list[Any], str]]:
    """Images and sentence of each row."""
    seen = [list(value) if isinstance(value, list | tuple) else [value] for value in sample.values["image"]]
    return list(zip(seen, sample.values["text"], strict=True))
