"""Grad-CAM of matching: equal to attention written out by hand, and nothing of the model changes."""

import pytest
import torch
import torch.nn.functional as F
from transformers import ViTConfig

from hf_latent import LatentALBEFForImageTextRetrieval, LatentALBEFForPreTraining
from tests.models.small import small_albef, small_bert, small_pairs

VIT = ViTConfig(
    hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=8
)
VISION = {"encoder": "auto", "config": VIT.to_dict()}


def retrieval(layers=3, cls=LatentALBEFForImageTextRetrieval, dtype=torch.float64, **options):
    """As `small_albef`, with more than one fusion layer."""
    torch.manual_seed(0)
    image = options.pop("image", {"encoder": "cnn", "channels": [8, 16]})
    text = {"encoder": "auto", "config": small_bert(layers=layers + 1, initializer_range=0.3)}
    config = LatentALBEFForImageTextRetrieval.config_class(
        modalities={"image": image, "text": text}, fusion_layers=layers, projection_dim=8, queue_size=16, **options
    )
    return cls(config).to(dtype).eval()


def attend(part, hidden, source, mask):
    """Multi-head attention by hand: the probabilities, and what comes of them."""
    heads, width = part.self.num_attention_heads, hidden.shape[-1] // part.self.num_attention_heads
    split = lambda rows: rows.reshape(*rows.shape[:2], heads, width).permute(0, 2, 1, 3)  # noqa: E731
    query, key, value = split(part.self.query(hidden)), split(part.self.key(source)), split(part.self.value(source))
    scores = torch.einsum("bhqd,bhkd->bhqk", query, key) / width**0.5
    if mask is not None:
        scores = scores.masked_fill(~mask.bool()[:, None, None], float("-inf"))
    probabilities = scores.softmax(-1)
    context = torch.einsum("bhqk,bhkd->bqhd", probabilities, value).flatten(2)
    return probabilities, F.layer_norm(
        F.linear(context, part.output.dense.weight, part.output.dense.bias) + hidden,
        hidden.shape[-1:],
        part.output.LayerNorm.weight,
        part.output.LayerNorm.bias,
        part.output.LayerNorm.eps,
    )


def maps_by_hand(model, batch, layer, grid, each_token=False, tokens=None):
    """All in one graph, row by row."""
    mask = batch["attention_mask"]
    image = model.fusion.image_tokens(model.encoders["image"](pixel_values=batch["pixel_values"]))
    hidden = model.encoders["text"](input_ids=batch["input_ids"], attention_mask=mask).tokens
    looks = []
    for part in model.fusion.layer:
        hidden = attend(part.attention, hidden, hidden, mask)[1]
        probabilities, hidden = attend(part.crossattention, hidden, image, None)
        looks.append(probabilities)
        inner = F.gelu(part.intermediate.dense(hidden))
        hidden = part.output.LayerNorm(part.output.dense(inner) + hidden)
    logits = model.itm_head(hidden[:, 0])
    gradient = torch.autograd.grad(logits[:, 1].sum(), looks[layer])[0]
    found = []
    for row in range(len(mask)):
        maps = []
        for token in range(mask.shape[1]):
            real = mask[row, token] == 1 and (tokens is None or each_token or tokens[row, token])
            heads = [
                looks[layer][row, h, token] * gradient[row, h, token].clamp(min=0) for h in range(gradient.shape[1])
            ]
            whole = torch.stack(heads).mean(0) if real else torch.zeros_like(gradient[0, 0, 0])
            maps.append((real, whole[len(whole) - grid[0] * grid[1] :].reshape(grid)))
        counted = [m for real, m in maps if real]
        average = sum(counted) / len(counted) if counted else torch.zeros(grid, dtype=gradient.dtype)
        found.append(torch.stack([m for _, m in maps]) if each_token else average)
    return torch.stack(found).detach()


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize(("image", "grid"), [(None, (4, 4)), (VISION, (2, 2))])
def test_maps_are_those_of_attention_by_hand(layer, image, grid):
    model = retrieval(**({"image": image} if image else {}))
    batch = small_pairs()
    found = model.grounding_maps(**batch, layer=layer)
    assert found.shape == (6, *grid) and found.dtype == torch.float64 and not found.requires_grad
    expected = maps_by_hand(model, batch, layer, grid)
    assert (expected > 0).any(dim=-1).any()
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)
    each = model.grounding_maps(**batch, layer=layer, each_token=True)
    assert each.shape == (6, 5, *grid)
    torch.testing.assert_close(each, maps_by_hand(model, batch, layer, grid, each_token=True), rtol=1e-10, atol=1e-14)
    some = torch.zeros_like(batch["input_ids"], dtype=torch.bool)
    some[:5, 1:3] = True
    chosen = model.grounding_maps(**batch, layer=layer, tokens=some)
    expected = maps_by_hand(model, batch, layer, grid, tokens=some)
    torch.testing.assert_close(chosen, expected, rtol=1e-10, atol=1e-14)
    assert not chosen[5].any()


def test_the_default_layer_is_the_papers():
    batch = small_pairs()
    for layers, place in ((6, 2), (3, 1), (2, 0), (1, 0)):
        model = retrieval(layers=layers)
        assert torch.equal(model.grounding_maps(**batch), model.grounding_maps(**batch, layer=place))


