"""What a card tells of a source of data, in sentences of the source's own."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Description:
    """Words for a model card.

    Attributes:
        trained: What a model was trained on, which ends "It was trained on ...".
        tested: What it was measured on, which ends "Measured on ...".
        title: What the data is called in the index of results; by default its id on the Hub.
        limits: Sentences on what the data does not tell of the model.
        closed_vocabulary: Texts are of few words, and a text tower made of them knows no others.
        notes: Group of measurements -> a paragraph behind their table.
        texts: Two sentences that a two-tower model could compare with an image.
        question, answers: What a model of answers could be asked, and answers to choose from.
        sentence: What a model of classes could be told.
        says: What a model of classes does, which ends "A model that ...".
        citations: Of the data, as BibTeX.
    """

    trained: str
    tested: str = "held-out data that is not on the Hub"
    title: str | None = None
    limits: tuple[str, ...] = (
        "It knows what its training data showed, with the biases of that data; they were not studied.",
    )
    closed_vocabulary: bool = False
    notes: Mapping[str, str] = field(default_factory=dict)
    texts: tuple[str, str] = ("a photo of a cat", "a photo of a dog")
    question: str = "what is this?"
    answers: tuple[str, ...] = ("a cat", "a dog")
    sentence: str = "a sentence"
    says: str | None = None
    citations: tuple[str, ...] = ()


UNKNOWN = Description("data that is not recorded")
ELSEWHERE = "data that is not on the Hub"


def on_the_hub(paths: list[str | None], test_split: str | None, measured: str | None) -> Description:
    """Of data sets of `datasets`: their ids on the Hub, None of those that are not there.

    Args:
        paths: Of all sources.
        test_split: What was measured on.
        measured: The source that it is of.
    """
    linked = [f"[`{path}`](https://huggingface.co/datasets/{path})" if path else ELSEWHERE for path in paths]
    trained = ", ".join(linked) if any(paths) else "a data set that is not on the Hub"
    if measured:
        return Description(trained, f"the split `{test_split or 'test'}` of `{measured}`")
    return Description(trained)
