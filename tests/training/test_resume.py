"""A resume goes on from a whole checkpoint, or says what is wrong with it; steps tell which is newest."""

import json
import math
import os
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from hf_latent.errors import UserError
from hf_latent.training.checkpoints import check_finite, last_checkpoint, rotate
from tests.training.runs import build_clip_trainer, build_trainer, curve

LORA = {"rank": 2}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run with checkpoint-2 and checkpoint-4."""
    folder = tmp_path_factory.mktemp("whole")
    build_trainer(folder, save_strategy="steps", save_steps=2, max_steps=4, weight_decay=0.01).train()
    return folder


@pytest.fixture
def run(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


def resume(run, checkpoint=True, **options):
    trainer = build_trainer(run, **{"max_steps": 5, "weight_decay": 0.01, **options})
    trainer.train(resume_from_checkpoint=checkpoint)
    return trainer


class Code:
    def __reduce__(self):
        return os.mkdir, ("broken_into",)


def change(name, **values):
    """Change keys of a JSON file."""

    def act(checkpoint):
        path = checkpoint / name
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return act


def rewrite(name, edit):
    """Edit what `torch.save` or `save_file` wrote."""

    def act(checkpoint):
        path = checkpoint / name
        content = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=False)
        content = edit(content) or content
        (save_file if path.suffix == ".safetensors" else torch.save)(content, path)

    return act


def drop(name):
    return lambda checkpoint: (checkpoint / name).unlink()


def cut(name):
    def act(checkpoint):
        path = checkpoint / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return act


def first(tensors):
    return next(name for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.ndim > 1)


def renamed(tensors):
    return {f"other.{name}": tensor for name, tensor in tensors.items()}


def split(checkpoint, lost=False):
    """Write the weights as two shards."""
    weights = load_file(checkpoint / "model.safetensors")
    (checkpoint / "model.safetensors").unlink()
    names, files = sorted(weights), ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    halves = dict(zip(files, (names[::2], names[1::2]), strict=True))
    for file, half in halves.items():
        save_file({name: weights[name] for name in half}, checkpoint / file, {"format": "pt"})
    listed = {name: file for file, half in halves.items() for name in half}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": listed}))
    if lost:
        (checkpoint / files[1]).unlink()


def state_of(**entry):
    return rewrite("optimizer.pt", lambda saved: saved["state"][0].update(entry))


STATE, WEIGHTS = "trainer_state.json", "model.safetensors"
BROKEN = {
    "no state": (drop(STATE), "trainer_state.json is missing"),
    "half a state": (cut(STATE), "trainer_state.json cannot be read"),
    "a state that is a list": (lambda c: (c / STATE).write_text("[]"), "trainer_state.json cannot be read"),
    "an empty state": (lambda c: (c / STATE).write_text("{}"), "global_step='0'"),
    "a state in another encoding": (lambda c: (c / STATE).write_bytes(b"\xff\xfe{"), "cannot be read"),
    "an unknown key": (change(STATE, globl_step=4), "globl_step"),
    "another step": (change(STATE, global_step=3), "its state is of step 3, whose folder is called checkpoint-3"),
    "a step of text": (change(STATE, global_step="4"), "global_step='4', not a whole number"),
    "a step of bool": (change(STATE, global_step=True), "global_step='True'"),
    "a broken step": (change(STATE, global_step=4.0), "global_step='4.0'"),
    "a step of NaN": (change(STATE, global_step=math.nan), "global_step='nan'"),
    "an epoch of NaN": (change(STATE, epoch=math.nan), "epoch='nan'"),
    "no batch size": (change(STATE, train_batch_size=None), "train_batch_size='None'"),
    "another batch": (change(STATE, train_batch_size=6), "not the 12 of the global batch"),
    "a log of text": (change(STATE, log_history=["loss"]), "log_history"),
    "a log of later steps": (change(STATE, log_history=[{"step": 9, "loss": 1.0}]), "steps after its own, 4"),
    "callbacks of text": (change(STATE, stateful_callbacks="none"), "cannot be read|stateful_callbacks"),
    "no weights": (drop(WEIGHTS), "model.safetensors is missing"),
    "half the weights": (cut(WEIGHTS), "model.safetensors cannot be read"),
    "empty weights": (lambda c: (c / WEIGHTS).write_bytes(b""), "model.safetensors cannot be read"),
    "weights of other names": (rewrite(WEIGHTS, renamed), "another model: this one has no other."),
    "a weight less": (rewrite(WEIGHTS, lambda w: w.pop(first(w)) is None), "1 are missing"),
    "a weight more": (rewrite(WEIGHTS, lambda w: w.update(extra=torch.ones(1))), "this one has no extra"),
    "a weight of another shape": (
        rewrite(WEIGHTS, lambda w: w.update({first(w): w[first(w)][:1].clone()})),
        "that of the model float32",
    ),
    "weights of another dtype": (
        rewrite(WEIGHTS, lambda w: {name: t.bfloat16() if t.is_floating_point() else t for name, t in w.items()}),
        r"is bfloat16\[.*that of the model float32",
    ),
    "a weight of NaN": (rewrite(WEIGHTS, lambda w: w[first(w)].fill_(math.nan) is None), "is not finite"),
    "pickled weights": (
        lambda c: (torch.save({}, c / "pytorch_model.bin"), (c / WEIGHTS).unlink()),
        "model.safetensors is missing; there is pytorch_model.bin",
    ),
    "a lost shard": (lambda c: split(c, lost=True), "model-00002-of-00002.safetensors cannot be read"),
    "a shard outside": (
        lambda c: (split(c), change("model.safetensors.index.json", weight_map={"a": "../b.safetensors"})(c)),
        "not in the folder",
    ),
    "no optimizer": (drop("optimizer.pt"), "optimizer.pt is missing"),
    "half an optimizer": (cut("optimizer.pt"), "optimizer.pt cannot be read"),
    "code for an optimizer": (lambda c: torch.save(Code(), c / "optimizer.pt"), "optimizer.pt cannot be read"),
    "a list for an optimizer": (lambda c: torch.save([1], c / "optimizer.pt"), "holds no state of an optimizer"),
    "no state of a parameter": (rewrite("optimizer.pt", lambda o: o["state"].clear()), "the state of no parameter"),
    "a group less": (rewrite("optimizer.pt", lambda o: o["param_groups"].pop() is None), "has groups of"),
    "a parameter more": (rewrite("optimizer.pt", lambda o: o["state"].update({999: {}})), "does not have"),
    "another weight decay": (
        rewrite("optimizer.pt", lambda o: o["param_groups"][0].update(weight_decay=0.5)),
        "weight_decay=0.5, this run 0.01",
    ),
    "a learning rate of NaN": (rewrite("optimizer.pt", lambda o: o["param_groups"][0].update(lr=math.nan)), "lr=nan"),
    "moments of another shape": (state_of(exp_avg=torch.ones(3, 1, 2)), "exp_avg of shape"),
    "moments of NaN": (state_of(exp_avg_sq=torch.tensor(math.nan)), "optimizer.pt is not finite: exp_avg_sq"),
    "an optimizer of a later step": (state_of(step=torch.tensor(9.0)), "optimizer.pt is of step 9"),
    "no scheduler": (drop("scheduler.pt"), "scheduler.pt is missing"),
    "half a scheduler": (cut("scheduler.pt"), "scheduler.pt cannot be read"),
    "a scheduler of another step": (
        rewrite("scheduler.pt", lambda s: s.update(last_epoch=2)),
        "scheduler.pt is of step 2",
    ),
    "a scheduler of another rate": (rewrite("scheduler.pt", lambda s: s.update(base_lrs=[9.0, 9.0])), "base_lrs="),
    "an empty scheduler": (lambda c: torch.save({}, c / "scheduler.pt"), "holds no state of a scheduler"),
    "no random state": (drop("rng_state.pth"), "rng_state.pth is missing"),
    "half a random state": (cut("rng_state.pth"), "rng_state.pth cannot be read"),
    "a random state of zeros": (rewrite("rng_state.pth", lambda s: s.update(cpu=torch.zeros(3))), "no random state"),
    "no numpy state": (rewrite("rng_state.pth", lambda s: s.pop("numpy") is None), "no random state"),
    "a process that lost its random state": (
        lambda c: (c / "rng_state.pth").rename(c / "rng_state_0.pth"),
        "rng_state.pth is missing",
    ),
    "a scaler": (lambda c: torch.save({"scale": 1.0}, c / "scaler.pt"), "scaler.pt, of training with fp16"),
    "nothing in it": (lambda c: (shutil.rmtree(c), c.mkdir()), "trainer_state.json is missing"),
    "a file": (lambda c: (shutil.rmtree(c), c.write_text("")), "it is not a folder"),
    "a link to nothing": (lambda c: (shutil.rmtree(c), c.symlink_to("gone")), "it is not a folder"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_checkpoint_is_refused_and_the_way_on_is_told(run, monkeypatch, case):
    act, words = BROKEN[case]
    monkeypatch.chdir(run.parent)
    act(run / "checkpoint-4")
    with pytest.raises(UserError, match=words) as error:
        resume(run)
    assert f"{run / 'checkpoint-4'} cannot be resumed from" in str(error.value)
    assert f"remove {run / 'checkpoint-4'}, and --resume goes on from checkpoint-2" in str(error.value)
    assert not (run.parent / "broken_into").exists() and not (run / "checkpoint-5").exists()


def test_the_way_on_is_the_way_on(run):
    shutil.rmtree(run / "checkpoint-4")
    assert resume(run).state.global_step == 5
    cut("optimizer.pt")(run / "checkpoint-2")
    with pytest.raises(UserError, match="no earlier checkpoint is there: remove .* and --resume begins the run anew"):
        resume(run)


@pytest.mark.parametrize("name", ["checkpoint-99999", "checkpoint-004", "checkpoint-5"])
def test_a_checkpoint_under_another_name_is_refused(run, name):
    shutil.copytree(run / "checkpoint-4", run / name)
    shutil.rmtree(run / "checkpoint-4")
    with pytest.raises(UserError, match=f"{name} cannot be resumed from.*called checkpoint-4"):
        resume(run)


def test_what_is_no_checkpoint_is_passed_by(run):
    for name in ("checkpoint-abc", "checkpoint-9.old", "checkpoint-", "old-checkpoint-9"):
        (run / name).mkdir()
    assert last_checkpoint(run) == run / "checkpoint-4"
    resume(run, save_strategy="steps", save_steps=1, save_total_limit=1)
    left = {path.name for path in run.glob("*checkpoint-*")}
    assert left == {"checkpoint-5", "checkpoint-abc", "checkpoint-9.old", "checkpoint-", "old-checkpoint-9"}


def test_a_link_and_shards_are_as_good_as_the_folder(run, tmp_path):
    plain = resume(run)
    (run / "checkpoint-4").rename(tmp_path / "elsewhere")
    (run / "checkpoint-4").symlink_to(tmp_path / "elsewhere")
    assert curve(resume(run)) == curve(plain)
    split(run / "checkpoint-4")
    sharded = resume(run, str(tmp_path / "elsewhere"))  # a name that tells no step
    assert curve(sharded) == curve(plain)
    for ours, theirs in zip(sharded.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_checkpoint_beyond_the_last_step_is_refused_and_one_at_it_is_loaded(run):
    with pytest.raises(UserError, match="of step 4, beyond the last one of this training, 3.*from checkpoint-2"):
        resume(run, max_steps=3)
    done = resume(run, max_steps=4)
    assert done.state.global_step == 4
    weights = load_file(run / "checkpoint-4" / WEIGHTS)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in done.model.state_dict().items())


@pytest.mark.parametrize("options", [{"optim": "sgd"}, {"optim": "adafactor"}, {"optim": "rmsprop"}])
def test_the_state_of_another_optimizer_is_refused(run, options):
    with pytest.raises(UserError, match="is of another optimizer than"):
        resume(run, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"learning_rate": 1e-2}, "base_lrs="), ({"weight_decay": 0.1}, "weight_decay=0.01, this run 0.1")],
)
def test_what_a_resume_would_not_change_is_refused(run, options, words):
    with pytest.raises(UserError, match=words):
        resume(run, **options)


def test_no_checkpoint_at_all_is_said(tmp_path):
    with pytest.raises(UserError, match="holds no checkpoint"):
        resume(tmp_path)


def test_how_often_to_save_is_what_the_arguments_say_now(run):
    resume(run, max_steps=8, save_strategy="steps", save_steps=5)
    assert {path.name for path in run.glob("checkpoint-*")} == {f"checkpoint-{step}" for step in (2, 4, 5, 8)}


def test_adapters_are_checked_too(tmp_path):
    options = {"lora": LORA, "regularizers": {}, "save_strategy": "steps", "save_steps": 1}
    build_clip_trainer(tmp_path, max_steps=1, **options).train()
    checkpoint = tmp_path / "checkpoint-1"
    build_clip_trainer(tmp_path, max_steps=2, **options).train(resume_from_checkpoint=str(checkpoint))
    rewrite("adapter_model.safetensors", lambda w: w.pop(first(w)) is None)(checkpoint)
    with pytest.raises(UserError, match="1 are missing"):
        build_clip_trainer(tmp_path, max_steps=2, **options).train(resume_from_checkpoint=str(checkpoint))
    save_file({"a": torch.ones(1)}, checkpoint / WEIGHTS)  # the Trainer would load this one, as far as it fits
    with pytest.raises(UserError, match=r"adapter_model.safetensors is missing; there is model.safetensors"):
        build_clip_trainer(tmp_path, max_steps=2, **options).train(resume_from_checkpoint=str(checkpoint))


def test_another_number_of_processes_is_warned_of(run):
    checkpoint = run / "checkpoint-4"
    shutil.copy(checkpoint / "rng_state.pth", checkpoint / "rng_state_1.pth")
    (checkpoint / "rng_state.pth").rename(checkpoint / "rng_state_0.pth")
    change(STATE, train_batch_size=6)(checkpoint)
    with pytest.warns(UserWarning, match="was written by 2 processes and is resumed by 1"):
        assert resume(run).state.global_step == 5


# Rotation


def folders(run, *steps):
    for age, step in enumerate(steps):
        (run / f"checkpoint-{step}").mkdir()
        os.utime(run / f"checkpoint-{step}", (1e9 - age * 1e4,) * 2)  # the clock runs backwards


@pytest.mark.parametrize(
    ("steps", "newest", "best", "limit", "left"),
    [
        ((8, 9, 10, 11), 11, None, 2, {10, 11}),
        ((8, 9, 10, 11), 11, 8, 2, {8, 11}),
        ((8, 9, 10, 11), 11, 8, 1, {8, 11}),
        ((8, 9, 10, 11), 11, 11, 1, {11}),
        ((8, 9, 100), 100, None, 2, {9, 100}),
        ((8, 9, 10), 10, None, None, {8, 9, 10}),
        ((8, 9, 10), 10, None, 0, {8, 9, 10}),
        ((5, 10, 30), 10, None, 2, {5, 10}),  # 30 is of an earlier training
    ],
)
def test_the_steps_decide_what_is_old(tmp_path, steps, newest, best, limit, left):
    folders(tmp_path, *steps)
    rotate(tmp_path, limit, tmp_path / f"checkpoint-{newest}", best and str(tmp_path / f"checkpoint-{best}"))
    assert {path.name for path in tmp_path.iterdir()} == {f"checkpoint-{step}" for step in left}


def test_a_run_under_a_clock_that_runs_backwards_keeps_its_newest(tmp_path, monkeypatch):
    import hf_latent.training.checkpointing as module

    real, age = module.publish, iter(range(100))

    def publish(source, target):
        real(source, target)
        os.utime(target, (1e9 - next(age) * 1e4,) * 2)

    monkeypatch.setattr(module, "publish", publish)
    build_trainer(tmp_path, save_strategy="steps", save_steps=1, save_total_limit=2, max_steps=4).train()
    assert {path.name for path in tmp_path.glob("checkpoint-*")} == {"checkpoint-3", "checkpoint-4"}


def test_a_link_is_rotated_away_and_its_folder_stays(tmp_path):
    folders(tmp_path, 2)
    (tmp_path / "kept").mkdir()
    (tmp_path / "checkpoint-1").symlink_to("kept")
    rotate(tmp_path, 1, tmp_path / "checkpoint-2", None)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-2", "kept"}


# Weights that are not finite


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("saves", [True, False])
def test_weights_that_are_not_finite_are_not_saved(tmp_path, value, saves):
    trainer = build_trainer(tmp_path, save_strategy="steps", save_steps=2 if saves else 3, max_steps=4)
    step = trainer.create_optimizer().step

    def break_last(*args, **kwargs):
        step(*args, **kwargs)
        if trainer.state.global_step == 3:
            next(trainer.model.parameters()).data[0] = value

    trainer.optimizer.step = break_last
    with pytest.raises(UserError, match="after step 4 the weights are not finite: 1 of .* as encoders"):
        trainer.train()
    kept = f"checkpoint-{2 if saves else 3}"
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == [kept]
    assert all(tensor.isfinite().all() for tensor in load_file(tmp_path / kept / WEIGHTS).values())


def test_a_buffer_that_is_not_finite_is_named():
    model = torch.nn.BatchNorm1d(2)
    check_finite(model, 1)
    model.running_var[1] = math.inf
    with pytest.raises(UserError, match="as running_var"):
        check_finite(model, 1)


def test_trying_changes_no_random_state(run):
    trainer = build_trainer(run, max_steps=5, weight_decay=0.01)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    trainer.try_optimizer(run / "checkpoint-4")
    assert torch.equal(torch.get_rng_state(), before[0]) and (np.random.get_state()[1] == before[1]).all()
    assert trainer.optimizer is None and trainer.lr_scheduler is None
