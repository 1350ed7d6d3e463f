"""Tasks on Trifeature: what is right is read from the sentence anew; neither sentence nor picture tells it alone."""

import re
from collections import Counter, defaultdict

import numpy as np
import pytest

from hf_latent.data import trifeature_task_data
from hf_latent.data.loading import SOURCES
from hf_latent.data.tokenizers import word_tokenizer
from hf_latent.data.trifeature import CAPTIONS, COLORS, SHAPES, TEXTURES, load_trifeature
from hf_latent.data.trifeature_sentences import ANSWERS, OPEN
from hf_latent.errors import UserError
from tests import downstream

NAMES = {"shape": SHAPES, "texture": TEXTURES, "color": COLORS}
TASKS = ("questions", "entailment", "statements", "text_assignment")
CALLED = {"ocean": "ocean blue", "plus": "plus sign", "tee": "letter t", "fivesquare": "five squares"}


@pytest.fixture(scope="module")
def load():
    """Loads a task on pictures that all tasks share, as only their factors are of interest here."""
    trifeature = load_trifeature(image_size=8, renders=2, test_renders=5)

    def load(task, **options):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trifeature_task_data, "load_trifeature", lambda *_: trifeature)
            return SOURCES[f"trifeature_{task}"](image_size=8, **options).load()

    return load


@pytest.fixture(scope="module")
def drawn(load):
    return {task: load(task) for task in TASKS}


@pytest.fixture
def loaded(drawn, request):
    return drawn[request.param]


every_task = pytest.mark.parametrize("loaded", TASKS, indirect=True)


def shown(rows, example):
    return [{f: names[getattr(rows.source, f)[p]] for f, names in NAMES.items()} for p in example.pictures]


def mentioned(text):
    """The classes that a sentence names, read from its words."""
    text, found = text.lower(), {}
    if texture := re.search(r"a (\w+) texture", text):
        found["texture"], text = texture[1], text.replace(texture[0], "")
    text = text.replace("ocean blue", "ocean").replace("letter t", "tee")
    text = re.sub(r"five( .*)? squares", r"fivesquare\1", text)
    words = re.findall(r"\w+", text)
    for factor in ("shape", "color"):
        if named := [word for word in words if word in NAMES[factor]]:
            (found[factor],) = named
    return found


def fits(text, picture):
    return all(picture[factor] == name for factor, name in mentioned(text).items())


def answered(text, pictures):
    (picture,) = pictures
    asked = re.match(r"what (\w+)", text)
    if not asked:
        return "yes" if fits(text, picture) else "no"
    assert fits(text, picture)  # what it takes for granted is so
    return CALLED.get(picture[asked[1]], picture[asked[1]])


def entailed(text, pictures):
    (picture,) = pictures
    certain, _, alternative = text.partition(" that ")
    if not fits(certain, picture):
        return "contradiction"
    if alternative:
        return "entailment" if fits(alternative, picture) else "neutral"
    return "neutral" if set(text.split()) & set(OPEN) else "entailment"


def true(text, pictures):
    if same := re.search("both have the same (.*)", text):
        return str(pictures[0][same[1]] == pictures[1][same[1]]).lower()
    found = [fits(text, picture) for picture in pictures]
    subject = next(s for s in ("both", "exactly one", "the left one", "the right one") if text.startswith(s))
    values = {"both": all(found), "exactly one": sum(found) == 1, "the left one": found[0], "the right one": found[1]}
    return str(values[subject]).lower()


def assigned(text, pictures):
    found = [fits(text, picture) for picture in pictures]
    assert sum(found) < 2
    return "first" if found[0] else "second" if found[1] else "neither"


RIGHT = dict(zip(TASKS, (answered, entailed, true, assigned), strict=True))


@pytest.mark.parametrize("task", TASKS)
def test_labels_are_right(drawn, task):
    benchmark = downstream.task_of(drawn[task])
    for rows in (drawn[task].train, benchmark.test):
        for example in rows.examples:
            right = RIGHT[task](example.text, shown(rows, example))
            assert benchmark.classes[example.label] == right, (example, shown(rows, example))
    assert np.array_equal(benchmark.labels, [example.label for example in benchmark.test.examples])


@every_task
def test_test_pictures_are_of_held_out_combinations(loaded):
    def seen(rows):
        return {tuple(picture.values()) for example in rows.examples for picture in shown(rows, example)}

    train, test = seen(loaded.train), seen(downstream.task_of(loaded).test)
    assert len(train) == 800 and len(test) == 200 and not train & test


@every_task
def test_rows(loaded):
    row = downstream.task_of(loaded).test[7]
    pictures = [row["image"]] if isinstance(row["image"], np.ndarray) else row["image"]
    example = downstream.task_of(loaded).test.examples[7]
    assert len(downstream.task_of(loaded).test) == 4000 and len(loaded.train) == 6400 and row["ids"] == 7
    for image, number in zip(pictures, example.pictures, strict=True):
        assert np.array_equal(image, downstream.task_of(loaded).test.source.images[number])
    right = downstream.task_of(loaded).classes[example.label]
    assert row["text"] == example.text and row["labels"] == (right if right in ANSWERS else example.label)
    assert downstream.task_of(loaded).kind == ("answers" if right in ANSWERS else "classes")
    with pytest.raises(IndexError):
        downstream.task_of(loaded).test[4000]


