"""The benchmarks of CoMM are read as their formats say, trap by trap, and their recipes train on such files."""

import json
import pickle
import sys

import numpy as np
import pytest
from transformers import CLIPVisionConfig, DistilBertConfig

from hf_latent import experiment
from hf_latent.data.loading import SOURCES
from hf_latent.data.source import Reader
from hf_latent.errors import UserError
from hf_latent.models.images import read_image
from hf_latent.models.inputs import stack_series
from hf_latent.recipe import load_recipe
from tests.data import published_files as files


def loaded(name, path, modalities=(), **options):
    return SOURCES[name](path=str(path), **options).load_for(Reader(dict.fromkeys(modalities, {})))


def column(rows, name):
    return [rows[i][name] for i in range(len(rows))]


@pytest.fixture
def utterances(tmp_path):
    """A file of MOSI whose training rows have the traps, and what it holds."""

    def write(name="mosi"):
        data = files.affect(name)
        train = data["train"]
        train["text"][3] = 0
        train["audio"][0, 2, 1] = -np.inf
        train["labels"][:4, 0, 0] = [0.0, 0.2, -0.2, 1]
        path = tmp_path / files.FILES[name]
        path.write_bytes(pickle.dumps(data, protocol=2))
        return path, data

    return write


def test_utterances_without_text_are_dropped_and_lose_what_comes_before_it(utterances):
    path, data = utterances()
    found = loaded("mosi", path)
    rows, train = found.train, data["train"]
    assert [len(found.evaluation.train), len(found.evaluation.validation), len(found.evaluation.test)] == [31, 12, 12]
    kept = [row for row in range(32) if row != 3]
    assert list(rows.numbers) == kept and rows[3].number == 4
    for place, row in enumerate(kept):
        for name in ("vision", "text"):
            assert np.array_equal(rows[place][name], train[name][row, row % 3 :])  # row % 3 steps are of padding
    audio = rows[0]["audio"]
    assert audio[2, 1] == 0 and np.isfinite(audio).all() and audio[2, 0] == train["audio"][0, 2, 0]
    assert found.evaluation.train.labels["sentiment"][:5].tolist() == [0, 1, 0, 0, 1]  # 0 is negative; 3 is gone
    assert found.evaluation.labels["sentiment"].names == ("negative", "positive")
    stacked = stack_series("text", column(rows, "text")[:3])
    assert stacked["attention_mask"].tolist() == [[1] * 6, [1] * 5 + [0], [1] * 4 + [0] * 2]  # padded at the end
    assert stacked["values"][2, 4:].abs().sum() == 0
    assert len(loaded("mosi", path, max_length=2).train[0]["vision"]) == 2


@pytest.mark.parametrize(("name", "label"), [("mosi", "sentiment"), ("ur_funny", "humor"), ("mustard", "sarcasm")])
def test_a_model_reads_the_modalities_that_it_has(utterances, name, label):
    path, _ = utterances(name)
    found = loaded(name, path, ["vision", "text"])
    assert list(found.columns) == ["vision", "text"] == list(found.train[0])[:2]
    assert list(loaded(name, path, ["audio", "text", "vision"]).columns) == ["vision", "text", "audio"]
    assert found.train[0]["vision"].shape == (6, files.DIMENSIONS[name][0])
    assert list(found.evaluation.labels) == [label]
    with pytest.raises(UserError, match="model.modalities.video: no modality of data.name="):
        loaded(name, path, ["video"])


def test_numbers_that_are_none_are_named(utterances):
    path, data = utterances()
    data["valid"]["vision"][5, 4, 2] = np.nan
    path.write_bytes(pickle.dumps(data))
    with pytest.raises(UserError, match="'valid.vision' holds NaN or infinity in row 5"):
        loaded("mosi", path)
    loaded("mosi", path, ["text"])


def test_the_split_of_mimic_is_that_of_seed_10(tmp_path):
    found = loaded("mimic", files.write_mimic(tmp_path, rows=25)).evaluation
    assert list(found.validation.rows.numbers) == [4, 3]
    assert list(found.test.rows.numbers) == [20, 11, 22]
    assert list(found.train.rows.numbers) == [17, 9, 23, 5, 7, 16, 19, 2, 12, 10, 8, 21, 14, 6, 0, 24, 15, 13, 1, 18]


