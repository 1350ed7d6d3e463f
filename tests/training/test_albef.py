"""LatentALBEF in training: one gradient however a batch is run, an exact resume, and what is refused."""

import pytest
import torch
from safetensors.torch import load_file

from hf_latent import LatentALBEFForPreTraining
from hf_latent.errors import UserError
from tests.training.runs import build_albef_trainer, curve, run, run_all
from tests.training.torchrun import torchrun

pytestmark = pytest.mark.filterwarnings("ignore:information_bottleneck with a temperature")
PARTS = {"gradient_cache_chunk_size": 5}  # 12 rows of one process, 6 of two: it divides neither
BASE = {"albef": True, "double": True, "max_steps": 6}
CASES = {
    "contrast and words": {**BASE, "regularizers": {}},
    "with all regularizers": BASE,
    "contrast alone": {**BASE, "regularizers": {}, "model": {"mlm_weight": 0, "itm_weight": 0}},
    "all three": {**BASE, "model": {"itm_weight": 0.8}},
    "matching": {**BASE, "regularizers": {}, "model": {"mlm_weight": 0, "itm_weight": 1.0, "alpha": 0}},
}
CASES |= {f"{name}, in chunks": {**case, **PARTS} for name, case in CASES.items()}
# Matching draws its negatives from one process's rows: here it only has to run, and leave both processes the same.
MATCHED = {"albef": True, "max_steps": 4, "regularizers": {}, "model": {"itm_weight": 1.0}}


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return run_all(tmp_path_factory.mktemp("one"), CASES)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return torchrun(tmp_path_factory.mktemp("two"), 2, {**CASES, "matched": MATCHED})


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_one_gradient_and_one_curve(request, one, name, processes):
    """Six steps, in which the momentum copy moves, the queue wraps and the teacher's share rises."""
    found = (one if processes == 1 else request.getfixturevalue("two"))[name]
    expected = one[name.removesuffix(", in chunks")]
    difference = (found["gradient"] - expected["gradient"]).norm() / expected["gradient"].norm()
    assert difference < 1e-9
    assert len(found["curve"]) == 6
    for ours, theirs in zip(found["curve"], expected["curve"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-6), ours["step"]
    torch.testing.assert_close(*(torch.from_numpy(r["features"]) for r in (found, expected)), rtol=1e-6, atol=1e-8)


def test_the_terms_are_logged(one):
    first = one["with all regularizers"]["curve"][0]
    assert {"loss_itc", "loss_mlm", "loss_geometric_consistency", "loss_feature_separation"} < set(first)


def test_matching_runs_on_two_processes(two):
    losses = [entry["loss_itm"] for entry in two["matched"]["curve"]]
    assert len(losses) == 4 and all(0 < loss < 5 for loss in losses)


def test_a_resume_is_bit_exact_and_the_published_model_is_light(tmp_path):
    options = {"model": {"itm_weight": 1.0}, "max_steps": 6, "save_strategy": "steps", "save_steps": 3}
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


def test_matching_in_chunks_is_refused(tmp_path):
    with pytest.raises(UserError, match="picks hard negatives among all rows .* set its weight to 0"):
        build_albef_trainer(tmp_path, model={"itm_weight": 1.0}, **PARTS)


def test_adapters_are_refused(tmp_path):
    from hf_latent.training.lora import Lora, add_lora

    with pytest.raises(UserError, match="momentum encoders of this model follow whole weights"):
        add_lora(build_albef_trainer(tmp_path).model, Lora())


def test_bf16_trains(tmp_path):
    found = run(tmp_path, {"albef": True, "max_steps": 2, "bf16": True, "model": {"itm_weight": 1.0}})
    assert torch.isfinite(found["gradient"]).all()
