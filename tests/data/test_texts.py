"""What a tokenizer makes of texts: unknown words are counted and named, texts that are cut are counted."""

import numpy as np
import pytest

from hf_latent import CoMMProcessor
from hf_latent.data.collator import LatentCollator
from hf_latent.data.loaded import EvaluationData, LoadedData, Split
from hf_latent.data.texts import TextCounts, count_texts, report_texts, unknown_word
from hf_latent.data.tokenizers import word_tokenizer
from hf_latent.errors import UserError

TOKENIZER = word_tokenizer(["a red dog", "a blue cat"])


def test_unknown_words_and_cut_texts_are_counted():
    """[CLS] and [SEP] take two of the five places."""
    texts = ["A red dog", "a Zebra", "zebra", "a red dog and a blue cat", "red blue cat a"]
    found = count_texts(TOKENIZER, texts, 5)
    assert found == TextCounts(texts=5, words=17, unknown=3, blank=1, cut=2, example="Zebra")
    assert count_texts(TOKENIZER, 500 * texts, 5).words == 500 * 17  # in several chunks


def test_the_unknown_word_is_named():
    assert unknown_word(TOKENIZER, "a red Zebra runs") == "Zebra" and unknown_word(TOKENIZER, "a cat") is None


class Rows(list):
    def sentences(self, column):
        return (row[column] for row in self)


def rows(*texts):
    return Rows({"caption": text} for text in texts)


def split(*texts):
    return Split(rows(*texts), np.arange(len(texts)))


def loaded(**options):
    return LoadedData(rows("a dog", "a cat"), {"text": "caption"}, "", **options)


PROCESSOR = CoMMProcessor({"text": {"kind": "text", "max_length": 5}}, {"text": TOKENIZER})


def test_the_share_of_train_and_test_is_printed(capsys):
    test, validation = split("a green dog", "zebra", "a red dog a cat"), split("a dog", "a mouse")
    report_texts(loaded(evaluation=EvaluationData(test)), PROCESSOR)
    assert capsys.readouterr().out.splitlines() == [
        "Unknown words in column 'caption' of the training rows: 0.0 %",
        "Unknown words in column 'caption' of the test rows: 22.2 %, such as 'green'; 1 of 3 texts hold no known word",
        "1 of 3 captions are longer than 5 tokens and will be cut there (column 'caption' of the test rows)",
    ]
    report_texts(loaded(evaluation=EvaluationData(test, validation=validation)), PROCESSOR)
    told = [line.split(" rows: ")[0] for line in capsys.readouterr().out.splitlines() if "Unknown" in line]
    assert [line.split()[-1] for line in told] == ["training", "validation", "test"]
    report_texts(loaded(evaluation=EvaluationData(validation, validation=validation)), PROCESSOR)
    told = capsys.readouterr().out
    assert "of the validation rows: 25.0 %, such as 'mouse'" in told and "test" not in told


@pytest.mark.parametrize("ids, told", [([0, 1, 2, 3], 3), ([0, 0, 2, 0], 0), ([0, 1, 2, 1], 3)])
def test_captions_that_repeat_under_other_ids_are_told(capsys, ids, told):
    train = rows("a dog", "a dog", "a cat", "a dog")
    train.ids = ids
    report_texts(LoadedData(train, {"text": "caption"}, ""), PROCESSOR)
    line = "3 of 4 training rows share their 'caption' with a row of another id, and are contrasted with it"
    assert (line in capsys.readouterr().out) == bool(told)


def test_labels_in_words_must_be_known():
    batch = [{"text": "a dog", "labels": "red"}, {"text": "a cat", "labels": "red zebra"}]
    with pytest.raises(UserError, match="does not know the word 'zebra' of the answer 'red zebra'"):
        LatentCollator(PROCESSOR)(batch)
