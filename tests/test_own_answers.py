"""Heads on a table of one's own: questions with answers, classes, and statements about two pictures."""

import json
from dataclasses import replace

import datasets
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from hf_latent import LatentALBEFForPreTraining, LatentALBEFProcessor
from hf_latent.cli import main
from hf_latent.data.hub_data import HubData
from hf_latent.data.source import Reader
from hf_latent.data.tokenizers import load_tokenizer
from hf_latent.errors import UserError
from tests.models.small import small_albef

COLORS = {"red": (200, 30, 30), "blue": (30, 30, 200)}
WORDS = "what color is it? which size has it is it red blue small big large left right both the same"
GROUPS = ("what color?", "what size?")
ANSWERS = Reader(labels="answers")
CLASSES = Reader(labels="classes")
PAIRS = Reader(labels="classes", images=2)


def picture(color, size):
    return Image.new("RGB", (20, 16) if size == "big" else (12, 9), COLORS[color])


def questions(count, seed=0):
    """Rows of a picture, a question, its answer and what kind of question it is."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        color, size, asked = rng.choice(["red", "blue"]), rng.choice(["small", "big"]), rng.integers(2)
        rows.append(
            {
                "picture": picture(color, size),
                "question": ["what color is it?", "which size has it?"][asked],
                "answer": str([color, size][asked]),
                "kind": GROUPS[asked],
            }
        )
    return rows


def saved(folder, train, test=None):
    splits = {"train": datasets.Dataset.from_list(train)}
    if test is not None:
        splits["test"] = datasets.Dataset.from_list(test, features=splits["train"].features)
    datasets.DatasetDict(splits).save_to_disk(folder)
    return str(folder)


def data(path, **options):
    return HubData(path, {"image": "picture", "text": "question"}, target={"column": "answer"}, **options)


def test_the_answers_of_a_column_are_the_list(tmp_path):
    rows = [
        {**row, "answer": row["answer"].upper() if n % 2 else row["answer"]} for n, row in enumerate(questions(40))
    ]
    path = saved(tmp_path / "own", rows, [*questions(10, seed=1), {**rows[0], "answer": "violet"}])
    loaded = data(path).load_for(ANSWERS)
    label, found = loaded.evaluation.labels["target"], loaded.evaluation
    assert label.kind == "class" and {name.lower() for name in label.names} == {"red", "blue", "small", "big"}
    assert found.target.kind == "answers" and loaded.target is label
    assert loaded.train[0]["labels"].lower() == rows[0]["answer"].lower()
    numbers = found.test.labels["target"]
    assert numbers[-1] == -1 and found.test.rows[10]["labels"] == []  # counts as a mistake
    said = [label.names[number].lower() for number in numbers[:-1]]
    assert said == [row["answer"] for row in questions(10, seed=1)]


def test_the_answers_of_annotators_are_all_kept(tmp_path):
    records = [
        [{"answer": "red", "answer_id": 1}, {"answer": "Red", "answer_id": 2}, {"answer": "blue", "answer_id": 3}]
    ]
    rows = [{**row, "answer": records[0] if n else records[0][:2]} for n, row in enumerate(questions(6))]
    loaded = data(saved(tmp_path / "records", rows, rows)).load_for(ANSWERS)
    label = loaded.target
    assert label.kind == "answers" and label.names == ("red", "blue")
    assert loaded.train[0]["labels"] == ["red", "red"] and loaded.train[1]["labels"] == ["red", "red", "blue"]
    assert loaded.evaluation.test.labels["target"][:2].tolist() == [[0, 0, -1], [0, 0, 1]]


@pytest.mark.parametrize("ending", ["json", "txt"])
def test_a_file_lists_the_answers_and_some_may_be_in_no_row(tmp_path, ending, capsys):
    path = saved(tmp_path / "own", questions(40), questions(10, seed=1))
    listed = ["blue", "green", "red"]
    file = tmp_path / f"answers.{ending}"
    text = json.dumps(listed) if ending == "json" else "\n".join(listed)
    file.write_text(text, encoding="utf-8", newline="\n")
    source = replace(data(path), target={"column": "answer", "names": str(file)})
    assert source.load_for(ANSWERS).target.names == ("blue", "green", "red")
    assert "1 of 3 answers of the list are in no training row, as 'green'" in capsys.readouterr().out
    measured = source.evaluation_for(ANSWERS)
    assert measured.labels["target"].names == ("blue", "green", "red") and measured.train is None
    assert source.local_reads()["data.target.names"] == str(file)


def test_classes_and_two_columns_of_pictures(tmp_path):
    rows = [
        {"left": picture("red", "big"), "right": picture("blue", "big"), "text": "the same", "truth": bool(n % 2)}
        for n in range(8)
    ]
    path = saved(tmp_path / "pairs", rows, rows)
    own = HubData(path, {"image": ["left", "right"], "text": "text"}, target="truth")
    loaded = own.load_for(PAIRS)
    row = loaded.train[1]
    assert [image.size for image in row[loaded.columns["image"]]] == [(20, 16), (20, 16)] and row["labels"] == 1
    assert loaded.target.names == ("false", "true")
    listed = datasets.load_from_disk(path).map(lambda row: {"pair": [row["left"], row["right"]]})
    features = {**listed["train"].features, "pair": datasets.List(datasets.Image())}
    listed.cast(datasets.Features(features)).save_to_disk(tmp_path / "listed")
    loaded = HubData(str(tmp_path / "listed"), {"image": "pair", "text": "text"}, target="truth").load_for(PAIRS)
    assert len(loaded.train[0]["pair"]) == 2


@pytest.mark.parametrize(
    ("change", "reader", "said"),
    [
        ({"target": None}, ANSWERS, "data.target is missing"),
        ({"target": {"column": "anser"}}, ANSWERS, "data.target.column='anser': did you mean 'answer'"),
        ({"target": {"colum": "answer"}}, ANSWERS, "unknown key data.target.colum"),
        ({"target": {"column": "answer", "names": []}}, ANSWERS, "data.target.names="),
        (
            {"target": {"column": "answer", "names": ["red", "green"]}},
            ANSWERS,
            "no training row has the answer 'green'",
        ),
        ({"target": {"column": "empty"}}, ANSWERS, "holds no answer in any training row"),
        ({"target": {"column": "constant"}}, ANSWERS, "one answer in all training rows"),
        ({"target": {"column": "constant"}}, CLASSES, "data.target: the column 'constant' holds the same in all rows"),
        ({"target": {"column": "answer", "groups": "knd"}}, ANSWERS, "data.target.groups='knd': did you mean 'kind'"),
        ({"target": {"column": "answer"}, "streaming": True}, ANSWERS, "streaming"),
        ({"target": 3}, ANSWERS, "data.target=3: write a column, or {column: ...}"),
        ({"target": {"column": "answer", "names": ["red", "Red"]}}, ANSWERS, "one is there twice"),
        (
            {"target": {"column": "number"}},
            CLASSES,
            "data.target: the column 'number' holds floats: classes are strings",
        ),
        (
            {"target": {"column": "listed"}},
            CLASSES,
            "data.target: the column 'listed' holds lists: classes are strings",
        ),
        ({"target": {"column": "number"}}, ANSWERS, "holds a float: answers are strings"),
        ({"target": {"column": "picture"}}, ANSWERS, "answers are strings"),
        ({"target": {"column": "records"}}, ANSWERS, "records with the fields text: one called answer is needed"),
        (
            {"target": {"column": "answer", "groups": "number"}},
            ANSWERS,
            "data.target.groups: the column 'number' holds",
        ),
        (
            {"target": {"column": "answer", "groups": "k"}, "labels": {"k": {"column": "number", "kind": "number"}}},
            ANSWERS,
            "data.target.groups='k': this label is a number",
        ),
        ({"columns": {"image": "picture", "text": ["question"]}}, ANSWERS, "several columns are for images alone"),
        ({"columns": {"image": ["picture"], "text": "question"}}, PAIRS, "there is 1 column, and this model reads 2"),
        ({}, PAIRS, "data.columns.image='picture': this model reads 2 images of a row"),
        ({"tokenizers": {"text": {"words": []}}}, ANSWERS, "data.tokenizers.text: there is no column"),
        ({"tokenizers": {"text": {"word": ["question"]}}}, ANSWERS, "write {words: [column, ...]}"),
        ({"columns": {"image": ["picture", "picture", "picture"], "text": "question"}}, PAIRS, "there are 3 columns"),
        ({"columns": {"image": ["picture", "picture"], "text": "question"}}, ANSWERS, "reads one image"),
        ({}, Reader({"image": {"encoder": "cnn"}}), "this model has no head"),
    ],
)
def test_what_cannot_be_learned_is_said(tmp_path, change, reader, said):
    own = {"empty": "", "constant": "yes", "listed": ["a"], "records": [{"text": "red"}]}
    rows = [{**row, **own, "number": n / 4} for n, row in enumerate(questions(12))]
    options = {"columns": {"image": "picture", "text": "question"}, "target": {"column": "answer"}, **change}
    with pytest.raises(UserError) as error:
        HubData(saved(tmp_path / "own", rows, rows), **options).load_for(reader)
    assert said in str(error.value)


def test_rows_without_an_answer(tmp_path):
    rows = [{**row, "answer": None if n == 3 else row["answer"]} for n, row in enumerate(questions(12))]
    path = saved(tmp_path / "own", rows, rows)
    with pytest.raises(UserError, match="the train rows: row 3, column 'answer' is empty"):
        data(path).load_for(ANSWERS)
    loaded = data(path, on_bad_row="skip").load_for(ANSWERS)
    assert len(loaded.train) == len(loaded.evaluation.test) == 11  # to measure on, too


def test_words_of_the_answers_of_annotators(tmp_path):
    rows = [{**row, "records": [{"answer": "violet"}, {"answer": row["answer"]}]} for row in questions(12)]
    own = HubData(
        saved(tmp_path / "own", rows, rows),
        {"image": "picture", "text": "question"},
        tokenizers={"text": {"words": ["question", "records"]}},
    )
    assert {"violet", "red", "color"} <= set(own.load().tokenizers["text"].get_vocab())


def test_groups_may_have_any_names(tmp_path, begun):
    rows = [{**row, "kind": ("text only", "balanced", "Text-only")[n % 3]} for n, row in enumerate(questions(24))]
    target = {"column": "answer", "groups": "kind"}
    columns = {"image": "picture", "text": "question"}
    path = saved(tmp_path / "own", rows, rows)
    assert train(tmp_path, recipe(begun, "latent_albef_question_answering", path, columns, target=target)) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    titles = {key: spec["title"] for key, spec in metrics["measurements"].items()}
    assert titles["answer_accuracy_text_only"] == "Right answer of a guess by the text alone"
    assert {title for key, title in titles.items() if key[-1].isdigit() or key.endswith("Text_only")} == {
        f"Right answer: {name}" for name in ("text only", "balanced", "Text-only")
    }
    assert len(titles) == 6


def test_what_reads_embeddings_is_refused_before_a_head_is_trained(tmp_path, begun, capsys):
    path = saved(tmp_path / "own", questions(24), questions(12, seed=1))
    columns = {"image": "picture", "text": "question"}
    values = recipe(begun, "latent_albef_classification", path, columns, target="kind")
    assert train(tmp_path, {**values, "evaluation": {"benchmarks": {"retrieval": {}}}}) == 2
    assert "evaluation.benchmarks.retrieval: it reads embeddings, and a model with a head" in capsys.readouterr().err
    assert not (tmp_path / "run" / "recipe.yaml").exists()


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A model to begin with, whose words are those of the questions and answers."""
    folder = tmp_path_factory.mktemp("begun")
    tokenizer = load_tokenizer("words", [WORDS])
    tokenizer.add_special_tokens({"mask_token": "[MASK]"})
    small_albef(cls=LatentALBEFForPreTraining, vocab_size=len(tokenizer), dtype=torch.float32).save_pretrained(folder)
    LatentALBEFProcessor.for_size(16, tokenizer).save_pretrained(folder)
    return folder


