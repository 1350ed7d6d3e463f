"""Where matching looks, on maps whose numbers are known by hand; and the recipe from end to end, two steps of it."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hf_latent import LatentALBEFForImageTextRetrieval, LatentALBEFProcessor
from hf_latent.cli import main
from hf_latent.data.loaded import Regions
from hf_latent.data.tokenizers import word_tokenizer
from hf_latent.errors import UserError
from hf_latent.evaluation import Grounding
from hf_latent.evaluation.abilities import phrase_maps
from hf_latent.results import read, table
from hf_latent.training.encode import TrainerEncode
from tests.evaluation.planted import Planted, chances, data_of, embeddings, split, values
from tests.models.small import small_albef

STEPS = ("training.max_steps=2", "training.global_batch_size=16", "data.scenes=32", "data.test_scenes=12")
GROUNDING = {"grounding_pointing", "grounding_chance", "grounding_box", "grounding_box_chance", "grounding_energy"}
FIRST, LAST, RIGHT, NONE = [0, 0, 8, 8], [8, 8, 16, 16], [8, 0, 16, 8], [0, 0, 0, 0]


def regions(**options):
    """Four phrases in two pictures, a black one and a white one."""
    given = {
        "images": np.stack([np.full((16, 16, 3), value, dtype=np.uint8) for value in (0, 255)]),
        "pictures": np.array([1, 1, 0, 0]),
        "phrases": ["a star", "a circle", "a circle", "a circle"],
        "boxes": np.array([[FIRST, LAST, NONE], [FIRST, LAST, NONE], [LAST, FIRST, NONE], [FIRST, LAST, RIGHT]]),
        "template": "a photo of {}",
    }
    return Regions(**{**given, **options})


def run(maps):
    data = data_of(split(2), regions=regions())
    Grounding().check(data)
    return Grounding().run(Planted((data.test, embeddings(image=np.eye(2))), maps=maps), data)


def test_the_values_and_their_chance():
    """Three of four point at their box. The last map has a quarter of its sum in the right box, and half in another;
    a guess among two boxes is right in half of the cases, among three in a third."""
    maps = np.array([[[1, 0], [0, 0]], [[1, 0], [0, 0]], [[0, 0], [0, 3]], [[1, 1], [0, 2]]])
    measured = run(maps)
    found, levels = values(measured), chances(measured)
    assert found["grounding_pointing"] == found["grounding_box"] == 75
    assert found["grounding_energy"] == pytest.approx(100 * (3 + 1 / 4) / 4)
    assert levels["grounding_pointing"] == levels["grounding_energy"] == found["grounding_chance"] == 25
    assert levels["grounding_box"] == found["grounding_box_chance"] == pytest.approx(100 * (3 / 2 + 1 / 3) / 4)
    described = {m.key: m for m in measured if m.group}
    assert set(described) == {"grounding_pointing", "grounding_box", "grounding_energy"}
    assert {m.rows for m in described.values()} == {4}


def test_without_maps_nothing_is_measured():
    class Unable(Planted):
        def maps(self, regions):
            return None

    data = data_of(split(2), regions=regions())
    assert Grounding().run(Unable(), data) == []


def test_without_phrases_it_is_refused():
    with pytest.raises(UserError, match="grounding needs phrases with boxes, which this data has not"):
        Grounding().check(data_of(split(2)))


def test_each_phrase_is_read_in_its_picture():
    """A map that is lit at the top left of white pictures, at the bottom right of black ones."""
    tokenizer, read = word_tokenizer(["a photo of a star", "a circle"]), []

    def maps(pixel_values, input_ids, attention_mask, **kwargs):
        read.extend(tokenizer.batch_decode(input_ids, skip_special_tokens=True))
        lit = torch.zeros(len(pixel_values), 2, 2)
        white = pixel_values.mean(dim=(1, 2, 3)) > 0
        lit[white, 0, 0] = lit[~white, 1, 1] = 1.0
        return lit

    model = small_albef(cls=LatentALBEFForImageTextRetrieval, vocab_size=len(tokenizer), dtype=torch.float32)
    model.grounding_maps = maps
    found = phrase_maps(model, LatentALBEFProcessor.for_size(16, tokenizer), regions())
    assert read == ["a photo of a star"] + ["a photo of a circle"] * 3
    assert found[:2].tolist() == [[[1, 0], [0, 0]]] * 2 and found[2:].tolist() == [[[0, 0], [0, 1]]] * 2


def train(folder, *overrides):
    shown = (f"training.output_dir={folder}", "training.disable_tqdm=true")
    assert main(["train", "latent_albef_grounding_quick", *STEPS, *shown, *overrides]) == 0
    return json.loads((folder / "metrics.json").read_text())


@pytest.fixture(scope="module")
def grounded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grounding") / "run"
    train(folder)
    return folder


def test_the_run_is_measured_and_drawn(grounded):
    metrics = json.loads((grounded / "metrics.json").read_text())
    assert metrics.keys() >= GROUNDING and all(0 <= metrics[name] <= 100 for name in GROUNDING)
    assert 5 < metrics["grounding_chance"] < 25 and 25 <= metrics["grounding_box_chance"] <= 50
    assert (grounded / "figures" / "grounding.png").is_file()
    assert "pointing" in table({"run": read(metrics)})


def test_the_card_tells_it(grounded):
    card = (grounded / "README.md").read_text()
    metrics = json.loads((grounded / "metrics.json").read_text())
    pointing, chance = (f"{metrics[name]:.1f} %" for name in ("grounding_pointing", "grounding_chance"))
    assert f"lies in the box | **{pointing}** | {chance} |" in card
    assert "![Held-out pictures, lit where" in card and "(figures/grounding.png)" in card
    assert "grounding_maps(**batch)" in card and "12 pictures whose objects are combinations" in card
    assert "two to four Trifeature objects" in card and "hermann2020what" in card


@pytest.mark.slow
def test_evaluated_again_it_says_the_same(grounded):
    before = json.loads((grounded / "metrics.json").read_text())
    assert main(["evaluate", str(grounded)]) == 0
    after = json.loads((grounded / "metrics.json").read_text())
    assert {name: after[name] for name in GROUNDING} == pytest.approx({name: before[name] for name in GROUNDING})


def test_without_matching_nothing_is_grounded(tmp_path):
    metrics = train(tmp_path / "run", "model.itm_weight=0")
    assert not metrics.keys() & GROUNDING and not (tmp_path / "run" / "figures" / "grounding.png").exists()
    assert "### Grounding" not in (tmp_path / "run" / "README.md").read_text()


def test_an_encoder_without_a_grid_is_told(capsys):
    swin = {"model_type": "swin", "image_size": 16, "patch_size": 2, "embed_dim": 8, "depths": [1, 1]}
    image = {"encoder": "auto", "config": {**swin, "num_heads": [1, 2], "window_size": 2}}
    tokenizer = word_tokenizer(["a photo of a star", "a circle"])
    cls = LatentALBEFForImageTextRetrieval
    model = small_albef(cls=cls, image=image, vocab_size=len(tokenizer), dtype=torch.float32)
    trainer = SimpleNamespace(
        model=model,
        accelerator=SimpleNamespace(unwrap_model=lambda model: model),
        processing_class=LatentALBEFProcessor.for_size(16, tokenizer),
    )
    data = data_of(split(2), regions=regions())
    encode = TrainerEncode(trainer, data)
    assert "maps" in encode.abilities and Grounding().run(encode, data) == []
    assert capsys.readouterr().out.count("Phrases are not grounded: the 16 tokens") == 1  # asked for twice, made once
