"""CoMM: the whole model against plain passes, subsets, padding, precision, saving and loading."""

import json
import subprocess
import sys

import pytest
import torch
from transformers import AutoModel, AutoProcessor, BertConfig, ResNetConfig, Trainer, TrainingArguments

import hf_latent
from hf_latent import CoMMConfig, CoMMModel, CoMMProcessor
from hf_latent.models.latent_converter import grid_positions
from tests.models.reference import comm_loss
from tests.models.small import small_batch, small_model

WIDE = {"image": {"encoder": "cnn", "channels": [8, 16]}, "features": {"encoder": "features", "input_dim": 16}}
FUSIONS = [{}, {"fusion": "linear"}, {"fusion": "mlp"}]
NAMES = [("image", "series"), ("image", "series", "table", "features")]


@pytest.mark.parametrize(
    "options", [*FUSIONS, {"fusion_layers": 2}, {"fusion_pooling": "mean", "fusion_layers": 2}], ids=str
)
@pytest.mark.parametrize("names", NAMES)
def test_loss_and_gradients_equal_separate_passes(names, options):
    model = small_model(names, **options)
    first, second = small_batch(names, seed=1), small_batch(names, seed=2)
    fast = model(first, second).loss
    slow = comm_loss(model, first, second)
    torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-12)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for ours, plain in zip(torch.autograd.grad(fast, parameters), torch.autograd.grad(slow, parameters), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-8, atol=1e-10)