def test_mimic_is_standardised_by_its_training_rows(tmp_path):
    found, data = loaded("mimic", files.write_mimic(tmp_path)).evaluation, files.mimic()
    series, static = data["ep_tdata"], data["adm_features_all"]
    assert not np.isfinite(series).all() and np.isnan(static[4, 1])
    series[~np.isfinite(series)], static[~np.isfinite(static)] = 0, 0
    train = list(found.train.rows.numbers)
    for split in (found.train, found.validation, found.test):
        for place, row in enumerate(split.rows.numbers):
            own = split.rows[place]
            for number in range(12):
                known = series[train, :, number]
                wanted = (series[row, :, number] - known.mean()) / known.std()
                assert own["series"][:, number] == pytest.approx(wanted, rel=1e-5, abs=1e-5)
            for number in range(4):
                known = static[train, number]
                assert own["static"][number] == pytest.approx(
                    (static[row, number] - known.mean()) / known.std(), rel=1e-5, abs=1e-5
                )
            assert own["static"][4] == 0
        assert split.labels["diagnosis"].tolist() == data["y_icd9"][list(split.rows.numbers), 7].tolist()
    other = loaded("mimic", tmp_path / "im.pk", group=0).evaluation
    assert other.train.labels["diagnosis"].tolist() == data["y_icd9"][train, 0].tolist()


def test_a_file_of_vision_and_touch_has_49_rows(tmp_path):
    h5py = pytest.importorskip("h5py")
    folder = files.write_vision_touch(tmp_path)
    found = loaded("vision_touch", folder).evaluation
    names = sorted(path.name for path in folder.iterdir())
    order = [names[place] for place in np.random.default_rng(42).permutation(10)]
    assert order[:3] == [names[place] for place in (5, 6, 0)]
    parts = {"train": order[:7], "validation": order[7:8], "test": order[8:]}
    for role, own in parts.items():
        split = getattr(found, role)
        assert list(split.rows.numbers) == [f"{name}, step {step}" for name in own for step in range(49)]
        assert len(split) == 49 * len(own)
    with h5py.File(folder / order[8]) as file:
        row = found.test.rows[48]  # the last of a file is as the others, and no random one
        assert np.array_equal(row["image"], file["image"][48]) and row["image"].dtype == np.uint8
        assert row["force"].shape == (32, 6)
        assert row["force"] == pytest.approx(np.tanh(file["ee_forces_continuous"][48, 18:]))
        assert np.array_equal(row["proprio"], file["proprio"][48, :8])
        after = [found.test.labels[name][48] for name in ("x", "y", "z", "yaw")]
        assert after == pytest.approx(file["proprio"][49, :4])
    touched = loaded("vision_touch", folder, ["image", "proprio"], task="contact").evaluation
    assert touched.labels["contact"].names == ("free", "contact")
    assert touched.test.labels["contact"][:49].tolist() == [(step + 1) % 2 for step in range(49)]


def test_images_with_their_channels_first_are_turned_and_broken_files_are_named(tmp_path):
    h5py = pytest.importorskip("h5py")
    folder = files.write_vision_touch(tmp_path, files=3, steps=3)
    for path in folder.iterdir():
        with h5py.File(path, "r+") as file:
            pixels = np.asarray(file["image"])
            del file["image"]
            file["image"] = pixels.transpose(0, 3, 1, 2)
    found = loaded("vision_touch", folder).train
    assert np.array_equal(found[1]["image"].shape, (16, 16, 3))
    (folder / "a.h5").write_bytes(b"no file of this kind")
    with pytest.raises(UserError, match=r"a\.h5 cannot be read as HDF5"):
        loaded("vision_touch", folder)
    with pytest.raises(UserError, match="0 .h5 files"):
        loaded("vision_touch", tmp_path)


def test_arrays_that_lie_in_other_files_are_not_read(tmp_path):
    h5py = pytest.importorskip("h5py")
    (tmp_path / "secret").write_bytes(bytes(40 * 23 * 8))
    outside = {
        "link": lambda file: file.__setitem__("genres", h5py.ExternalLink("other.h5", "genres")),
        "bytes": lambda file: file.create_dataset(
            "genres", (40, 23), dtype="f8", external=[(str(tmp_path / "secret"), 0, h5py.h5f.UNLIMITED)]
        ),
    }
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["genres"] = np.zeros((40, 23))
    for put in outside.values():
        path = files.write_mm_imdb_features(tmp_path)
        with h5py.File(path, "r+") as file:
            del file["genres"]
            put(file)
        with pytest.raises(UserError, match="'genres' is no array of this file"):
            loaded("mm_imdb_features", path, bounds=[20, 30])
    with h5py.File(path, "r+") as file:
        del file["genres"]
    with pytest.raises(UserError, match="has no 'genres'; there are features, vgg_features"):
        loaded("mm_imdb_features", path, bounds=[20, 30])


def test_without_h5py_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    for name in ("vision_touch", "mm_imdb_features"):
        with pytest.raises(UserError, match=r"pip install h5py"):
            loaded(name, tmp_path)


