"""What was pushed loads by its name: with torch and transformers alone, with this package, and without a network."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import hf_latent
from hf_latent import CoMMConfig, CoMMModel, CoMMProcessor, LatentCLIPProcessor
from hf_latent.data.tokenizers import word_tokenizer
from hf_latent.hub.push import push_run
from tests.hub.conftest import log_in
from tests.hub.runs import save_run
from tests.hub.server import serving
from tests.models.small import small_clip
from tests.test_recipe import BASE

SENTENCE = "a small red square"

ALONE = """
import json, sys
for name in ("hf_latent", "accelerate", "datasets", "evaluate", "gradio", "omegaconf", "peft", "sklearn"):
    sys.modules[name] = None  # as if it were not installed
import torch
from transformers import AutoConfig, AutoModel, AutoProcessor

remote = {"trust_remote_code": True}
pixels = torch.load("pixels.pt")
comm = AutoModel.from_pretrained("user/comm", **remote).eval()
older = AutoModel.from_pretrained("user/comm", revision="older", **remote).eval()
images = (pixels.permute(0, 2, 3, 1)).numpy()
batch = AutoProcessor.from_pretrained("user/comm", **remote)({"image1": images, "image2": images[::-1]})

clip = AutoModel.from_pretrained("user/clip", dtype=torch.bfloat16, **remote).eval()
config = AutoConfig.from_pretrained("user/clip", revision="main", **remote)
inputs = AutoProcessor.from_pretrained("user/clip", **remote)(images=list(images), text=["a small red square"])
words = AutoProcessor.from_pretrained("user/words", **remote)({"text": ["a small red square"] * 2})
words = AutoModel.from_pretrained("user/words", **remote).eval().get_fused_features(**words)
with torch.no_grad():
    logits = clip(**{k: v.bfloat16() if v.is_floating_point() else v for k, v in inputs.items()}).logits_per_image
    found = [comm.get_fused_features(**batch), older.get_fused_features(**batch), logits, words.detach()]
    torch.save(found, sys.argv[1])
print(json.dumps({"module": type(comm).__module__, "dtype": str(clip.dtype), "dim": config.projection_dim}))
"""

INSTALLED = """
import json, sys
import torch
import hf_latent
from transformers import AutoModel, AutoProcessor, pipeline

models = {d: AutoModel.from_pretrained("user/comm", device_map=d).eval() for d in (None, "cpu", "auto")}
pixels = torch.load("pixels.pt")
images = (pixels.permute(0, 2, 3, 1)).numpy()
batch = AutoProcessor.from_pretrained("user/comm")({"image1": images, "image2": images[::-1]})
with torch.no_grad():
    torch.save([model.get_fused_features(**batch) for model in models.values()], sys.argv[1])
classify = pipeline("zero-shot-image-classification", model="user/clip", device="cpu")
from PIL import Image
found = classify(Image.fromarray(images[0]), candidate_labels=["red", "small square"])
print(json.dumps({"class": type(models["auto"]) is hf_latent.CoMMModel, "labels": len(found)}))
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A server with three models, one of them with an older branch; and the images to ask them about."""
    folder = tmp_path_factory.mktemp("loading")
    tokenizer = word_tokenizer([SENTENCE])
    clip = small_clip(vocab_size=len(tokenizer), dtype=torch.float32)
    clip.save_pretrained(folder / "clip")
    LatentCLIPProcessor.for_size(16, tokenizer).save_pretrained(folder / "clip")
    text = {"encoder": "auto", "config": clip.config.modalities["text"]["config"]}
    config = CoMMConfig(modalities={"text": text, "table": {"encoder": "table", "input_dim": 2}}, embed_dim=16)
    CoMMModel(config).save_pretrained(folder / "words")
    kinds = {"text": {"kind": "text"}, "table": {"kind": "table"}}
    CoMMProcessor(kinds, {"text": tokenizer}).save_pretrained(folder / "words")
    for name in ("clip", "words"):
        (folder / name / "README.md").write_text("# Made in Python\n")
    torch.save(torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8), folder / "pixels.pt")
    with serving() as server, pytest.MonkeyPatch.context() as monkeypatch:
        log_in(server, monkeypatch, str(folder / "cache"))
        push_run(save_run(folder / "new", BASE), "user/comm", private=True)
        push_run(save_run(folder / "old", BASE, seed=1), "user/comm", revision="older")
        push_run(folder / "clip", "user/clip")
        push_run(folder / "words", "user/words")
        yield server, folder


def run(published, script, **environment):
    """Run a script as a process of its own; what it printed and saved."""
    server, folder = published
    server.fault = None
    (folder / "script.py").write_text(script)
    home = server.environment(folder / "home", "hf_read", **environment)
    command = [sys.executable, "script.py", "found.pt"]
    done = subprocess.run(command, cwd=folder, env=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1]), torch.load(folder / "found.pt")


def features(folder, name):
    images = torch.load(folder / "pixels.pt").permute(0, 2, 3, 1).numpy()
    batch = CoMMProcessor.from_pretrained(folder / name)({"image1": images, "image2": images[::-1]})
    with torch.no_grad():
        return CoMMModel.from_pretrained(folder / name).eval().get_fused_features(**batch)


@pytest.mark.slow
def test_torch_and_transformers_are_enough_and_the_network_only_once(published):
    server, folder = published
    told, (comm, older, logits, words) = run(published, ALONE)
    assert told["module"].startswith("transformers_modules.") and told["dtype"] == "torch.bfloat16"
    assert told["dim"] == 8 and logits.shape == (3, 1) and logits.isfinite().all()
    assert torch.equal(comm, features(folder, "new")) and torch.equal(older, features(folder, "old"))
    assert not torch.equal(comm, older)
    processor, model = CoMMProcessor.from_pretrained(folder / "words"), CoMMModel.from_pretrained(folder / "words")
    assert torch.equal(words, model.eval().get_fused_features(**processor({"text": [SENTENCE] * 2})))
    assert server.requests

    again, found = run(published, ALONE, HF_HUB_OFFLINE="1")
    assert not server.requests and again == told
    assert all(torch.equal(a, b) for a, b in zip(found, (comm, older, logits, words), strict=True))


@pytest.mark.slow
def test_with_the_package_nothing_has_to_be_trusted(published):
    package = str(Path(hf_latent.__file__).parents[1])
    told, found = run(published, INSTALLED, PYTHONPATH=package)
    assert told == {"class": True, "labels": 2}
    assert all(torch.equal(rows, features(published[1], "new")) for rows in found)


@pytest.mark.slow
def test_what_is_private_is_for_its_owner(published):
    server, folder = published
    done = subprocess.run(
        [sys.executable, "-c", "import huggingface_hub as h; h.hf_hub_download('user/comm', 'config.json')"],
        env=server.environment(folder / "stranger", "hf_other"),
        capture_output=True,
        text=True,
    )
    assert "Repository Not Found" in done.stderr and done.returncode == 1
