"""Embeddings of a finished model, calibrated by its training rows."""

import json

import datasets
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from hf_latent import LatentCLIPConfig, LatentCLIPModel
from hf_latent.calibration import calibrate
from hf_latent.cli import main
from hf_latent.errors import UserError
from hf_latent.hub.card_fields import told_calibration
from hf_latent.hub.contents import published_settings
from hf_latent.models.calibration import Calibration
from tests.losses.golden import golden
from tests.models.small import small_clip, small_pairs
from tests.training.runs import build_clip_trainer

RECIPE = """
model:
  type: latent_clip
  projection_dim: 16
  modalities:
    left: {{encoder: table, input_dim: 6, hidden_dims: [32], token_dim: 32}}
    right: {{encoder: table, input_dim: 6, hidden_dims: [32], token_dim: 32}}
data: {{name: dataset, path: {path}, columns: {{left: x, right: y}}, splits: {{train: train, test: test}}}}
views: {{left: {{kind: none}}, right: {{kind: none}}}}
evaluation: {{benchmarks: {{mixed_retrieval: {{k: [5]}}, geometry: {{}}}}}}
training:
  output_dir: {output}
  max_steps: 20
  global_batch_size: 32
  learning_rate: 0.003
  disable_tqdm: true
  save_strategy: "no"
  report_to: none
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two modalities, and what was measured of it."""
    folder = tmp_path_factory.mktemp("calibration")
    draw = np.random.default_rng(0)
    x = draw.normal(size=(160, 6))
    y = x @ draw.normal(size=(6, 6)) + 0.3 * draw.normal(size=(160, 6))
    rows = datasets.Dataset.from_dict({"x": x.tolist(), "y": y.tolist()})
    datasets.DatasetDict(train=rows.select(range(96)), test=rows.select(range(96, 160))).save_to_disk(folder / "set")
    text = RECIPE.format(path=folder / "set", output=folder / "run")
    (folder / "recipe.yaml").write_text(text, encoding="utf-8", newline="\n")
    assert main(["train", str(folder / "recipe.yaml")]) == 0
    return folder / "run", metrics_of(folder / "run")


def metrics_of(run):
    return json.loads((run / "metrics.json").read_text(encoding="utf-8"))


def calibrated(rows, method, of=None):
    """The same, written out."""
    unit, own = (F.normalize(part.double(), dim=1) for part in (rows, rows if of is None else of))
    found = unit - own.mean(0)
    return F.normalize(found / own.std(0, correction=0) if method == "standardise" else found, dim=1)


def test_golden_values():
    a, b = golden(0), golden(1)
    for method, cosine in (("mean", 0.8249597780), ("standardise", 0.7831470978)):
        own = Calibration(["a", "b"], 5, method).double().fit({"a": a, "b": b})
        x, y = (F.normalize(own(name, 3 * rows), dim=1) for name, rows in (("a", a), ("b", b)))
        assert (x * y).sum(1).mean().item() == pytest.approx(cosine, abs=1e-9)
        torch.testing.assert_close(x, calibrated(a, method))
        if method == "mean":
            assert (x.mean(0) - y.mean(0)).norm().item() == pytest.approx(0.1181881281, abs=1e-9)
    assert (a.mean(0) - b.mean(0)).norm().item() == pytest.approx(0.2565860060, abs=1e-9)


def test_a_coordinate_that_never_varies_is_not_scaled():
    rows = torch.cat([golden(0), torch.zeros(4, 1, dtype=torch.float64)], dim=1)
    found = Calibration(["a"], 6, "standardise").double().fit({"a": rows})("a", rows)
    assert found.isfinite().all() and not found[:, 5].any()


