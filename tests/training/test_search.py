"""Models made by `model_init`, and the search for hyperparameters."""

import pytest
import torch
from transformers import TrainerCallback

from hf_latent import CoMMConfig, CoMMModel, LatentTrainer, Views, build_view
from hf_latent.errors import UserError
from hf_latent.training.arguments import LatentTrainingArguments
from hf_latent.training.search import evaluation_loss
from tests.training.runs import NAMES, RandomPairs, build_trainer, curve
from tests.training.runs import _arguments as arguments


def make_model(norm="group", **options):
    spec = {"encoder": "cnn", "channels": [8], "norm": norm}
    sizes = {"embed_dim": 8, "fusion_heads": 2, "projection_hidden_dim": 8, "projection_dim": 4}
    return CoMMModel(CoMMConfig(modalities={name: dict(spec) for name in NAMES}, **sizes, **options))


def searched(folder, model_init=lambda: make_model(), **options):
    processor = build_trainer(folder).processing_class
    return LatentTrainer(
        args=arguments(folder, **{"max_steps": 2, **options}),
        model_init=model_init,
        views=Views({name: build_view("image", size=16) for name in NAMES}),
        train_dataset=RandomPairs(),
        eval_dataset=RandomPairs(24),
        processing_class=processor,
    )


def test_a_search_minimises_the_loss_of_the_evaluation(tmp_path):
    optuna = pytest.importorskip("optuna")
    trainer = searched(tmp_path, eval_strategy="steps", eval_steps=2, save_strategy="steps", save_steps=2)
    trainer.compute_metrics = lambda found: {"large": 1e6}
    tried = []

    def space(trial):
        rate = trial.suggest_categorical("learning_rate", [1e-3, 1e-2])
        return {"learning_rate": rate, "global_batch_size": [12, 24, 26][trial.number], "seed": trial.number}

    class Note(TrainerCallback):
        def on_evaluate(self, args, state, control, **kwargs):
            tried.append(
                (args.per_device_train_batch_size, state.train_batch_size, args.seed, curve(trainer)[0]["loss"])
            )

    trainer.add_callback(Note)
    best = trainer.hyperparameter_search(
        space, n_trials=3, direction="minimize", backend="optuna", sampler=optuna.samplers.RandomSampler(0)
    )
    assert 0 < best.objective < 10
    assert [(size, again, seed) for size, again, seed, _ in tried] == [(12, 12, 0), (24, 24, 1), (26, 26, 2)]
    for size, _, seed, loss in tried:  # as a run of its own has it
        alone = searched(tmp_path / "alone", global_batch_size=size, seed=seed, max_steps=1)
        alone.train()
        assert curve(alone)[0]["loss"] == pytest.approx(loss, rel=1e-6)
    assert (tmp_path / "run-2" / "checkpoint-2" / "model.safetensors").is_file()


def test_the_usual_space_of_transformers_is_searched(tmp_path):
    optuna = pytest.importorskip("optuna")
    trainer = searched(tmp_path, max_steps=1)
    seen = []
    original = trainer.get_train_dataloader
    trainer.get_train_dataloader = lambda: seen.append(trainer.args.rows_contrasted) or original()
    sampler = optuna.samplers.GridSampler({"per_device_train_batch_size": [4, 16]}, seed=0)
    space = {"per_device_train_batch_size": [4, 16]}
    trainer.hyperparameter_search(
        lambda trial: {name: trial.suggest_categorical(name, values) for name, values in space.items()},
        n_trials=2,
        sampler=sampler,
    )
    assert sorted(seen) == [4, 16]


def test_every_model_has_its_own_objective_and_batch_norms(tmp_path):
    made = []

    def model_init():
        made.append(make_model(norm="batch", loss_terms="both" if not made else "joint"))
        return made[-1]

    trainer = searched(tmp_path, model_init, freeze_batch_norm=True)
    trainer.train()
    assert len(made) == 2 and trainer.model is made[1]
    assert {name for name in curve(trainer)[0] if name.startswith("loss_")} == {"loss_joint"}
    before = {name: tensor.clone() for name, tensor in make_model(norm="batch").encoders.named_buffers()}
    after = dict(trainer.model.encoders.named_buffers())
    moved = [name for name in before if name.endswith("running_mean") and after[name].abs().sum() > 0]
    assert before and not moved


def test_a_second_training_begins_as_the_first(tmp_path):
    trainer = searched(tmp_path, max_steps=1)
    trainer.train()
    first = curve(trainer)
    trainer.train()
    assert curve(trainer) == first


@pytest.mark.parametrize("processes", [1, 2])
def test_batch_sizes_follow_each_other(tmp_path, monkeypatch, processes):
    monkeypatch.setattr(LatentTrainingArguments, "world_size", processes)
    args = LatentTrainingArguments(str(tmp_path), global_batch_size=12, use_cpu=True)
    for name, value, expected in (
        ("global_batch_size", 24, 24),
        ("per_device_train_batch_size", 4, 4 * processes),
        ("global_batch_size", 8, 8),
    ):
        setattr(args, name, value)
        args.share_batch()
        assert args.global_batch_size == args.rows_contrasted == expected
    args.global_batch_size = 1
    with pytest.raises(UserError):
        args.share_batch()


def test_assigned_arguments_hold_in_the_next_training(tmp_path):
    trainer = build_trainer(tmp_path, max_steps=1)
    trainer.args.global_batch_size = 24
    trainer.train()
    again = build_trainer(tmp_path, max_steps=1, global_batch_size=24)
    again.train()
    assert curve(trainer) == curve(again)
    trainer.args.learning_rate = -1
    with pytest.raises(UserError, match="learning_rate=-1"):
        trainer.train()


def test_what_a_search_lacks_is_said(tmp_path):
    with pytest.raises(UserError, match="give model_init"):
        build_trainer(tmp_path, eval_dataset=RandomPairs(12)).hyperparameter_search()
    trainer = searched(tmp_path)
    trainer.eval_dataset = None
    with pytest.raises(UserError, match="give the Trainer an eval_dataset"):
        trainer.hyperparameter_search()
    with pytest.raises(UserError, match="no eval_loss, but eval_near_loss: give compute_objective"):
        evaluation_loss({"eval_near_loss": 1.0, "eval_runtime": 2.0})
    with pytest.raises(UserError, match="model is a Linear"):
        searched(tmp_path, lambda: torch.nn.Linear(2, 2))
