"""Pages of data of one's own: rows that are held out, what they can be colored by, thumbnails, labels and links."""

import json
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import datasets
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from hf_latent import LatentALBEFForImageTextClassification as Classification
from hf_latent import LatentALBEFForNaturalLanguageVisualReasoning as VisualReasoning
from hf_latent import LatentALBEFForQuestionAnswering as QuestionAnswering
from hf_latent.data.loaded import EvaluationData, Label, LoadedData, Split
from hf_latent.data.sample import Sample, sample_of
from hf_latent.data.source import SOURCES, Reader, register_source
from hf_latent.metrics import linear_probe
from hf_latent.metrics.other_probes import multilabel_probe, regression_probe
from tests.space.own import GROUPS, OwnComposer, OwnQuestions, numbers_run, picture_folder, pictures_run
from tests.space.runs import albef_run, captions_run, finish

from colors import CLASS_COLORS, GRAY, MISSING, colorings  # isort: skip
from composed import ComposedProbes  # isort: skip
from explorer import Explorer  # isort: skip
from links import links_html, paper_of  # isort: skip
from readings import TOGETHER, Readings, joined  # isort: skip
from tabs import TABS, interactions, labels, latent_map, questions  # isort: skip
from tabs.latent_map import PCA2, PCA3, LatentMap  # isort: skip
from thumbnails import SIDE, thumbnail  # isort: skip


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    return Explorer(str(pictures_run(folder / "clip", picture_folder(folder / "things", {"train": 20, "test": 100}))))


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("numbers")
    return Explorer(str(numbers_run(folder / "comm", folder / "rows", ("table", "series", "text"))))


def config_of(app, explorers):
    return json.loads(json.dumps(app.build_demo(explorers).get_config_file(), default=str))


def tabs_of(config):
    return [part["props"]["label"] for part in config["components"] if part["type"] == "tabitem"]


def test_rows_of_the_test_split_are_shown_from_all_over(pictures):
    sample = pictures.sample
    assert sample.title == "200 of the 300 rows of the test split of things" and sample.held_out
    assert all(text.endswith("of test") for text in sample.values["text"])
    assert {
        name: int(count) for name, count in zip(GROUPS, np.bincount(sample.known["group"]), strict=True)
    }.keys() == {*GROUPS}  # the folder is sorted by group
    assert np.bincount(sample.known["group"]).min() > 60


@pytest.mark.slow
def test_a_page_says_which_rows_it_shows(app, pictures, numbers):
    page = json.dumps(config_of(app, [pictures, numbers]))
    assert "Shown on: 200 of the 300 rows of the test split of things." in page
    assert "Shown on: the 40 rows of the test split of rows." in page


def test_a_stream_of_pictures_has_labels_and_shows_its_first_rows(tmp_path):
    folder = picture_folder(tmp_path / "things", {"train": 4, "test": 10})
    source = SOURCES["dataset"](
        "imagefolder",
        {"image": "image", "text": "caption"},
        options={"data_dir": str(folder)},
        labels={"group": "group", "weight": "weight", "tags": "tags"},
        splits={"test": "test"},
        streaming=True,
    )
    sample = source.sample(20)
    assert sample.title == "the 20 first rows of the test split of things" and sample.held_out
    assert np.bincount(sample.known["group"]).tolist() == [10, 10]  # sorted, the third comes later
    assert sample.values["image"][0].size == (40, 28) and np.isnan(sample.known["weight"][4])
    assert sample.labels["tags"].names == ("old", "outdoor", "small")


def test_rows_that_the_model_cannot_read_are_left_out(tmp_path):
    run = numbers_run(tmp_path / "comm", tmp_path / "rows", ("table", "series"))
    rows = datasets.load_from_disk(str(tmp_path / "rows"))["test"].to_list()
    rows[3]["cells"], rows[7]["cells"] = [1.0, 2.0], None
    datasets.DatasetDict({"test": datasets.Dataset.from_list(rows)}).save_to_disk(tmp_path / "changed")
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    recipe["data"] |= {"path": str(tmp_path / "changed"), "splits": {"train": "test", "test": "test"}}
    explorer = Explorer(str(finish(run, recipe)))
    assert explorer.sample.title == "38 of the 40 rows of the test split of changed, training rows among them"


