"""The command line: a small run from recipe to card, and mistakes that end in one sentence and code 2."""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import hf_latent
from hf_latent.cli import main
from tests.test_recipe import BASE

pytestmark = pytest.mark.usefixtures("one_drawing")

SMALL = ["data.renders=1", "data.max_pairs=120", "training.max_steps=4", "training.save_strategy=steps"]
SMALL += ["training.save_steps=2", "training.logging_steps=1", "training.disable_tqdm=true"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    (folder / "tiny.yaml").write_text(BASE)
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["train", "tiny.yaml", *SMALL]) == 0
    finally:
        os.chdir(before)
    return folder / "outputs" / "tiny"


def test_the_run_folder_holds_all_that_it_should(run):
    names = {str(path.relative_to(run)) for path in run.rglob("*") if "checkpoint" not in str(path)}
    assert {"model.safetensors", "config.json", "processor_config.json", "recipe.yaml", "metrics.json"} <= names
    assert {"trainer_state.json", "README.md", "modeling_comm.py", "encoders.py"} <= names
    assert {"figures/losses.png", "figures/interactions.png", "figures/latent_map.png"} <= names
    assert not any(".staging" in name or "partial" in name for name in names)
    assert (run / "checkpoint-4" / "model.safetensors").is_file()


def test_metrics_are_flat_and_complete(run):
    metrics = json.loads((run / "metrics.json").read_text())
    percent = ("redundancy", "uniqueness1", "uniqueness2", "synergy", "synergy_unweighted")
    assert all(0 <= metrics[name] <= 100 for name in percent)
    assert 0 <= metrics["synergy_auroc"] <= 1
    assert metrics["train_loss"] > 0 and metrics["train_runtime"] > 0 and metrics["train_samples_per_second"] > 0
    assert metrics["seed"] == 42 and metrics["torch_version"] == torch.__version__
    described = metrics.pop("measurements")
    assert all(not isinstance(value, dict | list) for value in metrics.values())
    assert {*percent, "synergy_auroc"} == described.keys() and described["synergy"]["chance"] == 50


def test_the_run_loads_from_python(run):
    model = hf_latent.CoMMModel.from_pretrained(run).eval()
    processor = hf_latent.CoMMProcessor.from_pretrained(run)
    pairs = hf_latent.load_trifeature(16, renders=1).pairs("test")
    batch = processor({name: [pairs[0][name]] for name in ("image1", "image2")})
    assert model.get_fused_features(**batch).shape == (1, 16)


def test_the_card_tells_what_was_measured(run):
    card = (run / "README.md").read_text()
    metrics = json.loads((run / "metrics.json").read_text())
    assert card.startswith("---\n") and "model-index" in card
    assert f"**{metrics['redundancy']:.1f} %**" in card
    assert "output_dir" not in card and str(run.parent.parent) not in card


def test_evaluate_measures_the_same_again(run, capsys):
    before = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps({**before, "redundancy": -1.0}))
    assert main(["evaluate", str(run)]) == 0
    assert json.loads((run / "metrics.json").read_text()) == before


def test_only_what_compares_modalities_is_calibrated(run, capsys):
    assert main(["calibrate", str(run)]) == 2
    assert "holds a CoMMModel: only the embeddings of a LatentCLIP are calibrated" in capsys.readouterr().err


