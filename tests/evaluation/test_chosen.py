"""Which benchmarks a run is measured with, and what they are called."""

from dataclasses import dataclass

import numpy as np
import pytest

from hf_latent.data.loaded import Label, Regions, Target
from hf_latent.errors import UserError
from hf_latent.evaluation import (
    BENCHMARKS,
    Benchmark,
    Geometry,
    Measurement,
    Probes,
    Retrieval,
    ZeroShot,
    build_benchmarks,
    choose,
    described,
    flat,
    groups,
    measured,
    register_benchmark,
)
from tests.evaluation.planted import E, Planted, data_of, embeddings, split

HALF = np.arange(40) % 2
BOTH, IMAGE = Label(names=("a", "b")), Label(names=("c", "d"), of=("image",))
LABELS = {"both": BOTH, "own": IMAGE}
TEXTS = {name: E[number] for number, name in enumerate("abcd")}
VECTORS = embeddings(image=E[np.arange(40) % 8], text=E[np.arange(40) % 8])


def data(*modalities, labels=LABELS, train=True, **options):
    values = {"both": HALF, "own": HALF, "third": HALF, "size": HALF + 0.0, "name": np.array(["x"] * 40)}
    part = split(40, {name: values[name] for name in labels})
    return data_of(part, *modalities, train=part if train else None, labels=labels, **options)


def encode(found=VECTORS, rows=None, **options):
    return Planted((rows or split(40), found), **{"texts": TEXTS, **options})


def chosen(encode, data, written=None, **options):
    return choose(written, encode, data, **options)


def test_left_out_they_are_all_that_data_and_model_allow():
    assert list(chosen(encode(), data())) == ["zero_shot", "retrieval", "probes", "geometry"]
    assert list(chosen(encode(), data(train=False))) == ["zero_shot", "retrieval", "geometry"]
    assert list(chosen(encode(texts=None), data())) == ["retrieval", "probes", "geometry"]
    assert list(chosen(encode(compared=False, texts=None), data("left", "right"))) == ["probes"]
    assert list(chosen(encode(), data(labels={}))) == ["retrieval", "geometry"]
    assert list(chosen(encode(compared=False, texts=None), data(labels={}))) == []
    assert list(chosen(encode(), data(labels={"name": Label("text")}))) == ["retrieval", "geometry"]


def test_left_out_every_label_that_texts_tell_is_classified():
    found = chosen(encode(), data(labels={**LABELS, "third": Label(names=("c", "d"), of=("image", "text"))}))
    assert {name: found[name].label for name in found if name.startswith("zero_shot")} == {
        "zero_shot": "both",
        "zero_shot_third": "third",
    }
    assert "zero_shot" not in chosen(encode(), data(labels={"own": IMAGE}))


def test_left_out_what_cannot_be_measured_is_said_and_left(capsys):
    few = split(3, {"both": [0, 1, 0]})
    part = data_of(few, train=few, labels={"both": BOTH})
    assert list(chosen(encode(), part)) == ["zero_shot", "retrieval"]
    said = capsys.readouterr().out
    assert "Not measured: geometry: there are 3 rows to measure: 4 or more have a geometry" in said
    assert "Not measured: probes of 'both': label 'both': The train set is too small" in said


def test_left_out_one_label_that_cannot_be_probed_leaves_the_others(capsys):
    labels = {**LABELS, "rare": Label(names=("a", "b"), of=("image",))}
    rare = split(len(HALF), {**{name: HALF for name in LABELS}, "rare": [1, *([0] * (len(HALF) - 1))]})
    found = chosen(encode(), data_of(rare, train=rare, labels=labels))
    assert "rare" not in found["probes"].labels and set(found["probes"].labels) <= set(LABELS)
    assert "Not measured: probes of 'rare'" in capsys.readouterr().out


def test_left_out_regions_are_grounded_where_the_model_has_maps():
    regions = Regions(np.zeros((1, 8, 8, 3), np.uint8), np.zeros(1, int), ["a"], np.array([[[0, 0, 4, 4]]]))
    able = encode(maps=np.ones((1, 2, 2)))
    assert "grounding" in chosen(able, data(regions=regions))
    assert "grounding" not in chosen(able, data()) and "grounding" not in chosen(encode(), data(regions=regions))


