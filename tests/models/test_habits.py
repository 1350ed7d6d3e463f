"""What users of transformers, accelerate and PEFT do with a model, done with each of ours."""

import copy
import json
import pickle

import pytest
import torch
from accelerate import init_empty_weights, load_checkpoint_and_dispatch
from peft import AutoPeftModel, LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import AutoConfig, AutoModel

from hf_latent import CoMMConfig, CoMMModel, LatentALBEFForPreTraining, LatentALBEFModel, LatentTrainer
from hf_latent.training.arguments import LatentTrainingArguments
from tests.models.small import small_albef, small_batch, small_bert, small_clip, small_model, small_pairs

VIT = {
    "encoder": "auto",
    "config": {
        **{"model_type": "vit", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2},
        **{"num_attention_heads": 2, "image_size": 16, "patch_size": 8},
    },
}
BERT = {"encoder": "auto", "config": small_bert(layers=1)}
FAMILIES = ["clip", "albef", "comm"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of each family, with a ViT and a BERT."""
    torch.manual_seed(0)
    widths = {"embed_dim": 16, "fusion_heads": 4, "projection_hidden_dim": 12, "projection_dim": 8}
    models = {
        "clip": small_clip(dtype=torch.float32, modalities={"image": VIT, "text": BERT}),
        "albef": small_albef(dtype=torch.float32, cls=LatentALBEFModel, image=VIT),
        "comm": CoMMModel(CoMMConfig(modalities={"image": VIT, "text": BERT}, **widths)),
    }
    root = tmp_path_factory.mktemp("habits")
    for name, model in models.items():
        model.save_pretrained(root / name)
    return root


def result(model, dtype=torch.float32):
    batch = small_pairs(dtype=dtype)
    if isinstance(model, CoMMModel):
        words = {key: batch.pop(key) for key in ("input_ids", "attention_mask")}
        batch = {"modalities": {"image": batch, "text": words}}
    with torch.no_grad():
        output = model.eval()(**batch)
    return output.fused if isinstance(model, CoMMModel) else output.logits_per_image


def empty(folder, tmp_path):
    # accelerate reads the file itself, and so wants the names of the modules, which those of a ViT in a file are not.
    AutoModel.from_pretrained(folder).save_pretrained(tmp_path, save_original_format=False)
    with init_empty_weights():
        model = AutoModel.from_config(AutoConfig.from_pretrained(folder))
    return load_checkpoint_and_dispatch(model, tmp_path, device_map="auto")


def partly_on_disk(folder, tmp_path):
    parts = [name for name, _ in AutoModel.from_pretrained(folder).named_children() if name != "encoders"]
    places = {**dict.fromkeys(parts, "cpu"), "encoders.image": "disk", "encoders.text": "cpu"}
    return AutoModel.from_pretrained(folder, device_map=places, offload_folder=tmp_path)


def in_shards(folder, tmp_path):
    AutoModel.from_pretrained(folder).save_pretrained(tmp_path, max_shard_size="4KB", variant="fp16")
    return AutoModel.from_pretrained(tmp_path, variant="fp16")


LOADED = {
    "empty weights": empty,
    "device_map auto": lambda folder, _: AutoModel.from_pretrained(folder, device_map="auto"),
    "disk": partly_on_disk,
    "shards": in_shards,
    "deepcopy": lambda folder, _: copy.deepcopy(AutoModel.from_pretrained(folder)),
    "pickle": lambda folder, _: pickle.loads(pickle.dumps(AutoModel.from_pretrained(folder))),
    "eager": lambda folder, _: AutoModel.from_pretrained(folder, attn_implementation="eager"),
}


@pytest.mark.parametrize("way", LOADED)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_way_of_loading_gives_the_same_model(folders, tmp_path, family, way):
    model = LOADED[way](folders / family, tmp_path)
    torch.testing.assert_close(result(model), result(AutoModel.from_pretrained(folders / family)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_runs(folders, family, dtype):
    expected = result(AutoModel.from_pretrained(folders / family))
    for model in (
        AutoModel.from_pretrained(folders / family, dtype=dtype),
        AutoModel.from_pretrained(folders / family).to(dtype),
    ):
        assert model.dtype == dtype
        torch.testing.assert_close(result(model).float(), expected, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("family", FAMILIES)
def test_word_embeddings_are_found_and_resized(folders, tmp_path, family):
    model = AutoModel.from_pretrained(folders / family)
    expected = result(model)
    assert model.get_input_embeddings() is model.encoders["text"].model.get_input_embeddings()
    assert model.resize_token_embeddings(50) is model.get_input_embeddings()
    torch.testing.assert_close(result(model), expected)
    model.save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(tmp_path)
    assert again.get_input_embeddings().weight.shape[0] == 50
    torch.testing.assert_close(result(again), expected)


def test_word_embeddings_that_nothing_can_resize_are_named():
    model = small_albef(cls=LatentALBEFForPreTraining)
    assert model.resize_token_embeddings().weight.shape[0] == 40
    with pytest.raises(ValueError, match="knows 40 words; resize a LatentALBEFModel"):
        model.resize_token_embeddings(50)
    with pytest.raises(NotImplementedError, match="0 modalities of this model are text"):
        small_model(("image", "table")).get_input_embeddings()


class Integers(nn.Linear):
    """A linear layer as quantization leaves it: whole numbers, times one float."""

    def __init__(self, linear):
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None)
        self.scale = linear.weight.detach().abs().max() / 127
        self.weight = nn.Parameter((linear.weight / self.scale).round().to(torch.int8), requires_grad=False)
        self.bias = linear.bias

    def forward(self, rows):
        return nn.functional.linear(rows, self.weight.to(rows.dtype) * self.scale, self.bias)


def test_quantized_weights_do_not_make_integers_of_activations():
    names = ("image", "series", "table")
    model = small_model(names, dtype=torch.float32).eval()
    batch = small_batch(names, dtype=torch.float32)
    expected = model.score(model(batch)).fused
    for name, module in list(model.named_modules()):
        if type(module) is nn.Linear:
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, Integers(module))
    torch.testing.assert_close(model.score(model(batch)).fused, expected, rtol=0.2, atol=0.1)


@pytest.fixture(scope="module")
def adapters(folders, tmp_path_factory):
    """A folder of each kind that `LatentTrainer.save_model` writes of adapters: with its base named, and without."""
    root = tmp_path_factory.mktemp("adapters")
    named = AutoModel.from_pretrained(folders / "clip")
    unnamed = small_clip(dtype=torch.float32, modalities={"image": VIT, "text": BERT})
    unnamed.load_state_dict(named.state_dict())
    expected = {}
    for name, model in (("named", named), ("unnamed", unnamed)):
        options = LoraConfig(target_modules=["query", "q_proj"], modules_to_save=["projections.image"])
        adapted = get_peft_model(model, options)
        draw = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for part in adapted.parameters():
                if part.requires_grad:
                    part.add_(torch.randn(part.shape, generator=draw))
        arguments = LatentTrainingArguments(output_dir=root / name, global_batch_size=2, use_cpu=True)
        LatentTrainer(model=adapted, args=arguments).save_model(str(root / name))
        expected[name] = result(adapted)
    return root, expected


def test_a_folder_of_adapters_loads_as_its_model(folders, adapters):
    root, expected = adapters
    assert (
        "AutoModelForZeroShotImageClassification"
        in json.loads((root / "named" / "config.json").read_text())["auto_map"]
    )
    base = AutoModel.from_pretrained(folders / "clip")
    before = result(base)
    for model in (
        AutoModel.from_pretrained(root / "named"),
        type(base).from_pretrained(str(root / "named")),
        AutoPeftModel.from_pretrained(root / "named", import_allowlist=["hf_latent"]),
        PeftModel.from_pretrained(base, root / "named"),
    ):
        found = result(model)
        torch.testing.assert_close(found, expected["named"])
        assert (found - before).abs().max() > 0.1


def test_adapters_that_name_no_model_say_how_to_load_them(folders, adapters):
    root, expected = adapters
    with pytest.raises(
        ValueError, match=r"names no model that they are for.*PeftModel.from_pretrained\(base, folder\)"
    ):
        AutoModel.from_pretrained(root / "unnamed")
    base = AutoModel.from_pretrained(folders / "clip")
    torch.testing.assert_close(result(PeftModel.from_pretrained(base, root / "unnamed")), expected["unnamed"])
