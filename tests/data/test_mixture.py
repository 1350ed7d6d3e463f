"""Several data sets mixed into one: shares, ids, columns of their own, errors that name the source."""

import itertools
from collections import Counter

import datasets
import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from hf_latent.cli import main
from hf_latent.data.mixture import MixtureData
from hf_latent.errors import UserError
from hf_latent.hub.card import render_card
from hf_latent.recipe import load_recipe
from hf_latent.runs import read_metrics
from hf_latent.trust import permitted

SIZES = {"sbu": 30, "coco": 10, "vg": 5}
COLUMNS = {"sbu": ("jpg", "txt"), "coco": ("image", "captions"), "vg": ("photo", "phrase")}
RECIPE = """\
model:
  type: latent_clip
  projection_dim: 8
  modalities:
    image: {{encoder: cnn, channels: [8]}}
    text: {{encoder: auto, pooling: mean, max_length: 6, config: {{model_type: bert, hidden_size: 16,
      num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 32}}}}
data:
  name: mixture
  sources:
    - {{path: {folder}/sbu, columns: {{image: jpg, text: txt}}}}
    - {{path: {folder}/coco, columns: {{image: image, text: captions}}, test_split: test}}
  tokenizers: {{text: words}}
views:
  image: {{kind: image, size: 16}}
  text: {{kind: none}}
training: {{max_steps: 2, global_batch_size: 8, save_strategy: "no", disable_tqdm: true, use_cpu: true,
  output_dir: {run}}}
"""