def test_a_map_moves_with_what_is_seen():
    """It is of this image and this text: another one has another map, and rows do not meet."""
    model, batch = retrieval(), small_pairs()
    whole = model.grounding_maps(**batch)
    one = model.grounding_maps(**{name: rows[2:3] for name, rows in batch.items()})
    torch.testing.assert_close(one[0], whole[2])
    other = model.grounding_maps(batch["pixel_values"].flip(0), batch["input_ids"], batch["attention_mask"])
    assert not torch.allclose(other, whole)


def test_padding_changes_nothing():
    model, batch = retrieval(), small_pairs()
    padded = {
        **batch,
        "input_ids": F.pad(batch["input_ids"], (0, 3), value=7),
        "attention_mask": F.pad(batch["attention_mask"], (0, 3)),
    }
    torch.testing.assert_close(model.grounding_maps(**padded), model.grounding_maps(**batch))
    each = model.grounding_maps(**padded, each_token=True)
    assert not each[batch_padding := padded["attention_mask"] == 0].any() and batch_padding.any()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_any_attention_and_half_precision(tmp_path, attention):
    retrieval(dtype=torch.float32).save_pretrained(tmp_path)
    load = LatentALBEFForImageTextRetrieval.from_pretrained
    model = load(tmp_path, attn_implementation=attention)
    batch = small_pairs(dtype=torch.float32)
    exact = load(tmp_path).double().grounding_maps(**{**batch, "pixel_values": batch["pixel_values"].double()})
    torch.testing.assert_close(model.grounding_maps(**batch).double(), exact, rtol=1e-3, atol=1e-6)
    assert model.fusion.config._attn_implementation == attention
    half = load(tmp_path, attn_implementation=attention, dtype=torch.bfloat16)
    maps = half.grounding_maps(**{**batch, "pixel_values": batch["pixel_values"].bfloat16()})
    assert maps.dtype == torch.float32 and torch.isfinite(maps).all() and (maps >= 0).all() and maps.any()


def test_the_model_stays_as_it_was():
    model = small_albef(cls=LatentALBEFForPreTraining).train()
    batch = small_pairs()
    model.get_image_features(batch["pixel_values"]).sum().backward()
    model.fusion.layer[0].requires_grad_(False)
    model.text_dropout = torch.nn.Dropout(0.5).eval()  # one module in a mode of its own
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
    trained = {name: p.requires_grad for name, p in model.named_parameters()}
    modes = {name: module.training for name, module in model.named_modules()}
    maps = model.grounding_maps(**batch)
    with torch.no_grad():
        assert torch.equal(model.grounding_maps(**batch), maps)
    with torch.inference_mode():
        again = model.grounding_maps(**{name: rows.clone() for name, rows in batch.items()})
        assert not torch.is_grad_enabled()
    assert torch.equal(again, maps) and not again.is_inference()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert {name: p.requires_grad for name, p in model.named_parameters()} == trained
    assert {name: module.training for name, module in model.named_modules()} == modes
    for name, parameter in model.named_parameters():
        same = parameter.grad is gradients[name] or torch.equal(parameter.grad, gradients[name])
        assert same, name
    with pytest.raises(ValueError, match="layer=4"):
        model.grounding_maps(**batch, layer=4)
    assert {name: module.training for name, module in model.named_modules()} == modes


def test_dropout_is_off():
    text = {"encoder": "auto", "config": small_bert(initializer_range=0.3, hidden_dropout_prob=0.5)}
    modalities = {"image": {"encoder": "cnn", "channels": [8, 16]}, "text": text}
    config = LatentALBEFForImageTextRetrieval.config_class(modalities=modalities, fusion_layers=2, projection_dim=8)
    model, batch = LatentALBEFForImageTextRetrieval(config).double().train(), small_pairs()
    assert torch.equal(model.grounding_maps(**batch), model.grounding_maps(**batch))


def test_mistakes_say_what_to_write():
    model, batch = retrieval(), small_pairs()
    for layer in (3, -1):
        with pytest.raises(ValueError, match=f"layer={layer}: the fusion has 3 layers; write 0 to 2"):
            model.grounding_maps(**batch, layer=layer)
    with pytest.raises(ValueError, match="here are 4 images, 6 texts"):
        model.grounding_maps(**{**batch, "pixel_values": batch["pixel_values"][:4]})
    with pytest.raises(ValueError, match="one bool a token"):
        model.grounding_maps(**batch, tokens=torch.ones(6, 2, dtype=torch.bool))
    swin = {"model_type": "swin", "image_size": 16, "patch_size": 4, "embed_dim": 8, "depths": [1, 1]}
    odd = retrieval(image={"encoder": "auto", "config": {**swin, "num_heads": [1, 2], "window_size": 2}})
    with pytest.raises(ValueError, match="the 4 tokens of this image encoder are no grid"):
        odd.grounding_maps(**batch)


def test_a_model_without_matching_has_no_maps():
    with pytest.raises(ValueError, match="trained with itm_weight 0"):
        small_albef(itm_weight=0.0).grounding_maps(**small_pairs())
    pairs = small_pairs()
    with pytest.raises(ValueError, match=r"give pixel_values \(6, 3, height, width\), not \(6, 1, 3, 16, 16\)"):
        small_albef().grounding_maps(**{**pairs, "pixel_values": pairs["pixel_values"][:, None]})


def test_maps_under_autocast_are_wide():
    model = small_albef(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert model.grounding_maps(**small_pairs(dtype=torch.float32)).dtype == torch.float32
