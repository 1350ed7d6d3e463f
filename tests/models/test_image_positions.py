"""Position embeddings that are interpolated once: the same as in every step, and kept when the model is saved."""

import pytest
import torch
from transformers import AutoModel, BertConfig, BertModel, CLIPConfig, CLIPModel, ViTConfig, ViTModel

from hf_latent import LatentALBEFForPreTraining, LatentCLIP, LatentCLIPModel
from hf_latent.errors import UserError
from hf_latent.experiment import train
from hf_latent.models.encoders import build_encoder
from hf_latent.recipe import load_recipe
from hf_latent.training.lora import Lora, add_lora
from tests.models.small import small_albef, small_bert, small_clip

SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
VIT = {**SMALL, "image_size": 16, "patch_size": 4}
FAMILIES = ["clip_vision_model", "deit", "dinov2", "dinov2_with_registers", "ijepa", "siglip_vision_model", "vit"]
RECIPE = """\
model:
  type: latent_clip
  projection_dim: 8
  modalities:
    image: {{encoder: auto, pooling: cls, pretrained: {vit}}}
    text: {{encoder: auto, pretrained: {bert}, max_length: 5}}
data: {{name: trifeature_captions, image_size: 24, renders: 1, test_renders: 1, tokenizers: {{text: trifeature}}}}
views:
  image: {{kind: image, size: 24, fit: squash}}
  text: {{kind: none}}
training: {{max_steps: 4, global_batch_size: 32, save_strategy: steps, save_steps: 2, lr_scheduler_type: constant,
  logging_steps: 1, disable_tqdm: true, use_cpu: true, output_dir: {run}}}
"""


