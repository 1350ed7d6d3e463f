"""The Trainer: one curve however it is run, exact resume, whole checkpoints, errors that speak."""

import json
import math
import subprocess
import sys
import time

import pytest
import torch

from hf_latent.errors import UserError
from hf_latent.training.arguments import LatentTrainingArguments
from hf_latent.training.checkpoints import publish, staged_files
from tests.training.runs import NAMES, RandomPairs, build_clip_trainer, build_trainer, curve
from tests.training.torchrun import ROOT, step_of, wait_for


@pytest.mark.filterwarnings("ignore:information_bottleneck with a temperature")
def test_a_stream_resumes_at_the_same_row(tmp_path):
    whole = build_clip_trainer(tmp_path / "run", stream=True, save_strategy="steps", save_steps=6)
    whole.train()  # 8 steps of 12 rows: the 52 rows of the stream begin again
    again = build_clip_trainer(tmp_path / "again", stream=True)
    again.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-6"))
    assert curve(again) == curve(whole)


def test_terms_are_logged(tmp_path):
    trainer = build_trainer(tmp_path)
    trainer.train()
    for entry in curve(trainer):
        terms = [entry[f"loss_{name}"] for name in (*NAMES, "joint")]
        assert entry["loss"] == pytest.approx(sum(terms) / 3, rel=1e-5)
    assert curve(trainer)[-1]["loss"] != curve(trainer)[0]["loss"]


