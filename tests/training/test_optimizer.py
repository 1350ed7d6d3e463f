"""The groups of the optimizer: what weight decay reaches in every family of towers, and the rates of parts."""

import pytest
import torch

from hf_latent import LatentCLIPConfig, LatentCLIPModel
from hf_latent.errors import UserError
from hf_latent.recipe import load_recipe
from tests.models.small import ENCODERS
from tests.models.test_text_towers import FAMILIES
from tests.training.runs import build_albef_trainer, build_clip_trainer, build_trainer

VIT = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16}
VIT |= {"patch_size": 8}
STAGES = {"depths": [1, 1], "num_heads": [1, 1], "embed_dim": 8, "image_size": 16, "patch_size": 2, "window_size": 4}
CNN = {"hidden_sizes": [8, 16], "depths": [1, 1], "embedding_size": 8, "num_stages": 2}
# The parameters of two dimensions or more that are not decayed in the image towers of each family.
IMAGES = {
    "beit": (VIT, {"cls_token"}),
    "clip_vision_model": (VIT, {"position_embedding.weight"}),
    "convnext": ({**CNN, "patch_size": 2}, set()),
    "deit": (VIT, {"cls_token", "distillation_token", "position_embeddings"}),
    "dinov2": (VIT, {"cls_token", "mask_token", "position_embeddings"}),
    "dinov2_with_registers": (VIT, {"cls_token", "mask_token", "position_embeddings", "register_tokens"}),
    "dinov3_vit": (VIT, {"cls_token", "mask_token", "register_tokens"}),
    "ijepa": (VIT, {"position_embeddings"}),
    "resnet": (CNN, set()),
    "siglip_vision_model": (VIT, {"position_embedding.weight"}),
    "swin": ({**STAGES, "use_absolute_embeddings": True}, {"position_embeddings", "relative_position_bias_table"}),
    "swinv2": (STAGES, {"logit_scale", "continuous_position_bias_mlp"}),
    "vit": (VIT, {"cls_token", "position_embeddings"}),
}
TEXT = {**VIT, "model_type": "bert", "vocab_size": 40, "max_position_embeddings": 12}


def auto(family, options):
    return {"encoder": "auto", "config": {"model_type": family, **options}, "pooling": "mean"}


def groups_of(trainer):
    """The weight decay and the learning rate of each parameter, by name."""
    trainer.create_optimizer()
    names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
    found = {}
    for group in trainer.optimizer.param_groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            assert name not in found
            found[name] = group["weight_decay"], group["lr"]
    return found


def decays(trainer):
    return {name for name, (decay, _) in groups_of(trainer).items() if decay}


def clip_trainer(folder, modalities, **arguments):
    trainer = build_clip_trainer(folder, regularizers={}, in_modal=False, weight_decay=0.1, **arguments)
    with torch.device("meta"):
        model = LatentCLIPModel(LatentCLIPConfig(modalities=modalities, projection_dim=8))
    trainer.model = model
    return trainer


@pytest.mark.parametrize("family", IMAGES)
def test_position_and_class_embeddings_of_image_towers_are_not_decayed(family, tmp_path):
    options, left_out = IMAGES[family]
    trainer = clip_trainer(tmp_path, {"image": auto(family, options), "text": auto("bert", TEXT)})
    decayed = decays(trainer)
    image = {n: p for n, p in trainer.model.encoders["image"].named_parameters(prefix="encoders.image")}
    assert all(p.ndim >= 2 for n, p in image.items() if n in decayed)
    matrices = {n for n, p in image.items() if p.ndim >= 2}
    kept = {n for n in matrices - decayed if not n.endswith("bias")}
    ends = {end for end in left_out for n in kept if end in n}
    assert ends == left_out and all(any(end in n for end in left_out) for n in kept)
    assert matrices & decayed and "logit_scale.weight" not in decayed


