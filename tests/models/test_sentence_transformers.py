"""Folders of two towers as models of sentence-transformers."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor

from hf_latent import LatentALBEFModel, LatentALBEFProcessor, LatentCLIPProcessor
from hf_latent.data.tokenizers import word_tokenizer
from tests.models.small import small_albef, small_clip

sentence_transformers = pytest.importorskip("sentence_transformers")

SENTENCES = ["a photo of a red star", "two green squares"]


def pictures():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 20, 24, 3), dtype=np.uint8)
    return [Image.fromarray(rows) for rows in pixels]


def save(folder, family, padding="longest"):
    tokenizer = word_tokenizer(SENTENCES, max_length=12)
    options = {"dtype": torch.float32, "vocab_size": len(tokenizer)}
    model = small_clip(**options) if family == "clip" else small_albef(**options, cls=LatentALBEFModel)
    model.save_pretrained(folder)
    processor = LatentCLIPProcessor if family == "clip" else LatentALBEFProcessor
    processor.for_size(16, tokenizer, padding=padding).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("padding", ["longest", "max_length"])
@pytest.mark.parametrize("family", ["clip", "albef"])
def test_encode_gives_the_features_of_the_model(tmp_path, family, padding):
    folder = save(tmp_path / "model", family, padding)
    model, processor = AutoModel.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
    if padding == "max_length":  # a tower whose embeddings depend on the padding
        assert processor(text=SENTENCES, text_kwargs={"padding": True})["input_ids"].shape[1] == 12
    with torch.no_grad():
        texts = model.get_text_features(**processor(text=SENTENCES))
        images = model.get_image_features(**processor(images=pictures()))
    encoder = sentence_transformers.SentenceTransformer(folder, device="cpu")
    assert encoder.get_embedding_dimension() == 8 and encoder.max_seq_length == 12
    for values, expected in ((SENTENCES, texts), (pictures(), images)):
        found = encoder.encode(values, convert_to_tensor=True)
        torch.testing.assert_close(found, expected)
        unit = encoder.encode(values, convert_to_tensor=True, normalize_embeddings=True)
        torch.testing.assert_close(unit, torch.nn.functional.normalize(expected, dim=-1))
    encoder.save(str(tmp_path / "again"))
    again = sentence_transformers.SentenceTransformer(str(tmp_path / "again"), device="cpu")
    torch.testing.assert_close(again.encode(SENTENCES, convert_to_tensor=True), texts)


@pytest.mark.slow
def test_encode_works_where_hf_latent_is_not_installed(tmp_path):
    folder = save(tmp_path / "model", "clip")
    with torch.no_grad():
        expected = (
            AutoModel.from_pretrained(folder)
            .eval()
            .get_text_features(**AutoProcessor.from_pretrained(folder)(text=SENTENCES))
        )
    torch.save(expected, tmp_path / "expected.pt")
    script = f"""
import sys
sys.modules["hf_latent"] = None
import torch
from sentence_transformers import SentenceTransformer
encoder = SentenceTransformer({folder!r}, device="cpu", trust_remote_code=True)
found = encoder.encode({SENTENCES!r}, convert_to_tensor=True)
torch.testing.assert_close(found, torch.load({str(tmp_path / "expected.pt")!r}))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
