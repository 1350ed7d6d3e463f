"""Names and captions that the encoding of the system does not hold, from the recipe to what is published."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
BERT = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
TOWERS = {"encoder": "cnn", "channels": [8, 16]}, {"encoder": "auto", "config": {**BERT, "intermediate_size": 16}}
CAPTIONS = ("ein süßer Hund 🐶", "кошка", "plain")
# A text file that hf_latent opens in the encoding of the system is an error; other libraries may.
SCRIPT = """\
import sys, warnings
from pathlib import Path

warnings.filterwarnings("error", category=EncodingWarning, module="hf_latent")
from hf_latent.cli import main
from hf_latent.hub.shareable import stage_run
from hf_latent.hub.space import write_space

assert sys.flags.warn_default_encoding
comm, *others = sys.argv[1:]
assert main(["train", comm]) == main(["train", comm, "--resume", "training.max_steps=2"]) == 0
if others:
    clip, study, runs = others
    run = Path(clip).with_suffix("")
    assert main(["train", clip]) == main(["evaluate", str(run)]) == main(["card", str(run)]) == 0
    assert main(["study", study, "--output", runs]) == 0
    assert main(["compare", str(run), runs + "/schön_1"]) == 0
stage_run(Path(comm).with_suffix(""), Path("model"), "user/name")
write_space(Path("space"), ["user/name"])
"""


def write_recipe(path, kind, image, text, **data):
    """A recipe of pictures and captions; its run is beside it, without the suffix."""
    data |= {"name": "dataset", "path": "imagefolder", "options": {"data_dir": str(path.parent / "bilder")}}
    data |= {"columns": {image: "image", text: "beschreibung_ü"}, "tokenizers": {text: "words"}}
    recipe = {
        "model": {"type": kind, "modalities": dict(zip((image, text), TOWERS, strict=True)), "projection_dim": 8},
        "data": data,
        "views": {image: {"kind": "image", "size": 16}, text: {"kind": "words"}},
        "training": {"max_steps": 1, "global_batch_size": 8, "save_steps": 1, "output_dir": str(path.with_suffix(""))},
    }
    path.write_text(yaml.safe_dump(recipe, allow_unicode=True), encoding="utf-8")
    return path


def run_script(folder, *recipes, **environment):
    """The script, in a folder with a data set of pictures; what it has printed."""
    (folder / "bilder").mkdir()
    lines = ["file_name,beschreibung_ü", *(f"{i}.png,{CAPTIONS[i % 3]} {i}" for i in range(12))]
    (folder / "bilder" / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for i in range(12):
        noise = np.random.default_rng(i).integers(0, 256, (16, 18, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "bilder" / f"{i}.png")
    (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, "-X", "warn_default_encoding", "script.py", *map(str, recipes)]
    environment = {**os.environ, "PYTHONUTF8": "0", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-3000:]
    return done.stdout


def read(path):
    return path.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_console_without_the_letters_of_a_name(tmp_path):
    """As on Windows where the output goes into a file: names of files are Unicode, the output is cp1252."""
    clip = write_recipe(tmp_path / "läufe_ж.yaml", "latent_clip", "image", "text", test_split="train")
    comm = write_recipe(tmp_path / "größe_ж.yaml", "comm", "bild_ä", "wörter")
    study = {"recipe": str(clip), "seeds": [1], "structures": {"schön": {"model": {"projection_dim": 4}}}}
    (tmp_path / "studie.yaml").write_text(yaml.safe_dump(study, allow_unicode=True), encoding="utf-8")
    told = run_script(
        *(tmp_path, comm, clip, tmp_path / "studie.yaml", tmp_path / "studie_🐶"),
        LC_ALL="C.UTF-8",
        PYTHONIOENCODING="cp1252",
    ).decode("cp1252")
    assert r"größe_\u0436" in told and r"studie_\U0001f436" in told and "schön_1" in told
    runs = tmp_path / "größe_ж", tmp_path / "läufe_ж", tmp_path / "studie_🐶" / "schön_1"
    for run in runs:
        assert "beschreibung_ü" in read(run / "recipe.yaml") and (run / "README.md").is_file()
    assert list(json.loads(read(tmp_path / "studie_🐶" / "study.json"))) == ["schön"]
    assert "schön" in read(tmp_path / "studie_🐶" / "study.md")
    assert set(json.loads(read(runs[0] / "config.json"))["modalities"]) == {"bild_ä", "wörter"}
    words = json.loads(read(tmp_path / "model" / "tokenizer_wörter" / "tokenizer.json"))["model"]["vocab"]
    assert {"süßer", "кошка", "🐶"} <= set(words)


@pytest.mark.slow
def test_a_system_whose_encoding_is_ascii(tmp_path):
    """The names of its files are ASCII; what is in the files need not be."""
    comm = write_recipe(tmp_path / "run.yaml", "comm", "image", "text")
    run_script(tmp_path, comm, LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="")
    assert "beschreibung_ü" in read(tmp_path / "run" / "recipe.yaml")