@pytest.mark.parametrize("family", FAMILIES)
def test_the_tables_of_text_towers_are_decayed_and_their_vectors_are_not(family, tmp_path):
    options = {"vocab_size": 40, "pad_token_id": 0, **FAMILIES[family][0]}
    trainer = clip_trainer(tmp_path, {"image": ENCODERS["image"], "text": auto(family, options)})
    decayed = decays(trainer)
    for name, parameter in trainer.model.named_parameters():
        vector = parameter.ndim < 2 or "bias" in name or "norm" in name.lower()
        assert (name in decayed) == (not vector), name


def test_what_is_decayed_of_our_own_models(tmp_path):
    comm = groups_of(build_trainer(tmp_path, weight_decay=0.1, norm="batch"))
    assert {name for name, (decay, _) in comm.items() if not decay} == {
        name for name in comm if "norm" in name or name.endswith("bias") or name == "fusion.class_token"
    } | {f"encoders.image{i}.layers.{layer}.weight" for i in (1, 2) for layer in (1, 4)} | {
        "head.1.weight", "head.4.weight",
    }  # fmt: skip
    trainer = build_albef_trainer(tmp_path, weight_decay=0.1)
    albef = groups_of(trainer)
    table = "encoders.text.model.embeddings.position_embeddings.weight"
    assert albef[table][0] and not albef["logit_scale.weight"][0]
    # A momentum copy has no gradient, and is in no group.
    frozen = {name for name, parameter in trainer.model.named_parameters() if not parameter.requires_grad}
    assert any(name.startswith("momentum.") for name in frozen)
    assert albef.keys() == {name for name, _ in trainer.model.named_parameters()} - frozen


def test_all_is_decayed_where_the_recipe_says_so(tmp_path):
    trainer = build_trainer(tmp_path, weight_decay=0.1, decay_all=True)
    assert decays(trainer) == {name for name, _ in trainer.model.named_parameters()}


@pytest.mark.parametrize("name", ["comm_trifeature", "comm_trifeature_synergy_quick", "cross_trifeature_quick"])
def test_recipes_of_comm_decay_all_as_its_code(name):
    assert load_recipe(name).training["decay_all"]


def test_the_longest_part_decides_on_the_learning_rate(tmp_path):
    rates = {"encoders": 1e-5, "encoders.image": 1e-4, "encoders.image.layers.0.weight": 0.0}
    found = groups_of(build_clip_trainer(tmp_path, weight_decay=0.1, learning_rate=0.5, learning_rates=rates))
    for name, (_, rate) in found.items():
        last = name == "encoders.image.layers.0.weight"
        image, any_tower = name.startswith("encoders.image."), name.startswith("encoders.")
        assert rate == (0.0 if last else 1e-4 if image else 1e-5 if any_tower else 0.5), name
    assert found["encoders.image.layers.0.weight"][0] and not found["encoders.image.layers.1.weight"][0]


def test_a_single_parameter_is_a_part_also_beside_adapters(tmp_path):
    rates = {"logit_scale.weight": 0.25, "projections.image.weight": 0.5}
    found = groups_of(build_clip_trainer(tmp_path, regularizers={}, lora={"rank": 2}, learning_rates=rates))
    own = {rate: [name for name, (_, other) in found.items() if other == rate] for rate in (0.25, 0.5)}
    assert len(own[0.25]) == len(own[0.5]) == 1 and "logit_scale" in own[0.25][0] and "projections" in own[0.5][0]


