"""Linear probes of labels, on embeddings whose numbers are known by hand."""

from dataclasses import replace

import numpy as np
import pytest

from hf_latent.data.loaded import Label
from hf_latent.errors import UserError
from hf_latent.evaluation import Probes
from tests.evaluation.planted import E, Planted, chances, data_of, embeddings, split, values

LABELS = {
    "shape": Label(names=("a", "b"), of=("image", "text")),
    "texture": Label(names=("c", "d"), of=("image",), title="the texture"),
}


def factors(count, flipped=0):
    """Shape and texture of rows, in every combination; the first of `flipped` rows show another texture."""
    shape, texture = np.arange(count) % 2, (np.arange(count) // 2 % 5 > 2).astype(int)  # 3 of 5 have texture 0
    return shape, texture, np.where(np.arange(count) < flipped, 1 - texture, texture)


def shown(shape, texture):
    """The image tells the shape by its direction, and the texture by its length; the independent one tells the
    texture by its direction; the text tells the shape."""
    length = np.where(texture, 4.0, 1.0)[:, None]
    return embeddings(image=length * E[shape], text=E[shape], independent={"image": 3 * E[6 + texture]})


def two_factors():
    """Of 20 test rows, one has another shape than it shows, and two have another texture."""
    shape, texture, _ = factors(80)
    train = split(80, {"shape": shape, "texture": texture}), shown(shape, texture)
    shape, texture, seen = factors(20, flipped=2)
    told = np.where(np.arange(20) < 1, 1 - shape, shape)
    return train, (split(20, {"shape": told, "texture": texture}), shown(shape, seen))


def run(train, test, labels=LABELS, modalities=(), **options):
    data = data_of(test[0], *modalities, train=train[0], labels=labels)
    benchmark, encode = Probes(**options), Planted(train, test)
    benchmark.check_model(encode)
    benchmark.check(data)
    return benchmark.run(encode, data)


def test_each_modality_is_read_alone_and_with_its_independent_half():
    """The directions of the embeddings tell no texture: 12 of 20 are the commonest."""
    measured = run(*two_factors())
    expected = {"probe_shape": 95, "probe_shape_text": 95, "probe_texture": 60, "probe_texture_text": 60}
    assert values(measured) == pytest.approx(expected | {"probe_texture_full": 90})
    assert {m.key: m.information for m in measured if m.key in ("probe_shape", "probe_texture")} == {
        "probe_shape": "redundant",
        "probe_texture": "unique",
    }


def test_chance_is_that_of_the_commonest_class_of_the_test_rows():
    """Of the shapes told in test 11 of 20 are b, and half of those of training; of the textures 60 %."""
    found = chances(run(*two_factors()))
    assert found["probe_shape"] == found["probe_shape_text"] == pytest.approx(55)
    assert found["probe_texture"] == found["probe_texture_full"] == pytest.approx(60)


def test_the_protocol_that_reads_features_as_they_are_sees_their_length():
    assert values(run(*two_factors(), protocol="cyclip"))["probe_texture"] > 60


def test_embeddings_that_are_not_compared_by_cosine_are_read_as_they_are():
    """As what all modalities give together is: else one alone could tell less for its length alone."""
    train, test = two_factors()
    data = data_of(test[0], train=train[0], labels=LABELS)
    assert values(Probes().run(Planted(train, test, compared=False), data))["probe_texture"] == 90


def test_the_protocol_is_what_is_written(monkeypatch):
    from hf_latent.evaluation import probes

    asked = []
    plain = probes.linear_probe
    monkeypatch.setattr(probes, "linear_probe", lambda *a, protocol, **_: asked.append(protocol) or plain(*a))
    run(*two_factors(), protocol="comm2025", labels={"shape": LABELS["shape"]})
    assert asked == ["comm2025"] * 2


def test_validation_rows_choose_and_are_fitted(monkeypatch):
    """In place of a part of the training rows; but not where they are what is measured."""
    from hf_latent.evaluation import probes

    train, test = two_factors()
    held = split(40, {name: train[0].labels[name][:40] for name in LABELS}), shown(*factors(40)[:2])
    data = replace(data_of(test[0], train=train[0], labels=LABELS), validation=held[0])
    seen = []
    probe = probes.linear_probe
    monkeypatch.setattr(probes, "linear_probe", lambda *a, **k: seen.append(k["validation"]) or probe(*a, **k))
    benchmark, encode = Probes(labels=["shape"], of=["text"], validation=True), Planted(train, test, held)
    benchmark.check(data)
    benchmark.run(encode, data)
    features, labels = seen[0]
    assert len(features) == 40 and labels.tolist() == held[0].labels["shape"].tolist()
    benchmark.run(encode, replace(data, validation=data.test))
    assert seen[1] is None
    strange = replace(held[0], labels={"shape": np.arange(40) % 3})
    benchmark.run(Planted(train, test, (strange, held[1])), replace(data, validation=strange))
    assert set(seen[2][1]) == {0, 1}  # a class that no training row has chooses nothing
    with pytest.raises(UserError, match="validation: the data has no such rows"):
        benchmark.check(replace(data, validation=None))


def test_the_mean_recall_of_the_classes_is_measured_where_it_is_asked_for():
    found = run(*two_factors(), labels={"texture": LABELS["texture"]}, of=["text"], balanced=True)
    assert values(found) == pytest.approx({"probe_texture_text": 60, "probe_texture_text_balanced": 50})
    assert chances(found)["probe_texture_text_balanced"] == pytest.approx(50)


def test_sources_and_labels_are_chosen():
    measured = run(*two_factors(), of=["text", "full"], labels=LABELS | {"name": Label("text")})
    assert set(values(measured)) == {"probe_shape_text", "probe_texture_text", "probe_texture_full"}
    assert set(values(run(*two_factors(), labels=LABELS, of=["image"]))) == {"probe_shape", "probe_texture"}


def test_a_model_without_independent_embeddings_has_no_probe_of_them():
    pairs = [(part, embeddings(**found.embeds)) for part, found in two_factors()]
    assert "probe_texture_full" not in values(run(*pairs))


def test_few_shot_probes_are_beside_the_others():
    """A row of each shape tells all: the direction of the image is the shape."""
    found = values(run(*two_factors(), shots=[1, 16], labels={"shape": LABELS["shape"]}))
    assert found["probe_shape_1shot"] == found["probe_shape_16shot"] == pytest.approx(95)
    assert set(found) == {f"probe_shape{s}{n}" for s in ("", "_text") for n in ("", "_1shot", "_16shot")}


def test_the_fused_vector_is_read():
    """Whether both sides are equal: neither tells it alone, the fused vector does. The keys name their sources."""
    parts = []
    for count in (80, 20):
        first, second = np.arange(count) % 2, np.arange(count) // 2 % 2
        vectors = embeddings(left=E[first], right=E[second], fused=E[first ^ second])
        parts.append((split(count, {"equal": first ^ second}), vectors))
    labels = {"equal": Label(names=("no", "yes"), of=("left", "right"))}
    found = values(run(*parts, labels=labels, modalities=("left", "right")))
    assert found.pop("probe_equal_fused") == 100
    assert found == pytest.approx({"probe_equal_left": 50, "probe_equal_right": 50})


def test_each_image_counts_once_and_each_caption():
    """Image 0 is shown as the other shape and has five captions; the captions of the rest tell the shape."""
    image_of = np.array([0] * 5 + list(range(1, 10)))
    shape = image_of % 2
    seen = np.where(image_of == 0, 1 - shape, shape)
    vectors = embeddings(image=E[seen], text=E[np.where(np.arange(14) < 2, 1 - shape, shape)])
    train = split(80, {"shape": np.arange(80) % 2}), embeddings(image=E[np.arange(80) % 2], text=E[np.arange(80) % 2])
    test = split(image_of, {"shape": shape}, image=image_of), vectors
    image, text = run(train, test, labels={"shape": LABELS["shape"]})
    assert (image.value, image.rows, image.chance) == (90, 10, 50)
    assert (text.value, text.rows, text.chance) == (pytest.approx(1200 / 14), 14, pytest.approx(900 / 14))


def test_rows_whose_label_is_missing_are_left_out():
    """In training the rows without a label would say the contrary; in test one of the nine that are left is wrong."""
    shape = np.arange(80) % 2
    known = np.where(np.arange(80) < 50, -1, shape)
    seen = np.where(known < 0, 1 - shape, shape)
    train = split(80, {"shape": known}), embeddings(image=E[seen], text=E[seen])
    told = np.array([-1, 1, 0, 1, 0, 1, 0, 1, 0, 0])
    test = split(10, {"shape": told}), embeddings(image=E[np.arange(10) % 2], text=E[np.arange(10) % 2])
    image, _ = run(train, test, labels={"shape": LABELS["shape"]})
    assert image.value == pytest.approx(800 / 9) and image.rows == 9 and image.chance == pytest.approx(500 / 9)


def constant(rows):
    return np.ones((rows, 8))


def test_several_classes_a_row():
    """The image tells both tags; the text tells nothing, so that the tag of most rows is always said, the other never.

    Of the test rows 60 % have the first tag, whose F1 is then 2 * .6 / 1.6, and 20 % have the second.
    """
    parts = []
    for count, often, seldom in ((80, 0.75, 0.25), (20, 0.6, 0.2)):
        tags = np.stack([np.arange(count) < often * count, np.arange(count) % 20 < seldom * 20], axis=1)
        image = np.concatenate([tags, ~tags, np.zeros((count, 4))], axis=1)
        parts.append((split(count, {"tags": tags}), embeddings(image=image, text=constant(count))))
    labels = {"tags": Label("multilabel", ("often", "seldom"))}
    measured = run(*parts, labels=labels)
    found, levels = values(measured), chances(measured)
    assert found["probe_tags_weighted_f1"] == found["probe_tags_macro_f1"] == 100
    assert found["probe_tags_text_macro_f1"] == pytest.approx(100 * 0.75 / 2)
    assert found["probe_tags_text_weighted_f1"] == pytest.approx(100 * 0.75 * 0.6 / 0.8)
    assert levels["probe_tags_macro_f1"] == pytest.approx(100 * (0.75 + 1 / 3) / 2)
    assert levels["probe_tags_weighted_f1"] == pytest.approx(100 * (0.75 * 0.6 + 0.2 / 3) / 0.8)
    assert [m.key for m in measured if m.headline] == ["probe_tags_weighted_f1", "probe_tags_text_weighted_f1"]


def test_a_number_with_values_that_are_missing():
    """The text tells nothing: always 1, the mean of training, is said of -1 and 5, whose mean is 2."""
    parts = []
    for size in (np.array([-3.0, -1.0, 1.0, 3.0, 5.0] * 16 + [np.nan] * 4), np.array([-1.0, 5.0] * 5 + [np.nan] * 2)):
        given = np.nan_to_num(size, nan=100.0)  # what the image shows where the label is missing
        angle = np.stack([np.cos(given / 10), np.sin(given / 10)], axis=1)
        vectors = embeddings(image=np.pad(angle, ((0, 0), (0, 6))), text=constant(len(size)))
        parts.append((split(len(size), {"size": size}), vectors))
    measured = {m.key: m for m in run(*parts, labels={"size": Label("number")})}
    assert measured["probe_size_text_r2"].value == pytest.approx(-1 / 9)
    assert measured["probe_size_text_mse"].value == pytest.approx(10)
    assert measured["probe_size_r2"].value > 0.99
    assert measured["probe_size_r2"].chance == 0 and measured["probe_size_mse"].chance == pytest.approx(9)
    assert measured["probe_size_mse"].better == "lower" and measured["probe_size_r2"].better == "higher"
    assert {m.rows for m in measured.values()} == {10}


def test_the_independent_half_is_that_of_the_modality_that_tells_the_label():
    parts = []
    for count in (80, 20):
        word = np.arange(count) % 2
        vectors = embeddings(
            image=constant(count), text=constant(count), independent={"image": constant(count), "text": E[word]}
        )
        parts.append((split(count, {"word": word}), vectors))
    assert values(run(*parts, labels={"word": Label(names=("a", "b"), of=("text",))})) == pytest.approx(
        {"probe_word": 50, "probe_word_text": 50, "probe_word_full": 100}
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"labels": ["shap"]}, "labels: no label 'shap' in data.labels; did you mean 'shape'"),
        ({"labels": ["name"]}, "labels: 'name' is a text: probes read class, multilabel, number"),
        ({"labels": []}, "probes need a label"),
        ({"of": ["imag"]}, "of: 'imag': did you mean 'image'"),
        ({"of": ["fused"]}, "of: 'fused': the model gives no fused embeddings"),
        ({"of": []}, "of is empty: write modalities, fused or full"),
        ({"protocol": "cyclp"}, "protocol='cyclp': did you mean 'cyclip'"),
        ({"shots": [0]}, r"shots=\[0\], draws=5: write whole numbers of 1 or more"),
        ({"shots": [1, 49]}, r"shots=\[1, 49\]: no class of 'shape' has more than 40 training rows"),
        ({"shots": [1], "draws": 0}, "draws=0: write whole numbers of 1 or more"),
    ],
)
def test_options_that_cannot_be_measured_are_refused(options, said):
    train, test = two_factors()
    with pytest.raises(UserError, match=said):
        data = data_of(test[0], train=train[0], labels=LABELS | {"name": Label("text")})
        Probes(**options).check_model(Planted(train))
        Probes(**options).check(data)


