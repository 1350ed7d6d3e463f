"""Measuring a model on other data: each benchmark file on rows of the columns that its data set has."""

import json
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from hf_latent import (
    CoMMConfig,
    CoMMModel,
    CoMMProcessor,
    LatentALBEFForImageTextClassification,
    LatentALBEFForImageTextRetrieval,
    LatentALBEFForNaturalLanguageVisualReasoning,
    LatentALBEFForQuestionAnswering,
)
from hf_latent.benchmark_files import load_benchmark, measure_files
from hf_latent.cli import main
from hf_latent.data.tokenizers import word_tokenizer
from hf_latent.errors import UserError
from hf_latent.evaluation.prompts import NAMES, TEMPLATES
from hf_latent.finished import load_finished
from hf_latent.models.processing_latent_albef import LatentALBEFProcessor
from hf_latent.resources import available_resources
from tests.models.small import save_small_clip, small_albef, small_clip

COLORS = ("red", "green", "blue")
FILES = [Path(name).stem for name in available_resources("training_args/benchmarks")]
ALBEF = ("vqa_v2", "nlvr2", "snli_ve", "refcoco_plus")
WORDS = "a photo of the small big bad good blurry black and white low high contrast red green blue square yes no maybe"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("benchmarks")


@pytest.fixture(scope="module")
def clip(folder):
    return save_small_clip(folder / "clip", [WORDS])


def pictures(rows, seed=0):
    """Pictures of a color and noise."""
    noise = np.random.default_rng(seed).integers(0, 60, (rows, 20, 24, 3), dtype=np.uint8)
    shades = np.array([[180, 0, 0], [0, 180, 0], [0, 0, 180]], dtype=np.uint8)
    return [Image.fromarray(noise[row] + shades[row % 3]) for row in range(rows)]


def look_alike(file, folder):
    """Rows as the data set has them, on the disk."""
    data, place = file.source, folder / f"{file.name}_data"
    columns = {name: own.split("|")[0] if isinstance(own, str) else own for name, own in data.columns.items()}
    splits = {}
    for role, split in {"train": "train", "test": "test", **data.splits}.items():
        if split is None:
            continue
        rows = 48 if role == "train" else 12
        found, features = {}, {}
        for column in np.atleast_1d(columns["image"]).tolist():
            found[column], features[column] = pictures(rows, len(splits)), datasets.Image()
        for written in data.labels.values():
            column = written["column"].split("|")[0]
            found[column] = [row % 3 for row in range(rows)]
            names = {"img": "cra, green, blue" if file.name.startswith("cifar100") else "red, green, blue"}
            told = names.get(columns["image"], "red, green, blue").split(", ")
            told += [f"class {n}" for n in range(3, len(written.get("names", ())))]
            features[column] = datasets.Value("int64") if column == "cls" else datasets.ClassLabel(names=told)
        if "text" in columns:
            lines = [f"a {COLORS[row % 3]} square" for row in range(rows)]
            found[columns["text"]] = (
                [f"{line} {row}\na photo\n" for row, line in enumerate(lines)] if data.text_lines else lines
            )
            features[columns["text"]] = datasets.Value("string")
        if file.name == "vqa_v2":
            found["answers"] = [
                [{"answer": COLORS[n % 3 if n < 4 else row % 3], "answer_id": n} for n in range(10)]
                for row in range(rows)
            ]
            found["answer_type"] = ["other" if row % 2 else "number" for row in range(rows)]
            features["answers"] = [{"answer": datasets.Value("string"), "answer_id": datasets.Value("int64")}]
            features["answer_type"] = datasets.Value("string")
        elif data.target:
            column = data.target["column"].split("|")[0]
            known = ["entailment", "neutral", "contradiction"] if file.name == "snli_ve" else ["True", "False"]
            found[column] = [row % len(known) for row in range(rows)]
            features[column] = datasets.ClassLabel(names=known)
        if data.regions:
            found["answer"] = [["a red square", "the red one"] for _ in range(rows)]
            found["bbox"] = [[2.0, 3.0, 10.0, 8.0] for _ in range(rows)]
            features["answer"] = datasets.List(datasets.Value("string"))
            features["bbox"] = datasets.List(datasets.Value("float64"))
        splits[split] = datasets.Dataset.from_dict(found, features=datasets.Features(features))
    datasets.DatasetDict(splits).save_to_disk(place)
    (place / NAMES).write_text("red\ngreen\nblue\n", encoding="utf-8", newline="\n")
    (place / TEMPLATES).write_text("a photo of a {c}.\nthe {c}\n", encoding="utf-8", newline="\n")
    return replace(file, source=replace(data, path=str(place)))


