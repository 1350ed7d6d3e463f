"""What training publishes: at its end, from Python and from a recipe; and its checkpoints on the way."""

import json
import logging
from concurrent.futures import Future
from pathlib import Path

import pytest
import torch
from huggingface_hub import snapshot_download
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load, load_file
from transformers import AutoModel, CLIPConfig, CLIPModel, TrainerCallback

from hf_latent import CoMMModel, LatentCLIP
from hf_latent.cli import main
from hf_latent.data.tokenizers import word_tokenizer
from hf_latent.data.trifeature import CAPTIONS
from hf_latent.errors import UserError
from hf_latent.hub.push import publish_folder
from tests.hub.server import Fault
from tests.test_recipe import BASE
from tests.training.runs import build_albef_trainer, build_clip_trainer, build_trainer, curve

SMALL = ["data.renders=1", "data.max_pairs=120", "training.max_steps=4", "training.save_strategy=steps"]
SMALL += ["training.save_steps=2", "training.logging_steps=1", "training.disable_tqdm=true"]
SAVING = {"save_strategy": "steps", "save_steps": 2, "max_steps": 4, "push_to_hub": True, "hub_always_push": True}

LORA = """\
model: {{type: latent_clip, clip: {clip}}}
lora: {{rank: 2}}
data: {{name: trifeature_captions, image_size: 16, renders: 1, test_renders: 1}}
views: {{image: {{kind: image}}, text: {{kind: words}}}}
training: {{max_steps: 2, global_batch_size: 32, learning_rate: 1.0e-2, disable_tqdm: true, save_strategy: steps,
  save_steps: 1, push_to_hub: true, hub_always_push: true, hub_model_id: user/lora}}
"""