def test_training_rows_are_shown_only_where_nothing_is_held_out_and_are_called_so(app, tmp_path):
    run = numbers_run(tmp_path / "comm", tmp_path / "rows", ("table", "series"), test=0)
    explorer = Explorer(str(run))
    assert not explorer.sample.held_out
    page = json.dumps(config_of(app, [explorer]))
    assert "the 60 rows of the train split of rows, which the model was trained on" in page
    assert labels.refusal(explorer) == "Its data have no held-out rows to read labels of."


def test_the_choices_of_colors_are_the_labels_of_the_rows(app, pictures):
    assert list(colorings(pictures.sample)) == ["group", "tags: old", "tags: outdoor", "tags: small", "weight in g"]
    config = config_of(app, [pictures])
    choices = next(part for part in config["components"] if part["props"].get("label") == "Color by")["props"][
        "choices"
    ]
    assert [choice for _, choice in choices] == [
        "modality",
        *colorings(pictures.sample),
    ]  # no text, such as the author


def test_classes_have_a_color_each_and_their_names_are_text(pictures):
    figure = LatentMap(pictures, 0).figure(PCA2, "group", False)
    *classes, image, text = figure.data
    assert [trace.name for trace in classes] == ["animal", "flag", "fruit &lt;b&gt;"]  # Plotly reads some HTML
    assert [trace.marker.color for trace in classes] == list(CLASS_COLORS[:3])
    rows = np.flatnonzero(pictures.sample.known["group"] == 1)
    assert sorted(classes[1].customdata) == sorted([*rows, *rows])
    assert "group: flag" in classes[1].text[0]


@pytest.mark.parametrize("layout", [PCA2, PCA3])
def test_numbers_are_colored_by_value_with_a_scale_and_those_that_are_missing_gray(pictures, layout):
    missing, shown, *_ = LatentMap(pictures, 0).figure(layout, "weight in g", False).data
    weights = pictures.sample.known["weight"]
    assert missing.name == MISSING and missing.marker.color == GRAY
    assert set(missing.customdata) == set(np.flatnonzero(np.isnan(weights)))
    assert np.array_equal(np.array(shown.marker.color), weights[list(shown.customdata)])
    assert shown.marker.colorbar.title.text == "weight in g" and not shown.showlegend
    assert (shown.marker.cmin, shown.marker.cmax) == (np.nanmin(weights), np.nanmax(weights))


def test_one_class_of_a_multilabel_is_told_from_the_others(pictures):
    lacks, has, *_ = LatentMap(pictures, 0).figure(PCA2, "tags: old", False).data  # the others lie below
    old = pictures.sample.known["tags"][:, pictures.sample.labels["tags"].names.index("old")]
    assert (has.name, lacks.name) == ("old", "not old") and has.legendrank < lacks.legendrank
    assert has.text[0].endswith(" · tags: old") and lacks.text[0].endswith(" · tags: not old")
    assert set(has.customdata) == set(np.flatnonzero(old)) and set(lacks.customdata) == set(np.flatnonzero(~old))


def test_of_many_classes_the_commonest_have_a_color_and_missing_ones_are_gray():
    values = np.array([*np.repeat(np.arange(30), 2), *[7] * 5, -1])
    label = Label(names=tuple(f"class {number}" for number in range(30)))
    sample = Sample("rows", {"a": values.tolist()}, [""] * 66, np.arange(66), "", {"kind": label}, {"kind": values})
    groups = colorings(sample)["kind"].groups
    *classes, others, missing = groups
    assert len(classes) == len(CLASS_COLORS) - 1 and "class 7" in {group.name for group in classes}
    assert len({group.color for group in groups}) == len(groups)
    assert others.name == f"{30 - len(classes)} other classes" and missing.rows.tolist() == [65]
    assert sorted(np.concatenate([group.rows for group in groups])) == [*range(66)]


