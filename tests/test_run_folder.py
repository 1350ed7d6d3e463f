"""A run folder is one run's at a time, and a mistake that is found before the first step leaves nothing behind."""

import os
import subprocess
import sys
import threading

import pytest

import hf_latent
from hf_latent import experiment
from hf_latent.cli import main
from hf_latent.data.trifeature import load_trifeature
from hf_latent.errors import UserError
from hf_latent.memory import check_memory
from hf_latent.training.arguments import LatentTrainingArguments
from hf_latent.training.run_lock import LOCK, locked
from tests.test_recipe import BASE
from tests.training.runs import build_clip_trainer, build_trainer

CAPTIONS = """
model:
  type: latent_clip
  modalities:
    image: {encoder: cnn, channels: [8, 16]}
    text: {encoder: auto, config: {model_type: gpt2, n_embd: 16, n_layer: 1, n_head: 2, n_positions: 4}}
data: {name: trifeature_captions, image_size: 16}
views: {image: {kind: image}, text: {kind: words}}
training: {num_train_epochs: 1, global_batch_size: 8, max_steps: 1, disable_tqdm: true}
"""
SMALL = ["data.renders=1", "data.max_pairs=40", "training.max_steps=1", "training.disable_tqdm=true"]


@pytest.fixture(scope="module")
def pictures():
    return load_trifeature(16, renders=1)


