"""Two towers from the command line, and studies: many structures, several seeds, one table and one picture."""

import json

import numpy as np
import pytest
from PIL import Image
from transformers import AutoModel, AutoProcessor, pipeline

from hf_latent import experiment
from hf_latent.cli import main
from hf_latent.data import trifeature_task_data
from hf_latent.errors import UserError
from hf_latent.evaluation import Measurement
from hf_latent.recipe import load_recipe
from hf_latent.resources import resource_path
from hf_latent.results import written
from hf_latent.study import load_study, run_study
from tests.downstream import drawn_once, save_albef
from tests.measured import measured
from tests.test_recipe import STUDIES

pytestmark = pytest.mark.usefixtures("one_drawing")

TINY = """\
model:
  type: latent_clip
  modalities:
    image: {encoder: cnn, channels: [8, 16]}
    text:
      encoder: auto
      config: {model_type: bert, hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 16}
  projection_dim: 8
data: {name: trifeature_captions, image_size: 16, renders: 1, test_renders: 1}
views:
  image: {kind: image}
  text: {kind: words}
training: {max_steps: 3, global_batch_size: 32, save_strategy: "no", logging_steps: 1, disable_tqdm: true}
"""
STUDY = """\
recipe: {recipe}
seeds: [1, 2]
changes: {{training: {{learning_rate: 1.0e-3}}}}
structures:
  plain: {{}}
  both:
    model: {{in_modal: true, regularizers: {{feature_separation: {{weight: 0.5}}, brownian_bridge: {{weight: 0.1}}}}}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    (folder / "tiny_clip.yaml").write_text(TINY)
    (folder / "tiny_study.yaml").write_text(STUDY.format(recipe=folder / "tiny_clip.yaml"))
    return folder


@pytest.fixture(scope="module")
def study(folder):
    assert main(["study", str(folder / "tiny_study.yaml"), "--output", str(folder / "runs")]) == 0
    return folder / "runs"


@pytest.mark.slow
def test_a_study_leaves_runs_a_table_and_a_picture(study):
    names = {path.name for path in study.iterdir()}
    assert names == {"plain_1", "plain_2", "both_1", "both_2", "study.json", "study.md", "trade_offs.png"}
    summary = json.loads((study / "study.json").read_text())
    runs = [json.loads((study / f"both_{seed}" / "metrics.json").read_text()) for seed in (1, 2)]
    cell = summary["both"]["cka"]
    assert cell["mean"] == pytest.approx((runs[0]["cka"] + runs[1]["cka"]) / 2) and cell["runs"] == 2
    assert cell["std"] == pytest.approx(abs(runs[0]["cka"] - runs[1]["cka"]) / 2**0.5)
    assert "probe_texture_full" in summary["both"] and "probe_texture_full" not in summary["plain"]
    table = (study / "study.md").read_text().splitlines()
    assert table[0].startswith("| structure | zero_shot |") and table[2].startswith("| plain |") and "±" in table[3]


@pytest.mark.slow
def test_finished_runs_are_used_as_they_are(folder, study, monkeypatch):
    monkeypatch.setattr(experiment.LatentTrainer, "train", lambda *_, **__: pytest.fail("trained again"))
    summary = run_study(load_study(folder / "tiny_study.yaml", study))
    assert summary == json.loads((study / "study.json").read_text())


THEN = """\
model: {type: latent_albef_question_answering, pretrained: outputs/nothing}
data: {name: trifeature_questions, image_size: 32, renders: 1, test_renders: 1, per_picture: 1}
views:
  image: {kind: image}
  text: {kind: none}
