"""The downstream recipes from end to end, two steps each: trained, measured, compared, and published."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
import yaml
from transformers import AutoModel, AutoModelForSequenceClassification, AutoModelForVisualQuestionAnswering

from hf_latent import (
    LatentALBEFForImageTextClassification,
    LatentALBEFForNaturalLanguageVisualReasoning,
    LatentALBEFForQuestionAnswering,
    LatentALBEFModel,
)
from hf_latent.cli import main
from hf_latent.data import trifeature_task_data
from hf_latent.data.loading import SOURCES
from hf_latent.hub.shareable import stage_run
from hf_latent.recipe import load_recipe
from tests.downstream import BEGINS, TINY, drawn_once

CLASSES = {
    "questions": LatentALBEFForQuestionAnswering,
    "entailment": LatentALBEFForImageTextClassification,
    "statements": LatentALBEFForNaturalLanguageVisualReasoning,
    "text_assignment": LatentALBEFForNaturalLanguageVisualReasoning,
}
KINDS = {
    "questions": {"color", "shape", "texture", "yes_no"},
    "entailment": {"plain", "open", "either"},
    "statements": {"both", "one", "same", "side"},
    "text_assignment": {"near", "far"},
}


def prefix(name):
    return "answer" if name == "questions" else "class"


def read(run, file="metrics.json"):
    return json.loads((run / file).read_text())


@pytest.mark.parametrize("name", BEGINS)
def test_a_run_is_trained_measured_and_drawn(downstream, name):
    run = downstream / name
    metrics, config, which = read(run), read(run, "config.json"), prefix(name)
    wanted = {f"{which}_accuracy", f"{which}_accuracy_balanced", f"{which}_chance"}
    wanted |= {f"{which}_accuracy_{kind}" for kind in KINDS[name]}
    assert {key for key in metrics if key.startswith(which)} == wanted
    assert all(0 <= metrics[key] <= 100 for key in wanted)
    assert config["architectures"] == [CLASSES[name].__name__]
    if name != "questions":
        assert tuple(config["id2label"].values()) == SOURCES[f"trifeature_{name}"].CLASSES
    assert (run / "figures" / "predictions.png").is_file()
    history = read(run, "trainer_state.json")["log_history"]
    assert f"loss_{which}" in history[0]


def test_evaluated_again_it_says_the_same(downstream, tmp_path):
    """The model that it began with is gone by then."""
    run = tmp_path / "statements"
    shutil.copytree(downstream / "statements", run)
    recipe = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(recipe.replace(str(downstream), "/nowhere"))
    assert main(["evaluate", str(run)]) == 0
    again, first = read(run), read(downstream / "statements")
    assert again.pop("measurements") == first.pop("measurements") and again == pytest.approx(first)
    assert load_recipe(run / "recipe.yaml").pretrained == "/nowhere/text_assignment"


def test_runs_are_compared(downstream, tmp_path, capsys):
    runs = [str(downstream / name) for name in BEGINS]
    assert main(["compare", *runs, "--output", str(tmp_path / "bars.png")]) == 0
    heads, *rows = capsys.readouterr().out.splitlines()[: len(runs) + 1]
    assert heads.split() == ["run", "answer", "class"]
    found = {row.split()[0]: row.split()[1:] for row in rows}
    assert found["questions"] == [f"{read(downstream / 'questions')['answer_accuracy']:.1f}", "n/a"]
    assert found["statements"] == ["n/a", f"{read(downstream / 'statements')['class_accuracy']:.1f}"]
    assert (tmp_path / "bars.png").is_file()


LOAD = """
import sys
sys.modules["hf_latent"] = None
from transformers import AutoModel, AutoModelForSequenceClassification, AutoModelForVisualQuestionAnswering
for folder, auto in zip(sys.argv[1::2], sys.argv[2::2]):
    head = globals()[auto].from_pretrained(folder, trust_remote_code=True)
    plain = AutoModel.from_pretrained(folder, trust_remote_code=True)
    print(type(head).__name__, type(plain).__name__, f"{sum(p.double().sum() for p in head.parameters()).item():.6f}")
"""


@pytest.mark.slow
def test_what_is_published_loads(downstream, tmp_path):
    arguments, expected = [], []
    for name, cls in CLASSES.items():
        folder = tmp_path / name
        folder.mkdir()
        stage_run(downstream / name, folder, f"user/{name}")
        assert (folder / "figures" / "predictions.png").is_file()
        texts = {path.name: path.read_text() for path in folder.rglob("*") if path.suffix in (".md", ".json", ".yaml")}
        assert not any(str(downstream) in text for text in texts.values())
        assert yaml.safe_load(texts["recipe.yaml"])["model"]["pretrained"] == BEGINS[name]
        assert f"from a trained model named `{BEGINS[name]}`" in texts["README.md"]
        answers = cls is LatentALBEFForQuestionAnswering
        auto = AutoModelForVisualQuestionAnswering if answers else AutoModelForSequenceClassification
        head, own = auto.from_pretrained(folder), cls.from_pretrained(downstream / name)
        assert type(head) is cls and type(AutoModel.from_pretrained(folder)) is LatentALBEFModel
        state = own.state_dict()
        assert all(torch.equal(value, state[key]) for key, value in head.state_dict().items())
        arguments += [str(folder), auto.__name__]
        total = sum(parameter.double().sum() for parameter in head.parameters()).item()
        expected.append(f"{cls.__name__} LatentALBEFModel {total:.6f}")
    done = subprocess.run([sys.executable, "-c", LOAD, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:-1] == expected


def test_a_model_that_is_not_trained_yet_is_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for override, words in (
        (
            "training.seed=1",
            "train it first, with hf-latent train latent_albef_quick, or write the folder of a finished",
        ),
        ("model.pretrained=latent_albef_quick", "with hf-latent train latent_albef_quick, or write"),
        (
            "model.pretrained=outputs/mine",
            "'outputs/mine': there is no such folder; write the folder of a finished run",
        ),
    ):
        assert main(["train", "latent_albef_questions_quick", override]) == 2
        told = capsys.readouterr().err
        assert words in told and told.count("\n") == 1 and "Traceback" not in told
    assert not list(tmp_path.iterdir())


def test_words_with_other_numbers_are_refused(downstream, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(trifeature_task_data, "load_trifeature", drawn_once)
    own = [f"model.pretrained={downstream / 'pretrained'}", f"training.output_dir={tmp_path / 'run'}", *TINY]
    assert main(["train", "latent_albef_entailment_quick", *own, "data.tokenizers={text: words}"]) == 2
    assert "data.tokenizers.text: its vocabulary is not that which" in capsys.readouterr().err
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").iterdir())


def test_classes_take_the_names_that_a_recipe_gives(downstream, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(trifeature_task_data, "load_trifeature", drawn_once)
    own = [f"model.pretrained={downstream / 'pretrained'}", f"training.output_dir={tmp_path / 'run'}", *TINY]
    assert main(["train", "latent_albef_entailment_quick", *own, "model.num_labels=2"]) == 2
    told = capsys.readouterr().err
    assert "model.num_labels: 2 labels, but the data has 3: entailment, neutral, contradiction; leave it out" in told
    names = "model.id2label={0: so, 1: open, 2: not}"
    assert main(["train", "latent_albef_entailment_quick", *own, names]) == 0
    assert list(read(tmp_path / "run", "config.json")["id2label"].values()) == ["so", "open", "not"]
    card = (tmp_path / "run" / "README.md").read_text()
    assert "`so`, `open` or `not`" in card and "0: so" in card
