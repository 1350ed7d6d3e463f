"""The sentences about Trifeature pictures, and the one vocabulary that holds the words of all of them."""

import itertools

import pytest

from hf_latent.data.tokenizers import load_tokenizer
from hf_latent.data.trifeature import CAPTIONS, COLORS, SHAPES, TEXTURES, caption
from hf_latent.data.trifeature_sentences import (
    ANSWERS,
    EITHER,
    OPEN,
    QUESTIONS,
    answer,
    claim,
    either,
    question,
    says,
)


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("trifeature", [])


def unknown(tokenizer, sentences):
    sentences = list(sentences)
    ids = tokenizer(sentences)["input_ids"]
    return [text for text, row in zip(sentences, ids, strict=True) if tokenizer.unk_token_id in row]


def test_every_sentence_is_in_the_vocabulary(tokenizer):
    assert unknown(tokenizer, CAPTIONS) == []
    scenes = [f"{first} and {second.removeprefix('a photo of ')}" for first, second in itertools.pairwise(CAPTIONS)]
    assert unknown(tokenizer, [*scenes, "the red star left of the five blue squares", "an object"]) == ["an object"]
    for names in itertools.islice(itertools.product(SHAPES, TEXTURES, COLORS), 0, None, 9):  # each name many times
        values = dict(zip(("shape", "texture", "color"), names, strict=True))
        sentences = [question(template, *names) for kind in QUESTIONS.values() for template, _ in kind]
        sentences += [either(factor, *names, word) for factor in EITHER for word in OPEN]
        for length in (1, 2, 3):
            for some in itertools.combinations(values, length):
                part = {factor: values[factor] for factor in some}
                sentences += [claim(part), claim(part, OPEN[-1]), says(part), says(part, both=True)]
        assert unknown(tokenizer, sentences) == []


def test_answers_read_back_as_they_are(tokenizer):
    assert len(set(ANSWERS)) == 32
    ids = tokenizer(list(ANSWERS))["input_ids"]
    assert [tokenizer.decode(row, skip_special_tokens=True) for row in ids] == list(ANSWERS)
    assert {answer("shape", name) for name in SHAPES} | {answer("color", name) for name in COLORS} <= set(ANSWERS)


def test_the_vocabulary_is_the_same_every_time_and_has_a_mask(tokenizer):
    again = load_tokenizer("trifeature", ["these words are not asked for"])
    assert again.get_vocab() == tokenizer.get_vocab()
    assert tokenizer.mask_token == "[MASK]" and tokenizer.mask_token_id == len(tokenizer) - 1


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (caption("fivesquare", "white"), "a photo of five white squares"),
        (caption("tee", "ocean"), "a photo of an ocean blue letter T"),
        (claim({"shape": "star", "color": "orange"}), "an orange star"),
        (claim({"shape": "star", "color": "red", "texture": "dots"}, "old"), "an old red star with a dots texture"),
        (claim({"color": "red"}), "a red thing"),
        (says({"color": "red"}, both=True), "are red"),
        (says({"shape": "fivesquare"}), "shows five squares"),
        (says({"texture": "rain"}), "has a rain texture"),
        (question("{is_the_shape} {color}?", "fivesquare", "rain", "ocean"), "are the five squares ocean blue?"),
        (question("what texture {does_the_shape} have?", "star", "rain", "red"), "what texture does the star have?"),
        (question("what shape is {color_thing}?", "star", "rain", "red"), "what shape is the red thing?"),
        (either("color", "star", "rain", "red", "old"), "a star that is red or old"),
        (
            either("texture", "fivesquare", "rain", "red", "old"),
            "five squares that have a rain texture or are old",
        ),
    ],
)
def test_sentences_are_english(said, wanted):
    assert said == wanted