class StopAt(TrainerCallback):
    """A run that is cut off."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step == self.step


def told_nothing_private(files, folder):
    assert not [name for name in files if Path(name).suffix in (".bin", ".pkl")]
    for name, content in files.items():
        if Path(name).suffix in (".md", ".json", ".yaml", ".py"):
            assert str(folder).encode() not in content and b"hf_write" not in content, name


def test_push_to_hub_is_one_commit_with_the_card(hub, tmp_path):
    trainer = build_trainer(tmp_path / "made", max_steps=2, hub_model_id="user/made", hub_private_repo=True)
    trainer.train()
    url = trainer.push_to_hub(commit_message="Trained", license="mit", tags="mine")
    repository = hub.repository("user/made")
    assert url.endswith("/user/made") and repository.messages() == ["Trained"] and repository.private
    files = repository.files()
    assert {"README.md", "config.json", "model.safetensors", "modeling_comm.py", "processor_config.json"} <= set(files)
    assert not {"training_args.bin", "recipe.yaml", "trainer_state.json"} & set(files)
    card = files["README.md"].decode()
    assert "# made" in card and "license: mit" in card and "- mine" in card and "not evaluated" in card
    assert "global_batch_size: 12" in card
    told_nothing_private(files, tmp_path)
    assert not (tmp_path / "made" / "training_args.bin").exists() and (tmp_path / "made" / "README.md").is_file()

    later = trainer.push_to_hub(license="mit", tags="mine", blocking=False)
    assert isinstance(later, Future) and later.result() == url
    assert repository.messages() == ["Trained"]  # the same again is no commit
    trainer.push_to_hub(commit_message="Plain", revision="plain")
    assert repository.messages("plain") == ["Trained", "Plain"]


def test_what_only_training_needs_is_for_a_resume_alone(hub, tmp_path):
    options = {**SAVING, "max_steps": 2, "hub_model_id": "user/albef", "hub_strategy": "checkpoint"}
    trainer = build_albef_trainer(tmp_path / "albef", **options)
    trainer.train()
    trainer._finish_current_push()
    files = hub.repository("user/albef").files()
    published, resumed = (
        set(load(files[name])) for name in ("model.safetensors", "last-checkpoint/model.safetensors")
    )
    state = {name for name in resumed if name.startswith(("momentum.", "feature_queue."))}
    assert state and published == resumed - state
    kept = load_file(tmp_path / "albef" / "checkpoint-2" / "model.safetensors")
    assert set(kept) == resumed and torch.equal(
        load(files["model.safetensors"])["itm_head.bias"], kept["itm_head.bias"]
    )


def test_a_wrong_token_is_told_before_training(hub, tmp_path):
    with pytest.raises(UserError, match="does not know this token"):
        build_trainer(tmp_path, push_to_hub=True, hub_model_id="user/made", hub_token="hf_wrong")


@pytest.mark.parametrize(
    ("strategy", "folders"),
    [("every_save", []), ("checkpoint", ["last-checkpoint"]), ("all_checkpoints", ["checkpoint-2", "checkpoint-4"])],
)
def test_checkpoints_are_pushed_whole(hub, tmp_path, strategy, folders):
    trainer = build_trainer(tmp_path / "made", hub_model_id="user/made", hub_strategy=strategy, **SAVING)
    trainer.train()
    repository = hub.repository("user/made")
    assert repository.messages() == [f"Training in progress, checkpoint-{step}" for step in (2, 4)]
    files = repository.files()
    assert sorted({name.split("/")[0] for name in files if "/" in name}) == folders
    for commit, step in zip(reversed(repository.branches["main"].history()), (None, 2, 4), strict=True):
        if step is not None:
            weights = (tmp_path / "made" / f"checkpoint-{step}" / "model.safetensors").read_bytes()
            assert commit.files["model.safetensors"].data == weights and "README.md" in commit.files
    for folder in folders:
        kept = {name.split("/")[1] for name in files if name.startswith(folder + "/")}
        assert {"model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"} <= kept
    told_nothing_private(files, tmp_path)
    assert [path.name for path in (tmp_path / "made").glob(".*")] == [".lock"]  # empty, and not published


def test_training_goes_on_from_a_checkpoint_of_the_hub(hub, tmp_path):
    straight = build_trainer(tmp_path / "straight")
    straight.train()
    options = {"hub_model_id": "user/made", "hub_strategy": "checkpoint", **SAVING, "max_steps": 8}
    cut = build_trainer(tmp_path / "cut", **options)
    cut.add_callback(StopAt(4))
    cut.train()
    found = Path(snapshot_download("user/made")) / "last-checkpoint"
    assert json.loads((found / "trainer_state.json").read_text())["global_step"] == 4
    again = build_trainer(tmp_path / "again")
    again.train(resume_from_checkpoint=str(found))
    assert curve(again) == curve(straight)


def test_a_push_that_fails_does_not_stop_training(hub, server, tmp_path, caplog):
    trainer = build_trainer(tmp_path / "made", hub_model_id="user/made", **SAVING)
    server.fault = Fault(503, lasting=True)
    logging.getLogger("transformers").propagate = True
    with caplog.at_level("WARNING"):
        trainer.train()
    logging.getLogger("transformers").propagate = False
    assert trainer.state.global_step == 4 and not hub.repository("user/made").messages()
    assert "Training in progress, checkpoint-2: not pushed (the connection to" in caplog.text
    server.fault = None
    trainer.push_to_hub()
    assert hub.repository("user/made").messages() == ["End of training"]


def test_a_recipe_pushes_what_was_measured(hub, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(BASE)
    arguments = ["train", "tiny.yaml", *SMALL, "training.push_to_hub=true", "training.hub_model_id=user/tiny-run"]
    assert main([*arguments, "training.hub_token=hf_write"]) == 2
    assert "run hf auth login, or set HF_TOKEN, instead" in capsys.readouterr().err
    assert main([*arguments, "training.hub_strategy=end"]) == 0
    repository = hub.repository("user/tiny-run")
    assert repository.messages() == ["Push tiny-run with hf_latent"]
    files = repository.files()
    metrics = json.loads(files["metrics.json"])
    assert f"**{metrics['redundancy']:.1f} %**".encode() in files["README.md"]
    assert "figures/latent_map.png" in files and "recipe.yaml" in files
    told_nothing_private(files, tmp_path)
    assert CoMMModel.from_pretrained("user/tiny-run").config.embed_dim == 16
    hub.repositories.clear()
    assert main([*arguments, "training.hub_strategy=end", "--resume"]) == 0  # finished, and pushed again
    assert hub.repository("user/tiny-run").files() == files


# Adapters


@pytest.fixture
def base(hub, tmp_path):
    """A CLIP checkpoint on the Hub."""
    tokenizer = word_tokenizer(CAPTIONS)
    tokenizer.save_pretrained(tmp_path / "clip")
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    special = {"bos_token_id": tokenizer.cls_token_id, "eos_token_id": tokenizer.sep_token_id, "pad_token_id": 0}
    text = {**tower, **special, "vocab_size": len(tokenizer), "max_position_embeddings": 32}
    config = CLIPConfig(text_config=text, vision_config={**tower, "image_size": 16, "patch_size": 8}, projection_dim=8)
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(tmp_path / "clip")
    publish_folder(tmp_path / "clip", "user/clip", message="a checkpoint")
    return "user/clip"


def logits(model):
    draw = torch.Generator().manual_seed(0)
    batch = {"pixel_values": torch.randn(4, 3, 16, 16, generator=draw)}
    batch["input_ids"] = torch.randint(4, 20, (4, 6), generator=draw)
    with torch.no_grad():
        return model.eval()(**batch).logits_per_image


@pytest.mark.slow
def test_a_lora_run_is_pushed_merged_and_as_adapters(hub, base, tmp_path):
    (tmp_path / "lora.yaml").write_text(LORA.format(clip=base))
    run = tmp_path / "run"
    assert main(["train", str(tmp_path / "lora.yaml"), f"training.output_dir={run}"]) == 0
    repository = hub.repository("user/lora")
    assert repository.messages()[:2] == [f"Training in progress, checkpoint-{step}" for step in (1, 2)]
    on_the_way = repository.branches["main"].parent.files
    assert {"adapter_config.json", "adapter_model.safetensors", "config.json"} <= set(on_the_way)
    assert "model.safetensors" not in on_the_way
    files = repository.files()
    assert "adapter_config.json" not in files  # those of the checkpoints are gone
    assert {name for name in files if name.startswith("adapter/")} == {
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
    }
    assert json.loads(files["adapter/adapter_config.json"])["base_model_name_or_path"] == "user/clip"
    assert len(files["adapter/adapter_model.safetensors"]) < len(files["model.safetensors"])
    merged = logits(AutoModel.from_pretrained("user/lora"))
    start = LatentCLIP.from_clip_pretrained(base)
    before = logits(start)
    adapted = PeftModel.from_pretrained(start, "user/lora", subfolder="adapter")
    torch.testing.assert_close(logits(adapted), merged, rtol=1e-4, atol=1e-5)
    assert (merged - before).abs().max() > 1e-3
    told_nothing_private(files, tmp_path)

    for name in ("config.json", "recipe.yaml"):  # as if it had begun from a folder
        (run / name).write_text((run / name).read_text().replace("user/clip", str(tmp_path / "clip")))
    assert main(["push", str(run), "user/local"]) == 0
    files = hub.repository("user/local").files()
    told_nothing_private(files, tmp_path)
    assert not [name for name in files if name.startswith("adapter")]  # nobody else has what they belong to
    assert torch.equal(logits(AutoModel.from_pretrained("user/local")), merged)


def test_adapters_of_the_trainer_are_pushed_as_adapters(hub, tmp_path):
    trainer = build_clip_trainer(tmp_path / "made", max_steps=1, hub_model_id="user/adapters")
    trainer.model.config.modalities["text"]["pretrained"] = "user/text-tower"
    adapted = get_peft_model(trainer.model, LoraConfig(r=2, target_modules=r".*encoders\.text.*query"))
    trainer.model = trainer.model_wrapped = adapted
    trainer.push_to_hub()
    files = hub.repository("user/adapters").files()
    assert "adapter_model.safetensors" in files and "model.safetensors" not in files
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == "user/text-tower"
    assert json.loads(files["config.json"])["model_type"] == "latent_clip" and "modeling_latent_clip.py" in files
    told_nothing_private(files, tmp_path)