def rows_of(name, count):
    """Pictures of one gray a source, and captions that begin with its name; those of coco come in twos."""
    image, text = COLUMNS[name]
    gray = 40 * (1 + list(SIZES).index(name))
    pictures = [Image.new("RGB", (12, 10), (gray, row, 0)) for row in range(count)]
    texts = [f"{name} picture {row}" for row in range(count)]
    values = [[words, f"{words} again"] for words in texts] if name == "coco" else texts
    kind = datasets.List(datasets.Value("string")) if name == "coco" else datasets.Value("string")
    features = datasets.Features({image: datasets.Image(), text: kind, "group": datasets.Value("int64")})
    table = {image: pictures, text: values, "group": [row // 2 for row in range(count)]}
    return datasets.Dataset.from_dict(table, features=features)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixture")
    for name, count in SIZES.items():
        splits = {"train": rows_of(name, count), "test": rows_of(name, 8)}
        datasets.DatasetDict(splits).save_to_disk(folder / name)
    return folder


def mixture(folder, names=SIZES, sources=None, **options):
    """The recipe's data section as it is read, of these sources."""
    written = [
        {"path": str(folder / name), "columns": dict(zip(("image", "text"), COLUMNS[name], strict=True))}
        for name in names
    ]
    for number, more in (sources or {}).items():
        written[number] |= more
    section = {"name": "mixture", "sources": written, **options}
    recipe = {"model": {"type": "latent_clip", "modalities": {"image": {"encoder": "cnn"}, "text": {}}}}
    return data_of({**recipe, "data": section})


def data_of(values):
    from hf_latent.recipe import parse_data

    return parse_data(values["data"])


def source_of(row):
    return row["text"].split()[0]


def test_each_row_comes_once_and_errors_ids_and_words_know_its_source(folder):
    data = mixture(folder, tokenizers={"text": "words"}).load()
    rows = data.train
    assert data.columns == {"image": "image", "text": "text"} and len(rows) == 30 + 20 + 5
    found = [rows[i] for i in range(len(rows))]
    assert Counter(map(source_of, found)) == {"sbu": 30, "coco": 20, "vg": 5}
    assert [row["ids"] for row in found] == rows.ids.tolist() and len(set(rows.ids)) == 45
    assert all(row["image"].getpixel((0, 0))[0] == 40 * (1 + list(SIZES).index(source_of(row))) for row in found)
    assert found[31]["text"] == "coco picture 0 again" and found[31].number == "0 of data.sources.1"
    assert list(rows.sentences("text")) == [row["text"] for row in found]
    assert {"sbu", "coco", "vg", "again"} <= set(data.tokenizers["text"].get_vocab())
    assert data.summary == "55 rows of sbu: 30 rows, coco: 20 rows, vg: 5 rows"
    with pytest.raises(IndexError):
        rows[55]


@pytest.mark.parametrize(("shares", "counts"), [([1, 1, 1], (30, 30, 30)), ([0.5, 0.25, 0.25], (40, 20, 20))])
def test_shares_repeat_rows_until_the_largest_source_has_come_once(folder, shares, counts):
    rows = mixture(folder, shares=shares).load().train
    texts = [rows[i]["text"] for i in range(len(rows))]
    assert Counter(text.split()[0] for text in texts) == dict(zip(SIZES, counts, strict=True))
    assert len(set(texts)) == 55  # of every source each row
    assert len(set(rows.ids)) == 45  # a row that is repeated is its own positive


def test_ids_of_a_column_differ_between_sources(folder):
    rows = mixture(folder, sources={0: {"ids": "group"}, 2: {"ids": "group"}}).load().train
    kinds = {(source_of(rows[i]), rows[i]["ids"]) for i in range(len(rows))}
    assert Counter(name for name, _ in kinds) == {"sbu": 15, "coco": 10, "vg": 3}
    assert len({number for _, number in kinds}) == len(kinds)


def test_a_stream_has_these_shares_on_any_number_of_processes(folder):
    options = {"streaming": True, "shares": [1, 2, 1], "sources": {2: {"ids": "group"}}}
    stream = mixture(folder, **options).load().train
    rows = list(itertools.islice(stream, 800))
    shares = Counter(map(source_of, rows))
    assert all(abs(shares[name] / 800 - share) < 0.06 for name, share in zip(SIZES, (0.25, 0.5, 0.25), strict=True))
    assert [row["text"] for row in itertools.islice(stream, 50)] == [row["text"] for row in rows[:50]]
    own = [row["ids"] for row in rows if source_of(row) != "vg"]
    assert len(set(own)) == len(own) and len({row["ids"] for row in rows if source_of(row) == "vg"}) == 3
    parts = [list(itertools.islice(stream.share_of(process, 2), 12)) for process in range(2)]
    assert len({row["place"] for part in parts for row in part}) == 24
    loader = DataLoader(stream, batch_size=None, num_workers=1)
    assert [source_of(row) for row in itertools.islice(loader, 9)] == [source_of(row) for row in rows[:9]]


def test_what_is_measured_on_is_the_test_split_of_one_source(folder):
    data = mixture(folder, sources={1: {"test_split": "test"}}).load()
    split = data.evaluation.test
    test = split.rows
    assert len(test) == len(split) == 16 and data.evaluation.columns == data.columns
    assert len(split.distinct("image")) == 8 and len(split.distinct("text")) == 16
    assert test[3]["text"] == "coco picture 1 again" and test[3].number == "1 of data.sources.1"
    assert (test.ids == np.repeat(np.arange(8), 2)).all() and (split.ids == test.ids).all()
    assert data.evaluation.validation is None and "test: 16 rows, the split 'test'" in data.summary
    train = data.evaluation.train
    assert [train.rows[i]["text"].split()[0] for i in range(len(train))] == 20 * ["coco"]


def test_a_source_that_is_measured_has_labels(folder):
    """The rows of the mixture are those of all sources; probes are fit on those of the source with labels."""
    written = {"splits": {"test": "test"}, "labels": {"pair": {"column": "group", "kind": "class", "of": ["text"]}}}
    data = mixture(folder, sources={1: written}).load().evaluation
    assert data.labels["pair"].names == ("0", "1", "2", "3", "4") and data.labels["pair"].of == ("text",)
    assert data.test.labels["pair"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]
    assert [data.train.rows[i]["text"].split()[2] for i in (0, 8)] == ["0", "4"]
    assert data.train.labels["pair"][[0, 8]].tolist() == [0, 2] and len(data.train) == 20


def test_a_share_of_one_source_is_validated_on_and_not_trained_on(folder):
    share = {"validation_share": 0.25}
    assert len(mixture(folder, sources={1: share}).load().evaluation.test) == 16  # is looked for in this source alone
    data = mixture(folder, sources={1: {**share, "splits": {"test": None}}}).load()
    validation = data.evaluation.validation
    assert validation is data.evaluation.test and len(data.train) == 30 + 16 + 5 and len(validation) == 4
    texts = {validation.rows[i]["text"] for i in range(4)}
    assert len(texts) == 4 and not texts & {data.train[i]["text"] for i in range(len(data.train))}
    stream = mixture(folder, sources={1: {"test_split": "test"}}, streaming=True, shares=[1, 1, 1]).load()
    assert stream.evaluation.train is None and len(stream.evaluation.test) == 16


def test_a_bad_row_is_named_with_its_source(folder, tmp_path):
    broken = rows_of("vg", 4).cast_column("photo", datasets.Image(decode=False))
    bytes_of = [*(row["photo"] for row in broken)]
    bytes_of[2] = {"bytes": b"no image", "path": None}
    table = {"photo": bytes_of, "phrase": broken["phrase"]}
    features = datasets.Features({"photo": datasets.Image(), "phrase": datasets.Value("string")})
    bad = datasets.Dataset.from_dict(table, features=features)
    datasets.DatasetDict({"train": bad}).save_to_disk(tmp_path / "bad")
    place = {"path": str(tmp_path / "bad")}
    rows = mixture(folder, sources={2: place}).load().train
    with pytest.raises(UserError, match=r"data.sources.2: row 2, column 'photo' is not an image"):
        rows[len(rows) - 2]
    skipped = mixture(folder, sources={2: {**place, "on_bad_row": "skip"}}).load().train
    assert len(skipped) == 53
    stream = mixture(folder, sources={2: place}, streaming=True, shares=[1, 1, 9]).load().train
    with pytest.raises(UserError, match=r"data.sources.2: row 2, column 'photo' is not an image"):
        list(itertools.islice(stream, 50))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sources": {1: {"columns": {"image": "image"}}}}, "data.sources.1.columns.text is missing: .*missing: use"),
        (
            {"sources": {1: {"columns": {"image": "image"}}}, "on_missing": "drop"},
            "data.sources.1.columns.text is missing",
        ),
        ({"sources": {1: {"colums": {}}}}, r"unknown key data.sources.1.colums: did you mean 'columns'"),
        ({"sources": {1: {"columns": {}}}, "on_missing": "use"}, "data.sources.1.columns is empty"),
        ({"sources": {1: {"columns": {"image": "a", "text": "b", "sound": "c"}}}}, "data.sources.0.columns.sound is"),
        ({"sources": {1: {"split": 3}}}, r"data.sources.1.split=3: expected str"),
        ({"sources": {1: {"tokenizers": {"text": "words"}}}}, "data.sources.1.tokenizers: .*write data.tokenizers"),
        ({"sources": {1: {"streaming": True}}}, "data.sources.1.streaming: .*write data.streaming"),
        (
            {"sources": {0: {"test_split": "a"}, 2: {"splits": {"test": "a"}}}},
            "data.sources.2 has rows to measure on, and so has source 0",
        ),
        (
            {"sources": {2: {"splits": {"tset": "a"}}}},
            "data.sources.2: unknown key data.splits.tset: did you mean 'test'",
        ),
        ({"sources": {0: {"labels": {"group": "group"}}}}, "data.sources.0.labels: .*write its splits.test"),
        (
            {"sources": {1: {"labels": {"group": "grou"}, "test_split": "test"}}},
            "data.sources.1: data.labels.group='grou': did you mean 'group'",
        ),
        ({"shares": [1, 2]}, "data.shares=.*write a number above 0 for each of 3 sources"),
        ({"shares": [1, 2, 0]}, "data.shares=.*write a number above 0"),
        ({"shares": [1, 2, float("nan")]}, "data.shares=.*write a number above 0"),
        ({"streaming": True}, r"data.shares is missing: write one a source, such as \[1, 1, 1\]"),
        ({"names": []}, "data.sources is empty"),
        ({"sources": {1: {"split": "none"}}}, "data.sources.1: data.split='none'"),
        ({"sources": {1: {"columns": {"image": "image", "text": "caption"}}}}, "data.sources.1: data.columns.text="),
        ({"tokenizers": {"sound": "words"}}, "data.tokenizers.sound: no such modality"),
    ],
)
def test_mistakes_name_the_source_and_the_key(folder, options, words):
    with pytest.raises(UserError, match=words):
        mixture(folder, **options).load()