def images(size, rows=3):
    return torch.randn(rows, 3, size, size, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def spread(encoder):
    """Positions far from their small beginnings, as after training."""
    for name, parameter in encoder.named_parameters():
        if "position" in name:
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("size", [17, 24])
@pytest.mark.parametrize(
    ("family", "backbone"),
    [*((family, False) for family in FAMILIES), ("dinov2", True), ("dinov2_with_registers", True)],
)
def test_once_is_as_in_every_step(family, backbone, size):
    spec = {"encoder": "auto", "config": {"model_type": family, **VIT}, "backbone": backbone}
    encoder = build_encoder({**spec, "pooling": "mean"}).eval()
    spread(encoder)
    names = list(encoder.state_dict())
    with torch.no_grad():
        before = encoder(pixel_values=images(size))
        assert encoder.resize_images(size)
        after = encoder(pixel_values=images(size))
        plain = encoder.model(images(size))
    torch.testing.assert_close(after.tokens, before.tokens, rtol=0, atol=1e-6)
    torch.testing.assert_close(after.pool(), before.pool(), rtol=0, atol=1e-6)
    assert after.grid == before.grid and encoder.model.config.image_size == size
    if not backbone:  # nothing is interpolated any more
        torch.testing.assert_close(plain.last_hidden_state, after.tokens, rtol=0, atol=0)
    assert list(encoder.state_dict()) == names and not encoder.resize_images(size)


@pytest.mark.parametrize(
    "spec",
    [
        {"encoder": "auto", "config": {"model_type": "resnet", "hidden_sizes": [8, 16], "depths": [1, 1]}},
        {
            "encoder": "auto",
            "config": {"model_type": "beit", **VIT, "use_relative_position_bias": True},
            "pooling": "mean",
        },
        {"encoder": "auto", "config": small_bert()},
    ],
)
def test_towers_without_such_positions_stay_as_they_are(spec):
    encoder = build_encoder(spec)
    model = encoder.model
    assert not encoder.resize_images(24) and encoder.model is model


def test_what_is_trained_stays_so_and_attention_and_precision_too():
    encoder = build_encoder({"encoder": "auto", "config": {"model_type": "vit", **VIT}, "pooling": "cls"}).double()
    encoder.model.set_attn_implementation("eager")
    encoder.model.embeddings.requires_grad_(False)
    trained = {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}
    assert encoder.eval().resize_images(24) and not encoder.model.training
    assert {name for name, parameter in encoder.named_parameters() if parameter.requires_grad} == trained
    assert encoder.dtype == torch.float64 and encoder.model.config._attn_implementation == "eager"
    assert encoder.model.pooler is None


def test_a_saved_model_has_the_new_size_and_so_has_its_momentum_copy(tmp_path):
    model = small_albef(image={"encoder": "auto", "config": {"model_type": "vit", **VIT}}, alpha=0.4).float().eval()
    spread(model.encoders["image"])
    spread(model.momentum.encoders["image"])
    before = model.get_image_features(pixel_values=images(24))
    assert model.resize_images("image", 24) and not model.resize_images("image", 24)
    assert not any(parameter.requires_grad for parameter in model.momentum.parameters())
    for own, copy in model._followed():
        assert own.shape == copy.shape
    model.save_pretrained(tmp_path)
    again = LatentALBEFForPreTraining.from_pretrained(tmp_path).eval()
    assert again.config.modalities["image"]["config"]["image_size"] == 24
    torch.testing.assert_close(again.get_image_features(pixel_values=images(24)), before, rtol=0, atol=1e-6)


def test_a_clip_checkpoint_at_another_size(tmp_path):
    text = {**SMALL, "vocab_size": 40, "max_position_embeddings": 12}
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=VIT, projection_dim=8)).eval()
    spread(clip.vision_model)
    clip.save_pretrained(tmp_path / "clip")
    model = LatentCLIP.from_clip_pretrained(str(tmp_path / "clip")).eval()
    assert model.resize_images("image", 32)
    wanted = clip.vision_model(images(32), interpolate_pos_encoding=True).pooler_output
    own = model.encoders["image"](pixel_values=images(32)).pool()
    torch.testing.assert_close(own, wanted, rtol=0, atol=1e-6)
    add_lora(model, Lora(rank=2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("positions")
    torch.manual_seed(0)
    vit = ViTModel(ViTConfig(**VIT))
    spread(vit)
    vit.save_pretrained(folder / "vit")
    bert = small_bert(vocab_size=100, layers=1)
    BertModel(BertConfig(**{k: v for k, v in bert.items() if k != "model_type"})).save_pretrained(folder / "bert")
    for name in ("run", "cut"):
        written = RECIPE.format(vit=folder / "vit", bert=folder / "bert", run=folder / name)
        (folder / f"{name}.yaml").write_text(written)
    train(load_recipe(folder / "run.yaml"))
    return folder


@pytest.mark.slow
def test_a_recipe_trains_a_tower_at_the_size_of_its_view_and_resumes(folder):
    train(load_recipe(folder / "cut.yaml", ["training.max_steps=2"]))
    train(load_recipe(folder / "cut.yaml"), resume=True)
    whole, cut = (AutoModel.from_pretrained(folder / name) for name in ("run", "cut"))
    assert whole.encoders["image"].model.embeddings.position_embeddings.shape[1] == 1 + 6 * 6
    assert whole.config.modalities["image"]["config"]["image_size"] == 24
    for (name, one), two in zip(whole.state_dict().items(), cut.state_dict().values(), strict=True):
        assert torch.equal(one, two), name


def test_captions_are_cut_where_the_recipe_says_and_the_saved_processor_agrees(folder):
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(folder / "run")
    assert processor(text=["red red red red red red red red"])["input_ids"].shape == (1, 5)
    model = LatentCLIPModel.from_pretrained(folder / "run")
    assert model.encoders["text"].max_length == 5 and model.config.modalities["text"]["max_length"] == 5


@pytest.mark.parametrize(
    ("name", "spec", "words"),
    [
        ("text", {"max_length": 81}, "max_length=81: write 1 to 80 tokens"),
        ("text", {"max_length": 0}, "max_length=0: write 1 to 80 tokens"),
        ("text", {"max_length": True}, "max_length=True: write 1"),
        ("text", {"max_length": "25"}, "max_length='25': write 1"),
        ("image", {"max_length": 25}, "modality 'image': max_length is of text"),
    ],
)
def test_wrong_lengths_say_what_to_write(name, spec, words):
    towers = {"image": {"encoder": "auto", "config": {"model_type": "vit", **VIT}}}
    towers["text"] = {"encoder": "auto", "config": small_bert()}
    towers[name] |= spec
    with pytest.raises(ValueError, match=words):
        small_clip(modalities=towers)


def test_a_length_that_special_tokens_fill_is_an_error_of_the_recipe(folder):
    change = ["model.modalities.text.max_length=2", f"training.output_dir={folder / 'short'}"]
    with pytest.raises(UserError, match="its text model reads 2 tokens, and each caption has 2 special ones"):
        train(load_recipe(folder / "run.yaml", change))