def test_compare_prints_and_draws(run, tmp_path, capsys):
    assert main(["compare", str(run), str(run), "--output", str(tmp_path / "bars.png")]) == 0
    printed = capsys.readouterr().out
    assert "redundancy" in printed and "tiny" in printed
    assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_is_not_overwritten_and_resumes(run, monkeypatch, capsys):
    monkeypatch.chdir(run.parent.parent)
    assert main(["train", "tiny.yaml", *SMALL]) == 2
    assert "already holds a run: go on with --resume" in capsys.readouterr().err
    assert main(["train", "tiny.yaml", *SMALL, "model.embed_dim=32", "--resume"]) == 2
    assert "another section 'model'" in capsys.readouterr().err
    weights = (run / "model.safetensors").stat().st_mtime_ns
    assert main(["train", "tiny.yaml", *SMALL, "--resume"]) == 0
    assert "is finished already" in capsys.readouterr().out
    assert (run / "model.safetensors").stat().st_mtime_ns == weights
    before = json.loads((run / "trainer_state.json").read_text())["log_history"]
    longer = ["train", "tiny.yaml", "--resume", *SMALL, "training.max_steps=6"]  # overrides on either side of it
    with monkeypatch.context() as cut_off:
        cut_off.setattr(hf_latent.LatentTrainer, "train", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main(longer) == 130
    assert not (run / "metrics.json").exists()  # or the run would pass for finished
    assert main(longer) == 0
    after = json.loads((run / "trainer_state.json").read_text())
    assert after["global_step"] == 6
    assert [e["loss"] for e in after["log_history"] if "loss" in e][:4] == [e["loss"] for e in before if "loss" in e]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "no_such.yaml"], "no recipe at no_such.yaml"),
        (["train", "{tiny}", "training.sede=1"], "did you mean 'seed'"),
        (["train", "{tiny}", "training.global_batch_size=1"], "at least 2 rows"),
        (["train", "{tiny}", "data.image_size=2"], "size=2: write a whole number of pixels"),
        (["train", "{tiny}", "model.modalities.image2.encoder=cm", "--resume"], "no encoder 'cm'"),
        (["train", "{tiny}", "views.image1.kind=none"], "its encoder reads image; write kind: image"),
        (["train", "{tiny}", "model.modalities.image2.channels=8"], "model: "),
        (["train", "{tiny}", "model.embed_dim=6", "model.fusion_heads=2"], "a multiple of 4"),
        (["train", "{tiny}", "data.max_pairs=4"], "4 rows, fewer than one global batch of 8"),
        (["train", "{tiny}", "training.seed=-1"], "seed"),
        (["train", "{tiny}", "training.gradient_accumulation_steps=0"], "write 1 or more"),
        (["train", "{tiny}", "model.modalities.image3.encoder=cnn", "views.image3.kind=image"], "no column 'image3'"),
        (["evaluate", "{folder}"], "holds no recipe.yaml"),
        (["train", "{tiny}", "training.gradient_checkpointing=nan"], "gradient_checkpointing"),
        (["compare", "{folder}/nothing"], "holds no metrics.json"),
        (["card", "{folder}"], "holds no config.json"),
    ],
)
def test_mistakes_end_in_one_sentence_and_code_2(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(BASE)
    # An exception that is not the user's would leave main, and fail the test.
    assert main([a.format(tiny="tiny.yaml", folder=str(tmp_path)) for a in arguments]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train"], "required: recipe\n"),
        (
            ["train", "tiny.yaml", "--output_dir", "here"],
            "--output_dir here; a change to the recipe is written",
        ),
        (["evaluate", "run", "here"], "unrecognized arguments: here\n"),
    ],
)
def test_mistakes_on_the_command_line(capsys, arguments, words):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2 and words in capsys.readouterr().err