@pytest.fixture
def train(tmp_path, monkeypatch, capsys, pictures):
    """Run the command; returns the exit code and what was said. Pictures are drawn once, and nothing is measured."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(BASE)
    monkeypatch.setattr(experiment, "measure", lambda *_: {})

    def train(*changes):
        code = main(["train", "tiny.yaml", *SMALL, *changes])
        return code, capsys.readouterr().err

    return train


@pytest.fixture
def drawn(monkeypatch, pictures):
    monkeypatch.setattr("hf_latent.data.trifeature_data.load_trifeature", lambda *_, **__: pictures)


HOLDER = """
import sys, time
from filelock import FileLock
lock = FileLock(sys.argv[1])
lock.acquire()
open(sys.argv[1], "w").write("process 7 on far")
print("held", flush=True)
time.sleep(60)
"""


def test_a_folder_in_use_is_refused_until_its_process_dies(train, drawn, tmp_path):
    run = tmp_path / "outputs" / "tiny"
    run.mkdir(parents=True)
    command = [sys.executable, "-c", HOLDER, str(run / LOCK)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        code, said = train()
        assert code == 2 and "outputs/tiny is in use by process 7 on far: wait" in said and "Traceback" not in said
        assert [path.name for path in run.iterdir()] == [LOCK]
    finally:
        holder.kill()  # and nothing else releases it
        holder.wait()
    assert train()[0] == 0
    assert (run / LOCK).read_text() == ""


def test_another_thread_is_refused_and_told_the_process(tmp_path):
    said = []

    def other():
        try:
            with locked(tmp_path):
                said.append("held")
        except UserError as error:
            said.append(str(error))

    with locked(tmp_path), locked(tmp_path):  # a trainer in a run
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert f"is in use by process {os.getpid()} on" in said[0]
    other()
    assert said[1] == "held"


def test_a_trainer_from_python_holds_the_lock(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / LOCK)], stdout=subprocess.PIPE, text=True)
    try:
        holder.stdout.readline()
        with pytest.raises(UserError, match="is in use by process 7 on far"):
            build_trainer(tmp_path, max_steps=1).train()
    finally:
        holder.kill()
        holder.wait()


def test_a_folder_that_cannot_be_written_is_named(train, drawn, tmp_path):
    (tmp_path / "file").write_text("")
    code, said = train("training.output_dir=file/run")
    assert code == 2 and "file/run cannot be written into" in said and "Traceback" not in said


def test_a_recipe_alone_may_be_begun_again(train, drawn, tmp_path, monkeypatch):
    with monkeypatch.context() as cut_off:
        cut_off.setattr(hf_latent.LatentTrainer, "train", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        assert train()[0] == 130
    assert (tmp_path / "outputs" / "tiny" / "recipe.yaml").is_file()
    code, said = train("model.embed_dim=32")
    assert code == 0, said
    assert "embed_dim: 32" in (tmp_path / "outputs" / "tiny" / "recipe.yaml").read_text()
    code, said = train()
    assert code == 2 and "already holds a run" in said


def test_weights_with_a_recipe_alone_are_not_written_over(train, drawn, tmp_path):
    run = tmp_path / "outputs" / "tiny"
    run.mkdir(parents=True)
    (run / "recipe.yaml").write_text(BASE)
    (run / "model.safetensors").write_text("")
    code, said = train()
    assert code == 2 and "already holds a run" in said and (run / "model.safetensors").read_text() == ""


def test_checkpoints_without_a_recipe_are_not_written_over(train, drawn, tmp_path):
    (tmp_path / "outputs" / "tiny" / "checkpoint-3").mkdir(parents=True)
    code, said = train()
    assert code == 2 and "holds checkpoint-3 and no recipe.yaml" in said


def test_a_broken_checkpoint_is_refused_before_anything_is_written(train, drawn, tmp_path):
    options = ["training.save_strategy=steps", "training.save_steps=1"]
    assert train(*options)[0] == 0
    run = tmp_path / "outputs" / "tiny"
    (run / "checkpoint-1" / "optimizer.pt").unlink()
    (run / "metrics.json").write_text("{}")
    before = (run / "recipe.yaml").read_text()
    code, said = train(*options, "training.max_steps=2", "--resume")
    assert code == 2 and "optimizer.pt is missing; no earlier checkpoint is there: remove" in said
    assert (run / "metrics.json").exists() and (run / "recipe.yaml").read_text() == before


@pytest.mark.parametrize(
    "change",
    [
        "learning_rate=-1",
        "learning_rate=nan",
        "learning_rate=.inf",
        "adam_beta1=2",
        "adam_beta2=-0.1",
        "adam_beta2=1.0",
        "adam_epsilon=-1",
        "weight_decay=-0.1",
        "weight_decay=.nan",
        "max_grad_norm=-1",
        "warmup_steps=-1",
        "num_train_epochs=-3",
        "max_steps=0",
        "max_steps=-7",
        "optim=adamw_bnb_8bit",
        "optim=adam",
        "optim_args=x",
        "lr_scheduler_type=cosin",
        "lr_scheduler_kwargs={num_cycle: 2}",
        "lr_scheduler_kwargs={num_cycles: .nan}",
        "save_strategy=step",
        "fp16=true",
        "seed=4294967296",
        "dataloader_num_workers=-1",
        "dataloader_num_workers=1000000",
        "dataloader_prefetch_factor=0",
        "per_device_eval_batch_size=0",
        "save_steps=-1",
        "logging_steps=.nan",
    ],
)
def test_values_that_the_optimizer_would_not_take_are_named_and_leave_nothing(train, drawn, tmp_path, change):
    extra = ["training.lr_scheduler_type=cosine"] if "kwargs" in change else []
    extra += ["training.dataloader_num_workers=1"] if "prefetch" in change else []
    code, said = train(*extra, f"training.{change}")
    assert code == 2 and f"training.{change.split('=')[0]}" in said and "Traceback" not in said, said
    assert not (tmp_path / "outputs").exists() or not list((tmp_path / "outputs").iterdir())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("views.image1.size=1000000", "views.image1.size=1000000"),
        ("model.projection_dim=1000000000", "head.6.weight [1000000000, 512]"),
        ("model.embed_dim=10000000", "largest weight"),
        ("model.modalities.image1.channels=[8,100000000]", "largest weight"),
    ],
)
def test_absurd_sizes_are_refused_before_anything_is_allocated(train, drawn, tmp_path, change, words):
    code, said = train("training.global_batch_size=8", change)
    assert code == 2 and words in said and "GB of memory, and this machine has" in said, said
    assert not (tmp_path / "outputs" / "tiny" / "recipe.yaml").exists()


def test_a_text_tower_that_tells_no_captions_apart_is_refused(drawn, tmp_path, monkeypatch, capsys):
    """A causal model whose first token is read gives all captions one embedding."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(experiment, "measure", lambda *_: {})
    (tmp_path / "captions.yaml").write_text(CAPTIONS)
    assert main(["train", "captions.yaml", "model.modalities.text.pooling=cls"]) == 2
    said = capsys.readouterr().err
    assert "model.modalities.text: different captions get the same embedding" in said and "Traceback" not in said
    assert not (tmp_path / "outputs" / "captions" / "recipe.yaml").exists()
    assert main(["train", "captions.yaml"]) == 0, capsys.readouterr().err  # though captions are longer than 4 tokens


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "trifeature", "image_size": 10**6}, "image_size=1000000"),
        ({"name": "trifeature", "renders": 10**12}, "renders=1000000000000"),
        ({"name": "trifeature_scenes", "scenes": 10**12}, "scenes=1000000000000"),
        ({"name": "trifeature_scenes", "image_size": 10**7}, "image_size=10000000"),
        ({"name": "trifeature_questions", "per_picture": 10**9}, "per_picture=1000000000"),
        ({"name": "trifeature_captions", "test_renders": 10**10}, "test_renders=10000000000"),
    ],
)
def test_absurd_data_is_refused(options, words):
    from hf_latent.data.loading import SOURCES

    name = options.pop("name")
    with pytest.raises(UserError, match=f"{words}.* would need .* GB"):
        SOURCES[name](**options).load()


def test_a_batch_of_a_stream_is_measured_before_it_is_read(tmp_path):
    trainer = build_clip_trainer(tmp_path, stream=True, regularizers={}, global_batch_size=10**12)
    with pytest.raises(UserError, match=r"would need .* GB of memory"):
        trainer.try_batch()


def test_what_fits_is_let_through():
    check_memory(1e6, "a megabyte")
    assert LatentTrainingArguments(output_dir="x", use_cpu=True, dataloader_num_workers=8).dataloader_num_workers == 8