def test_batch_norm_encoder_takes_statistics_of_one_view_at_a_time():
    torch.manual_seed(0)
    spec = {"encoder": "cnn", "channels": [8, 16], "norm": "batch"}
    model = CoMMModel(CoMMConfig(modalities={"image": spec}, embed_dim=16, fusion_heads=4)).double()
    first, second = small_batch(("image",), seed=1), small_batch(("image",), seed=2)
    torch.testing.assert_close(model(first, second).loss, comm_loss(model, first, second), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("options", FUSIONS)
def test_features_of_any_subset(options):
    names = ("image", "series", "table")
    model, batch = small_model(names, **options).eval(), small_batch(names)
    whole = model(batch, return_loss=False)
    for name in names:
        torch.testing.assert_close(model.get_fused_features({name: batch[name]}), whole.embeds[name])
    torch.testing.assert_close(model.get_fused_features(batch), whole.fused)
    two = model.get_fused_features({"table": batch["table"], "image": batch["image"]})
    assert two.shape == (6, 16)
    assert not torch.allclose(two, whole.fused)


@pytest.mark.parametrize("positions", [True, False])
def test_tokens_may_stay_as_they_are(positions, tmp_path):
    options = {"converter": "identity", "positions": positions}
    model = small_model(modalities=WIDE, dtype=torch.float32, **options).eval()
    assert not any("converters" in name for name in model.state_dict())
    batch = {**small_batch(("image",), dtype=torch.float32), "features": {"values": torch.randn(6, 2, 16)}}
    seen = []
    model.fusion.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    features = model.get_fused_features(batch)
    image = model.encoders["image"](**batch["image"])
    added = grid_positions(*image.grid, 16, like=image.tokens) if positions else 0
    torch.testing.assert_close(seen[0][0], image.tokens + added, rtol=0, atol=0)
    torch.testing.assert_close(seen[0][1], batch["features"]["values"], rtol=0, atol=0)
    with torch.autocast("cpu", torch.bfloat16):
        assert model.get_fused_features(batch).dtype == torch.float32
    model.save_pretrained(tmp_path)
    assert torch.equal(CoMMModel.from_pretrained(tmp_path).eval().get_fused_features(batch), features)
    assert model.to(torch.bfloat16).get_fused_features(batch).dtype == torch.bfloat16


@pytest.mark.parametrize("options", FUSIONS[1:])
def test_other_fusions_are_saved_and_loaded(options, tmp_path):
    model, batch = small_model(dtype=torch.float32, **options).eval(), small_batch(dtype=torch.float32)
    model.save_pretrained(tmp_path)
    loaded = CoMMModel.from_pretrained(tmp_path).eval()
    assert loaded.config.fusion == options["fusion"]
    assert torch.equal(loaded.get_fused_features(batch), model.get_fused_features(batch))


@pytest.mark.parametrize("options", FUSIONS)
def test_rows_are_embedded_one_by_one(options):
    model, batch = small_model(**options).eval(), small_batch()
    whole = model.get_fused_features(batch)
    alone = [
        model.get_fused_features({n: {k: v[i : i + 1] for k, v in m.items()} for n, m in batch.items()})
        for i in range(6)
    ]
    torch.testing.assert_close(torch.cat(alone), whole)


def test_padding_is_honoured_in_training_and_in_evaluation():
    model = small_model(("series",))
    batch = small_batch(("series",))
    other = {"series": dict(batch["series"])}
    other["series"]["values"] = batch["series"]["values"] + 9.0 * (1 - batch["series"]["attention_mask"])[..., None]
    for mode in (True, False):
        model.train(mode)
        torch.testing.assert_close(model.get_fused_features(other), model.get_fused_features(batch))


def test_bf16_encoders_leave_the_rest_in_float32():
    model = small_model(dtype=torch.float32)
    first, second = (small_batch(seed=s, dtype=torch.float32) for s in (1, 2))
    with torch.autocast("cpu", torch.bfloat16):
        output = model(first, second)
    assert output.fused.dtype == torch.float32
    assert output.loss.dtype == torch.float32 and torch.isfinite(output.loss)
    seen = []
    model.encoders["image"].layers[0].register_forward_hook(lambda *call: seen.append(call[2].dtype))
    model.converters["image"].register_forward_hook(lambda *call: seen.append(call[2].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        model(first, second)
    assert seen == [torch.bfloat16, torch.float32]


def test_any_transformers_model_is_an_encoder():
    bert = BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=40)
    resnet = ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic")
    config = CoMMConfig(
        modalities={
            "text": {"encoder": "auto", "config": bert.to_dict()},
            "photo": {"encoder": "auto", "config": resnet.to_dict(), "backbone": True},
        },
        embed_dim=16,
        fusion_heads=4,
    )
    model = CoMMModel(config).eval()
    assert [encoder.kind for encoder in model.encoders.values()] == ["text", "image"]
    batch = {
        "text": {"input_ids": torch.randint(0, 40, (3, 7)), "attention_mask": torch.ones(3, 7, dtype=torch.long)},
        "photo": {"pixel_values": torch.randn(3, 3, 32, 32)},
    }
    assert model.get_fused_features(batch).shape == (3, 16)


def test_alexnet_features_at_224_px():
    config = CoMMConfig(modalities={"image": {"encoder": "alexnet"}}, embed_dim=32)
    output = CoMMModel(config).encoders["image"](pixel_values=torch.randn(1, 3, 224, 224))
    assert output.tokens.shape == (1, 36, 256) and output.grid == (6, 6)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_the_fusion_starts_at_the_scales_of_the_official_code(pooling, tmp_path):
    config = CoMMConfig(modalities={"image": {"encoder": "cnn"}}, embed_dim=64, fusion_pooling=pooling)
    model = CoMMModel(config)
    model.save_pretrained(tmp_path)
    for candidate in (model, CoMMModel.from_pretrained(tmp_path)):
        layer = candidate.fusion.layers[0]
        assert layer.query.weight.std().item() == pytest.approx(64**-0.5, rel=0.1)
        assert layer.contract.weight.std().item() == pytest.approx(128**-0.5, rel=0.1)
        assert layer.output.bias.abs().max() == 0
    before, after = model.state_dict(), CoMMModel.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_stock_trainer_trains_it(tmp_path):
    batch, second = (small_batch(seed=s, rows=1, dtype=torch.float32) for s in (1, 2))
    rows = [{"modalities": batch, "augmented_modalities": second}] * 4

    def stack(items):
        def view(key):
            names = items[0][key]
            return {n: {k: torch.cat([i[key][n][k] for i in items]) for k in names[n]} for n in names}

        return {key: view(key) for key in items[0]}

    arguments = TrainingArguments(tmp_path, max_steps=2, per_device_train_batch_size=4, use_cpu=True, report_to=[])
    arguments.remove_unused_columns = False
    trainer = Trainer(small_model(dtype=torch.float32), arguments, train_dataset=rows, data_collator=stack)
    assert trainer.train().global_step == 2


def test_frozen_encoder_stays_frozen_through_saving(tmp_path):
    spec = {"encoder": "cnn", "channels": [8], "frozen": True}
    model = CoMMModel(CoMMConfig(modalities={"image": spec}, embed_dim=16, fusion_heads=4))
    model.save_pretrained(tmp_path)
    loaded = CoMMModel.from_pretrained(tmp_path).train()
    assert not any(parameter.requires_grad for parameter in loaded.encoders.parameters())
    assert not loaded.encoders["image"].training and loaded.head.training


REMOTE = """
import json, sys
for name in ("hf_latent", "datasets", "sklearn", "gradio", "evaluate", "omegaconf", "accelerate", "peft"):
    sys.modules[name] = None  # as if it were not installed
import torch
from transformers import AutoModel, AutoProcessor
folder = sys.argv[1]
model = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
batch = torch.load(folder + "/batch.pt")
try:
    model(batch, batch, return_loss=True)
    message = ""
except ImportError as error:
    message = str(error)
torch.save(model.get_fused_features(batch), folder + "/features.pt")
print(json.dumps({"class": type(model).__module__, "message": message, "processor": sorted(processor.modalities)}))
"""


def test_loads_everywhere_bit_for_bit(tmp_path):
    names = ("image", "series")
    model, batch = small_model(names, dtype=torch.float32).eval(), small_batch(names, dtype=torch.float32)
    model.save_pretrained(tmp_path)
    CoMMProcessor({"image": {"kind": "image", "size": 16}, "series": {"kind": "series"}}).save_pretrained(tmp_path)
    features = model.get_fused_features(batch)
    assert torch.equal(CoMMModel.from_pretrained(tmp_path).eval().get_fused_features(batch), features)
    assert torch.equal(AutoModel.from_pretrained(tmp_path).eval().get_fused_features(batch), features)
    assert isinstance(AutoProcessor.from_pretrained(tmp_path), CoMMProcessor)

    torch.save(batch, tmp_path / "batch.pt")
    script = tmp_path / "remote.py"
    script.write_text(REMOTE)
    done = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["class"].startswith("transformers_modules")
    assert "which is in the library hf_latent: install it" in found["message"]
    assert found["processor"] == ["image", "series"]
    assert torch.equal(torch.load(tmp_path / "features.pt"), features)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"modalities": {"image": {"encoder": "cn"}}}, "did you mean 'cnn'"),
        ({"modalities": {"image": {"encoder": "cnn", "chanels": [8]}}}, "did you mean 'channels'"),
        ({"modalities": {"force": {"encoder": "sequence"}}}, "needs input_dim"),
        ({"modalities": {"image": {"channels": [8]}}}, "has no encoder"),
        ({"modalities": {"image": {"encoder": "cnn"}}, "embed_dims": 3}, "did you mean 'embed_dim'"),
        ({"modalities": {"image": {"encoder": "cnn"}}, "embed_dim": 30}, "not a multiple"),
        ({"modalities": {"image": {"encoder": "cnn"}}, "objective": "com"}, "did you mean 'comm'"),
        ({"modalities": {"image": {"encoder": "cnn"}}, "temperature": 0}, "above 0"),
        ({"modalities": {"joint": {"encoder": "cnn"}}}, "is taken"),
        ({"modalities": {"values": {"encoder": "cnn"}}}, "is taken"),
        ({}, "needs modalities"),
        ({"modalities": WIDE, "fusion": "linaer"}, "did you mean 'linear'"),
        ({"modalities": WIDE, "fusion": "mlp", "fusion_layers": 2}, "fusion_layers=2 is of fusion: attention"),
        ({"modalities": WIDE, "fusion": "linear", "fusion_pooling": "mean"}, "fusion_pooling='mean' is of fusion"),
        ({"modalities": WIDE, "fusion": "linear", "fusion_heads": 4}, "leave fusion_heads out"),
        ({"modalities": WIDE, "converter": "identiy"}, "did you mean 'identity'"),
        ({"modalities": WIDE, "positions": "no"}, "positions='no': write true or false"),
        (
            {"modalities": WIDE, "converter": "identity", "embed_dim": 32},
            "modality 'image' are 16 wide, and embed_dim is 32: write embed_dim: 16",
        ),
    ],
)
def test_bad_configs_say_what_to_write(options, words):
    with pytest.raises(ValueError, match=words):
        CoMMModel(CoMMConfig(**options))


def test_bad_batches_say_what_is_wrong():
    model, batch = small_model(), small_batch()
    with pytest.raises(ValueError, match="did you mean 'image'"):
        model({"imgae": batch["image"]})
    with pytest.raises(ValueError, match="at least one of image, series"):
        model({})
    with pytest.raises(ValueError, match="second view has the modalities"):
        model(batch, {"image": batch["image"]})
    with pytest.raises(ValueError, match="a second view"):
        model(batch, return_loss=True)


def test_import_is_light():
    heavy = ("datasets", "evaluate", "gradio", "matplotlib", "omegaconf", "sklearn")
    code = f"import sys, hf_latent.metrics; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert "LatentTrainer" in dir(hf_latent)