def test_each_file_names_a_data_set_of_the_hub_and_reads_nothing_else():
    assert len(FILES) == 28
    for name in FILES:
        file = load_benchmark(name)
        assert file.source.is_on_hub and not file.local_reads and file.evaluation.benchmarks
        assert file.reads_train == name.endswith("_probe")


@pytest.mark.parametrize("name", [name for name in FILES if name not in ALBEF])
def test_files_for_images_and_texts_on_rows_of_their_columns(name, clip, folder):
    found = measure_files([look_alike(load_benchmark(name), folder)], *load_finished(str(clip), clip), progress=False)
    known = {measurement.key: measurement for measurement in found}
    assert all(key.startswith(f"{name}_") and own.data == name for key, own in known.items())
    assert all(0 <= own.value <= 100 for own in known.values() if own.unit == "%")
    if name.endswith("_probe"):
        assert known[f"{name}_probe_label_image"].value > 50  # the color of a picture
        assert known[f"{name}_probe_label_image"].chance == pytest.approx(100 / 3)
        assert {f"{name}_probe_label_image_{shots}shot" for shots in (1, 4, 16)} <= set(known)
    elif name in ("coco", "flickr30k"):
        assert known[f"{name}_image_to_text_r1"].rows == 12 and known[f"{name}_text_to_image_r1"].rows == 13
        assert f"{name}_gap_centroid" in known
    else:
        top = known[f"{name}_zero_shot_top1"]
        assert top.rows == 12 and top.short == f"{name} zero_shot"
        assert ("prompts" in top.title) and top.chance == pytest.approx(100 / 3)


def test_files_that_apply_to_comm(folder):
    """Its vectors are probed and compared; it embeds no prompts."""
    place, tokenizer = folder / "comm", word_tokenizer([WORDS])
    text = small_clip(vocab_size=len(tokenizer)).config.modalities["text"]
    cnn = {"encoder": "cnn", "channels": [8, 16]}
    torch.manual_seed(0)
    CoMMModel(CoMMConfig(modalities={"image": cnn, "text": text}, embed_dim=16)).save_pretrained(place)
    kinds = {"image": {"kind": "image", "size": 16}, "text": {"kind": "text"}}
    CoMMProcessor(kinds, {"text": tokenizer}).save_pretrained(place)
    model, processor = load_finished(str(place), place)

    def measured(name):
        found = measure_files([look_alike(load_benchmark(name), folder)], model, processor, progress=False)
        return {measurement.key: measurement for measurement in found}

    probe = measured("stl10_probe")["stl10_probe_probe_label_image"]
    assert probe.value > 50 and probe.chance == pytest.approx(100 / 3) and probe.rows == 12
    assert {"flickr30k_text_to_image_r1", "flickr30k_cka"} <= set(measured("flickr30k"))
    with pytest.raises(UserError, match="zero_shot: a model that can embed sentences is needed here: leave it out"):
        measured("cifar10")


def test_zero_shot_of_a_file_is_that_of_the_formula(clip, folder):
    """Classes 1 to 3 of the data set, two templates, by the model and the processor alone."""
    model, processor = load_finished(str(clip), clip)
    file = look_alike(load_benchmark("imagenet_r"), folder)
    (top,) = (m for m in measure_files([file], model, processor, False) if m.key.endswith("top1"))
    with torch.no_grad():
        sentences = [[f"a photo of a {color}.", f"the {color}"] for color in COLORS]
        texts = [processor.tokenizer(own, padding=True, return_tensors="pt") for own in sentences]
        prompts = [F.normalize(model.get_features("text", **own).double(), dim=1).mean(0) for own in texts]
        images = model(**processor.batch({"image": pictures(12)}), return_loss=False).embeds["image"]
        scores = F.normalize(images.double(), dim=1) @ F.normalize(torch.stack(prompts), dim=1).T
    assert top.value == pytest.approx(100 * (scores.argmax(1) == torch.arange(12) % 3).double().mean().item())


