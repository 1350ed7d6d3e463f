"""What the Auto classes and `trust_remote_code` find in a saved folder, with this library and without it."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from transformers import AutoConfig, AutoModelForZeroShotImageClassification, pipeline

import hf_latent
from hf_latent import CoMMModel, LatentCLIPModel, LatentCLIPProcessor
from hf_latent.data.tokenizers import word_tokenizer
from hf_latent.models.embeddings import LatentPreTrainedModel
from tests.models.small import small_albef, small_batch, small_clip, small_model, small_pairs

LABELS = ["a red star", "two green squares"]
ROOT = Path(hf_latent.__file__).parents[1]


def registered():
    """Every pair of an Auto class and a model of this library that it is registered with."""
    for name in dir(transformers):
        auto = getattr(transformers, name)
        if name.startswith("AutoModel") and hasattr(auto, "_model_mapping"):
            for models in auto._model_mapping._extra_content.values():
                for model in models if isinstance(models, tuple) else (models,):
                    if issubclass(model, LatentPreTrainedModel):
                        yield pytest.param(name, model, id=f"{name}-{model.__name__}")


def tiny(model):
    if issubclass(model, CoMMModel):
        return small_model(dtype=torch.float32, cls=model)
    if model is LatentCLIPModel:
        return small_clip(dtype=torch.float32)
    return small_albef(dtype=torch.float32, cls=model)


@pytest.mark.parametrize(("auto", "model"), list(registered()))
def test_a_saved_folder_names_every_auto_class_that_its_model_is_registered_with(tmp_path, auto, model):
    tiny(model).save_pretrained(tmp_path)
    module = model.__module__.split(".")[-1]
    assert AutoConfig.from_pretrained(tmp_path).auto_map[auto] == f"{module}.{model.__name__}"
    assert (tmp_path / f"{module}.py").is_file()


def in_a_new_process(script, folder):
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_zero_shot_pipeline_and_subfolders_load_where_hf_latent_is_not_installed(tmp_path):
    tokenizer = word_tokenizer(LABELS)
    small_albef(dtype=torch.float32, vocab_size=len(tokenizer)).save_pretrained(tmp_path / "model")
    LatentCLIPProcessor.for_size(16, tokenizer).save_pretrained(tmp_path / "model")
    for file in (tmp_path / "model").glob("*.py"):  # transformers looks for code in the root alone
        shutil.copy(file, tmp_path)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8))
    picture.save(tmp_path / "picture.png")
    classify = pipeline("zero-shot-image-classification", model=str(tmp_path / "model"))
    expected = [(found["label"], found["score"]) for found in classify(picture, candidate_labels=LABELS)]
    script = f"""
import sys
sys.modules["hf_latent"] = None
from transformers import AutoModel, AutoProcessor, pipeline
for auto in (AutoModel, AutoProcessor):
    auto.from_pretrained(".", subfolder="model", trust_remote_code=True)
classify = pipeline("zero-shot-image-classification", model="model", trust_remote_code=True)
found = classify("picture.png", candidate_labels={LABELS!r})
for (label, score), other in zip({expected!r}, found, strict=True):
    assert label == other["label"] and abs(score - other["score"]) < 1e-6, (expected, found)
"""
    in_a_new_process(script, tmp_path)


@pytest.mark.slow
def test_code_of_the_hub_has_a_loss_where_hf_latent_is_installed(tmp_path):
    batch = {key: value for key, value in small_pairs(dtype=torch.float32).items()}
    second = {f"augmented_{key}": value for key, value in small_pairs(seed=1, dtype=torch.float32).items()}
    views = {"modalities": small_batch(dtype=torch.float32)}
    views["augmented_modalities"] = small_batch(seed=1, dtype=torch.float32)
    expected = {}
    for name, model, inputs in (
        ("comm", small_model(dtype=torch.float32), views),
        ("clip", small_clip(dtype=torch.float32, regularizers={"geometric_consistency": {}}), {**batch, **second}),
    ):
        model.save_pretrained(tmp_path / name)
        expected[name] = (inputs, model(**inputs).loss.item())
    torch.save(expected, tmp_path / "expected.pt")
    script = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import torch
from transformers import AutoModel
cases = torch.load("expected.pt")
models = {{name: AutoModel.from_pretrained(name, trust_remote_code=True).train() for name in cases}}
changed = AutoModel.from_pretrained("clip", trust_remote_code=True, regularizers={{"feature_separation": {{}}}})
assert changed.config.extra_heads == ["independent"]
for name, (inputs, expected) in cases.items():
    assert type(models[name]).__module__.startswith("transformers_modules."), type(models[name])
    loss = models[name](**inputs).loss
    assert abs(loss.item() - expected) < 1e-5, (name, loss, expected)
    loss.backward()
again = AutoModel.from_pretrained("clip")  # the library is imported by now, and its own classes serve
assert type(again).__module__.startswith("hf_latent."), type(again)
"""
    in_a_new_process(script, tmp_path)


def test_the_auto_class_of_the_card_s_pipeline_gives_the_model(tmp_path):
    small_clip(dtype=torch.float32).save_pretrained(tmp_path)
    assert type(AutoModelForZeroShotImageClassification.from_pretrained(tmp_path)) is LatentCLIPModel
