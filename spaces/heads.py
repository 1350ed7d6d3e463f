"""Models with a head, which reads an image with a sentence: what one is asked, and what it says."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sample import ROWS, load_sample, source_of, trifeature_of
from usual import Usual

from hf_latent import (
    LatentALBEFForImageTextClassification,
    LatentALBEFForImageTextRetrieval,
    LatentALBEFForNaturalLanguageVisualReasoning,
    LatentALBEFForQuestionAnswering,
)
from hf_latent.data.loading import Source
from hf_latent.data.trifeature_task_data import (
    TrifeatureEntailmentData,
    TrifeatureQuestionsData,
    TrifeatureStatementsData,
    TrifeatureTaskData,
    TrifeatureTextAssignmentData,
)
from hf_latent.errors import UserError
from hf_latent.models.albef_heads import SupervisedLatentALBEF
from hf_latent.trust import permitted

# `AutoModel` finds the plain model in a folder, whatever head was trained. What a pre-trained model has beside that of
# retrieval is for training.
HEADS: dict[str, type[LatentALBEFForImageTextRetrieval] | type[SupervisedLatentALBEF]] = {
    "LatentALBEFForPreTraining": LatentALBEFForImageTextRetrieval,
    **{
        head.__name__: head
        for head in (
            LatentALBEFForImageTextRetrieval,
            LatentALBEFForQuestionAnswering,
            LatentALBEFForImageTextClassification,
            LatentALBEFForNaturalLanguageVisualReasoning,
        )
    },
}
SENTENCES: dict[type[TrifeatureTaskData], str] = {
    TrifeatureQuestionsData: "question",
    TrifeatureEntailmentData: "hypothesis",
    TrifeatureStatementsData: "statement",
    TrifeatureTextAssignmentData: "caption",
}
EXAMPLES, BEAMS = 6, 8


class Head:
    """What a page asks a model that was trained on labels.

    Args:
        model: The model, in evaluation mode.
        processor: Its processor.
        recipe: Of its run; empty where there is none.
        folder, trust_recipe: Where it lies, and whether to read what it names; see `hf_latent.trust`.

    Attributes:
        images: How many images it reads with a sentence.
        sentence: What the sentence is: a question, a hypothesis ...
        note: What should be said of the examples; empty, mostly.
        examples: Images and sentence of some held-out rows.
        usual: What the images of such rows look like.
        answers: What it chooses from; empty of a model that answers in words where its data has no list of answers.
    """

    def __init__(
        self, model: Any, processor: Any, recipe: Mapping[str, Any], folder: Path, trust_recipe: bool = False
    ) -> None:
        self.model, self.processor, self.note = model, processor, ""
        self.images = 2 if isinstance(model, LatentALBEFForNaturalLanguageVisualReasoning) else 1
        self.writes = isinstance(model, LatentALBEFForQuestionAnswering)
        usual = usual_data(model)
        stand_in = usual(image_size=processor.modalities["image"]["size"])
        try:
            written = source_of(recipe, processor.modalities) if recipe.get("data") else stand_in
            self.source: Source = permitted(written, folder, trust_recipe)
            rows = rows_of(self.source, self.images)
        except UserError as error:
            self.note = f"The data of this model cannot be read here ({error}); Trifeature stands in for it."
            self.source = stand_in
            rows = rows_of(self.source, self.images)
        self.usual = Usual([picture for pictures, _ in rows[:: -(-len(rows) // ROWS)] for picture in pictures])
        self.examples = [rows[row] for row in np.linspace(0, len(rows) - 1, min(EXAMPLES, len(rows))).astype(int)]
        known = self.source if not self.note and recipe.get("data") else None
        classes = list(known.CLASSES) if isinstance(known, TrifeatureTaskData) else []
        self.sentence = SENTENCES[type(known)] if isinstance(known, TrifeatureTaskData) else SENTENCES[usual]
        self.answers = classes if self.writes else names_of(model.config, classes)

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
            found = self.model.rank_answers(**inputs, **listed, k=len(self.answers))[0].softmax(0)
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


def usual_data(model: Any) -> type[TrifeatureTaskData]:
    """The built-in task that is like the one of a model."""
    if isinstance(model, LatentALBEFForQuestionAnswering):
        return TrifeatureQuestionsData
    if isinstance(model, LatentALBEFForImageTextClassification):
        return TrifeatureEntailmentData
    return TrifeatureTextAssignmentData if model.config.num_labels == 3 else TrifeatureStatementsData


def names_of(config: Any, classes: Sequence[str]) -> list[str]:
    """The names of a model's classes; where it has none, those of its data."""
    names = [config.id2label[number] for number in range(config.num_labels)]
    unnamed = names == [f"LABEL_{number}" for number in range(config.num_labels)]
    return list(classes) if unnamed and len(classes) == len(names) else names


def rows_of(source: Source, images: int) -> list[tuple[list[Any], str]]:
    """Images and sentence of held-out rows; of data that is no task, its images and texts.

    Raises:
        UserError: If the data cannot be read, or has no rows of that many images with a sentence.
    """
    if isinstance(source, TrifeatureTaskData):
        held_out = trifeature_of(source).test
        rows = sorted(source.draw(held_out, 1, np.random.default_rng(0)), key=lambda row: row.group)
        found = [([held_out.images[number] for number in row.pictures], row.text) for row in rows]
    else:
        values = load_sample(source).values
        if set(values) != {"image", "text"}:
            raise UserError(f"it has the modalities {', '.join(values)}")
        seen = [list(value) if isinstance(value, list | tuple) else [value] for value in values["image"]]
        found = list(zip(seen, values["text"], strict=True))
    if any(len(pictures) != images for pictures, _ in found):
        raise UserError(f"its rows have not {images} images each")
    return found