HEADS = {
    "vqa_v2": (LatentALBEFForQuestionAnswering, {}),
    "nlvr2": (LatentALBEFForNaturalLanguageVisualReasoning, {"id2label": {0: "False", 1: "True"}}),
    "snli_ve": (
        LatentALBEFForImageTextClassification,
        {"id2label": {0: "contradiction", 1: "neutral", 2: "entailment"}},
    ),
    "refcoco_plus": (LatentALBEFForImageTextRetrieval, {}),
}


@pytest.mark.parametrize("name", ALBEF)
def test_files_for_heads_on_rows_of_their_columns(name, folder):
    cls, options = HEADS[name]
    place, tokenizer = folder / f"{name}_model", word_tokenizer([WORDS])
    if "id2label" in options:
        options["label2id"] = {label: number for number, label in options["id2label"].items()}
    small_albef(cls=cls, vocab_size=len(tokenizer), dtype=torch.float32, **options).save_pretrained(place)
    LatentALBEFProcessor.for_size(16, tokenizer).save_pretrained(place)
    file = look_alike(load_benchmark(name), folder)
    model, processor = load_finished(str(place), place)
    known = {m.key: m for m in measure_files([file], model, processor, progress=False)}
    if name == "refcoco_plus":
        assert known["refcoco_plus_grounding_pointing"].rows == 24  # two phrases a box
        return
    key = "vqa_v2_answer_accuracy" if name == "vqa_v2" else f"{name}_class_accuracy"
    assert known[key].rows == 12
    if name == "vqa_v2":
        assert {"vqa_v2_answer_accuracy_number", "vqa_v2_answer_accuracy_other"} <= set(known)
        return
    data = datasets.load_from_disk(file.source.path)[file.source.splits["test"]]
    images = data["image"] if name == "snli_ve" else list(zip(data["left_image"], data["right_image"], strict=True))
    text = data["sentence"]
    with torch.no_grad():
        said = model(**processor.batch({"image": list(images), "text": list(text)})).logits.argmax(1)
    names = data.features["gold_label" if name == "snli_ve" else "label"].names
    right = [options["label2id"][names[row % len(names)]] for row in range(12)]
    assert known[key].value == pytest.approx(100 * np.mean(said.numpy() == right))


CUSTOM = """
data:
  name: dataset
  path: {path}
  columns: {{image: picture, text: caption}}
  labels: {{color: color}}
  splits: {{test: train, train: null}}
evaluation:
  benchmarks:
    zero_shot: {{label: color}}
    retrieval: {{k: [1]}}
"""


@pytest.fixture
def own_file(tmp_path):
    rows = {"picture": pictures(9), "caption": [f"{COLORS[i % 3]} square" for i in range(9)]}
    datasets.Dataset.from_dict({**rows, "color": [COLORS[i % 3] for i in range(9)]}).save_to_disk(tmp_path / "rows")
    path = tmp_path / "colors.yaml"
    path.write_text(CUSTOM.format(path=tmp_path / "rows"), encoding="utf-8", newline="\n")
    return path