def test_two_labels_with_one_key_are_refused():
    train, test = (split(count, {"own": np.arange(count) % 2, "own_text": np.arange(count) % 2}) for count in (80, 20))
    labels = dict.fromkeys(("own", "own_text"), Label(names=("a", "b")))
    with pytest.raises(UserError, match="'own' and 'own_text' are both measured as probe_own_text: rename one"):
        Probes().check(data_of(test, train=train, labels=labels))


def test_what_cannot_be_probed_is_said():
    train, test = two_factors()
    with pytest.raises(UserError, match="a stream has none to keep: leave probes out"):
        Probes().check(data_of(test[0], labels=LABELS))
    for column, said in (
        ([0, 1] * 39 + [0, 0], None),
        ([0] * 80, r"label 'shape': The train labels hold 1 class"),
        ([-1] * 80, "label 'shape' is known in 0 training rows and 20 test rows"),
        ([0] * 79 + [1], "label 'shape': The train set is too small"),
    ):
        data = data_of(test[0], train=split(80, {"shape": column}), labels={"shape": LABELS["shape"]})
        if said is None:
            Probes().check(data)
            continue
        with pytest.raises(UserError, match=said):
            Probes().check(data)
    numbers = {"size": np.full(80, np.nan)}
    with pytest.raises(UserError, match="label 'size' is known in 0 training rows and 80 test rows"):
        Probes().check(
            data_of(split(80, {"size": np.ones(80)}), train=split(80, numbers), labels={"size": Label("number")})
        )


def test_what_no_row_has_is_not_probed(capsys):
    """No test row has a text; the image is read as before."""
    train, (test, vectors) = two_factors()
    test = replace(test, present={"text": np.zeros(20, bool)})
    measured = values(run(train, (test, vectors)))
    assert measured["probe_shape"] == 95 and not [key for key in measured if key.endswith("_text")]
    with pytest.raises(UserError, match="'shape' is known in 80 training rows and 0 test rows that have 'text'"):
        run(train, (test, vectors), of=["text"])
    capsys.readouterr()
    data = data_of(test, train=train[0], labels=LABELS)
    assert Probes.by_default(Planted(train, (test, vectors)), data)["probes"].labels == ["shape", "texture"]
    assert "Not measured: probes of 'shape' from 'text': label 'shape' is known" in capsys.readouterr().out
    none = replace(test, present={"text": np.zeros(20, bool), "image": np.arange(20) < 0})
    with pytest.raises(UserError, match="0 test rows that have 'image'"):
        Probes(of=["image", "text"]).check(data_of(none, train=train[0], labels=LABELS))