def test_a_run_is_calibrated_by_its_training_rows_measured_and_put_back(trained, capsys):
    run, before = trained
    weights, plain = load_file(run / "model.safetensors"), LatentCLIPModel.from_pretrained(run)
    rows = datasets.load_from_disk(str(run.parent / "set"))
    values = {
        split: {
            name: {"values": torch.tensor(rows[split][column])} for name, column in (("left", "x"), ("right", "y"))
        }
        for split in ("train", "test")
    }
    with torch.no_grad():
        own = {split: plain(modalities=given, return_loss=False).embeds for split, given in values.items()}

    for method in ("standardise", "mean"):
        assert main(["calibrate", str(run), "--method", method, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found == metrics_of(run)
        model = LatentCLIPModel.from_pretrained(run)
        with torch.no_grad():
            embeds = model(modalities=values["test"], return_loss=False).embeds
            alone = model.get_features("left", **values["test"]["left"])
        torch.testing.assert_close(alone, embeds["left"])
        for name, rows in embeds.items():
            wanted = calibrated(own["test"][name], method, own["train"][name])
            torch.testing.assert_close(F.normalize(rows.double(), dim=1), wanted, atol=1e-5, rtol=1e-4)
        assert model.config.calibration == {"method": method, "data": "dataset", "rows": 96}
    for name in ("left", "right"):  # rows that the means are not of
        assert found[f"mixed_{name}_ndcg5"] > before[f"mixed_{name}_ndcg5"]
    assert found["gap_centroid"] < before["gap_centroid"]
    assert found["train_loss"] == before["train_loss"] and found["seed"] == before["seed"]
    card = (run / "README.md").read_text(encoding="utf-8")
    assert "was taken away, as measured on 96 training rows of `dataset`" in card and "calibrated" in card

    remote = get_class_from_dynamic_module("modeling_latent_clip.LatentCLIPModel", str(run))
    assert remote is not LatentCLIPModel
    with torch.no_grad():
        again = remote.from_pretrained(run).get_features("left", **values["test"]["left"])
    assert torch.equal(again, alone)

    (run / "metrics.json").write_text(json.dumps(metrics_of(run) | {"train_rows": 7}), encoding="utf-8", newline="\n")
    assert main(["calibrate", str(run), "--method", "none", "--quiet"]) == 0
    after = load_file(run / "model.safetensors")
    assert after.keys() == weights.keys() and all(torch.equal(after[name], weights[name]) for name in weights)
    assert json.loads((run / "config.json").read_text(encoding="utf-8"))["calibration"] is None
    assert "calibrated" not in (run / "README.md").read_text(encoding="utf-8")
    assert metrics_of(run) == before | {"train_rows": 7}


def test_mistakes_are_told_and_change_nothing(trained, capsys):
    run, _ = trained
    files = {path: path.stat().st_mtime_ns for path in run.rglob("*.*") if path.name != ".lock"}
    for method, words in (("none", "is not calibrated"), ("median", "write one of mean, standardise, none")):
        assert main(["calibrate", str(run), "--method", method]) == 2
        said = capsys.readouterr().err
        assert words in said and "Traceback" not in said
    with pytest.raises(UserError, match="holds no recipe"):
        calibrate(run.parent / "set")
    assert files == {path: path.stat().st_mtime_ns for path in run.rglob("*.*") if path.name != ".lock"}
    with pytest.raises(ValueError, match=r"calibration method 'mode'"):
        LatentCLIPConfig(calibration={"method": "mode"})
    model, rows = small_clip(), {"image": torch.ones(3, 8)}
    with pytest.raises(ValueError, match="'text': there are none"):
        model.calibrate(rows)
    assert model.calibration is None and model.config.calibration is None
    model.calibrate({**rows, "text": torch.eye(8)})
    with pytest.raises(ValueError, match="is calibrated, and so are its embeddings"):
        model.calibrate({**rows, "text": torch.eye(8)})


def test_logits_features_and_embeddings_agree_and_training_begins_without(capsys):
    model, batch = small_clip().eval(), small_pairs()
    plain = model(**batch)
    model.calibrate(small_clip().eval()(**small_pairs(rows=9, seed=3)).embeds)
    found = model(**batch)
    image, text = (F.normalize(rows, dim=1) for rows in found.embeds.values())
    torch.testing.assert_close(found.logits_per_image, model.scale * image @ text.T)
    assert not torch.allclose(found.logits_per_image, plain.logits_per_image)
    torch.testing.assert_close(model.get_image_features(batch["pixel_values"]), found.embeds["image"])
    model.on_train_begin()
    assert "it trains without them" in capsys.readouterr().out
    assert torch.equal(model(**batch).logits_per_image, plain.logits_per_image)
    assert model.config.calibration is None and "calibration" not in str(list(model.state_dict()))
    model.on_train_begin()
    assert not capsys.readouterr().out


def test_a_trainer_trains_without_it(tmp_path, capsys):
    trainer = build_clip_trainer(tmp_path, regularizers={}, in_modal=False, max_steps=1)
    trainer.model.calibrate(trainer.embed(trainer.train_dataset).embeds)
    trainer.train()
    assert trainer.model.calibration is None and "it trains without them" in capsys.readouterr().out
    trainer.save_model(str(tmp_path / "saved"))
    assert LatentCLIPModel.from_pretrained(tmp_path / "saved").config.calibration is None


def test_a_config_tells_no_path(tmp_path):
    told = {"method": "mean", "data": "/home/ada/photos", "rows": 5}
    assert told_calibration(told) == {"method": "mean", "data": None, "rows": 5}
    assert told_calibration({**told, "data": "user/photos"})["data"] == "user/photos"
    left_out = []
    found = published_settings(tmp_path / "config.json", {"model_type": "latent_clip", "calibration": told}, left_out)
    assert found["calibration"] == {"method": "mean", "rows": 5} and left_out == ["config.json: calibration.data"]
    assert LatentCLIPConfig(calibration=found["calibration"]).calibration["rows"] == 5