@every_task
def test_no_sentence_has_unknown_words(loaded):
    tokenizer = loaded.tokenizers["text"]
    texts = sorted({row.text for rows in (loaded.train, downstream.task_of(loaded).test) for row in rows.examples})
    assert not any(tokenizer.unk_token_id in ids for ids in tokenizer(texts)["input_ids"])


def learned(loaded, key):
    """Percent right on the test rows of who knows, of the training rows, the commonest label of each key."""
    train, test = loaded.train, downstream.task_of(loaded).test
    table = defaultdict(Counter)
    for example in train.examples:
        table[key(train, example)][example.label] += 1
        table[None][example.label] += 1
    guesses = [(table.get(key(test, e)) or table[None]).most_common(1)[0][0] for e in test.examples]
    return 100 * np.mean(guesses == downstream.task_of(loaded).labels)


def equal_factors(rows, example):
    first, last = (shown(rows, example)[k] for k in (0, -1))
    return tuple(first[factor] == last[factor] for factor in NAMES)


@pytest.mark.parametrize(
    ("loaded", "chance", "text", "image"),
    [
        ("questions", 12.5, 20, 26),
        ("entailment", 34, 45, 37),
        ("statements", 50, 54, 60),
        ("text_assignment", 34, 37, 42),
    ],
    indirect=["loaded"],
)
def test_neither_text_nor_pictures_suffice(loaded, chance, text, image):
    assert downstream.chance(downstream.task_of(loaded).labels) == pytest.approx(chance, abs=1)
    assert learned(loaded, lambda rows, e: e.text) < text
    for factor in NAMES:
        assert learned(loaded, lambda rows, e, f=factor: tuple(p[f] for p in shown(rows, e))) < image
    assert learned(loaded, equal_factors) < image


@pytest.mark.parametrize("loaded", ["statements", "text_assignment"], indirect=True)
def test_one_of_two_pictures_does_not_suffice(loaded):
    def with_one(side):
        return lambda rows, e: (e.group, e.text.split()[1], fits(e.text, shown(rows, e)[side]))

    assert all(learned(loaded, with_one(side)) < 72 for side in (0, 1))


def test_of_a_side_the_other_picture_is_as_often_so(drawn):
    rows = drawn["statements"].train
    others = defaultdict(list)
    for example in rows.examples:
        if example.group == "side":
            other = shown(rows, example)[1 if "left" in example.text else 0]
            others[example.label].append(fits(example.text, other))
    assert [np.mean(others[label]) for label in (0, 1)] == pytest.approx([0.5, 0.5], abs=0.07)


def test_labels_are_balanced_in_every_group(drawn):
    chances = {task: downstream.group_chances(downstream.task_of(drawn[task])) for task in TASKS}
    assert chances["statements"] == dict.fromkeys(("both", "one", "same", "side"), 50)
    assert chances["questions"]["yes_no"] == 50 and max(chances["questions"].values()) == 50
    assert chances["entailment"] == pytest.approx({"either": 40, "open": 50, "plain": 50}, abs=0.1)
    assert chances["text_assignment"] == pytest.approx({"near": 100 / 3, "far": 100 / 3}, abs=0.1)


@pytest.mark.parametrize("task", TASKS)
def test_a_seed_fixes_the_rows(load, task):
    first, again, other = (load(task, per_picture=1, seed=seed) for seed in (1, 1, 2))
    assert (
        first.train.examples == again.train.examples
        and downstream.task_of(first).test.examples == downstream.task_of(again).test.examples
    )
    assert first.train.examples != other.train.examples
    assert len(first.train) == 1600 and "1,600" in first.summary


def test_drawn_as_the_recipe_says():
    data = SOURCES["trifeature_statements"](image_size=9, renders=1, test_renders=1, per_picture=2).load()
    assert len(data.train) == 1600 and len(downstream.task_of(data).test) == 400
    left, right = data.train[0]["image"]
    assert left.shape == right.shape == (9, 9, 3) and data.columns == {"image": "image", "text": "text"}


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"per_picture": 0}, "data.per_picture=0: write 1 or more"),
        ({"image_size": 1}, "data: image_size=1 cannot be used"),
        ({"tokenizers": {"txt": "words"}}, "data.tokenizers.txt: no such modality; write text"),
        (
            {"tokenizers": {"text": "/nothing"}, "image_size": 8, "renders": 1, "test_renders": 1},
            "write a checkpoint's name, a folder, words",
        ),
    ],
)
def test_bad_options_say_what_to_write(options, remedy):
    with pytest.raises(UserError, match=re.escape(remedy)):
        SOURCES["trifeature_statements"](**options).load()


def test_a_vocabulary_that_lacks_words_of_the_task_is_refused(tmp_path):
    word_tokenizer(CAPTIONS).save_pretrained(tmp_path)
    data = SOURCES["trifeature_questions"](image_size=8, renders=1, test_renders=1, tokenizers={"text": str(tmp_path)})
    with pytest.raises(UserError, match="does not know all words of .*: begin with a model that was trained with"):
        data.load()
