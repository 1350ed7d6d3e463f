"""Zero-shot classification, on embeddings whose numbers are known by hand."""

import json

import datasets
import numpy as np
import pytest
from PIL import Image

from hf_latent.cli import main
from hf_latent.data.loaded import Label
from hf_latent.errors import UserError
from hf_latent.evaluation import ZeroShot, choose
from tests.evaluation.planted import E, Planted, chances, data_of, embeddings, split, values

KIND = Label(names=("a", "b", "c"))
NAMES = {"a": E[0], "b": 5 * E[1], "c": E[2]}
# The third image is nearest to b; the others are nearest to theirs.
IMAGES = np.stack([E[0], 3 * E[1], 0.9 * E[1] + 0.1 * E[2], E[0] + 0.1 * E[1]])
TRUTH = [0, 1, 2, 0]


def found(test, vectors, texts=NAMES, label=KIND, modalities=(), **options):
    encode, data = Planted((test, vectors), texts=texts), data_of(test, *modalities, labels={"kind": label})
    benchmark = ZeroShot(**options)
    benchmark.check(data)
    return benchmark.run(encode, data)


def of_images(truth=TRUTH, images=IMAGES, **items):
    return split(len(truth), {"kind": np.array(truth)}, **items), embeddings(image=images, text=E[[0] * len(images)])


def test_every_image_takes_the_nearest_class():
    measured = found(*of_images(), k=[1, 2, 3])
    assert values(measured) == {"zero_shot_top1": 75, "zero_shot_top2": 100}
    assert {m.rows for m in measured} == {4}


def test_chance_is_that_of_the_commonest_classes_of_the_rows():
    assert chances(found(*of_images(), k=[1, 2, 3])) == {
        "zero_shot_top1": 50,
        "zero_shot_top2": 75,
    }


def test_a_prompt_ensemble_is_normalised_before_and_after_the_mean():
    """Golden value 7.1 of the specification: without the inner norm the third image is as near to a as to b."""
    texts = {"one a": [3, 0, 0], "two a": [0, 1, 0], "one b": [0, 0, 2], "two b": [0, 1, 1]}
    test, label = split(3, {"kind": [0, 1, 1]}), Label(names=("a", "b"))
    vectors = embeddings(image=[[1, 2, 0], [0, 1, 3], [1, 0, 1]], text=E[:3, :3])
    ensemble = {"texts": texts, "label": label, "templates": ["one {}", "two {}"], "k": [1]}
    assert values(found(test, vectors, **ensemble)) == {"zero_shot_top1": 100}
    one = {**ensemble, "templates": ["one {}"]}
    assert values(found(test, vectors, **one))["zero_shot_top1"] == pytest.approx(200 / 3)


def test_templates_stand_around_the_names():
    test, vectors = of_images()
    data, encode = data_of(test, labels={"kind": KIND}), Planted((test, vectors), texts=_Any())
    ZeroShot(templates=["a {} {x}", "{}!"]).measure(encode, data)
    assert encode.asked == [["a a {x}", "a b {x}", "a c {x}"], ["a!", "b!", "c!"]]
    assert ZeroShot(templates=["a {} {x}", "{}!"]).sentences(data) == sum(encode.asked, [])


class _Any(dict):
    def __missing__(self, sentence):
        return E[len(self)]


def test_rows_whose_label_is_missing_are_left_out():
    """Of the three that are left one is wrong, and two are of class a."""
    (measured,) = found(*of_images([0, -1, 2, 0]), k=[1])
    assert measured.value == pytest.approx(200 / 3) and measured.chance == pytest.approx(200 / 3)
    assert measured.rows == 3


def test_an_image_with_two_captions_counts_once():
    truth, image_of = [0, 1, 2, 2, 2, 0], [0, 1, 2, 2, 2, 3]
    (measured,) = found(*of_images(truth, IMAGES[image_of], image=image_of), k=[1])
    assert (measured.value, measured.chance, measured.rows) == (75, 50, 4)


def test_another_modality_can_be_classified():
    test = split(4, {"kind": TRUTH})
    vectors = embeddings(audio=IMAGES, text=E[[0] * 4])
    (measured,) = found(test, vectors, modalities=("audio", "text"), modality="audio", k=[1])
    assert measured.value == 75


KINDS = {"view": "image", "photo": "image", "sound": "audio", "caption": "text", "force": "series"}


