"""The recipes for VQA v2, NLVR2, SNLI-VE, text assignment and COCO on rows of the columns that their data have."""

import json
from pathlib import Path

import datasets
import pytest
import yaml
from PIL import Image

from hf_latent import LatentALBEFForPreTraining
from hf_latent.cli import main
from hf_latent.reading import reader_of
from hf_latent.recipe import load_recipe
from hf_latent.resources import resource_path
from hf_latent.study import load_study, run_study
from tests.downstream import save_albef

COLORS = ("red", "green", "blue")
CLASSES = ("entailment", "neutral", "contradiction")


def picture(row):
    return Image.new("RGB", (20, 16), COLORS[row % 3])


def write_lines(path, rows):
    """A file of JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8", newline="\n")


def write_pictures(folder, count):
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{folder.name}/{row}.png" for row in range(count)]
    for row, name in enumerate(names):
        picture(row).save(folder.parent / name)
    return names


def vqa_v2(folder):
    root, count = folder / "data" / "vqa_v2", 12
    names = write_pictures(root / "train2014", count)
    for split in ("train", "validation"):
        rows = [
            {
                "image": name,
                "question": "what color is it?",
                "answers": [COLORS[row % 3]] * 10 if row else [COLORS[0]],  # the first is of Visual Genome
                "answer_type": "other" if row % 2 else "number",
            }
            for row, name in enumerate(names)
        ]
        write_lines(root / f"{split}.jsonl", rows)
    (root / "answer_list.json").write_text(json.dumps(COLORS), encoding="utf-8", newline="\n")


def nlvr2(folder):
    root, count = folder / "data" / "nlvr2", 12
    names = write_pictures(root / "train", count)
    for split in ("train", "validation", "test"):
        rows = [
            {
                **{"left_image": name, "right_image": names[-row - 1], "sentence": "both are red"},
                "label": ("True", "False")[row % 2],
            }
            for row, name in enumerate(names)
        ]
        write_lines(root / f"{split}.jsonl", rows)


def save(folder, splits):
    """Rows as a data set of the Hub has them, on the disk."""
    datasets.DatasetDict({name: datasets.Dataset.from_dict(rows) for name, rows in splits.items()}).save_to_disk(
        folder
    )
    return str(folder)


def snli_ve(folder):
    labels = [*(CLASSES[row % 3] for row in range(12)), "-"]
    rows = {"image": [picture(row) for row in range(13)], "sentence": ["it is red"] * 13, "gold_label": labels}
    held = {name: own[:12] for name, own in rows.items()}
    return save(folder / "snli_ve", {"train": rows, "validation": held, "test": held})


def cc3m(folder):
    rows = {"jpg": [picture(row) for row in range(12)], "txt": [f"it is {row % 3} and {row}" for row in range(12)]}
    return save(folder / "cc3m", {"train": rows, "validation": rows})


def coco(folder):
    lines = [f"it is {COLORS[row % 3]} {row}\nit is {row}\n" for row in range(8)]
    rows = {"jpg": [picture(row) for row in range(8)], "txt": lines}
    return save(folder / "coco", {"train": rows, "test": rows})


@pytest.fixture
def folder(beside_pretrained, tmp_path):
    return tmp_path


def read(name, *overrides):
    """The data of a recipe as its model reads them."""
    recipe = load_recipe(name, overrides)
    return recipe, recipe.data.load_for(reader_of(recipe.model_class, recipe.config))


def settings(recipe):
    """What the papers tell of a training: epochs, batch, rate, size of a picture."""
    training = recipe.training
    return tuple(training[key] for key in ("num_train_epochs", "global_batch_size", "learning_rate")) + (
        recipe.views["image"].size,
    )


def test_vqa_v2_reads_files_of_ones_own(folder):
    vqa_v2(folder)
    recipe, data = read("latent_albef_vqa_v2")
    assert settings(recipe) == (8, 256, 2e-5, 384) and recipe.config.alpha_ramp == 1 / 8
    assert data.target.kind == "answers" and data.target.names == COLORS
    assert data.train[0]["labels"] == ["red"] and data.train[1]["labels"] == ["green"] * 10
    assert data.train[1]["image"].size == (20, 16) and data.evaluation.test is data.evaluation.validation
    assert data.evaluation.target.groups == "answer_type" and len(data.evaluation.test) == 12


def test_nlvr2_reads_files_of_ones_own(folder):
    nlvr2(folder)
    recipe, data = read("latent_albef_nlvr2")
    assert settings(recipe) == (10, 128, 2e-5, 384)
    assert (recipe.config.alpha, recipe.config.alpha_ramp) == (0.4, 0.1)
    assert recipe.pretrained == "outputs/latent_albef_text_assignment"
    row = data.train[0]
    assert [image.getpixel((0, 0)) for image in row[data.columns["image"]]] == [(255, 0, 0), (0, 0, 255)]
    assert data.target.names == ("False", "True") and row["labels"] == 1
    assert data.evaluation.test is not data.evaluation.validation


def test_snli_ve_numbers_the_classes_by_name_and_leaves_rows_of_none_out(folder, capsys):
    path = snli_ve(folder)
    recipe, data = read("latent_albef_snli_ve", f"data.path={path}")
    assert settings(recipe) == (5, 256, 2e-5, 384) and recipe.config.alpha_ramp == 0
    assert data.target.names == ("contradiction", "neutral", "entailment")
    assert [data.train[i]["labels"] for i in range(3)] == [2, 1, 0] and len(data.train) == 12
    assert "Left out 1 of 13 train rows" in capsys.readouterr().out
    named = load_recipe("latent_albef_snli_ve").data
    assert named.is_on_hub and not named.local_reads()


def test_text_assignment_reads_captions_of_the_hub(folder):
    path = cc3m(folder)
    recipe, data = read("latent_albef_text_assignment", f"data.path={path}")
    assert settings(recipe) == (1, 512, 2e-5, 256) and recipe.config.alpha == 0
    assert len(data.train[0]["jpg"]) == 2 and data.evaluation.validation is None and len(data.evaluation.test) == 12
    named = load_recipe("latent_albef_text_assignment").data
    assert named.repositories() == ["pixparse/cc3m-wds"] and not named.local_reads()


def test_coco_reads_the_captions_of_a_picture_and_measures_on_flickr30k(folder):
    path = coco(folder)
    recipe, data = read("latent_clip_coco", f"data.path={path}", "data.tokenizers.text=words")
    assert len(data.train) == 16 and data.train[1]["txt"] == "it is 0" and data.train[1]["ids"] == 0
    assert len(data.evaluation.test.distinct("image")) == 8 and recipe.evaluation.also == ["flickr30k"]


@pytest.mark.parametrize("name", ["vqa_v2", "nlvr2", "snli_ve"])
def test_studies_of_the_paper_pretrain_each_structure_and_fine_tune_it(name):
    study = load_study(f"albef_{name}")
    assert study.structures == ["plain", "separation", "bridge", "consistency"]
    assert study.then[-1] == f"latent_albef_{name}" and len(study.then) == (2 if name == "nlvr2" else 1)
    assert all(recipe.config.queue_size == 65_536 for recipe in study.runs.values())


def test_the_study_of_the_gap_measures_on_flickr30k():
    study = load_study("modality_gap_coco")
    weights = {
        name: recipe.config.regularizers.get("alignment", {}).get("weight", 0)
        for (name, _), recipe in study.runs.items()
    }
    assert weights == {"alignment_0": 0, "alignment_0.5": 0.5, "alignment_1": 1}
    assert all(recipe.evaluation.also == ["flickr30k"] for recipe in study.runs.values())


def tiny(name, folder, **data):
    """A recipe that ships as one of two steps of four rows; returns the file."""
    values = yaml.safe_load(resource_path("training_args", f"{name}.yaml").read_text(encoding="utf-8"))
    values["data"] |= data
    values["views"]["image"]["size"] = 16
    values["training"] |= {"global_batch_size": 4, "max_steps": 2, "warmup_steps": 1, "bf16": False, "use_cpu": True}
    values["training"] |= {"dataloader_num_workers": 0, "disable_tqdm": True}
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8", newline="\n")
    return file


@pytest.fixture(scope="module")
def assigned(tmp_path_factory):
    """A folder with the run of text assignment, of two steps."""
    folder = tmp_path_factory.mktemp("assigned")
    save_albef(folder / "outputs" / "latent_albef_4m", cls=LatentALBEFForPreTraining)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train", str(tiny("latent_albef_text_assignment", folder, path=cc3m(folder)))]) == 0
    return folder


def test_text_assignment_trains_and_tells_what_it_is(assigned):
    run = assigned / "outputs" / "latent_albef_text_assignment"
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    told = metrics["measurements"]["class_accuracy"]
    assert told["rows"] == 12 and told["chance"] == pytest.approx(100 / 3)
    card = (run / "README.md").read_text(encoding="utf-8")
    assert "captions with two pictures of" in card and "the second, or neither?" in card
    assert "name: text_assignment" in card
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert list(config["id2label"].values()) == ["first", "second", "neither"]


def test_a_benchmark_file_measures_text_assignment(assigned, monkeypatch):
    monkeypatch.chdir(assigned)
    data = {"name": "text_assignment", "path": coco(assigned), "columns": {"image": "jpg", "text": "txt"}}
    file = {
        "data": {**data, "text_lines": True, "splits": {"test": "test"}},
        "evaluation": {"benchmarks": {"tasks": {}}},
    }
    Path("pairs.yaml").write_text(yaml.safe_dump(file), encoding="utf-8", newline="\n")
    assert main(["evaluate", "outputs/latent_albef_text_assignment", "--on", "pairs.yaml", "--quiet"]) == 0
    metrics = json.loads(Path("outputs/latent_albef_text_assignment/metrics.json").read_text(encoding="utf-8"))
    assert metrics["measurements"]["pairs_class_accuracy"]["rows"] == 16  # two captions of each picture
    assert metrics["measurements"]["class_accuracy"]["rows"] == 12


def test_nlvr2_begins_with_text_assignment(assigned, monkeypatch):
    monkeypatch.chdir(assigned)
    nlvr2(assigned)
    assert main(["train", str(tiny("latent_albef_nlvr2", assigned))]) == 0
    metrics = json.loads(Path("outputs/latent_albef_nlvr2/metrics.json").read_text(encoding="utf-8"))
    assert metrics["measurements"]["class_accuracy"]["rows"] == 12


PRETRAINING = """
model:
  type: latent_albef
  modalities:
    image: {{encoder: cnn, channels: [8, 16]}}
    text:
      encoder: auto
      config:
        {{model_type: bert, hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 16}}
      max_length: 25
  projection_dim: 8
  fusion_layers: 1
  queue_size: 16
