"""LatentALBEF in training: one gradient however a batch is run, an exact resume, and what is refused."""

import pytest
import torch
from safetensors.torch import load_file

from hf_latent import LatentALBEFForPreTraining
from hf_latent.errors import UserError
from tests.training.runs import HEADS, build_albef_trainer, curve, run, run_all
from tests.training.torchrun import torchrun

pytestmark = pytest.mark.filterwarnings("ignore:information_bottleneck with a temperature")
PARTS = {"gradient_cache_chunk_size": 5}  # 12 rows of one process, 6 of two: it divides neither
BASE = {"albef": True, "double": True, "max_steps": 6}
CASES = {
    "contrast and words": {**BASE, "regularizers": {}},
    "with all regularizers": BASE,
    "contrast alone": {**BASE, "regularizers": {}, "model": {"mlm_weight": 0, "itm_weight": 0}},
    "all three losses": {**BASE, "model": {"itm_weight": 0.8}},
    **{head: {"head": head, "double": True, "max_steps": 6} for head in HEADS},
}
CASES |= {f"{name}, in chunks": {**case, **PARTS} for name, case in CASES.items()}
VIT = {"model_type": "vit", "image_size": 16, "patch_size": 8, "hidden_size": 16, "intermediate_size": 32}
VIT |= {"num_hidden_layers": 1, "num_attention_heads": 2}
MATCHING = {"itm_weight": 1.0}
WITH_VIT = {**MATCHING, "image": {"encoder": "auto", "config": VIT}}


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return run_all(tmp_path_factory.mktemp("one"), CASES)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return torchrun(tmp_path_factory.mktemp("two"), 2, CASES)


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", CASES)
def test_one_gradient_and_one_curve(request, one, name, processes):
    """Six steps, in which the momentum copy moves, the queue wraps and the teacher's share rises.

    Matching draws its negatives from the rows of one process: in chunks it is the same, on two processes another.
    """
    results = one if processes == 1 else request.getfixturevalue("two")
    found, whole = results[name], name.removesuffix(", in chunks")
    expected = (results if whole == "all three losses" else one)[whole]
    difference = (found["gradient"] - expected["gradient"]).norm() / expected["gradient"].norm()
    assert difference < 1e-9
    assert len(found["curve"]) == 6
    for ours, theirs in zip(found["curve"], expected["curve"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-6), ours["step"]
    torch.testing.assert_close(*(torch.from_numpy(r["features"]) for r in (found, expected)), rtol=1e-6, atol=1e-8)


def test_the_terms_are_logged(one):
    first = one["with all regularizers"]["curve"][0]
    assert {"loss_itc", "loss_mlm", "loss_geometric_consistency", "loss_feature_separation"} < set(first)


@pytest.mark.slow
def test_matching_runs_on_two_processes(one, two):
    """The gradient of contrast, words and regularizers is that of one process; matching's comes near."""
    found, expected = (results["all three losses"] for results in (two, one))
    assert all(0 < entry["loss_itm"] < 5 for entry in found["curve"])
    first, theirs = found["curve"][0], expected["curve"][0]
    assert all(first[key] == pytest.approx(theirs[key], rel=1e-6) for key in ("loss_itc", "loss_mlm"))
    assert (found["gradient"] - expected["gradient"]).norm() < 0.3 * expected["gradient"].norm()


def test_recomputed_layers_in_chunks_have_the_gradient_of_the_whole_batch(tmp_path):
    options = {"albef": True, "double": True, "max_steps": 1, "model": WITH_VIT}
    plain, cached = (run(tmp_path, {**options, **more}) for more in ({}, {**PARTS, "gradient_checkpointing": True}))
    assert cached["curve"] == [pytest.approx(entry, rel=1e-9) for entry in plain["curve"]]
    torch.testing.assert_close(cached["gradient"], plain["gradient"], rtol=1e-7, atol=1e-10)


def test_a_chunk_and_its_partners_are_what_is_encoded(tmp_path):
    """The momentum copy once, the model twice, hard negatives once a chunk and never more than the chunk has rows."""
    trainer = build_albef_trainer(tmp_path, max_steps=1, model=MATCHING, **PARTS)
    sizes = {"model": [], "momentum": []}
    for name, model in (("model", trainer.model), ("momentum", trainer.model.momentum)):
        hear = lambda module, args, kwargs, own=sizes[name]: own.append(len(kwargs["pixel_values"]))  # noqa: E731
        model.encoders["image"].register_forward_pre_hook(hear, with_kwargs=True)
    trainer.train()
    assert sizes["momentum"] == [5, 5, 2]
    assert sizes["model"][:4] == [5, 5, 2, 5] and max(sizes["model"]) == 5
    assert 12 < sum(sizes["model"][3:]) <= 24


def test_dropout_in_chunks_draws_anew_for_partners_alone(tmp_path):
    """Contrast replays it, so its loss falls as that of the whole batch would; the losses of rows stay finite."""
    dropout = {"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.2}
    model = {**MATCHING, "image": {"encoder": "auto", "config": {**VIT, **dropout}}}
    trainer = build_albef_trainer(tmp_path, model=model, **PARTS)
    trainer.train()
    losses = [entry["loss_itm"] for entry in curve(trainer)]
    assert len(set(losses)) == len(losses) == 8 and all(0 < loss < 5 for loss in losses)


@pytest.mark.parametrize("parts", [{}, PARTS])
def test_a_resume_is_bit_exact_and_the_published_model_is_light(tmp_path, parts):
    model = WITH_VIT if parts else MATCHING
    options = {"model": model, "max_steps": 6, "save_strategy": "steps", "save_steps": 3, **parts}
    whole = build_albef_trainer(tmp_path / "whole", **options)
    whole.train()
    again = build_albef_trainer(tmp_path / "again", **options)
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-3"))
    assert curve(again)[-3:] == curve(whole)[-3:]
    for (name, ours), theirs in zip(again.model.state_dict().items(), whole.model.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name
    assert whole.model.feature_queue.count == 6 * 12
    held = load_file(tmp_path / "whole" / "checkpoint-6" / "model.safetensors")
    assert torch.equal(held["feature_queue.ids"], whole.model.feature_queue.ids)
    whole.save_model(str(tmp_path / "published"))
    known = LatentALBEFForPreTraining.from_pretrained(tmp_path / "whole" / "checkpoint-6").state_dict()
    assert all(torch.equal(known[name], value) for name, value in whole.model.state_dict().items())
    light = load_file(tmp_path / "published" / "model.safetensors")
    assert not any(name.startswith(("momentum", "feature_queue")) for name in light)
    loaded = LatentALBEFForPreTraining.from_pretrained(tmp_path / "published")
    assert torch.equal(loaded.itm_head.weight, whole.model.itm_head.weight)


def test_accumulation_queues_every_batch(tmp_path):
    with pytest.warns(UserWarning, match="adds no negatives"):
        trainer = build_albef_trainer(tmp_path, gradient_accumulation_steps=2, max_steps=2, model={"queue_size": 64})
    trainer.train()
    assert trainer.model.feature_queue.count == 2 * 2 * 12


def test_evaluation_moves_nothing(tmp_path):
    trainer = build_albef_trainer(tmp_path, max_steps=2)
    trainer.train()
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.features(trainer.train_dataset)
    trainer.try_batch()
    assert all(torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())
    assert trainer.model._scored == []


@pytest.mark.parametrize("way", ["fsdp", "deepspeed"])
def test_sharded_weights_are_refused(tmp_path, monkeypatch, way):
    with pytest.raises(UserError, match=f"{way}=.*needs whole weights on every process.*torchrun"):
        build_albef_trainer(tmp_path, **{way: "full_shard" if way == "fsdp" else {"zero_optimization": {"stage": 2}}})
    monkeypatch.setenv(f"ACCELERATE_USE_{way.upper()}", "true")
    with pytest.raises(UserError, match=f"ACCELERATE_USE_{way.upper()} of accelerate launch"):
        build_albef_trainer(tmp_path)


def test_adapters_are_refused(tmp_path):
    from hf_latent.training.lora import Lora, add_lora

    with pytest.raises(UserError, match="momentum encoders of this model follow whole weights"):
        add_lora(build_albef_trainer(tmp_path).model, Lora())


@pytest.mark.parametrize("parts", [{}, PARTS])
def test_bf16_trains(tmp_path, parts):
    found = run(tmp_path, {"albef": True, "max_steps": 2, "bf16": True, "model": MATCHING, **parts})
    assert torch.isfinite(found["gradient"]).all() and found["gradient"].norm() > 0
    losses = {"loss_itc", "loss_itm", "loss_mlm"}
    assert all(losses < set(entry) and all(0 < entry[name] < 20 for name in losses) for entry in found["curve"])