def test_left_out_a_task_is_all():
    part = data(target=Target("classes", "both"))
    assert list(chosen(encode(answers=np.eye(2)[HALF]), part)) == ["tasks"]
    assert list(chosen(encode(), part)) == []


def test_a_source_may_say_its_own_benchmarks(capsys):
    part = data(benchmarks={"mine": {"benchmark": "probes", "labels": ["own"]}, "zero_shot": {"label": "both"}})
    found = chosen(encode(), part)
    assert list(found) == ["mine", "zero_shot"] and found["mine"] == Probes(labels=["own"])
    assert list(chosen(encode(texts=None), part)) == ["mine"]
    assert list(chosen(encode(), part, {"geometry": {}})) == ["geometry"]  # the recipe has the last word


def test_what_is_written_is_measured_and_nothing_else():
    assert chosen(encode(), data(), {}) == {}
    found = chosen(encode(), data(), {"zero_shot": {"label": "own", "k": [1]}, "geometry": None})
    assert found == {"zero_shot": ZeroShot(label="own", k=[1], modality="image"), "geometry": Geometry()}
    mine = Probes(labels=["own"])
    assert chosen(encode(), data(), {"probes": mine})["probes"] is mine


def test_defaults_fill_what_is_not_written():
    defaults = {"protocol": "cyclip", "rerank": 0}
    found = chosen(encode(), data(), defaults=defaults)
    assert found["probes"].protocol == "cyclip" and found["retrieval"].rerank == 0
    written = {"probes": {"protocol": "comm2025"}, "retrieval": {}, "mine": Retrieval(rerank=3, k=[2])}
    found = chosen(encode(), data(), written, defaults=defaults)
    assert (found["probes"].protocol, found["retrieval"].rerank, found["mine"].rerank) == ("comm2025", 0, 3)


@dataclass(frozen=True)
class _Same(Benchmark):
    """A benchmark of a user, with the key of another one."""

    key: str = "image_to_text_r1"

    def describe(self, encode, data):
        return [Measurement(self.key, np.nan, "Mine", "mine")]

    def measure(self, encode, data):
        return {self.key: 7.0, "plain": 8}

    def outcomes(self, encode, data):
        return {self.key: np.array([6.0, 8.0])}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"probe": {}}, r"evaluation.benchmarks.probe: no benchmark 'probe'; did you mean 'probes'"),
        ({"mine": {"benchmark": "probe"}}, r"evaluation.benchmarks.mine: no benchmark 'probe'; did you mean 'probes'"),
        ({"mine": {"benchmark": 5}}, "evaluation.benchmarks.mine: no benchmark '5'; known: clustering"),
        ({"my probes": {"benchmark": "probes"}}, "evaluation.benchmarks.my probes: write a name of letters, digits"),
        ({"1st": {"benchmark": "probes"}}, "evaluation.benchmarks.1st: write a name of letters, digits and _"),
        ({None: {"benchmark": "probes"}}, "evaluation.benchmarks.None: write a name of letters, digits and _"),
        ({True: {"benchmark": "probes"}}, "evaluation.benchmarks.True: write a name of letters, digits and _"),
        ({"a-b": Probes()}, "evaluation.benchmarks.a-b: write a name of letters, digits and _"),
        ({"probes": "both"}, r"evaluation.benchmarks.probes='both': write its options, or \{\}"),
        ({"probes": ["both"]}, r"evaluation.benchmarks.probes=\['both'\]: write its options, or \{\}"),
        ({"probes": {"label": []}}, "unknown key evaluation.benchmarks.probes.label: did you mean 'labels'"),
        ({"probes": {5: []}}, "unknown key evaluation.benchmarks.probes.5: known: balanced, draws, labels"),
        ({"probes": {"labels": "both"}}, r"evaluation.benchmarks.probes.labels='both': expected list\[str\]"),
        ({"probes": {"shots": 5}}, r"evaluation.benchmarks.probes.shots=5: expected list\[int\]"),
        ({"probes": {"draws": 2.5}}, "evaluation.benchmarks.probes.draws=2.5: expected int"),
        ({"retrieval": {"k": ["1"]}}, r"evaluation.benchmarks.retrieval.k=\['1'\]: expected list\[int\]"),
        ({"retrieval": {"k": [1.5]}}, r"evaluation.benchmarks.retrieval.k=\[1.5\]: expected list\[int\]"),
        ({"retrieval": {"between": ["image", "text"]}}, r"retrieval.between=\['image', 'text'\]: expected list\[list"),
        ({"zero_shot": {"templates": "a {}"}}, r"evaluation.benchmarks.zero_shot.templates='a \{\}': expected list"),
        ({"zero_shot": {"label": 3}}, "evaluation.benchmarks.zero_shot.label=3: expected str"),
        ({"geometry": {"most": None}}, "evaluation.benchmarks.geometry.most=None: expected int"),
    ],
)
def test_what_is_written_wrongly_is_refused_without_data(written, said):
    with pytest.raises(UserError, match=said):
        build_benchmarks(written)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"zero_shot": {"label": "both", "templates": ["a photo"]}}, r"evaluation.benchmarks.zero_shot: templates: "),
        ({"zero_shot": {}}, "evaluation.benchmarks.zero_shot: label is missing: write one of both, own"),
        ({"mine": {"benchmark": "probes", "of": ["full"]}}, "evaluation.benchmarks.mine: of: 'full': the model gives"),
        ({"tasks": {}}, "evaluation.benchmarks.tasks: a model that can answer, or tell classes is needed here"),
        ({"grounding": {}}, "evaluation.benchmarks.grounding: a model that can say where it looks is needed here"),
        (
            {"retrieval": {"between": [["image", "fused"]]}},
            "benchmarks.retrieval: between: the model gives no fused",
        ),
        ({"interactions": {}}, "evaluation.benchmarks.interactions: interactions: name labels as redundancy"),
        ({"geometry": {"most": 2}}, "evaluation.benchmarks.geometry: most=2: write 4 or more"),
    ],
)
def test_what_is_written_must_fit_data_and_model(written, said):
    with pytest.raises(UserError, match=said):
        chosen(encode(), data(), written)