def recipe(folder, model, path, columns, **data):
    values = {
        "model": {"type": model, "pretrained": str(folder)},
        "data": {"name": "dataset", "path": path, "columns": columns, **data},
        "views": {
            "image": {"kind": "image", "size": 16, "mean": [0.5] * 3, "std": [0.5] * 3},
            "text": {"kind": "none"},
        },
        "training": {"max_steps": 2, "global_batch_size": 8, "disable_tqdm": True, "save_strategy": "no"},
    }
    return values


def train(tmp_path, values, *overrides):
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(values))
    return main(["train", str(file), f"training.output_dir={tmp_path / 'run'}", *overrides])


def test_questions_are_trained_and_measured_by_group(tmp_path, begun, capsys):
    test = [*questions(20, seed=1), {**questions(1)[0], "answer": "violet"}]
    path = saved(tmp_path / "own", questions(24), test)
    target = {"column": "answer", "groups": "kind"}
    columns = {"image": "picture", "text": "question"}
    assert train(tmp_path, recipe(begun, "latent_albef_question_answering", path, columns, target=target)) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    keys = {key for key in metrics if key.startswith("answer_accuracy")}
    assert keys == {f"answer_accuracy{end}" for end in ("", "_balanced", "_text_only", "_what_color", "_what_size")}
    counts = np.unique([row["answer"] for row in test[:20]], return_counts=True)[1]
    assert metrics["measurements"]["answer_accuracy"]["chance"] == pytest.approx(100 * counts.max() / 21)
    first = {}  # of the training rows, the answers by question
    for row in questions(24):
        first.setdefault(row["question"], []).append(row["answer"])
    guess = {question: max(found, key=found.count) for question, found in first.items()}
    right = [guess[row["question"]] == row["answer"] for row in test]
    assert metrics["answer_accuracy_text_only"] == pytest.approx(100 * sum(right) / 21)
    header = (tmp_path / "run" / "README.md").read_text().split("---")[1]
    assert "name: answer_accuracy_what_size" in header and "text_only" not in header  # which is no result of the model
    assert "1 of 21 test rows have no answer that training rows have" in capsys.readouterr().out
    assert (tmp_path / "run" / "figures" / "predictions.png").is_file()
    assert main(["evaluate", str(tmp_path / "run")]) == 0


def test_an_answer_that_the_tokenizer_does_not_know_is_said_before_training(tmp_path, begun, capsys):
    rows = [{**row, "answer": "violet" if n == 20 else row["answer"]} for n, row in enumerate(questions(24))]
    path = saved(tmp_path / "own", rows)
    columns = {"image": "picture", "text": "question"}
    values = recipe(begun, "latent_albef_question_answering", path, columns, target="answer")
    assert train(tmp_path, values) == 2
    error = capsys.readouterr().err
    assert "the word 'violet' of the answer 'violet'" in error and not (tmp_path / "run" / "metrics.json").exists()


def test_classes_become_those_of_the_model(tmp_path, begun):
    path = saved(tmp_path / "own", questions(24), questions(12, seed=1))
    columns = {"image": "picture", "text": "question"}
    assert train(tmp_path, recipe(begun, "latent_albef_classification", path, columns, target="kind")) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert tuple(config["id2label"].values()) == GROUPS
    assert "class_accuracy" in json.loads((tmp_path / "run" / "metrics.json").read_text())