@pytest.mark.parametrize("optim", ["adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop"])
@pytest.mark.parametrize("lora", [None, {"rank": 2}])
def test_rates_hold_for_every_optimizer_and_with_adapters(tmp_path, optim, lora):
    trainer = build_clip_trainer(
        tmp_path, regularizers={}, lora=lora, optim=optim, max_steps=4, learning_rate=1e-3, warmup_steps=2,
        lr_scheduler_type="linear", learning_rates={"projections": 1e-2, "encoders.text": 0.0},
    )  # fmt: skip
    before = {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}
    trainer.train()
    moved = {name for name, parameter in trainer.model.named_parameters() if not torch.equal(parameter, before[name])}
    assert not any("encoders.text" in name for name in moved)
    projections = {name for name in before if ".projections." in f".{name}" and "original_module" not in name}
    assert projections and projections <= moved
    logs = [entry for entry in trainer.state.log_history if "learning_rate" in entry]
    assert [entry["learning_rate"] for entry in logs] == pytest.approx([0.0, 5e-4, 1e-3, 5e-4])
    assert [entry["learning_rate_projections"] for entry in logs] == pytest.approx([0.0, 5e-3, 1e-2, 5e-3])
    assert [entry["learning_rate_encoders.text"] for entry in logs] == [0.0] * 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"learning_rates": {"encoder.image": 1.0}}, "no part 'encoder.image'; did you mean 'encoders.image'"),
        ({"learning_rates": {"encoders.imag": 1.0}}, "no part 'encoders.imag'"),
        ({"learning_rates": {"": 1.0}}, "no part ''; known: encoders, encoders.image, encoders.text, "),
        ({"learning_rates": {"encoders.image": 1.0}, "lora": {"rank": 2}}, "learning_rates.encoders.image: .* frozen"),
        ({"learning_rates": {"encoders": -1.0}}, "learning_rates.encoders=-1.0: write a finite number, 0 or more"),
        ({"learning_rates": {"encoders": "big"}}, "learning_rates.encoders='big'"),
        ({"learning_rates": {"encoders": 1.0}, "optim": "lomo"}, "training.optim=lomo takes one for all"),
    ],
)
def test_rates_that_reach_nothing_are_refused(tmp_path, options, words):
    with pytest.raises(UserError, match=words):
        build_clip_trainer(tmp_path, regularizers={}, **options).try_optimizer()


def test_an_optimizer_of_the_user_has_its_own_rates_and_a_second_training_those_of_the_first(tmp_path):
    trainer = build_trainer(tmp_path, learning_rates={"encoders": 0.0}, max_steps=1)
    trainer.train()
    trainer.train()
    assert trainer.optimizer.param_groups[2]["lr"] == 0.0
    trainer = build_trainer(tmp_path, learning_rates={"encoders": 0.0}, max_steps=1)
    trainer.optimizer = torch.optim.SGD(trainer.model.parameters(), lr=1.0)
    with pytest.raises(UserError, match="the optimizer was given to the Trainer"):
        trainer.train()


def test_a_resume_goes_on_with_the_same_rates_alone(tmp_path):
    rates = {"encoders.image1": 1e-4}
    options = {"save_strategy": "steps", "save_steps": 2, "lr_scheduler_type": "constant"}
    build_trainer(tmp_path, max_steps=2, learning_rates=rates, **options).train()
    # Both encoders have as many parameters of the same shapes, and both come after others.
    for other, words in [
        ({"encoders.image1": 1e-3}, "base_lrs="),
        ({"encoders.image2": 1e-4}, "other parameters in a group, such as encoders.image1"),
        ({}, "base_lrs="),
    ]:
        with pytest.raises(UserError, match=words):
            build_trainer(tmp_path, max_steps=4, learning_rates=other, **options).train(resume_from_checkpoint=True)
    whole = build_trainer(tmp_path / "whole", max_steps=4, learning_rates=rates, **options)
    whole.train()
    resumed = build_trainer(tmp_path, max_steps=4, learning_rates=rates, **options)
    resumed.train(resume_from_checkpoint=True)
    for (name, one), two in zip(whole.model.named_parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, two), name


def test_a_recipe_writes_rates_and_a_wrong_kind_is_an_error():
    rates = ["training.learning_rates={encoders.image1: 0, head: 1e-3}"]
    assert load_recipe("comm_trifeature_quick", rates).training["learning_rates"] == {
        "encoders.image1": 0.0, "head": 1e-3,
    }  # fmt: skip
    with pytest.raises(UserError, match=r"training.learning_rates=.*expected"):
        load_recipe("comm_trifeature_quick", ["training.learning_rates.encoders.image1=1"])