def test_the_first_plot_of_a_film_is_read_and_23_genres(tmp_path):
    folder = files.write_mm_imdb(tmp_path)
    found = loaded("mm_imdb", folder)
    rows, train = found.train, found.evaluation.train
    for _ in range(2):
        assert rows[1]["text"] == "the first plot of film 1"  # which has two
    assert list(rows.sentences("text"))[:2] == ["the first plot of film 0", "the first plot of film 1"]
    assert read_image(rows[2]["image"]).size == (16, 24)
    label = found.evaluation.labels["genres"]
    assert label.kind == "multilabel" and len(label.names) == 23 and list(label.names) == sorted(label.names)
    told = [{label.names[number] for number in np.flatnonzero(row)} for row in train.labels["genres"]]
    assert told[7] == {"Action", "Drama", "War"} and told[8] == set() and told[1] == {"Action"}  # 8 is News alone
    counts = [len(getattr(found.evaluation, role)) for role in ("train", "validation", "test")]
    assert counts == [24, 8, 8] and found.evaluation.test.rows.numbers[0] == "0000032"
    (folder / "dataset" / "0000003.jpeg").unlink()
    with pytest.raises(UserError, match=r"0000003\.jpeg cannot be read"):
        rows[3]
    (folder / "dataset" / "0000003.json").write_text(
        json.dumps({"plot": [], "genres": []}), encoding="utf-8", newline="\n"
    )
    with pytest.raises(UserError, match=r"0000003\.json has no plot"):
        loaded("mm_imdb", folder)
    (folder / "split.json").write_text(
        json.dumps({"train": ["../x"], "dev": [], "test": []}), encoding="utf-8", newline="\n"
    )
    with pytest.raises(UserError, match=r"'\.\./x' is no id of a film"):
        loaded("mm_imdb", folder)


