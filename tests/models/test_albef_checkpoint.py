"""Official checkpoints: every name has its place, and the model computes what such weights mean."""

import pickle

import pytest
import torch
import torch.nn.functional as F

from hf_latent import LatentALBEF, LatentALBEFForImageTextRetrieval, LatentALBEFForPreTraining
from tests.models.official_albef import SIZES, checkpoint, run_bert, run_vision


@pytest.fixture(params=["pretraining", "retrieval"])
def saved(request, tmp_path):
    weights = checkpoint(request.param)
    torch.save({"model": weights, "epoch": 3, "config": {"queue_size": SIZES["queue"]}}, tmp_path / "ALBEF.pth")
    return request.param, weights, tmp_path / "ALBEF.pth"


def test_it_computes_what_the_weights_mean(saved):
    kind, weights, path = saved
    base = "text_encoder.bert" if kind == "pretraining" else "text_encoder"
    model = LatentALBEFForPreTraining.from_official_checkpoint(path).double().eval()
    # Loaded as float32 and widened: so is the reference.
    weights = {name: value.float().double() if value.is_floating_point() else value for name, value in weights.items()}
    draw = torch.Generator().manual_seed(1)
    pixels = torch.randn(3, 3, 24, 24, generator=draw, dtype=torch.float64)
    ids = torch.randint(0, 30, (3, 5), generator=draw)
    image, text = run_vision(weights, pixels), run_bert(weights, ids, base=base, layers=[0, 1])
    fused = run_bert(weights, hidden=text, image=image, base=base, layers=[2, 3])
    output = LatentALBEFForImageTextRetrieval.from_official_checkpoint(path).double().eval()(pixels, ids)
    close = {"rtol": 1e-9, "atol": 1e-9}
    torch.testing.assert_close(output.last_hidden_state, fused, **close)
    torch.testing.assert_close(
        output.itm_logits, F.linear(fused[:, 0], weights["itm_head.weight"], weights["itm_head.bias"]), **close
    )
    features = F.linear(image[:, 0], weights["vision_proj.weight"], weights["vision_proj.bias"])
    torch.testing.assert_close(output.embeds["image"], features, **close)
    features = F.linear(text[:, 0], weights["text_proj.weight"], weights["text_proj.bias"])
    torch.testing.assert_close(output.embeds["text"], features, **close)
    taught = F.linear(run_vision(weights, pixels, "visual_encoder_m")[:, 0], weights["vision_proj_m.weight"])
    torch.testing.assert_close(
        model.momentum.get_image_features(pixels), taught + weights["vision_proj_m.bias"], **close
    )
    assert model.scale.item() == pytest.approx(20)
    queue = model.queue
    torch.testing.assert_close(queue.augmented["image"], weights["image_queue"].T, rtol=1e-6, atol=1e-7)
    assert queue.ids.tolist() == (list(range(6)) if kind == "retrieval" else [-1] * 6)
    model.feature_queue.push({name: torch.zeros(1, 8) for name in ("image", "text")}, None)
    assert not model.feature_queue.text_features[2].any() and model.feature_queue.text_features[3].any()
    if kind == "pretraining":
        head = "text_encoder.cls.predictions"
        hidden = F.gelu(
            F.linear(fused, weights[f"{head}.transform.dense.weight"], weights[f"{head}.transform.dense.bias"])
        )
        parts = (weights[f"{head}.transform.LayerNorm.{part}"] for part in ("weight", "bias"))
        logits = F.linear(
            F.layer_norm(hidden, hidden.shape[-1:], *parts, eps=1e-12),
            weights[f"{base}.embeddings.word_embeddings.weight"],
        )
        found = model.mlm_head(fused, model.bert.get_input_embeddings().weight)
        torch.testing.assert_close(found, logits + weights[f"{head}.bias"], **close)


def test_every_weight_has_its_place(saved):
    """Moving any one of the official weights moves something here, unless it says again what another does."""
    kind, weights, path = saved
    from hf_latent.models.albef_checkpoint import read_official

    _, placed = read_official(path)
    repeated = [name for name in weights if "position_ids" in name or "predictions.decoder" in name]
    extra = {"pretraining": {"momentum.logit_scale.weight", "feature_queue.ids"}}.get(
        kind, {"momentum.logit_scale.weight"}
    )
    split = sum("qkv" in name for name in weights)
    assert len(placed) == len(weights) - len(repeated) + 2 * split + len(extra)
    total = sum(value.numel() for name, value in weights.items() if name not in repeated)
    assert sum(value.numel() for name, value in placed.items() if name not in extra) == total
    model = LatentALBEFForPreTraining.from_official_checkpoint(path)
    assert set(placed) == set(model.state_dict())
    plain = LatentALBEF.from_official_checkpoint(path, projection_dim=8)
    assert set(plain.state_dict()) < set(placed)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match="cannot be read as weights"):
        LatentALBEF.from_official_checkpoint(path)
    torch.save({"model": {"encoder.weight": torch.zeros(2)}}, path)
    with pytest.raises(ValueError, match="no ALBEF checkpoint: it has no visual_encoder.pos_embed"):
        LatentALBEF.from_official_checkpoint(path)
    weights = checkpoint()
    torch.save({"model": {**weights, "cls_head.0.weight": torch.zeros(3, 3)}}, path)
    with pytest.raises(ValueError, match="1 weights have no place in LatentALBEF, as cls_head.0.weight"):
        LatentALBEF.from_official_checkpoint(path)
    torch.save({"model": weights}, path)
    with pytest.raises(ValueError, match=r"of another shape: size mismatch for projections.image.weight"):
        LatentALBEF.from_official_checkpoint(path, projection_dim=4)
    lacking = {name: value for name, value in weights.items() if name != "visual_encoder.blocks.1.mlp.fc2.bias"}
    torch.save({"model": lacking}, path)
    with pytest.raises(ValueError, match=r"mlp.fc2.bias has no counterpart"):
        LatentALBEF.from_official_checkpoint(path)


class Spell:
    def __reduce__(self):
        return (print, ("run",))


def test_nothing_in_the_file_is_run(tmp_path, capsys):
    with open(tmp_path / "x.pth", "wb") as file:
        pickle.dump({"model": Spell()}, file)
    with pytest.raises(ValueError, match="cannot be read as weights"):
        LatentALBEF.from_official_checkpoint(tmp_path / "x.pth")
    assert "run" not in capsys.readouterr().out
