"""A run of LatentCLIP on three modalities of one's own: trained, measured, described, published and shown."""

import json
import re
import shutil

import datasets
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from hf_latent import CoMMProcessor, LatentCLIPModel
from hf_latent.cli import main
from hf_latent.hub.shareable import stage_run

KINDS = ("slow", "fast", "calm")
COLORS = ((200, 30, 30), (30, 30, 200), (30, 160, 30))
BERT = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
RECIPE = {
    "model": {
        "type": "latent_clip",
        "modalities": {
            "photo": {"encoder": "cnn", "channels": [8, 16]},
            "note": {"encoder": "auto", "config": {**BERT, "intermediate_size": 16}},
            "force": {"encoder": "sequence", "input_dim": 3, "hidden_size": 8, "num_layers": 1, "num_heads": 2},
        },
        "projection_dim": 8,
        "anchor": "photo",
        "in_modal": True,
        "regularizers": {
            "feature_separation": {"weight": 0.1},
            "brownian_bridge": {"weight": 0.1, "bridged": ["photo", "force"]},
            "geometric_consistency": {"weight": 0.1},
        },
    },
    "data": {
        "name": "dataset",
        "columns": {"photo": "picture", "note": "note", "force": "force"},
        "tokenizers": {"note": "words"},
        "labels": {"kind": {"column": "kind", "of": ["photo", "note", "force"]}, "speed": "speed"},
    },
    "views": {
        "photo": {"kind": "image", "size": 16, "blur": 0.0},
        "note": {"kind": "words"},
        "force": {"kind": "series"},
    },
    "evaluation": {
        "benchmarks": {
            "retrieval": {"k": [1, 5]},
            "zero_shot": {"label": "kind", "modality": "photo", "templates": ["it was {}"], "k": [1]},
            "probes": {},
            "geometry": {},
        }
    },
    "training": {
        **{"max_steps": 4, "global_batch_size": 12, "logging_steps": 1, "disable_tqdm": True, "use_cpu": True},
        **{"learning_rate": 1e-3, "eval_strategy": "steps", "eval_steps": 2, "save_steps": 2},
        **{"metric_for_best_model": "photo_to_note_r1", "load_best_model_at_end": True},
    },
}


