"""The recipe of grounding from end to end, two steps of it: what is measured, drawn and told."""

import json

import numpy as np
import pytest
import torch

from hf_latent import LatentALBEFForImageTextRetrieval, LatentALBEFProcessor
from hf_latent.cli import main
from hf_latent.data.loaded import GroundingBenchmark
from hf_latent.data.tokenizers import word_tokenizer
from hf_latent.data.trifeature_scenes import TrifeatureScenesData
from hf_latent.evaluation.grounding import GroundingEvaluation
from hf_latent.results import table
from tests.models.small import small_albef

STEPS = ("training.max_steps=2", "training.global_batch_size=16", "data.scenes=32", "data.test_scenes=12")
GROUNDING = {"grounding_pointing", "grounding_chance", "grounding_box", "grounding_box_chance", "grounding_energy"}


def train(folder, *overrides):
    shown = (f"training.output_dir={folder}", "training.disable_tqdm=true")
    assert main(["train", "latent_albef_grounding_quick", *STEPS, *shown, *overrides]) == 0
    return json.loads((folder / "metrics.json").read_text())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grounding") / "run"
    train(folder)
    return folder


def test_the_run_is_measured_and_drawn(run):
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics.keys() >= GROUNDING and all(0 <= metrics[name] <= 100 for name in GROUNDING)
    assert 5 < metrics["grounding_chance"] < 25 and 25 <= metrics["grounding_box_chance"] <= 50
    assert (run / "figures" / "grounding.png").is_file()
    assert "pointing" in table({"run": metrics})


def test_the_card_tells_it(run):
    card = (run / "README.md").read_text()
    metrics = json.loads((run / "metrics.json").read_text())
    pointing, chance = (f"{metrics[name]:.1f} %" for name in ("grounding_pointing", "grounding_chance"))
    assert f"lies in the box | **{pointing}** | {chance} |" in card
    assert "![Held-out pictures, lit where" in card and "(figures/grounding.png)" in card
    assert "grounding_maps(**batch)" in card and "12 pictures whose objects are combinations" in card
    assert "two to four Trifeature objects" in card and "hermann2020what" in card


def test_evaluated_again_it_says_the_same(run):
    before = json.loads((run / "metrics.json").read_text())
    assert main(["evaluate", str(run)]) == 0
    after = json.loads((run / "metrics.json").read_text())
    assert {name: after[name] for name in GROUNDING} == pytest.approx({name: before[name] for name in GROUNDING})


def test_without_matching_nothing_is_grounded(tmp_path):
    metrics = train(tmp_path / "run", "model.itm_weight=0")
    assert not metrics.keys() & GROUNDING and not (tmp_path / "run" / "figures" / "grounding.png").exists()
    assert "### Grounding" not in (tmp_path / "run" / "README.md").read_text()


def test_an_encoder_without_a_grid_is_told(tmp_path, capsys):
    swin = {"model_type": "swin", "image_size": 64, "patch_size": 4, "embed_dim": 8, "depths": [1, 1]}
    image = {"encoder": "auto", "config": {**swin, "num_heads": [1, 2], "window_size": 2}}
    data = TrifeatureScenesData(scenes=1, test_scenes=2).load()
    evaluation = GroundingEvaluation(data.grounding)
    tokenizer = data.tokenizers["text"]
    evaluation.model = small_albef(image=image, vocab_size=len(tokenizer), dtype=torch.float32)
    evaluation.processor = LatentALBEFProcessor.for_size(64, tokenizer)
    assert evaluation.metrics() == {}
    evaluation.figures(tmp_path, "run", {})
    assert "Phrases are not grounded: the 64 tokens" in capsys.readouterr().out and not list(tmp_path.iterdir())


def test_each_phrase_is_measured_in_its_picture():
    """A map that is lit at the top left of white pictures, at the bottom right of black ones: three of four hit."""
    tokenizer = word_tokenizer(["a photo of a star", "a circle"])
    first, last = [0, 0, 8, 8], [8, 8, 16, 16]
    benchmark = GroundingBenchmark(
        images=np.stack([np.full((16, 16, 3), value, dtype=np.uint8) for value in (0, 255)]),
        pictures=np.array([1, 1, 0, 0]),
        phrases=["a star", "a circle", "a circle", "a circle"],
        boxes=np.array([[first, last], [first, last], [last, first], [first, last]]),
        template="a photo of {}",
    )
    read = []

    def maps(pixel_values, input_ids, attention_mask, **kwargs):
        read.extend(tokenizer.batch_decode(input_ids, skip_special_tokens=True))
        lit = torch.zeros(len(pixel_values), 2, 2)
        white = pixel_values.mean(dim=(1, 2, 3)) > 0
        lit[white, 0, 0] = lit[~white, 1, 1] = 1.0
        return lit

    evaluation = GroundingEvaluation(benchmark)
    evaluation.model = small_albef(
        cls=LatentALBEFForImageTextRetrieval, vocab_size=len(tokenizer), dtype=torch.float32
    )
    evaluation.model.grounding_maps = maps
    evaluation.processor = LatentALBEFProcessor.for_size(16, tokenizer)
    found = evaluation.metrics()
    assert read == ["a photo of a star"] + ["a photo of a circle"] * 3
    assert found["grounding_pointing"] == found["grounding_box"] == 75
    assert found["grounding_chance"] == pytest.approx(25) and found["grounding_box_chance"] == pytest.approx(50)