def test_a_model_without_a_text_tower_is_refused():
    with pytest.raises(UserError, match="zero_shot: a model that can embed sentences is needed here: leave it out"):
        chosen(encode(texts=None), data(), {"zero_shot": {"label": "both"}})


def test_instances_have_keys_of_their_own():
    """The name of the instance is where that of the benchmark was, or before the key."""
    part = data()
    model = encode(rows=part.test)
    written = {
        "zero_shot": {"label": "both", "k": [1]},
        "names": {"benchmark": "zero_shot", "label": "own", "k": [1]},
        "half": {"benchmark": "retrieval", "k": [1], "rerank": 0},
        "mine": _Same(),
    }
    found = chosen(model, part, written)
    expected = ["zero_shot_top1", "names_top1"]
    expected += [f"half_{way}_{what}" for way in ("image_to_text", "text_to_image") for what in ("r1", "median_rank")]
    assert [m.key for m in described(found, model, part)] == [*expected, "mine_image_to_text_r1"]
    kept = {m.key: m for m in flat(found, measured(found, model, part))}
    assert list(kept) == [*expected, "mine_image_to_text_r1", "mine_plain"]
    mine = kept["mine_image_to_text_r1"]
    assert (mine.value, mine.title, mine.outcomes.tolist()) == (7, "Mine", [6, 8])
    assert (kept["mine_plain"].value, kept["mine_plain"].group) == (8, "")


def test_equal_keys_are_refused():
    written = {"zero_shot": {"label": "both"}, "zero": _Same("shot_top1")}
    with pytest.raises(UserError, match="zero_shot and zero both measure zero_shot_top1: rename one"):
        chosen(encode(), data(), written)


def test_an_error_while_measuring_is_a_sentence():
    part = data()
    broken = embeddings(image=np.full((40, 8), np.nan), text=VECTORS.embeds["text"])
    with pytest.raises(UserError, match="the model cannot be measured: The image embeddings are NaN"):
        measured({"retrieval": Retrieval()}, Planted((part.test, broken)), part)


def test_a_benchmark_of_a_plug_in_is_chosen_by_its_name():
    try:
        register_benchmark("planted")(_Same)
        assert build_benchmarks({"planted": {"key": "x"}}) == {"planted": _Same("x")}
        with pytest.raises(ValueError, match="there is a benchmark 'probes' already"):
            register_benchmark("probes")(_Same)
    finally:
        BENCHMARKS._found.pop("planted")
        _Same.kind = ""


def test_groups_come_in_the_order_of_a_card():
    orders = [group.order for group in groups().values()]
    assert orders == sorted(orders) and {"zero_shot", "retrieval", "probes", "gap"} <= groups().keys()