@pytest.mark.parametrize(("terms", "names"), [("joint", {"joint"}), ("single", set(NAMES))])
def test_ablations_train_their_terms_only(tmp_path, terms, names):
    trainer = build_trainer(tmp_path, loss_terms=terms, max_steps=1)
    trainer.train()
    assert {key for key in curve(trainer)[0] if key.startswith("loss_")} == {f"loss_{name}" for name in names}


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize("norm", ["group", "batch"])
def test_resume_continues_the_same_curve_bit_for_bit(tmp_path, norm, accumulation):
    # 52 rows in batches of 12 are 4 batches an epoch: with 3 to accumulate, the last step of an epoch has one.
    options = {"norm": norm, "gradient_accumulation_steps": accumulation}
    whole = build_trainer(tmp_path / "whole", **options)
    whole.train()
    first = build_trainer(tmp_path / "cut", save_strategy="steps", save_steps=3, **options)
    stop_after(first, 5)
    second = build_trainer(tmp_path / "cut", save_strategy="steps", save_steps=3, **options)
    second.train(resume_from_checkpoint=str(tmp_path / "cut" / "checkpoint-3"))
    assert curve(second) == curve(whole)
    for ours, theirs in zip(second.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_resume_between_two_logs_loses_nothing_of_the_curve(tmp_path):
    options = {"logging_steps": 2, "save_strategy": "steps", "save_steps": 3}
    whole = build_trainer(tmp_path / "whole", **options)
    whole.train()
    stop_after(build_trainer(tmp_path / "cut", **options), 5)
    second = build_trainer(tmp_path / "cut", **options)
    second.train(resume_from_checkpoint=str(tmp_path / "cut" / "checkpoint-3"))
    assert curve(second) == curve(whole)


def stop_after(trainer, steps):
    class Stop(Exception):
        pass

    original = trainer.compute_loss

    def compute_loss(*args, **kwargs):
        if trainer.state.global_step == steps:
            raise Stop
        return original(*args, **kwargs)

    trainer.compute_loss = compute_loss
    with pytest.raises(Stop):
        trainer.train()


def test_accumulation_gives_the_mean_gradient_of_its_micro_batches(tmp_path):
    trainer = build_trainer(tmp_path, gradient_accumulation_steps=4, max_steps=1, learning_rate=0.0)
    trainer.train()
    accumulated = curve(trainer)[0]["grad_norm"]
    # The same four micro-batches by hand: same rows, same views.
    again = build_trainer(tmp_path, gradient_accumulation_steps=4, max_steps=1, learning_rate=0.0)
    loader = again.get_train_dataloader()
    again.model.train()
    losses = [again.compute_loss(again.model, again._prepare_inputs(batch)) for batch in loader]
    (sum(losses) / 4).backward()
    norm = torch.linalg.vector_norm(torch.stack([p.grad.norm() for p in again.model.parameters()]))
    assert accumulated == pytest.approx(norm.item(), rel=1e-5)


def test_views_of_every_micro_batch_are_keyed_by_the_rows_before_it(tmp_path):
    trainer = build_trainer(tmp_path, gradient_accumulation_steps=3, max_steps=4)
    positions = []
    original = trainer._view_key
    trainer._view_key = lambda: positions.append(original()["position"]) or original_key(trainer)

    def original_key(trainer):
        return {"position": positions[-1], "rows": slice(0, 12), "global_rows": 12}

    trainer.train()
    assert positions == [12 * i for i in range(8)]


def test_nan_stops_with_the_step_and_the_term(tmp_path):
    trainer = build_trainer(tmp_path)
    objective = trainer.model.objective
    original = objective.__class__.__call__

    class Broken(objective.__class__):
        def __call__(self, embeddings, *args, **kwargs):
            if trainer.state.global_step == 2:
                embeddings.embeds["image2"] = embeddings.embeds["image2"] * math.nan
            return original(self, embeddings, *args, **kwargs)

    objective.__class__ = Broken
    with pytest.raises(UserError, match="step 3, from image2=nan"):
        trainer.train()


def test_bf16_encoders_train(tmp_path):
    trainer = build_trainer(tmp_path, bf16=True, max_steps=3)
    trainer.train()
    assert all(math.isfinite(entry["loss"]) for entry in curve(trainer))


def test_whole_data_sets_are_embedded_in_their_order(tmp_path):
    trainer = build_trainer(tmp_path, per_device_eval_batch_size=4)
    rows = RandomPairs(10)
    features = trainer.features(rows)
    assert features.shape == (10, 16)
    trainer.model.eval()
    batch = trainer.processing_class({name: [rows[i][name] for i in range(10)] for name in NAMES})
    expected = trainer.model.get_fused_features(**batch)
    torch.testing.assert_close(torch.from_numpy(features), expected, rtol=1e-5, atol=1e-5)
    assert (trainer.features(rows) == features).all()


def test_evaluation_leaves_the_training_views_alone(tmp_path):
    plain = build_trainer(tmp_path / "a")
    plain.train()
    evaluated = build_trainer(tmp_path / "b", eval_dataset=RandomPairs(5), eval_strategy="steps", eval_steps=2)
    evaluated.train()
    assert curve(evaluated) == curve(plain)


def test_batches_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(UserError, match="at least 2 rows"):
        LatentTrainingArguments(output_dir=str(tmp_path), global_batch_size=1, use_cpu=True)
    trainer = build_trainer(tmp_path, dataset=RandomPairs(5))
    with pytest.raises(UserError, match="5 rows, fewer than one global batch of 12"):
        trainer.train()
    trainer = build_trainer(tmp_path, views=False)
    with pytest.raises(ValueError, match="a second view"):
        trainer.train()


# Whole or not at all


def test_folders_and_files_appear_whole(tmp_path):
    with pytest.raises(RuntimeError), staged_files(tmp_path) as staging:
        (staging / "metrics.json").write_text("{}")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with staged_files(tmp_path) as staging:
        (staging / "figures").mkdir()
        (staging / "figures" / "a.png").write_text("new")
        assert not (tmp_path / "figures").exists()
    assert (tmp_path / "figures" / "a.png").read_text() == "new"
    assert not (tmp_path / ".staging").exists()

    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "x").write_text("1")
    publish(tmp_path / "one", tmp_path / "two")
    (tmp_path / "one").mkdir()
    publish(tmp_path / "one", tmp_path / "two")
    assert [path.name for path in (tmp_path / "two").iterdir()] == []


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.0, 0.15, 0.4])
def test_kill_leaves_whole_checkpoints_that_resume(tmp_path, delay):
    options = json.dumps({"killed": {"save_strategy": "steps", "save_steps": 1, "max_steps": 200}})
    command = [sys.executable, "-m", "tests.training.runs", str(tmp_path), options]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    tmp_path = tmp_path / "killed"
    wait_for(tmp_path, "checkpoint-*")
    time.sleep(delay)
    process.kill()
    process.wait()
    checkpoints = sorted(tmp_path.glob("checkpoint-*"), key=step_of)
    for checkpoint in checkpoints:
        step = json.loads((checkpoint / "trainer_state.json").read_text())["global_step"]
        assert checkpoint.name == f"checkpoint-{step}"
        names = {path.name for path in checkpoint.iterdir()}
        assert {"model.safetensors", "config.json", "optimizer.pt", "scheduler.pt", "rng_state.pth"} <= names
    step = step_of(checkpoints[-1])
    resumed = build_trainer(tmp_path, max_steps=step + 2, save_strategy="steps", save_steps=1)
    resumed.train(resume_from_checkpoint=str(checkpoints[-1]))
    assert not (tmp_path / ".staging").exists()
    assert curve(resumed)[-1]["step"] == step + 2


def test_batch_norm_in_an_encoder_is_refused_on_several_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(LatentTrainingArguments, "world_size", 2)
    with pytest.raises(UserError, match="encoders hold a BatchNorm.*norm: group"):
        build_trainer(tmp_path, norm="batch")
    assert build_trainer(tmp_path, norm="group").args.rows_contrasted == 12