data: {{name: dataset, path: {path}, columns: {{image: jpg, text: txt}}, tokenizers: {{text: words}}}}
views: {{image: {{kind: image, size: 16}}, text: {{kind: masked}}}}
training: {{max_steps: 2, global_batch_size: 4, use_cpu: true, disable_tqdm: true, save_strategy: "no"}}
"""


@pytest.mark.slow
def test_a_study_fine_tunes_in_a_chain(tmp_path, monkeypatch):
    """Pre-training, text assignment, statements: each begins with the one before, and the last one's results join."""
    monkeypatch.chdir(tmp_path)
    nlvr2(tmp_path)
    path = cc3m(tmp_path)
    (tmp_path / "tiny.yaml").write_text(PRETRAINING.format(path=path), encoding="utf-8", newline="\n")
    chain = [
        str(tiny("latent_albef_text_assignment", tmp_path, path=path)),
        str(tiny("latent_albef_nlvr2", tmp_path)),
    ]
    study = {"recipe": str(tmp_path / "tiny.yaml"), "then": chain, "seeds": [3], "structures": {"plain": {}}}
    (tmp_path / "chain.yaml").write_text(yaml.safe_dump(study), encoding="utf-8", newline="\n")
    summary = run_study(load_study("chain.yaml"), progress=False)
    runs = Path("outputs/chain")
    first, last = (runs / f"plain_3_latent_albef_{name}" for name in ("text_assignment", "nlvr2"))
    assert {run.name for run in runs.iterdir() if run.is_dir()} == {"plain_3", first.name, last.name}
    begun = [yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8")) for run in (first, last)]
    assert [Path(own["model"]["pretrained"]) for own in begun] == [runs / "plain_3", first]
    assert [own["training"]["seed"] for own in begun] == [3, 3]
    metrics = json.loads((last / "metrics.json").read_text(encoding="utf-8"))
    assert summary["plain"]["class_accuracy"]["mean"] == metrics["class_accuracy"]
    chances = [json.loads((run / "metrics.json").read_text(encoding="utf-8"))["measurements"] for run in (first, last)]
    assert [own["class_accuracy"]["chance"] for own in chances] == [pytest.approx(100 / 3), 50]
    assert summary["plain"]["text_to_image_r1"]["runs"] == 1 and (runs / "fine_tuned.png").is_file()


def test_the_table_of_the_gap_has_retrieval_and_gap_of_flickr30k(tmp_path, monkeypatch):
    """One of the structures, on towers of a few layers."""
    monkeypatch.chdir(tmp_path)
    benchmark = yaml.safe_load(resource_path("training_args/benchmarks", "flickr30k.yaml").read_text(encoding="utf-8"))
    benchmark["data"]["path"] = path = coco(tmp_path)
    (tmp_path / "flickr30k.yaml").write_text(yaml.safe_dump(benchmark), encoding="utf-8", newline="\n")
    recipe = tiny("latent_clip_coco", tmp_path, path=path, tokenizers={"text": "words"})
    values = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    bert = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    values["model"]["modalities"] = {
        "image": {"encoder": "cnn", "channels": [8, 16]},
        "text": {"encoder": "auto", "config": {**bert, "intermediate_size": 16}},
    }
    values["model"]["projection_dim"] = 8
    values["evaluation"]["also"] = [str(tmp_path / "flickr30k.yaml")]
    recipe.write_text(yaml.safe_dump(values), encoding="utf-8", newline="\n")
    study = yaml.safe_load(resource_path("training_args", "modality_gap_coco.yaml").read_text(encoding="utf-8"))
    study |= {"recipe": str(recipe), "seeds": [1]}
    study["structures"] = {"alignment_1": study["structures"]["alignment_1"]}
    (tmp_path / "gap.yaml").write_text(yaml.safe_dump(study), encoding="utf-8", newline="\n")
    summary = run_study(load_study("gap.yaml"), progress=False)
    heads = Path("outputs/gap/study.md").read_text(encoding="utf-8").splitlines()[0]
    for key in ("image_to_text_r1", "text_to_image_r1", "gap_centroid"):
        assert all(f"flickr30k_{key}" in row and key in row for row in summary.values())
    assert "flickr30k i2t_r1" in heads and "flickr30k_gap_centroid" in heads


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vqa_v2", "snli_ve"])
def test_vqa_v2_and_snli_ve_train(name, assigned, monkeypatch):
    monkeypatch.chdir(assigned)
    made = {"vqa_v2": vqa_v2, "snli_ve": snli_ve}[name](assigned)
    recipe = tiny(f"latent_albef_{name}", assigned, **({} if made is None else {"path": made}))
    assert main(["train", str(recipe)]) == 0
    metrics = json.loads(Path(f"outputs/latent_albef_{name}/metrics.json").read_text(encoding="utf-8"))
    wanted = "answer_accuracy_other" if name == "vqa_v2" else "class_accuracy"
    assert metrics["measurements"][wanted]["rows"] == (6 if name == "vqa_v2" else 12)