def test_a_file_of_ones_own_is_measured_kept_and_told_in_the_card(clip, own_file, tmp_path, capsys):
    run = save_small_clip(tmp_path / "run", [WORDS])
    own = {"probe_shape": 50.0, "measurements": {"probe_shape": {"title": "Shape", "group": "probes", "unit": "%"}}}
    (run / "metrics.json").write_text(json.dumps({"seed": 3, **own}), encoding="utf-8", newline="\n")
    assert main(["evaluate", str(run), "--on", str(own_file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert told["seed"] == 3 and told["probe_shape"] == 50
    assert told["measurements"]["colors_zero_shot_top1"]["data"] == "colors"
    again = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert main(["evaluate", str(run), "--on", str(own_file), "--quiet"]) == 0
    assert json.loads((run / "metrics.json").read_text(encoding="utf-8")) == again
    assert "colors zero_shot" in capsys.readouterr().out
    card = (run / "README.md").read_text(encoding="utf-8")
    assert "## Results on other data" in card and "### colors: Zero-shot classification" in card
    assert card.index("Linear probes") < card.index("Results on other data")
    assert main(["evaluate", str(clip), "--on", str(own_file), "--quiet"]) == 0
    assert not (clip / "metrics.json").exists()  # a model without a run is measured and left as it is


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t + "model: {type: latent_clip}\n", "section 'model': a benchmark file has the sections data and"),
        (lambda t: t.split("evaluation:")[0], "evaluation.benchmarks is missing: write what is measured"),
        (lambda t: t + "  also: [cifar10]\n", "evaluation.also: a benchmark file names no others"),
        (lambda t: t.replace("zero_shot: {label", "zeroshot: {label"), "no benchmark 'zeroshot'"),
        (lambda t: t.replace("color: color", "color: colour"), "colour"),
        (lambda t: t.replace("image: picture, text: caption", "sound: picture"), "the data hold sound, and the model"),
        (lambda t: t.replace("test: train", "test: validation"), "validation"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(change, words, clip, own_file, capsys):
    own_file.write_text(change(own_file.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
    assert main(["evaluate", str(clip), "--on", str(own_file)]) == 2
    said = capsys.readouterr().err
    assert words in said and "colors.yaml" in said and "Traceback" not in said


@pytest.mark.usefixtures("one_drawing")
def test_rows_that_a_source_draws_for_other_modalities_are_refused(clip, tmp_path, capsys):
    path = tmp_path / "pairs.yaml"
    own = "data: {name: trifeature, image_size: 16, renders: 1, max_pairs: 20}\n"
    path.write_text(own + "evaluation: {benchmarks: {geometry: {}}}\n", encoding="utf-8", newline="\n")
    assert main(["evaluate", str(clip), "--on", str(path)]) == 2
    assert "pairs.yaml: the data hold image1, image2, and the model reads image, text" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("cifar1", "no benchmark file at cifar1: did you mean 'cifar10.yaml'"),
        ("", "no benchmark file at"),
        ("coco,coco", "two benchmark files are called coco"),
    ],
)
def test_files_that_are_not_there_or_twice_are_told(named, words, clip, capsys):
    assert main(["evaluate", str(clip), "--on", named]) == 2
    assert words in capsys.readouterr().err


RECIPE = """
model:
  type: latent_clip
  modalities:
    left: {{encoder: table, input_dim: 2, hidden_dims: [8]}}
    right: {{encoder: table, input_dim: 2, hidden_dims: [8]}}
  projection_dim: 4
data: {{name: dataset, path: {path}, columns: {{left: a, right: b}}}}
views: {{left: {{kind: none}}, right: {{kind: none}}}}
evaluation: {{benchmarks: {{retrieval: {{k: [1]}}}}, also: [{also}]}}
training: {{max_steps: 2, global_batch_size: 8, output_dir: {run}, disable_tqdm: true, save_strategy: "no"}}
"""
ALSO = """
data: {{name: dataset, path: {path}, columns: {{left: x, right: y}}, labels: {{sign: sign}}}}
evaluation: {{benchmarks: {{retrieval: {{k: [1]}}, probes: {{of: [left]}}}}}}
"""


def numbers(rows, names, seed):
    draw = np.random.default_rng(seed).normal(size=(2, rows, 2))
    return dict(zip(names, draw.tolist(), strict=True)) | {"sign": (draw[0, :, 0] > 0).tolist()}


def stored(folder, names, **splits):
    rows = {name: datasets.Dataset.from_dict(numbers(n, names, n)) for name, n in splits.items()}
    datasets.DatasetDict(rows).save_to_disk(folder)
    return folder


def test_a_recipe_names_files_that_are_measured_after_training(tmp_path, monkeypatch, capsys):
    also, recipe, run = tmp_path / "others.yaml", tmp_path / "recipe.yaml", tmp_path / "run"
    other = ALSO.format(path=stored(tmp_path / "other", ("x", "y"), train=40, test=20))
    also.write_text(other, encoding="utf-8", newline="\n")
    own = stored(tmp_path / "own", ("a", "b"), train=16, test=8)
    recipe.write_text(RECIPE.format(path=own, also=also, run=run), encoding="utf-8", newline="\n")
    assert main(["train", str(recipe)]) == 0
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["measurements"]["left_to_right_r1"]["rows"] == 8
    assert metrics["measurements"]["others_left_to_right_r1"]["rows"] == 20
    assert "others_probe_sign_left" in metrics
    assert main(["evaluate", str(run)]) == 0
    again = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert again == metrics
    capsys.readouterr()
    monkeypatch.setattr("hf_latent.benchmark_files.is_own", lambda run: False)
    assert main(["evaluate", str(run)]) == 2
    assert "would make it read evaluation.also=" in capsys.readouterr().err
    assert main(["evaluate", str(run), "--trust-recipe"]) == 0
    also.write_text("data: {}", encoding="utf-8", newline="\n")
    assert main(["train", str(recipe), f"training.output_dir={tmp_path / 'second'}"]) == 2
    assert "others.yaml" in capsys.readouterr().err and not (tmp_path / "second" / "recipe.yaml").exists()


def test_what_the_model_could_do_before_training_stands_beside(tmp_path, capsys):
    also, recipe = tmp_path / "others.yaml", tmp_path / "recipe.yaml"
    other = ALSO.format(path=stored(tmp_path / "other", ("x", "y"), train=40, test=20))
    also.write_text(other, encoding="utf-8", newline="\n")
    own = stored(tmp_path / "own", ("a", "b"), train=16, test=8)

    def train(name, *overrides):
        recipe.write_text(RECIPE.format(path=own, also=also, run=tmp_path / name), encoding="utf-8", newline="\n")
        assert main(["train", str(recipe), "training.learning_rate=0.1", *overrides]) == 0
        return json.loads((tmp_path / name / "metrics.json").read_text(encoding="utf-8"))

    def starts(metrics):
        return {key: told.get("start") for key, told in metrics["measurements"].items()}

    plain, unmoved = train("plain"), train("unmoved", "training.learning_rate=0")
    capsys.readouterr()
    more = ["evaluation.start=true", "training.save_strategy=steps", "training.save_steps=1"]
    watched = train("watched", *more)
    assert "before training" in capsys.readouterr().out
    assert set(starts(plain).values()) == {None}
    assert starts(watched) == pytest.approx({key: unmoved[key] for key in watched["measurements"]})
    assert any(watched[key] != start for key, start in starts(watched).items())
    assert {key: watched[key] for key in watched["measurements"]} == {key: plain[key] for key in plain["measurements"]}
    card = (tmp_path / "watched" / "README.md").read_text(encoding="utf-8")
    assert "| Measurement | Before training | Result |" in card
    assert "Before training" not in (tmp_path / "plain" / "README.md").read_text(encoding="utf-8")

    begun = f"model={{type: latent_clip, pretrained: {tmp_path / 'plain'}}}"
    found = train("begun", begun, "evaluation.start=true")
    assert starts(found) == pytest.approx({key: plain[key] for key in found["measurements"]})

    run = tmp_path / "watched"
    recipe.write_text(RECIPE.format(path=own, also=also, run=run), encoding="utf-8", newline="\n")
    assert main(["evaluate", str(run)]) == 0  # what was measured before training cannot be measured again, and stays
    assert starts(json.loads((run / "metrics.json").read_text(encoding="utf-8"))) == starts(watched)
    (run / "metrics.json").unlink()  # a run that was stopped after its last step
    assert main(["train", str(recipe), "training.learning_rate=0.1", *more, "--resume"]) == 0
    assert starts(json.loads((run / "metrics.json").read_text(encoding="utf-8"))) == starts(watched)
    (run / "start.json").write_text("[]", encoding="utf-8", newline="\n")
    (run / "metrics.json").unlink()
    capsys.readouterr()
    assert main(["train", str(recipe), "training.learning_rate=0.1", *more, "--resume"]) == 2
    assert "start.json" in capsys.readouterr().err