def test_the_process_ends_with_code_2_and_no_traceback(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(hf_latent.__file__).parents[1])}
    command = [sys.executable, "-m", "hf_latent", "train", "no_such_recipe"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("hf-latent: no recipe at no_such_recipe") and "Traceback" not in done.stderr


def test_weights_of_another_model_are_refused(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    weights = load_file(run / "model.safetensors")
    save_file({f"other.{name}": tensor for name, tensor in weights.items()}, tmp_path / "run" / "model.safetensors")
    before = (tmp_path / "run" / "metrics.json").read_text()
    assert main(["evaluate", str(tmp_path / "run")]) == 2
    assert "are of another model" in capsys.readouterr().err
    assert (tmp_path / "run" / "metrics.json").read_text() == before


def test_a_checkpoint_of_another_model_is_refused(tmp_path, capsys):
    from transformers import BertConfig, BertModel

    (tmp_path / "recipe.yaml").write_text(BASE)
    BertModel(BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=9)).save_pretrained(
        tmp_path
    )
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "bert" in capsys.readouterr().err.lower()


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    expected = f"hf_latent {hf_latent.__version__}, torch {torch.__version__}, transformers {version('transformers')}"
    assert " ".join(capsys.readouterr().out.split()) == expected


def document(text):
    """The one JSON document that a text is; what JSON does not know, such as NaN, is refused."""

    def refuse(word):
        raise AssertionError(word)

    return json.loads(text, parse_constant=refuse)


def test_evaluate_prints_one_json_document(run, capfd):
    before = json.loads((run / "metrics.json").read_text())
    assert main(["evaluate", str(run), "--json"]) == 0
    told = capfd.readouterr()
    assert document(told.out) == before and list(document(told.out)) == list(before)
    assert "Measuring ..." in told.err and f"Run: {run}" in told.err


def test_numbers_that_are_not_finite_are_null(run, tmp_path, monkeypatch, capsys):
    found = {"cka": float("nan"), "é": [float("-inf"), 1.5], "measurements": {"cka": {"chance": float("inf")}}}
    monkeypatch.setattr("hf_latent.experiment.evaluate", lambda *_, **__: found)
    assert main(["evaluate", str(run), "--json"]) == 0
    assert document(capsys.readouterr().out) == {
        "cka": None,
        "é": [None, 1.5],
        "measurements": {"cka": {"chance": None}},
    }


@pytest.mark.slow
def test_what_libraries_write_on_stdout_is_no_part_of_the_json(tmp_path):
    """Of the process, not only of Python."""
    (tmp_path / "noisy.py").write_text(
        "import os, sys\nfrom hf_latent import cli, experiment\n\n"
        "def evaluate(*_, **__):\n    print('python')\n    os.write(1, b'library')\n    os.system('echo child')\n"
        "    return {'cka': 0.5}\n\nexperiment.evaluate = evaluate\nsys.exit(cli.main(sys.argv[1:]))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(hf_latent.__file__).parents[1])}
    command = [sys.executable, "noisy.py", "evaluate", "run", "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0 and document(done.stdout) == {"cka": 0.5}
    assert all(word in done.stderr for word in ("python", "library", "child"))


def test_compare_prints_one_json_document(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "b", ignore=shutil.ignore_patterns("checkpoint-*"))
    before = sorted(tmp_path.iterdir())
    assert main(["compare", str(tmp_path / "b"), str(run), "--json"]) == 0
    told = capsys.readouterr()
    found = document(told.out)
    metrics = json.loads((run / "metrics.json").read_text())
    assert list(found) == ["b", "tiny"] and found["b"] == found["tiny"]
    assert list(found["tiny"]["synergy"])[:5] == ["value", "unit", "chance", "better", "title"]
    assert found["tiny"]["synergy"]["value"] == metrics["synergy"] and found["tiny"]["synergy"]["chance"] == 50
    assert found["tiny"].keys() == metrics["measurements"].keys()
    assert found["tiny"]["synergy_auroc"]["unit"] == ""  # what metrics.json leaves out is there
    assert sorted(tmp_path.iterdir()) == before and not (run.parent / "comparison.png").exists()
    assert main(["compare", str(run), "--json", "--output", str(tmp_path / "bars.png")]) == 0
    told = capsys.readouterr()
    assert list(document(told.out)) == ["tiny"] and "Picture:" in told.err and (tmp_path / "bars.png").is_file()


def test_errors_print_no_json(tmp_path, capsys):
    for command in ("evaluate", "compare"):
        assert main([command, str(tmp_path), "--json"]) == 2
        told = capsys.readouterr()
        assert not told.out and told.err.startswith("hf-latent: ") and "holds no" in told.err


def test_quiet_prints_results_alone(run, tmp_path, capfd):
    assert main(["evaluate", str(run), "--quiet"]) == 0
    told = capfd.readouterr()
    table = told.out.splitlines()
    assert len(table) == 2 and table[0].startswith("run") and table[1].startswith("tiny")
    assert "%|" not in told.err and "it/s" not in told.err
    assert main(["--quiet", "compare", str(run), "--output", str(tmp_path / "bars.png")]) == 0
    assert capfd.readouterr().out.splitlines() == table
    assert main(["card", str(run), "--quiet"]) == 0
    assert capfd.readouterr().out == f"{run / 'README.md'}\n"
    assert main(["evaluate", str(tmp_path), "--quiet"]) == 2
    told = capfd.readouterr()
    assert not told.out and "holds no recipe.yaml" in told.err


@pytest.mark.slow
def test_quiet_training_prints_nothing_and_is_the_same_run(run, tmp_path, monkeypatch, capfd):
    (tmp_path / "tiny.yaml").write_text(BASE)
    monkeypatch.chdir(tmp_path)
    shown = [word for word in SMALL if "tqdm" not in word]
    assert main(["train", "tiny.yaml", *shown, "training.disable_tqdm=false", "--quiet"]) == 0
    told = capfd.readouterr()
    assert not told.out and "%|" not in told.err and "it/s" not in told.err
    assert "disable_tqdm: false" in Path("outputs/tiny/recipe.yaml").read_text()  # as it was written
    assert main(["train", "tiny.yaml", *shown, "training.disable_tqdm=false", "--resume"]) == 0
    assert "is finished already" in capfd.readouterr().out
    assert main(["train", "no_such.yaml", "--quiet"]) == 2
    assert "no recipe at no_such.yaml" in capfd.readouterr().err


def test_quiet_publishing_prints_the_address(run, monkeypatch, capsys):
    asked = {}
    monkeypatch.setattr("hf_latent.hub.push.push_run", lambda *_, **__: print("Uploading") or "https://hub/a/b")
    monkeypatch.setattr("hf_latent.hub.dataset.push_trifeature", lambda **o: asked.update(o) or "https://hub/a/c")
    assert main(["push", str(run), "a/b", "--quiet"]) == 0
    assert capsys.readouterr().out == "https://hub/a/b\n"
    assert main(["data", "push", "a/c", "--quiet"]) == 0
    assert capsys.readouterr().out == "https://hub/a/c\n" and asked["progress"] is False
    assert main(["data", "push", "a/c"]) == 0
    assert capsys.readouterr().out == "Pushed: https://hub/a/c\n" and asked["progress"] is True
    assert not {"json", "quiet", "run"} & asked.keys()