def test_features_of_films_are_split_at_their_bounds(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = files.write_mm_imdb_features(tmp_path)
    assert SOURCES["mm_imdb_features"](path="x").bounds == [15_552, 18_160]
    found = loaded("mm_imdb_features", path, bounds=[20, 30]).evaluation
    assert [list(getattr(found, role).rows.numbers) for role in ("train", "validation", "test")] == [
        list(range(20)),
        list(range(20, 30)),
        list(range(30, 40)),
    ]
    with h5py.File(path) as file:
        assert np.array_equal(found.test.rows[3]["poster"], file["vgg_features"][33])
        assert np.array_equal(found.test.rows[3]["plot"], file["features"][33])
        assert np.array_equal(found.test.labels["genres"], np.asarray(file["genres"][30:]) > 0)
    with pytest.raises(UserError, match="data.bounds="):
        loaded("mm_imdb_features", path)


def read(name, path, labels, **options):
    return SOURCES[name](path=str(path), **options).load_for(Reader(labels=labels))


def test_heads_read_the_class_the_labels_or_all_numbers(tmp_path):
    pytest.importorskip("h5py")
    said = read("mosi", files.write_affect(tmp_path), "any")
    assert said.train[1]["labels"] == 1 and said.target.names == ("negative", "positive")
    assert said.evaluation.target.kind == "classes" and said.evaluation.benchmarks == {"tasks": {}}
    contrasted = read("mosi", tmp_path / "mosi_data.pkl", "contrast")
    assert contrasted.train[0]["labels"] == 0 and contrasted.evaluation.target is None
    assert list(contrasted.evaluation.benchmarks) == ["probes"]
    films = read("mm_imdb", files.write_mm_imdb(tmp_path), "labels")
    assert films.train[7]["labels"] == films.evaluation.train.labels["genres"][7].astype(float).tolist()
    assert films.evaluation.target.kind == "labels"
    moved = read("vision_touch", files.write_vision_touch(tmp_path, 3, 4), "any")
    own = moved.evaluation.test.labels
    assert moved.target.names == ("x", "y", "z", "yaw") and moved.evaluation.target.kind == "numbers"
    assert own["target"][2].tolist() == [own[name][2] for name in moved.target.names]
    assert moved.train[1]["labels"] == moved.evaluation.train.labels["target"][1].tolist()
    with pytest.raises(UserError, match="data.name=mm_imdb: its rows have labels, and this model reads classes"):
        read("mm_imdb", tmp_path / "mmimdb", "contrast")
    with pytest.raises(UserError, match="its rows have classes, and this model reads numbers"):
        read("mosi", tmp_path / "mosi_data.pkl", "numbers")
    assert "labels" not in loaded("mosi", tmp_path / "mosi_data.pkl").train[0]


def test_the_recipe_of_a_stranger_reads_none_of_them(tmp_path):
    for name in ("mosi", "mimic", "vision_touch", "mm_imdb", "mm_imdb_features"):
        assert SOURCES[name](path="somewhere").local_reads() == {"data.path": "somewhere"}


RESNET = "model.modalities.image.config={model_type: resnet, embedding_size: 8, hidden_sizes: [8, 8], depths: [1, 1]}"
IMAGES = [RESNET, "views.image.size=16", "views.image.blur=0", "training.dataloader_num_workers=0"]
CLIP = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
BERT = {"dim": 16, "hidden_dim": 16, "n_layers": 1, "n_heads": 2, "vocab_size": 64}


def sequences(*names):
    small = {"num_layers": 1, "feedforward_dim": 16}
    return [f"model.modalities.{name}.{key}={value}" for name in names for key, value in small.items()]


def audio(width):
    return [f"model.modalities.audio={{encoder: sequence, input_dim: {width}}}", "views.audio.kind=series"]


RECIPES = {
    "comm_mosi": (files.write_affect, sequences("vision", "text"), "probe_sentiment_fused_balanced"),
    "comm_ur_funny": (
        lambda folder: files.write_affect(folder, "ur_funny"),
        [*audio(81), "training.learning_rate=1e-4", *sequences("vision", "text", "audio")],
        "probe_humor_fused",
    ),
    "comm_mustard": (
        lambda folder: files.write_affect(folder, "mustard"),
        sequences("vision", "text"),
        "probe_sarcasm_text",
    ),
    "comm_mimic": (
        files.write_mimic,
        ["model.modalities.series.hidden_size=16", "model.modalities.static.token_dim=16"],
        "probe_diagnosis_fused",
    ),
    "comm_vision_touch": (lambda f: files.write_vision_touch(f, 5, 12), IMAGES, "probe_yaw_fused_mse"),
    "comm_vision_touch_contact": (
        lambda f: files.write_vision_touch(f, 5, 12),
        [
            *IMAGES,
            "model.modalities.force={encoder: series_cnn, input_dim: 6, channels: [16, 32, 64, 128, 512]}",
            "views.force.kind=series",
        ],
        "probe_contact_fused",
    ),
    "comm_mm_imdb": (files.write_mm_imdb, None, "probe_genres_fused_weighted_f1"),
    "comm_mm_imdb_features": (
        files.write_mm_imdb_features,
        ["data.bounds=[20,30]", "model.modalities.poster.hidden_dims=[16]", "model.modalities.plot.hidden_dims=[16]"],
        "probe_genres_fused_macro_f1",
    ),
}


def small_towers(folder):
    """CLIP's vision tower and a text tower with its tokenizer, tiny, on the disk."""
    from transformers import CLIPVisionModel, DistilBertModel

    from hf_latent.data.tokenizers import word_tokenizer

    image, text = CLIPVisionConfig(**CLIP, image_size=16, patch_size=8), DistilBertConfig(**BERT)
    CLIPVisionModel(image).save_pretrained(folder / "image")
    DistilBertModel(text).save_pretrained(folder / "text")
    tokenizer = word_tokenizer([f"the first plot of film {number}" for number in range(40)])
    tokenizer.add_special_tokens({"mask_token": "[MASK]"})
    tokenizer.save_pretrained(folder / "text")
    configs = {"image": {"model_type": "clip_vision_model", **CLIP, "image_size": 16, "patch_size": 8}}
    configs["text"] = {"model_type": "distilbert", **BERT}
    towers = [f"model.modalities.{name}.pretrained={folder / name}" for name in configs]
    said = [f"model.modalities.{name}.config={json.dumps(config)}" for name, config in configs.items()]
    return [*towers, *said, "views.image.size=16", "views.image.blur=0", "training.dataloader_num_workers=0"]


def trained(name, folder, steps):
    write, overrides, key = RECIPES[name]
    overrides = small_towers(folder) if overrides is None else overrides
    small = ["model.embed_dim=16", "model.projection_hidden_dim=16", "model.projection_dim=16"]
    if name in ("comm_mosi", "comm_ur_funny", "comm_mustard"):
        small = ["model.embed_dim=40", *small[1:]]
    recipe = load_recipe(
        name,
        [
            *(f"data.path={write(folder)}", f"training.output_dir={folder / 'run'}", f"training.max_steps={steps}"),
            *("training.global_batch_size=8", "training.save_strategy=no", "training.disable_tqdm=true"),
            "training.logging_steps=1",
            *overrides,
            *small,
        ],
    )
    return experiment.train(recipe), key


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.slow
def test_every_recipe_trains_and_is_measured(tmp_path, name):
    if "touch" in name or "features" in name:
        pytest.importorskip("h5py")
    metrics, key = trained(name, tmp_path, steps=20)
    assert np.isfinite(metrics[key]) and np.isfinite(metrics["train_loss"])


def test_a_recipe_trains_and_is_measured(tmp_path):
    metrics, key = trained("comm_mosi", tmp_path, steps=2)
    assert 0 <= metrics[key] <= 100 and metrics["probe_sentiment_vision"] >= 0
    assert "mosi" in (tmp_path / "run" / "README.md").read_text(encoding="utf-8").lower()