def rows(count, seed):
    rng = np.random.default_rng(seed)
    found, time = [], np.linspace(0, 6, 12)
    for number in range(count):
        kind = number % 3
        length = 6 + number % 5
        waves = np.stack([np.sin(time * (1 + kind)), np.cos(time), time / 6], 1)[:length]
        row = {"picture": Image.new("RGB", (20, 16), COLORS[kind]), "note": f"it was {KINDS[kind]} at {number}"}
        row |= {"force": (waves + rng.normal(0, 0.1, waves.shape)).tolist(), "kind": KINDS[kind]}
        found.append(row | {"speed": kind + rng.normal(0, 0.1)})
    return datasets.Dataset.from_list(found)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run, in a folder with the data and the pictures that the code of its card opens."""
    folder = tmp_path_factory.mktemp("three")
    splits = {"train": rows(36, 0), "validation": rows(12, 1), "test": rows(18, 2)}
    datasets.DatasetDict(splits).save_to_disk(folder / "rows")
    Image.new("RGB", (20, 20), "red").save(folder / "photo.png")
    values = {**RECIPE, "data": {**RECIPE["data"], "path": str(folder / "rows")}}
    (folder / "three.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    assert main(["train", str(folder / "three.yaml"), f"training.output_dir={folder / 'run'}"]) == 0
    return folder / "run"


def test_every_pair_and_every_modality_is_measured(run):
    metrics = json.loads((run / "metrics.json").read_text())
    names = ("photo", "note", "force")
    pairs = [(a, b) for a in names for b in names if a != b]
    wanted = {f"{a}_to_{b}_r{k}" for a, b in pairs for k in (1, 5)}
    wanted |= {
        f"{key}_{a}_{b}" for key in ("gap_centroid", "cka") for a, b in pairs if names.index(a) < names.index(b)
    }
    wanted |= {f"probe_kind_{name}" for name in names} | {f"probe_speed_{name}_r2" for name in (*names, "full")}
    assert wanted | {"gap_centroid", "separation", "temperature", "zero_shot_top1"} <= metrics.keys()
    assert not any(key.startswith("probe_kind_full") or key.endswith("_image") for key in metrics)
    logged = [
        entry for entry in json.loads((run / "trainer_state.json").read_text())["log_history"] if "loss" in entry
    ]
    for entry in logged:
        each = [entry["loss_contrastive_photo_note"], entry["loss_contrastive_photo_force"]]
        assert entry["loss_contrastive"] == pytest.approx(np.mean(each))
        assert "loss_contrastive_note_force" not in entry and "loss_in_modal" in entry


@pytest.mark.slow
def test_it_is_measured_again_and_compared(run, capsys):
    before = json.loads((run / "metrics.json").read_text())
    assert main(["evaluate", str(run), "--quiet"]) == 0
    after = json.loads((run / "metrics.json").read_text())
    assert after.keys() == before.keys()
    for key in ("photo_to_force_r5", "cka_note_force", "probe_kind_note", "zero_shot_top1"):
        assert after[key] == pytest.approx(before[key])
    shutil.copytree(run, run.parent / "again", dirs_exist_ok=True)
    capsys.readouterr()
    assert main(["compare", str(run), str(run.parent / "again")]) == 0
    assert "photo_to_note_r1" in capsys.readouterr().out


def test_the_card_says_what_it_is_and_its_code_runs(run, monkeypatch):
    text = (run / "README.md").read_text()
    assert "3 towers (`photo`, `note`, `force`) in one space of 8 dimensions" in text
    assert "between `photo` and each of the others" in text and "girdhar2023imagebind" in text
    assert r"\sum_{B \neq 1} (L_{1 \to B} + L_{B \to 1})" in text and "by their numbers in the order above" in text
    assert "pipeline_tag" not in text.split("---")[1]
    monkeypatch.chdir(run.parent)
    code = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)[0].replace("user/name", str(run))
    names: dict = {}
    exec(code, names)
    assert {name: rows.shape for name, rows in names["embeds"].items()} == dict.fromkeys(
        ("photo", "note", "force"), (1, 8)
    )
    assert names["cosine"].shape == (1,) and isinstance(names["processor"], CoMMProcessor)
    folder = run.parent / "staged"
    folder.mkdir()
    stage_run(run, folder, "user/name")
    assert {"image_text.py", "modeling_latent_clip.py", "processing_comm.py"} <= {p.name for p in folder.iterdir()}


def test_the_space_shows_it_and_takes_a_picture_and_texts(run):
    pytest.importorskip("gradio")
    pytest.importorskip("plotly")
    import tests.space.runs  # noqa: F401  # isort: skip  # makes the modules of the Space importable
    import app
    from explorer import Explorer
    from tabs import ask

    explorer = Explorer(str(run))
    assert explorer.image_and_text == ("photo", "note") and explorer.modalities == ["photo", "note", "force"]
    page = app.build_demo([explorer]).get_config_file()
    tabs = [part["props"]["label"] for part in page["components"] if part["type"] == "tabitem"]
    assert tabs == ["Latent map", "Labels", "Ask", "Structure"]
    texts, picture = ["it was slow at 1", "it was fast at 2"], Image.new("RGB", (20, 16), COLORS[0])
    html = ask.answer_html(explorer, None, picture, texts)
    batch = explorer.processor({"photo": [picture]}), explorer.processor({"note": texts})
    model = LatentCLIPModel.from_pretrained(run).eval()
    with torch.no_grad():
        photo, note = (model(**each).embeds[name] for each, name in zip(batch, ("photo", "note"), strict=True))
        chances = (model.scale * torch.cosine_similarity(photo, note)).softmax(0)
    for chance in chances.tolist():
        assert f"{100 * chance:.1f} %" in html
    assert "it reads more modalities than these two" in html
    assert "<figure>" in ask.images_html(explorer, texts[0])