@pytest.mark.parametrize(
    ("modalities", "expected"),
    [
        (("view", "caption"), "view"),
        (("sound", "caption"), "sound"),
        (("force", "caption", "sound", "view"), "view"),  # the one image of several
        (("view", "photo", "caption"), "modality is missing: write one of view, photo"),
        (("force", "sound", "caption"), "modality is missing: write one of force, sound"),
        (("caption",), "modality is missing: the data has nothing but text to classify"),
    ],
)
def test_what_is_classified_is_known_by_its_kind(modalities, expected, capsys):
    label = Label(names=KIND.names, of=("caption",))
    test, planted = split(4, {"kind": TRUTH}), {name: IMAGES for name in modalities}
    encode = Planted((test, embeddings(**planted)), texts=NAMES, kinds={name: KINDS[name] for name in modalities})
    data = data_of(test, *modalities, labels={"kind": label})
    if expected not in modalities:
        with pytest.raises(UserError, match=f"evaluation.benchmarks.zero_shot: {expected}"):
            choose({"zero_shot": {}}, encode, data)
        assert ZeroShot.by_default(encode, data) == {}
        assert f"Not measured: zero_shot: {expected}" in capsys.readouterr().out
        return
    for chosen in (choose({"zero_shot": {"k": [1]}}, encode, data), ZeroShot.by_default(encode, data)):
        assert chosen["zero_shot"].modality == expected
    (found, *_) = chosen["zero_shot"].run(encode, data)
    assert found.value == 75 and found.task == f"zero-shot-{KINDS[expected]}-classification"
    unread = data_of(test, *modalities, labels={"kind": Label(names=KIND.names, of=("view",))})
    assert ZeroShot.by_default(encode, unread) == {}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"templates": ["a photo"]}, "templates: 'a photo' has no place for the name of a class: write {} there"),
        ({"templates": []}, "templates is empty"),
        ({"label": "kin"}, "label='kin': no such label in data.labels; did you mean 'kind'"),
        ({"label": "size"}, "label='size' is a number: a class is needed here"),
        ({"modality": "imag"}, "modality: there is no 'imag'; did you mean 'image'"),
        ({"k": [0]}, r"k=\[0\]: write cut-offs of 1 or more"),
        ({"k": []}, r"k=\[\]: write cut-offs of 1 or more"),
    ],
)
def test_options_that_cannot_be_measured_are_refused(options, said):
    labels = {"kind": KIND, "size": Label("number")}
    with pytest.raises(UserError, match=said):
        ZeroShot(**{"label": "kind", **options}).check(data_of(of_images()[0], labels=labels))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({}, "label is missing: name a column of classes in data.labels"),
        ({"a": KIND, "b": KIND}, "label is missing: write one of a, b"),
        ({"kind": Label(names=("a",))}, "label 'kind' has 1 class: 2 or more are told apart"),
        ({"none": KIND}, "label 'none' is missing in all rows that would be measured"),
    ],
)
def test_labels_that_cannot_be_measured_are_refused(labels, said):
    values = {"kind": [0, 0], "a": [0, 1], "b": [0, 1], "none": [-1, -1]}
    with pytest.raises(UserError, match=said):
        ZeroShot().check(data_of(split(2, values), labels=labels))


def test_classes_of_unknown_words_are_left_out_unless_they_were_asked_for(tmp_path, capsys):
    """A tokenizer of the captions may not know the names of a label that is only to be probed."""
    colors = ["red", "blue"]
    rows = {
        "image": [Image.new("RGB", (16, 16), colors[i % 2]) for i in range(16)],
        "text": [f"a {colors[i % 2]} thing" for i in range(16)],
        "kind": [f"unheard{i % 2}" for i in range(16)],
    }
    made = datasets.Dataset.from_dict(rows)
    datasets.DatasetDict({"train": made, "test": made}).save_to_disk(str(tmp_path / "set"))
    bert = {"model_type": "bert", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    text = {"encoder": "auto", "pooling": "mean", "config": {**bert, "num_attention_heads": 2}}
    recipe = {
        "model": {"type": "latent_clip", "modalities": {"image": {"encoder": "cnn", "channels": [8]}, "text": text}},
        "data": {
            **{"name": "dataset", "path": str(tmp_path / "set"), "columns": {"image": "image", "text": "text"}},
            **{"labels": {"kind": "kind"}, "tokenizers": {"text": "words"}},
        },
        "views": {"image": {"kind": "image", "size": 16, "fit": "squash"}, "text": {"kind": "none"}},
        "training": {"global_batch_size": 8, "max_steps": 1, "use_cpu": True, "output_dir": str(tmp_path / "run")},
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe), encoding="utf-8", newline="\n")
    asked = ["train", str(tmp_path / "recipe.yaml")]
    assert main([*asked, "evaluation.benchmarks={zero_shot: {}}"]) == 2
    assert "evaluation.benchmarks.zero_shot: the tokenizer does not know the word" in capsys.readouterr().err
    assert main(asked) == 0
    assert "Not measured: zero_shot: the tokenizer does not know the word 'unheard0'" in capsys.readouterr().out
    found = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))["measurements"]
    assert "probe_kind" in found and not any(key.startswith("zero_shot") for key in found)