training: {max_steps: 2, global_batch_size: 32, save_strategy: "no", disable_tqdm: true}
"""
ALBEF_STUDY = """\
recipe: {folder}/tiny_albef.yaml
then: {folder}/tiny_questions.yaml
structures: {{plain: {{}}}}
"""


@pytest.mark.slow
def test_each_run_is_fine_tuned_and_its_results_join(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(trifeature_task_data, "load_trifeature", drawn_once)
    albef = TINY.replace("latent_clip", "latent_albef").replace("num_hidden_layers: 1", "num_hidden_layers: 2")
    albef = albef.replace("projection_dim: 8", "projection_dim: 8\n  fusion_layers: 1\n  queue_size: 32")
    data = "{name: trifeature_scenes, image_size: 32, scenes: 32, test_scenes: 4, tokenizers: {text: trifeature}}"
    albef = albef.replace("{name: trifeature_captions, image_size: 16, renders: 1, test_renders: 1}", data)
    (tmp_path / "tiny_albef.yaml").write_text(albef.replace("{kind: words}", "{kind: masked}"))
    (tmp_path / "tiny_questions.yaml").write_text(THEN)
    (tmp_path / "fusion.yaml").write_text(ALBEF_STUDY.format(folder=tmp_path))
    study = load_study(tmp_path / "fusion.yaml", tmp_path / "runs")
    summary = run_study(study)
    names = {path.name for path in (tmp_path / "runs").iterdir() if path.is_dir()}
    assert names == {"plain_42", "plain_42_tiny_questions"}
    tuned = tmp_path / "runs" / "plain_42_tiny_questions"
    metrics = json.loads((tuned / "metrics.json").read_text())
    assert summary["plain"]["answer_accuracy"]["mean"] == metrics["answer_accuracy"]
    assert "answer_accuracy" not in json.loads((tmp_path / "runs" / "plain_42" / "metrics.json").read_text())
    assert "a trained model named `plain_42`" in (tuned / "README.md").read_text()
    assert "answer" in (tmp_path / "runs" / "study.md").read_text().splitlines()[0]
    assert "grounding_box" in summary["plain"]
    assert capsys.readouterr().out.splitlines()[-1].endswith(str(tmp_path / "runs" / "fine_tuned.png"))
    monkeypatch.setattr(experiment.LatentTrainer, "train", lambda *_, **__: pytest.fail("trained again"))
    assert run_study(study) == summary and "answer" in capsys.readouterr().out


def test_a_quiet_study_says_where_its_table_is(folder, tmp_path, monkeypatch, capsys):
    trained = []

    def train(recipe, resume):
        trained.append(recipe)
        print("training")
        return measured({"cka": 0.5})

    monkeypatch.setattr(experiment, "train", train)
    (tmp_path / "loud.yaml").write_text(TINY.replace("disable_tqdm: true", "disable_tqdm: false"))
    (tmp_path / "loud_study.yaml").write_text(
        f"{STUDY.format(recipe=tmp_path / 'loud.yaml')}then: {folder}/tiny_clip.yaml\n"
    )
    monkeypatch.setattr("hf_latent.study._fine_tuning", lambda then, recipe, begun: recipe)
    for quiet in ([], ["--quiet"]):
        trained.clear()
        assert main(["study", str(tmp_path / "loud_study.yaml"), "--output", str(tmp_path / "runs"), *quiet]) == 0
        assert len(trained) == 8 and all(recipe.training["disable_tqdm"] is bool(quiet) for recipe in trained)
        assert all(recipe.values["training"]["disable_tqdm"] is False for recipe in trained)
        printed = capsys.readouterr().out
        assert printed == f"{tmp_path / 'runs' / 'study.md'}\n" if quiet else "training" in printed


def test_a_list_of_recipes_is_a_chain(tmp_path, monkeypatch):
    """Each recipe begins with the run of the one before it, and the results of the last one join."""
    trained = []

    def train(recipe, resume):
        place, run = len(trained) % 3, recipe.output_dir
        trained.append((recipe.pretrained, run.name, recipe.seed))
        save_albef(run, cls=recipe.model_class)
        return measured([{"cka": 0.5}, {"class_accuracy": 30.0}, {"class_accuracy": 60.0 + recipe.seed}][place])

    monkeypatch.setattr(experiment, "train", train)
    then = "[latent_albef_text_assignment_quick, latent_albef_statements_quick]"
    text = f"recipe: latent_albef_quick\nthen: {then}\nseeds: [1, 2]\nstructures: {{plain: {{}}}}\n"
    (tmp_path / "chain.yaml").write_text(text)
    summary = run_study(load_study(tmp_path / "chain.yaml", tmp_path / "runs"))
    for place, seed in ((0, 1), (3, 2)):
        run = f"plain_{seed}"
        first, second = (f"{run}_latent_albef_{name}_quick" for name in ("text_assignment", "statements"))
        assert trained[place : place + 3] == [
            (None, run, seed),
            (str(tmp_path / "runs" / run), first, seed),
            (str(tmp_path / "runs" / first), second, seed),
        ]
    assert summary["plain"]["class_accuracy"]["mean"] == 61.5 and summary["plain"]["cka"]["mean"] == 0.5
    assert (tmp_path / "runs" / "fine_tuned.png").is_file()


def test_where_synergy_is_measured_each_kind_of_information_is_drawn(tmp_path, monkeypatch):
    """A row for each structure, in place of one kind against another."""
    drawn = []

    def train(recipe, resume):
        value = 10.0 * recipe.seed + 5 * (recipe.config.fusion == "linear")
        keys = ("redundancy", "uniqueness1", "uniqueness2", "synergy")
        return measured({key: value + place for place, key in enumerate(keys)} | {"synergy_auroc": 0.7})

    def draw(rows, title, path, axis):
        drawn.append(rows)
        path.write_bytes(b"")
        return path

    monkeypatch.setattr(experiment, "train", train)
    monkeypatch.setattr("hf_latent.study.plot_rows", draw)
    structures = "{plain: {}, linear: {model: {fusion: linear}}}"
    (tmp_path / "kinds.yaml").write_text(
        f"recipe: comm_trifeature_quick\nseeds: [1, 3]\nstructures: {structures}\n", encoding="utf-8"
    )
    run_study(load_study(tmp_path / "kinds.yaml", tmp_path / "runs"))
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"study.json", "study.md", "information.png"}
    assert list(drawn[-1]["plain"]) == ["redundancy", "uniqueness1", "uniqueness2", "synergy"]
    cells = {name: row["synergy"] for name, row in drawn[-1].items()}
    assert [(cell["mean"], cell["chance"], cell["runs"]) for cell in cells.values()] == [(23, 50, 2), (28, 50, 2)]


@pytest.mark.slow
def test_a_run_of_two_towers_is_whole(study, capsys):
    run = study / "both_1"
    metrics = json.loads((run / "metrics.json").read_text())
    for key in ("zero_shot_top5", "image_to_text_r10", "text_to_image_median_rank", "probe_texture", "gap_centroid"):
        assert metrics[key] >= 0
    assert -1 <= metrics["separation"] <= 1 and metrics["temperature"] == pytest.approx(0.07, abs=0.01)
    card = (run / "README.md").read_text()
    assert "`feature_separation` (weight 0.5)" in card and "`brownian_bridge` (weight 0.1)" in card
    assert "jiang2023" in card and "almudevar2025" not in card
    assert "pipeline_tag: zero-shot-image-classification" in card
    assert "Right caption: nearest of 100" in card and "loss_" not in card
    assert "|  % |" not in card and all(line.count("|") == 4 for line in card.splitlines() if line.startswith("| "))
    history = json.loads((run / "trainer_state.json").read_text())["log_history"]
    assert {"loss_contrastive", "loss_in_modal", "loss_feature_separation", "loss_brownian_bridge"} <= set(history[0])
    model, processor = AutoModel.from_pretrained(run), AutoProcessor.from_pretrained(run)
    assert model.config.extra_heads == ["independent"] and processor.modalities["image"]["size"] == 16
    classify = pipeline("zero-shot-image-classification", model=str(run))
    image = load_recipe(run / "recipe.yaml").data.load().train[0]["image"]
    assert len(classify(Image.fromarray(image), candidate_labels=["red star", "blue circle"])) == 2
    before = metrics
    assert main(["evaluate", str(run)]) == 0
    again = json.loads((run / "metrics.json").read_text())
    assert again.pop("measurements") == before.pop("measurements") and again == pytest.approx(before)
    assert main(["compare", str(run), str(study / "plain_1"), "--output", str(study.parent / "bars.png")]) == 0
    assert "zero_shot" in capsys.readouterr().out


@pytest.mark.parametrize("name", STUDIES)
def test_the_studies_that_ship_are_valid(name):
    study = load_study(resource_path("training_args", name))
    assert len(study.runs) >= 4
    assert study.output_dir.name == study.name
    for recipe in study.runs.values():
        recipe.model_class.build_objective(recipe.config)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("recipe: latent_clip_quick", "a study has the keys recipe, seeds.*hf-latent train"),
        ("recipe: latent_clip_quick\nstructure: {a: {}}\nstructures: {a: {}}", "did you mean 'structures'"),
        ("recipe: latent_clip_quick\nseeds: x\nstructures: {a: {}}", "write a list of different whole numbers"),
        ("recipe: latent_clip_quick\nseeds: [1, 1]\nstructures: {a: {}}", "write a list of different whole numbers"),
        ("recipe: latent_clip_quick\nthen: 3\nstructures: {a: {}}", "then=3: write the name of a recipe, or a file"),
        ("recipe: latent_clip_quick\nthen: [3]\nstructures: {a: {}}", r"then=\[3\]: write the name of a recipe"),
        (
            "recipe: latent_clip_quick\nthen: [latent_clip_quick, latent_clip_quick.yaml]\nstructures: {a: {}}",
            "two recipes have one name",
        ),
        (
            "recipe: latent_clip_quick\nthen: [latent_clip_quick, albef_quick]\nstructures: {a: {}}",
            "then: no recipe at albef_quick",
        ),
        ("recipe: latent_clip_quick\nthen: albef_quick\nstructures: {a: {}}", "then: no recipe at albef_quick"),
        ("recipe: latent_clip_quick\nstructures: [plain]", "structures are {name: changes}"),
        ("recipe: latent_clip_quick\nstructures: {a: 3}", "a: 3: write the sections"),
        ("recipe: latent_clip_quick\nstructures: {a: {model: 3}}", "structure 'a'"),
        ("recipe: latent_clip_quick\nstructures: {a/b: {}}", "names a folder"),
        ("recipe: latent_clip_quik\nstructures: {a: {}}", "did you mean 'latent_clip_quick.yaml'"),
        (
            "recipe: latent_clip_quick\nstructures: {a: {model: {regularizers: {brownian_brige: {}}}}}",
            "structure 'a'.*did you mean 'brownian_bridge'",
        ),
    ],
)
def test_mistakes_in_a_study_are_named(tmp_path, text, words):
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(UserError, match=words):
        load_study(tmp_path / "study.yaml")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.regularizers.alignement.weight=1", "did you mean 'alignment'"),
        ("model.regularizers.brownian_bridge.t=2", "brownian_bridge.t=2"),
        ("model.regularizers.brownian_bridge.bridged=[imag]", "imag"),
        ("data.tokenizers.text=/nothing", "data.tokenizers: '/nothing' cannot be loaded"),
        ("data.tokenizers.txt=words", "did you mean 'text'"),
        ("views.text.kind=image", "its encoder reads text"),
        ("views.text.swap=2", "a number from 0 to 1"),
        ("model.modalities.text.config.vocab_size=5", "leave vocab_size out"),
        ("training.augment_first_view=[imag]", "did you mean 'image'"),
        ("model.modalities.text.pretrained=/nothing", "model: "),
    ],
)
def test_mistakes_in_a_two_tower_recipe_end_in_code_2(folder, tmp_path, capsys, override, words):
    text = TINY
    if "pretrained" in override:
        text = TINY.replace(TINY[TINY.index("      config:") : TINY.index("  projection_dim")], "")
    (tmp_path / "tiny.yaml").write_text(text)
    arguments = [str(tmp_path / "tiny.yaml"), override, f"training.output_dir={tmp_path / 'run'}"]
    assert main(["train", *arguments]) == 2
    told = capsys.readouterr().err
    assert words in told and "Traceback" not in told


def test_an_image_folder_trains_by_recipe_and_long_captions_are_counted(tmp_path, capsys):
    (tmp_path / "images").mkdir()
    lines = ["file_name,text"]
    for i in range(20):
        noise = np.random.default_rng(i).integers(0, 256, (16, 18, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "images" / f"{i}.png")
        lines.append(f"{i}.png,{'long ' * (90 if i < 3 else 2)}picture {i}")
    (tmp_path / "images" / "metadata.csv").write_text("\n".join(lines) + "\n")
    data = f"""\