@pytest.mark.parametrize("sources", [7, ["user/name"], {"path": "user/name"}])
def test_sources_are_a_list_of_sections(sources):
    with pytest.raises(UserError, match="data.sources=.*expected"):
        data_of({"data": {"name": "mixture", "sources": sources}})


def test_a_strange_recipe_reads_no_source_of_this_machine(folder, tmp_path):
    data = mixture(folder, sources={0: {"path": "user/name"}, 1: {"options": {"data_dir": "/etc"}}})
    assert set(data.local_reads()) == {"data.sources.1.path", "data.sources.1.options.data_dir", "data.sources.2.path"}
    with pytest.raises(UserError, match=r"would make it read data.sources.1.path=.*--trust-recipe allows that"):
        permitted(data, tmp_path)
    hub = MixtureData([data.sources[0]], tokenizers={"text": "/etc/passwd"})
    assert permitted(hub, tmp_path).tokenizers == {}


def test_a_recipe_trains_on_a_mixture_and_its_card_tells_what_may_be_told(folder, tmp_path):
    (tmp_path / "mixed.yaml").write_text(RECIPE.format(folder=folder, run=tmp_path / "run"))
    assert main(["train", str(tmp_path / "mixed.yaml")]) == 0
    assert "text_to_image_r1" in read_metrics(tmp_path / "run")
    card = render_card(tmp_path / "run")
    assert str(folder) not in card and "columns:" in card and "data.sources.1.path" in card
    written = (tmp_path / "run" / "recipe.yaml").read_text()
    (tmp_path / "run" / "recipe.yaml").write_text(written.replace(f"{folder}/sbu", "user/sbu"))
    card = render_card(tmp_path / "run")
    assert "datasets:\n- user/sbu\n" in card and "(https://huggingface.co/datasets/user/sbu)" in card
    assert "data that is not on the Hub" in card and str(folder) not in card
    assert load_recipe(tmp_path / "mixed.yaml").data.shown.path.endswith("coco")