def test_series_tables_and_features_have_pictures(numbers):
    assert numbers.pictured == ["series", "table"] and set(numbers.thumbnails) == {"series", "table"}
    flat, rising = (np.asarray(thumbnail(np.array([[a], [b]]), "series")) for a, b in ((1, 1), (0, 1)))
    assert flat.shape == (SIDE, SIDE, 3) and not np.array_equal(flat, rising)
    blue = np.abs(rising.astype(int) - (0x00, 0x72, 0xB2)).sum(2) < 60
    height = [blue[:, column].nonzero()[0].mean() for column in (12, 48, 84)]
    assert height[0] > height[1] > height[2]  # it goes up
    for value, kind in (([1.0, -1.0], "table"), ([[1.0, -1.0], [1.0, -1.0]], "features")):
        bars = np.asarray(thumbnail(value, kind)).astype(int)
        up = np.abs(bars[:, SIDE // 4] - (0x00, 0x72, 0xB2)).sum(1) < 30
        down = np.abs(bars[:, 3 * SIDE // 4] - (0xD5, 0x5E, 0x00)).sum(1) < 30
        assert up[10:44].all() and not up[52:].any() and down[52:86].all() and not down[:44].any()
    assert thumbnail([float("nan"), 1.0], "table").size == thumbnail([], "table").size == (SIDE, SIDE)


def test_a_map_of_series_and_tables_has_their_pictures(numbers):
    html = LatentMap(numbers, 0).sprite_html()
    assert 'data-count="40"' in html and 'data-modalities="2"' in html


def test_rows_without_texts_are_named_by_their_labels(tmp_path):
    explorer = Explorer(str(numbers_run(tmp_path / "comm", tmp_path / "rows", ("table", "series"))))
    row = int(np.flatnonzero(explorer.sample.known["kind"] >= 0)[0])
    name = explorer.sample.labels["kind"].names[explorer.sample.known["kind"][row]]
    assert explorer.sample.words[row] == f"kind: {name} | speed in m/s: {explorer.sample.known['speed'][row]:.4g}"


@pytest.mark.slow
def test_tabs_that_do_not_apply_are_absent(app, pictures, numbers):
    assert tabs_of(config_of(app, [numbers])) == ["Latent map", "Labels", "Structure"]
    assert tabs_of(config_of(app, [pictures])) == ["Latent map", "Labels", "Ask", "Structure"]
    both = json.dumps(config_of(app, [pictures, numbers]))
    assert "Not here: <b>comm</b>. To ask takes a model of images and texts" in both
    assert "Not here: <b>clip</b>" not in both


def test_where_no_tab_applies_each_says_why(app, pictures, monkeypatch):
    silent = ModuleType("silent")
    silent.TITLE, silent.refusal = "Nothing", lambda explorer: "It has <none>."
    monkeypatch.setattr(app, "TABS", (silent,))
    config = config_of(app, [pictures])
    assert tabs_of(config) == [] and "<b>clip</b>: It has &lt;none&gt;." in json.dumps(config)


def test_tabs_are_found_and_in_order():
    assert [tab.TITLE for tab in TABS] == [
        "Latent map",
        "R, U, S",
        "Labels",
        "Ask",
        "Look",
        "Questions",
        "Predictions",
        "Structure",
    ]
    assert [tab.ORDER for tab in TABS] == sorted({tab.ORDER for tab in TABS})


@pytest.mark.slow
def test_probes_of_labels_score_as_the_benchmark_does_with_chance_of_the_rows(pictures, numbers):
    for explorer in (pictures, numbers):
        readings = Readings(explorer)
        train = explorer.source.sample(500, role="train")
        unit = {name: rows.numpy() for name, rows in explorer.unit.items()}
        embeds = explorer.embed(train.values)
        own = {
            name: torch.nn.functional.normalize(rows.double(), dim=1).numpy() for name, rows in embeds.embeds.items()
        }
        for name, found in readings.labels.items():
            values, truth = train.known[name], explorer.sample.known[name]
            for view in own:
                sides = own[view], values, unit[view], truth
                score = found.views[view].score
                if found.label.kind == "multilabel":
                    assert score == pytest.approx(multilabel_probe(*sides)["weighted_f1"])
                    continue
                there = (
                    [values >= 0, truth >= 0] if found.label.kind == "class" else [~np.isnan(values), ~np.isnan(truth)]
                )
                sides = own[view][there[0]], values[there[0]], unit[view][there[1]], truth[there[1]]
                if found.label.kind == "class":
                    assert score == pytest.approx(linear_probe(*sides).accuracy)
                    assert found.chance == pytest.approx(100 * np.bincount(sides[3]).max() / len(sides[3]))
                else:
                    assert score == pytest.approx(regression_probe(*sides)["r2"]) and found.chance == 0
    assert set(Readings(pictures).labels) == {"group", "weight", "tags"}


def test_the_page_of_labels_says_what_is_read_and_whether_it_is_so(numbers):
    readings = Readings(numbers)
    assert readings.views == ["table", "series", "text", TOGETHER] and readings.fitted == 60
    kind = readings.labels["kind"]
    known = next(row for row, words in enumerate(kind.truth) if words)
    unknown = next(row for row, words in enumerate(kind.truth) if not words)
    page = labels.answers_html(readings, known)
    said = kind.views["table"]
    mark = "✓" if said.said[known] == kind.truth[known] else "✗"
    assert f"{said.said[known]} {100 * said.shares[known]:.0f} % {mark}" in page
    assert f"this row: {kind.truth[known]}" in page and f"the best constant answer: right {kind.chance:.0f} %" in page
    page = labels.answers_html(readings, unknown)
    assert "not known of this row" in page and "R² " in page
    assert kind.views["table"].right[unknown] is None
    row = labels.row_html(numbers, known)
    assert row.count("<img") == 2 and numbers.sample.values["text"][known] in row


def test_classes_of_training_rows_and_of_held_out_ones_are_the_same_class():
    own, other = Label(names=("a", "b", "c")), Label(names=("c", "d"))
    label, values = joined(own, other, np.array([0, 2, 1, -1]))
    assert label.names == ("c", "d", "a", "b") and values.tolist() == [2, 0, 3, -1]
    many = np.array([[True, False, True]])
    label, values = joined(replace(own, kind="multilabel"), replace(other, kind="multilabel"), many)
    assert values.tolist() == [[True, False, True, False]]


def test_models_link_to_card_data_papers_and_code(pictures, captions, monkeypatch):
    page = links_html(captions)
    assert "https://github.com/hf-latent/hf_latent" in page and "Model card" not in page and "Data:" not in page
    assert "Paper: Radford et al. 2021" in page and "Paper: Jiang et al. 2023" in page  # of its regularizer
    assert "Data:" not in links_html(pictures)  # a folder of this machine
    monkeypatch.setattr(captions, "repository", "user/'model")
    monkeypatch.setattr(captions, "source", SimpleNamespace(repositories=lambda: ["user/data", "hf_secret/x", "../x"]))
    page = links_html(captions)
    assert "href='https://huggingface.co/user/%27model'" in page
    assert page.count("Data:") == 1 and "href='https://huggingface.co/datasets/user/data'" in page


def test_a_model_of_the_hub_knows_its_id_and_its_data(captions_folder, monkeypatch):
    monkeypatch.setattr("hf_latent.finished.snapshot_download", lambda run, **_: str(captions_folder))
    assert "https://huggingface.co/user/model" in links_html(Explorer("user/model"))
    source = SOURCES["dataset"]("user/data", {"image": "image"})
    mixture = SOURCES["mixture"]([source, SOURCES["dataset"]("imagefolder", {"image": "image"})])
    assert source.repositories() == mixture.repositories() == ["user/data"]


@pytest.mark.parametrize(
    ("fields", "address"),
    [
        ("url = {https://a.org/b}", "https://a.org/b"),
        ("url = {javascript:alert(1)}, doi = {10.1/x y}", "https://doi.org/10.1/x%20y"),
        ("note = {arXiv:2409.07402}", "https://arxiv.org/abs/2409.07402"),
        ("year = {2020}", "https://scholar.google.com/scholar?q=A%20%3Cb%3E%20title"),
    ],
)
def test_a_paper_is_where_it_says_itself(fields, address):
    assert paper_of(f"@misc{{key, title = {{{{A}} <b> title}}, author = {{B, C and D, E}}, {fields}}}")[1:] == (
        address,
        "A <b> title",
    )
    assert paper_of("@misc{key, year = {2020}}") is None


@pytest.fixture
def own_source():
    """A source of somebody's own, which has `load` alone."""
    register_source("own_questions")(OwnQuestions)
    yield OwnQuestions
    SOURCES._found.pop("own_questions")


def test_a_head_answers_with_the_answers_of_its_own_data(app, own_source, tmp_path):
    explorer = Explorer(str(albef_run(tmp_path / "own", QuestionAnswering, {"name": "own_questions"})))
    head = explorer.head
    assert head.answers == ["an animal", "a flag", "a fruit"] and not explorer.note and len(head.examples) == 6
    images, sentence = head.examples[2]
    assert {name for name, _ in head.shares(images, sentence)} == {*head.answers}
    page = questions.answer_html(explorer, images, sentence)
    assert "of the 3 answers that its data knows" in page and tabs_of(config_of(app, [explorer])) == ["Questions"]
    assert explorer.rows.title == "the 30 held-out rows" and explorer.unlike_html(images[0]) == ""


def test_classes_are_those_of_the_config_else_of_its_own_data(own_source, tmp_path):
    two = {"name": "own_questions", "pictures": 2}
    names = {0: "yes", 1: "no", 2: "perhaps"}
    named = Explorer(str(albef_run(tmp_path / "a", VisualReasoning, two, num_labels=3, id2label=names)))
    unnamed = Explorer(str(albef_run(tmp_path / "b", VisualReasoning, two, num_labels=3)))
    assert named.head.answers == ["yes", "no", "perhaps"]
    assert unnamed.head.answers == ["an animal", "a flag", "a fruit"]
    assert (named.head.images, named.head.sentence, len(named.head.examples[0][0])) == (2, "statement", 2)


def test_captions_of_ones_own_are_assigned_to_two_pictures(tmp_path):
    rows = {
        "jpg": [Image.new("RGB", (20, 16), (10 * row, 0, 0)) for row in range(9)],
        "txt": [f"picture {row}" for row in range(9)],
    }
    splits = {"train": datasets.Dataset.from_dict(rows), "test": datasets.Dataset.from_dict(rows)}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "rows")
    data = {"name": "text_assignment", "path": str(tmp_path / "rows"), "columns": {"image": "jpg", "text": "txt"}}
    explorer = Explorer(str(albef_run(tmp_path / "run", VisualReasoning, data, num_labels=3)))
    head = explorer.head
    assert head.answers == ["first", "second", "neither"] and head.images == 2 and head.examples
    assert all(len(images) == 2 and text.startswith("picture ") for images, text in head.examples)
    assert questions.refusal(explorer) is None and len(head.shares(*head.examples[0])) == 3


def test_a_strangers_head_shows_no_rows(own_source, tmp_path):
    folder = albef_run(tmp_path / "strange", Classification, None, num_labels=4)
    explorer = Explorer(str(folder))  # no source has four classes
    assert explorer.head.examples == [] and "no recipe.yaml that names data" in explorer.note
    (folder / "recipe.yaml").write_text("data: {name: own_questions}\n# of somebody else\n")
    assert "data.name='own_questions'" in Explorer(str(folder)).note


def test_rows_of_any_data_that_are_made_of_parts_can_be_built(app, tmp_path, monkeypatch):
    explorer = Explorer(str(numbers_run(tmp_path / "comm", tmp_path / "rows", ("table", "text"))))
    assert interactions.refusal(explorer) == "Its data are not built from parts that can be chosen."
    monkeypatch.setattr(explorer, "source", SimpleNamespace(composer=OwnComposer, repositories=list))
    monkeypatch.setattr(app, "TABS", (interactions,))
    config = config_of(app, [explorer])
    assert tabs_of(config) == ["R, U, S"] and "Build a table &amp; a note." in json.dumps(config)
    shown = {part["props"].get("label") for part in config["components"]}
    assert {"Kind 1", "Word 2"} <= shown and "Give" not in json.dumps(config)
    probes = ComposedProbes(explorer, OwnComposer())
    assert (
        probes.fits is None and probes.accuracy["kind"]["table"] == 100 and probes.chance == {"kind": 50, "same": 50}
    )
    table, text, answers, rule, near = interactions.page_of(probes, OwnComposer.presets["Not"])
    assert "<img" in table and "it was fast at 1" in text and rule is None and "same kind, word" not in answers
    assert "slow" in answers and "✓" in answers and near.count('class="pair"') == 12


def test_an_unknown_source_works_by_what_it_loads():
    rows = [{"a": [float(row)], "b": f"text {row // 2}", "ids": row} for row in range(300)]
    data = EvaluationData(Split(rows, np.arange(300)), columns={"table": "a", "text": "b"})
    found = sample_of(LoadedData(rows, {"table": "a", "text": "b"}, "", evaluation=data), 100)
    assert len(found) == 100 and found.title == "100 of the 300 held-out rows" and found.values["table"][-1] == [299.0]
    assert len(set(found.ids.tolist())) == len(set(found.values["text"])) and found.right == "the same text"
    for train in (rows, iter(rows)):
        found = sample_of(LoadedData(train, {"table": "a", "text": "b"}, ""), 100)
        assert not found.held_out and "rows that the model was trained on" in found.title


def test_a_source_of_ones_own_is_drawn_on_a_map(app, own_source, tmp_path):
    explorer = Explorer(str(captions_run(tmp_path / "own", {"name": "own_questions"}, views=None)))
    assert latent_map.refusal(explorer) is None and list(colorings(explorer.sample)) == ["answer"]
    assert Reader().labels is None and explorer.sample.labels["answer"].names == ("an animal", "a flag", "a fruit")