data:
  name: dataset
  path: imagefolder
  options: {{data_dir: {tmp_path / "images"}}}
  columns: {{image: image, text: text}}
  tokenizers: {{text: words}}
  test_split: train
"""
    start, end = TINY.index("data:"), TINY.index("views:")
    text = TINY[:start] + data + TINY[end:].replace("global_batch_size: 32", "global_batch_size: 8")
    (tmp_path / "own.yaml").write_text(text)
    run = tmp_path / "run"
    positions = "model.modalities.text.config.max_position_embeddings=77"
    assert main(["train", str(tmp_path / "own.yaml"), f"training.output_dir={run}", positions]) == 0
    assert "3 of 20 captions are longer than 77 tokens and will be cut there" in capsys.readouterr().out
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"text_to_image_r1", "gap_centroid", "cka"} < set(metrics) and "zero_shot_top1" not in metrics
    eight = [f"{i}.png,{'' if i == 1 else 'a picture'}" for i in range(8)]
    for rows, words in ((eight, "row 1, column 'text' is empty"), (eight[2:7], "5 rows, fewer than one global")):
        (tmp_path / "images" / "metadata.csv").write_text("\n".join(["file_name,text", *rows]) + "\n")
        assert main(["train", str(tmp_path / "own.yaml"), f"training.output_dir={run}2"]) == 2
        assert words in capsys.readouterr().err
    assert main(["train", str(tmp_path / "own.yaml"), "data.columns.text=txt", f"training.output_dir={run}2"]) == 2
    assert "did you mean 'text'" in capsys.readouterr().err
    streamed = ["data.streaming=true", "training.max_steps=1", "data.tokenizers.text=/nothing"]
    assert main(["train", str(tmp_path / "own.yaml"), *streamed, f"training.output_dir={run}2"]) == 2
    assert "cannot be loaded" in capsys.readouterr().err


AGAINST = """\
recipe: {recipe}
seeds: [1, 2]
structures: {{plain: {{}}, other: {{}}}}
against: {against}
"""


def test_measurements_are_drawn_against_each_other(tmp_path, monkeypatch, capsys):
    (tmp_path / "tiny.yaml").write_text(TINY)
    drawn = iter(range(100))

    def train(recipe, resume):
        number = next(drawn)
        return written(
            [
                Measurement("told", float(number), "What is told", "geometry", unit="nats"),
                Measurement("cka", 1 - 0.1 * number, "CKA", "geometry"),
                Measurement("size", float(number % 2), "Size", "geometry"),
            ]
        )

    monkeypatch.setattr(experiment, "train", train)
    path = tmp_path / "study.yaml"
    path.write_text(AGAINST.format(recipe=tmp_path / "tiny.yaml", against="[{x: told, y: cka, given: size}]"))
    run_study(load_study(path, tmp_path / "runs"))
    page = (tmp_path / "runs" / "study.md").read_text()
    assert "Rank correlation of `told` and `cka` over 4 runs: -1.00; with `size` held constant: -1.00." in page
    assert (tmp_path / "runs" / "trade_offs.png").is_file()
    for against, words in (
        ("[{x: told, y: ckaa}]", "against: no run has measured 'ckaa': did you mean 'cka'"),
        ("[{x: told}]", "against.y is missing"),
        ("[{x: told, z: cka}]", "unknown key against.z"),
        ("told", "against='told': write a list of"),
    ):
        path.write_text(AGAINST.format(recipe=tmp_path / "tiny.yaml", against=against))
        with pytest.raises(UserError, match=words):
            run_study(load_study(path, tmp_path / "more"))
