"""`torch.export`, ONNX and `torch.compile`: sizes of batches and lengths of texts stay free, values stay equal."""

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounter
from torch.export import Dim

from hf_latent import LatentALBEFForImageTextRetrieval
from tests.models.small import small_albef, small_batch, small_bert, small_clip, small_model, small_pairs

ROWS, LENGTH = Dim("rows", min=2, max=64), Dim("length", min=2, max=64)
PAIRS = {"pixel_values": {0: ROWS}, "input_ids": {0: ROWS, 1: LENGTH}, "attention_mask": {0: ROWS, 1: LENGTH}}
VIT = {
    "encoder": "auto",
    "config": {
        **{"model_type": "vit", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1},
        **{"num_attention_heads": 2, "image_size": 16, "patch_size": 8},
    },
}


def pairs(rows, length):
    batch = small_pairs(rows, seed=rows, dtype=torch.float32)
    draw = torch.Generator().manual_seed(rows)
    words = torch.randint(4, 11, (rows, length), generator=draw)
    lengths = torch.randint(1, length + 1, (rows, 1), generator=draw)
    return {**batch, "input_ids": words, "attention_mask": (torch.arange(length) < lengths).long()}


def series(rows, length):
    batch = small_batch(("image", "series", "table"), rows, seed=rows, dtype=torch.float32)
    values = torch.randn(rows, length, 3, generator=torch.Generator().manual_seed(rows))
    mask = torch.ones(rows, length, dtype=torch.long)
    mask[0, 1:] = 0
    return {"modalities": {**batch, "series": {"values": values, "attention_mask": mask}}}


def clip():
    towers = {"image": VIT, "text": {"encoder": "auto", "config": small_bert(layers=1)}}
    return small_clip(dtype=torch.float32, modalities=towers), pairs, PAIRS, "logits_per_image"


def albef():
    model = small_albef(dtype=torch.float32, cls=LatentALBEFForImageTextRetrieval)
    return model, pairs, PAIRS, "itm_logits"


def comm(layers=1, pooling="cls"):
    names = ("image", "series", "table")
    model = small_model(names, dtype=torch.float32, fusion_layers=layers, fusion_pooling=pooling)
    free = {
        "image": {"pixel_values": {0: ROWS}},
        "series": {"values": {0: ROWS, 1: LENGTH}, "attention_mask": {0: ROWS, 1: LENGTH}},
        "table": {"values": {0: ROWS}},
    }
    return model, series, {"modalities": free}, "fused"


def deep_comm():
    return comm(layers=2, pooling="mean")


@pytest.mark.slow
@pytest.mark.parametrize("case", [clip, albef, comm, deep_comm])
def test_an_exported_model_takes_batches_and_texts_of_any_size(case):
    model, batch, free, field = case()
    with torch.no_grad():
        exported = torch.export.export(model.eval(), (), batch(3, 5), dynamic_shapes=free).module()
        for rows, length in ((3, 5), (6, 9), (2, 2)):
            found, expected = exported(**batch(rows, length)), model(**batch(rows, length))
            torch.testing.assert_close(found[field], expected[field], rtol=1e-4, atol=1e-5)


def test_an_exported_tower_takes_one_modality():
    model = clip()[0].eval()
    for keys in (["pixel_values"], ["input_ids", "attention_mask"]):
        few, many = ({key: pairs(*sizes)[key] for key in keys} for sizes in ((3, 5), (6, 9)))
        with torch.no_grad():
            exported = torch.export.export(model, (), few, dynamic_shapes={key: PAIRS[key] for key in keys}).module()
            found, expected = exported(**many).embeds, model(**many).embeds
        for name in expected:
            torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("case", [clip, comm])
def test_onnxruntime_gives_the_same_values(case, tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    model, batch, free, field = case()
    path = str(tmp_path / "model.onnx")
    torch.onnx.export(model.eval(), (), path, kwargs=batch(3, 5), dynamic_shapes=free, dynamo=True, verbose=False)
    session = runtime.InferenceSession(path)
    values = batch(6, 9)
    inputs = [part for modality in values.get("modalities", {}).values() for part in modality.values()]
    inputs = inputs or list(values.values())
    names = [known.name for known in session.get_inputs()]
    found = session.run(None, dict(zip(names, (part.numpy() for part in inputs), strict=True)))
    with torch.no_grad():
        expected = model(**values)[field].numpy()
    assert any(part.shape == expected.shape and np.allclose(part, expected, rtol=1e-4, atol=1e-5) for part in found)


@pytest.mark.slow
@pytest.mark.parametrize("case", [clip, albef, comm])
def test_two_graphs_serve_all_sizes_of_batches(case):
    model, batch, _, field = case()
    torch._dynamo.reset()
    counter = CompileCounter()
    compiled = torch.compile(model.eval(), backend=counter)
    with torch.no_grad():
        for rows in (2, 3, 4, 5, 6):
            torch.testing.assert_close(compiled(**batch(rows, 5))[field], model(**batch(rows, 5))[field])
    assert counter.frame_count <= 2


@pytest.mark.slow
def test_compiled_training_has_the_loss_and_gradients_of_eager():
    model = clip()[0]
    torch._dynamo.reset()
    counter = CompileCounter()
    compiled = torch.compile(model, backend=counter)
    for rows in (3, 4, 5, 6):
        losses = [step(**pairs(rows, 5)).loss for step in (compiled, model)]
        torch.testing.assert_close(*losses)
        for found, expected in zip(
            *(torch.autograd.grad(loss, tuple(model.encoders.parameters()), allow_unused=True) for loss in losses),
            strict=True,
        ):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert counter.frame_count <= 2
