"""The example of tones: made, trained for two steps, measured, described by a card and shown by the Space."""

import importlib.util
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoProcessor

from hf_latent import experiment
from hf_latent.recipe import load_recipe
from tests.space.runs import SPACES  # noqa: F401  (makes the Space's modules importable)

pytest.importorskip("soundfile")
EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "tones"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tones")
    spec = importlib.util.spec_from_file_location("prepare_tones", EXAMPLE / "prepare.py")
    prepare = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(prepare)
    prepare.prepare(folder / "tones", {"train": 32, "validation": 24, "test": 24})
    small = ["training.max_steps=2", "training.global_batch_size=16", "training.save_strategy=no"]
    small += ["training.eval_strategy=no", f"training.output_dir={folder / 'run'}", "evaluation.benchmarks={}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        experiment.train(load_recipe(EXAMPLE / "recipe.yaml", small))
        yield folder / "run"


def test_the_run_loads_again_and_reads_files(run):
    model, processor = AutoModel.from_pretrained(run).eval(), AutoProcessor.from_pretrained(run)
    assert processor.modalities["audio"] == {
        **{"kind": "audio", "sampling_rate": 8000, "max_seconds": 1.0, "normalize": "none"},
        **{"bins": 32, "window": 200, "hop": 80},
    }
    row = {"audio": [run.parent / "tones" / "test" / "000.wav"], "text": ["a high pure tone"]}
    with torch.no_grad():
        assert model.get_fused_features(**processor(row)).isfinite().all()
    assert {"audio.py", "kind_audio.py", "encoder_audio.py"} <= {path.name for path in run.iterdir()}


def test_its_card_shows_how_a_sound_is_read(run):
    card = (run / "README.md").read_text(encoding="utf-8")
    assert "from pathlib import Path\n" in card and '"audio": [Path("audio.wav")],' in card


def test_the_space_plays_its_sounds(run):
    pytest.importorskip("gradio")
    from explorer import Explorer
    from tabs.labels import row_html

    explorer = Explorer(str(run))
    shown = row_html(explorer, 3)
    assert explorer.pictured == ["audio"] and shown.count("<audio controls") == 1 and shown.count("<img") == 1
    assert explorer.thumbnails["audio"][3].size == (96, 96)
